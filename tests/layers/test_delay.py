import pytest
import torch
from torch.testing import assert_close

from tsforge.dynamics import delay_embed
from tsforge.layers.delay import delayed


@pytest.mark.parametrize(("dimension", "lag"), [(1, 1), (3, 1), (3, 4), (2, 7)])
def test_whole_vectors_are_those_of_the_embedding_of_a_series(dimension, lag):
    x = torch.randn(2, 20, 1, dtype=torch.float64)
    whole = (dimension - 1) * lag
    vectors = delayed(x, torch.tensor([lag]), dimension)
    for series, found in zip(x, vectors, strict=True):
        expected = delay_embed(series[:, 0].numpy(), dimension, lag)[:, ::-1]  # which begins with the oldest
        assert_close(found[whole:, 0], torch.from_numpy(expected.copy()), atol=0, rtol=0)


def test_before_the_window_there_are_zeros_and_each_channel_has_its_lag():
    x = torch.arange(1.0, 11.0).view(1, 5, 2)
    vectors = delayed(x, torch.tensor([1, 3]), 3)
    assert vectors[0, 4].tolist() == [[9, 7, 5], [10, 4, 0]]
    assert vectors[0, 0].tolist() == [[1, 0, 0], [2, 0, 0]]
