import copy

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn
from torch.testing import assert_close

import tsforge
from tsforge.encoders.base import Encoder
from tsforge.encoders.sequence.phnn import PHCEncoder
from tsforge.encoders.wrapper.relative import RelativeAdapter, rank_of_anchors, similarity_of_spaces
from tsforge.errors import ArgumentError, ShapeError

CHANNELS, TIME, WIDTH = 2, 10, 8


class Turned(Encoder):
    """A vector of each window, and that vector turned, stretched and moved."""

    reads, output, given = "window", "vector", ()

    def __init__(self, matrix=None, move=0.0, seed=0):
        super().__init__(WIDTH)
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Linear(CHANNELS * TIME, 32), nn.Tanh(), nn.Linear(32, WIDTH))
        self.register_buffer("matrix", torch.eye(WIDTH) if matrix is None else matrix)
        self.move = move

    def forward(self, x, mask=None):
        return self.net(x.flatten(1)) @ self.matrix.T + self.move

    pooled = forward


def windows(n=64, seed=1):
    return torch.randn(n, TIME, CHANNELS, generator=torch.Generator().manual_seed(seed))


def around(encoder, **arguments):
    made = RelativeAdapter(CHANNELS, TIME, lambda: encoder, WIDTH, **arguments).eval()
    made.fit(windows(40))
    return made


def orthogonal(seed=3):
    return torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(seed)))[0]


@torch.no_grad()
@pytest.mark.parametrize("similarity", ["cosine", "inner"])
@pytest.mark.parametrize("center", [False, True])
def test_it_is_what_its_equation_says(similarity, center):
    made, x = around(Turned(), similarity=similarity, center=center).double(), windows(5).double()
    e = made.encoder(x)
    anchors = torch.stack([made.encoder(a[None])[0] for a in made.anchors])
    b = sum(anchors) / len(anchors) if center else torch.zeros(WIDTH).double()
    for i in range(5):
        for j in range(WIDTH):
            product = sum((e[i] - b)[d] * (anchors[j] - b)[d] for d in range(WIDTH))
            lengths = (e[i] - b).norm() * (anchors[j] - b).norm() if similarity == "cosine" else WIDTH**0.5
            assert_close(made(x)[i, j], product / lengths, atol=1e-10, rtol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("c", [0.1, 3.0])
def test_a_turn_and_a_scale_change_nothing_and_a_stretch_along_axes_does(c):
    x = windows()
    plain = around(Turned())(x)
    assert_close(around(Turned(c * orthogonal()))(x), plain, atol=1e-5, rtol=1e-5)
    stretched = around(Turned(torch.diag(torch.arange(1.0, WIDTH + 1))))(x)  # the control
    assert (stretched - plain).abs().mean() > 0.05
    inner = around(Turned(), similarity="inner")(x)  # a scale is seen by the product alone
    assert not torch.allclose(around(Turned(c * orthogonal()), similarity="inner")(x), inner, atol=0.01)


@torch.no_grad()
def test_centred_a_move_of_the_whole_space_changes_nothing():
    x = windows()
    for center, same in ((True, True), (False, False)):
        plain, moved = (around(Turned(move=move), center=center)(x) for move in (0.0, 2.0))
        assert torch.allclose(plain, moved, atol=1e-5) is same


@torch.no_grad()
def test_an_anchor_is_like_itself_and_all_lies_between_minus_one_and_one():
    made = around(Turned())
    assert_close(made(made.anchors).diagonal(), torch.ones(WIDTH), atol=1e-6, rtol=0)
    assert made(10 * windows()).abs().max() <= 1 + 1e-6


@torch.no_grad()
def test_anchors_are_windows_that_are_unlike_each_other_and_near_copies_of_one_lower_the_rank():
    made, base = around(Turned()), windows(1)
    assert all((windows(40) == anchor).all(dim=(1, 2)).any() for anchor in made.anchors)
    assert rank_of_anchors(made) >= WIDTH // 2
    many = torch.cat([base + 1e-4 * windows(500, 7), windows(WIDTH - 1, 8)])  # one in a crowd of copies
    made.fit(many)
    assert rank_of_anchors(made) >= WIDTH // 2
    made.anchors.copy_(many[:WIDTH])  # the first ones, as the control
    assert rank_of_anchors(made) < WIDTH // 2


@torch.no_grad()
def test_an_encoder_that_changes_has_its_anchors_encoded_anew():
    made, x = around(Turned()), windows()
    other = Turned(seed=5)
    made.encoder.load_state_dict(other.state_dict())
    assert_close(made(x), around(other)(x))


def test_gradients_go_through_the_anchors_unless_they_are_told_not_to():
    grads = []
    for through in (True, False):
        made = around(Turned(), through_anchors=through).train()
        made(windows(4)).square().sum().backward()
        grads.append(made.encoder.net[0].weight.grad)
    assert all(grad.abs().sum() > 0 for grad in grads)
    assert not torch.allclose(*grads)


def latent_waves(n, seed):
    """Windows of sums of four waves, and the four steps after them with noise."""
    shared = torch.randn(24, 4, generator=torch.Generator().manual_seed(9)) / 2
    draw = torch.Generator().manual_seed(seed)
    whole = torch.randn(n, 4, generator=draw) @ shared.T
    noise = torch.randn(n, 24, generator=draw) * torch.cat([torch.full((20,), 0.1), torch.full((4,), 0.5)])
    return (whole + noise)[:, :20, None], (whole + noise)[:, 20:]


def trained(seed, x, y):
    """An encoder that forecast with a head of its own, which is thrown away."""
    torch.manual_seed(seed)
    encoder, head = PHCEncoder(1, 16, n=2, n_layers=1, dropout=0.0), nn.Linear(16, 4)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        (head(encoder.pooled(x)) - y).square().mean().backward()
        optimizer.step()
    return encoder.eval()


def ridge(features, y):
    """The coefficients of a head on these features, and a function that applies it."""
    def with_one(z):
        return torch.cat([z, torch.ones(len(z), 1)], 1).double()

    f = with_one(features)
    weights = torch.linalg.solve(f.T @ f / len(f) + 0.01 * torch.eye(f.shape[1]).double(), f.T @ y.double() / len(f))
    return lambda z: with_one(z) @ weights


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [(0, 1), (4, 5)])
def test_a_head_of_one_training_serves_another_and_on_plain_outputs_it_does_not(seeds):
    (x, y), (x_test, y_test) = latent_waves(512, 0), latent_waves(512, 1)
    pair = [trained(seed, x, y) for seed in seeds]
    framed = [RelativeAdapter(1, 20, lambda e=e: e, 16, center=True).eval() for e in pair]
    framed[0].fit(x)
    framed[1].share_anchors(framed[0])
    times = {}
    for kind, (one, other) in (("plain", pair), ("relative", framed)):
        with torch.no_grad():
            heads = [ridge(encoder.pooled(x), y) for encoder in (one, other)]
            swapped, own = ((head(other.pooled(x_test)) - y_test).square().mean() for head in heads)
        times[kind] = float(swapped / own)
    assert times["relative"] <= 1.5
    assert times["plain"] >= 3
    assert similarity_of_spaces(*framed, x_test) > 0.7


