import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.layers.embedding import ChannelWindows, CircularEmbedding, StepEmbedding, WindowEmbedding

X = torch.randn(2, 6, 3)
MASK = torch.rand(2, 6, 3) < 0.7


@pytest.mark.parametrize(
    ("made", "sizes", "plain"),
    [
        (StepEmbedding(3, 5), (3, 5), lambda e: F.linear(X, e.weight, e.bias)),
        (CircularEmbedding(3, 5), (3, 5),
         lambda e: F.conv1d(torch.cat([X[:, -1:], X, X[:, :1]], 1).mT, e.weight).mT),
        (WindowEmbedding(6, 5), (1, 5), lambda e: F.linear(X.mT, e.weight, e.bias)),
    ],
)
def test_an_embedding_is_its_plain_map_and_knows_what_an_encoder_in_its_place_must_be(made, sizes, plain):
    assert_close(made(X, MASK), plain(made))
    assert (made.in_channels, made.d_model) == sizes


class Pooled(nn.Module):
    def pooled(self, x, mask=None):
        seen = torch.ones_like(x) if mask is None else mask.to(x.dtype)
        return torch.cat([(x * seen).sum(1), seen.sum(1)], -1)


@pytest.mark.parametrize("mask", [None, MASK], ids=["all seen", "masked"])
def test_each_channel_is_encoded_by_itself(mask):
    encoder = Pooled()
    found = ChannelWindows(encoder)(X, mask)
    for channel in range(3):
        alone = encoder.pooled(X[..., [channel]], None if mask is None else mask[..., [channel]])
        assert_close(found[:, channel], alone)
