import torch
from torch.testing import assert_close

from tsforge.layers.pooling import masked_mean


def test_it_is_the_mean_over_steps_at_which_something_was_observed():
    tokens = torch.randn(2, 5, 3)
    mask = torch.zeros(2, 5, 4, dtype=torch.bool)
    mask[0, [1, 3], 2] = True
    mask[1] = True
    assert_close(masked_mean(tokens, mask), torch.stack([tokens[0, [1, 3]].mean(0), tokens[1].mean(0)]))
    assert_close(masked_mean(tokens), tokens.mean(1))


def test_of_nothing_it_is_zero():
    assert masked_mean(torch.ones(1, 3, 2), torch.zeros(1, 3, 1, dtype=torch.bool)).tolist() == [[0.0, 0.0]]