def test_spaces_are_compared_over_the_same_anchors_only():
    one, other = around(Turned()), around(Turned(orthogonal()))
    assert similarity_of_spaces(one, other, windows()) > 0.999
    other.anchors.copy_(one.anchors.flip(0))
    with pytest.raises(ArgumentError, match="share_anchors"):
        similarity_of_spaces(one, other, windows())
    other.share_anchors(one)
    assert one.anchor_key() == other.anchor_key()
    with pytest.raises(ShapeError, match="same d_model, input_size"):
        RelativeAdapter(CHANNELS, TIME + 1, Turned, WIDTH).share_anchors(one)
    with pytest.raises(ArgumentError, match="wanted 'cosine' or 'inner'"):
        RelativeAdapter(CHANNELS, TIME, Turned, WIDTH, similarity="dot")


def test_anchors_are_training_windows_and_a_copy_of_the_model_has_them():
    table = pl.DataFrame({"ds": np.arange(80), "y": np.sin(np.arange(80) / 3)})
    model = tsforge.DLinear(h=4, input_size=12, max_steps=2, val_size=0,
                            context=[{"name": "relative", "encoder": "phnn", "d_model": 8}])
    model.fit(table)
    encoder = model.fitted_.predictor.context[0]
    assert encoder.anchors.shape == (8, 12, 1)
    assert encoder.anchors.std() > 0.3
    assert copy.deepcopy(encoder).anchor_key() == encoder.anchor_key()
