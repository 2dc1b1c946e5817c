import torch
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.layers.dice import Dice


def test_with_a_slope_of_one_nothing_is_bent_and_with_none_at_rest_it_is_silu():
    dice, s = Dice(5).eval(), torch.randn(7, 3, 5)
    assert_close(dice(s), F.silu(s), atol=1e-5, rtol=0)
    dice.alpha.data.fill_(1.0)
    assert_close(dice(s), s)
    dice.alpha.data.fill_(0.5)
    assert not torch.allclose(dice(s), s)  # the control


def test_it_bends_by_the_statistics_of_the_batch_and_after_training_by_those_it_has_kept():
    torch.manual_seed(0)
    dice, s = Dice(5), 3 + 2 * torch.randn(4, 50, 5)
    dice.alpha.data.uniform_()
    rows = s.view(-1, 5)
    p = ((s - rows.mean(0)) / (rows.var(0, correction=0) + 1e-8).sqrt()).sigmoid()
    assert_close(dice(s), p * s + (1 - p) * dice.alpha * s, atol=1e-5, rtol=1e-5)
    for _ in range(100):
        dice(s)
    dice.eval()
    assert_close(dice(s)[:1, :1], dice(s[:1, :1]))  # the rest of the batch does not matter
    assert_close(dice.norm.running_mean, rows.mean(0), atol=1e-3, rtol=1e-3)


def test_a_single_row_is_trained_on_by_what_is_known_of_others():
    dice, s = Dice(3), torch.randn(1, 3)
    assert_close(dice(s), F.silu(s), atol=1e-5, rtol=0)
    assert dice.norm.running_mean.tolist() == [0, 0, 0]
