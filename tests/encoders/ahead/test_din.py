import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.encoders.ahead.din import DINEncoder
from tsforge.errors import ArgumentError

DAYS = 14


def windows(batch=4, input_size=11, h=5, channels=2, covariates=3):
    random = torch.Generator().manual_seed(1)
    x = torch.randn(batch, input_size, channels, generator=random, dtype=torch.float64)
    known = torch.randn(batch, input_size + h, covariates, generator=random, dtype=torch.float64)
    mask = torch.rand(x.shape, generator=random) < 0.7
    mask[:, 3:7] = False  # with segments of four steps the first, in which nothing was observed
    return x, known, mask


def made(**arguments):
    torch.manual_seed(0)
    return DINEncoder(2, 11, 5, 3, 6, **{"segment_len": 4, "d_item": 3, "att_hidden": (5, 4), **arguments}).double()


@pytest.mark.parametrize("normalize", [False, True])
def test_it_is_what_its_equations_say(normalize):
    encoder, (x, known, mask) = made(normalize=normalize).eval(), windows()
    for layer in (encoder.weigh[1], encoder.weigh[3]):
        layer.alpha.data.normal_()
        layer.norm.running_mean.normal_()
        layer.norm.running_var.uniform_(0.5, 2)
    x = torch.where(mask, x, 0.0)
    w_x, w_c, bias = encoder.of_values.weight, encoder.of_covariates.weight, encoder.of_covariates.bias
    for row in range(4):
        covered = [w_c @ known[row, at : at + 4].flatten() + bias for at in (3, 7, 11, 12)]
        items = [w_x @ x[row, at : at + 4].flatten() + c for at, c in zip((3, 7), covered, strict=False)]
        there = [bool(mask[row, at : at + 4].any()) for at in (3, 7)]
        assert there == [False, True]
        parts = []
        for v in covered[2:]:
            scores = []
            for e in items:
                s = torch.cat([v, e, v - e, v * e])
                for linear, dice in ((encoder.weigh[0], encoder.weigh[1]), (encoder.weigh[2], encoder.weigh[3])):
                    s = linear.weight @ s + linear.bias
                    p = ((s - dice.norm.running_mean) / (dice.norm.running_var + 1e-8).sqrt()).sigmoid()
                    s = p * s + (1 - p) * dice.alpha * s
                scores.append(encoder.weigh[4].weight @ s + encoder.weigh[4].bias)
            parts += [items[1] if normalize else scores[1] * items[1] / 2**0.5, v]
        expected = encoder.out.weight @ torch.cat(parts) + encoder.out.bias
        assert_close(encoder(x, known, mask)[row], expected, atol=1e-6, rtol=1e-6)


def test_the_parameters_are_as_many_as_the_formula_says():
    def count(**changes):
        return sum(p.numel() for p in made(**changes).parameters())

    maps, perceptron = 4 * 2 * 3 + (4 * 3 + 1) * 3, (12 + 1) * 5 + (5 + 1) * 4 + (4 + 1)
    assert count(activation="relu") == maps + perceptron + (2 * 3 * 2 + 1) * 6
    assert count() == maps + perceptron + (2 * 3 * 2 + 1) * 6 + 5 + 4


def test_twice_the_past_is_twice_the_interest_unless_it_is_normalised():
    items, candidates = torch.randn(2, 7, 3, dtype=torch.float64), torch.randn(2, 4, 3, dtype=torch.float64)
    there = torch.rand(2, 7, generator=torch.Generator().manual_seed(0)) < 0.7
    twice = (candidates, items.repeat(1, 2, 1), there.repeat(1, 2))
    raw, normal = made().eval(), made(normalize=True).eval()
    assert_close(raw.interest(*twice), 2 * raw.interest(candidates, items, there), atol=1e-5, rtol=0)
    assert_close(normal.interest(*twice), normal.interest(candidates, items, there), atol=1e-5, rtol=0)
    assert_close(normal.weights(candidates, items, there).sum(-1), torch.ones(2, 4).double())


def test_the_order_of_the_past_changes_nothing_and_what_is_not_there_has_no_influence_at_all():
    encoder, there = made().eval(), torch.tensor([[True] * 5 + [False] * 2])
    items, candidates = torch.randn(1, 7, 3, dtype=torch.float64), torch.randn(1, 4, 3, dtype=torch.float64)
    order = torch.tensor([3, 0, 6, 5, 1, 4, 2])
    found = encoder.interest(candidates, items, there)
    assert_close(encoder.interest(candidates, items[:, order], there[:, order]), found)
    items.requires_grad_()
    (gradient,) = torch.autograd.grad(encoder.interest(candidates, items, there).square().sum(), items)
    assert (gradient[:, :5] != 0).any(2).all()
    assert (gradient[:, 5:] == 0).all()
    x, known, mask = windows()
    assert (encoder.attention(x, known, mask)[..., 0] == 0).all()
    assert (encoder.attention(x, known, mask)[..., 1] != 0).all()


def labelled(batch, random):
    """Days in any order, each with a value and a label of its own; the day ahead has one of these labels."""
    labels = torch.rand(batch, DAYS, generator=random).argsort(1)
    day = torch.randint(DAYS, (batch,), generator=random)
    wanted = labels.gather(1, day[:, None])
    value = torch.randn(batch, DAYS, 1, generator=random)
    y = value[torch.arange(batch), day, 0] + 0.1 * torch.randn(batch, generator=random)
    return value, F.one_hot(torch.cat([labels, wanted], 1), DAYS).float(), day, y


class Mean(nn.Module):
    """The same segments and the same map of them, each of the same weight."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, x, known):
        items, _, candidates = self.encoder.segments(x, known)
        found = items.mean(1, keepdim=True).expand_as(candidates)
        return self.encoder.out(torch.cat([found, candidates], -1).flatten(1))


def fitted(wrap, seed=0, steps=300):
    torch.manual_seed(seed)
    encoder = DINEncoder(1, DAYS, 1, DAYS, 1, segment_len=1, d_item=16, att_hidden=(32,))
    model, random = wrap(encoder), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        x, known, _, y = labelled(128, random)
        loss = F.mse_loss(model(x, known)[:, 0], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    x, known, day, y = labelled(1000, torch.Generator().manual_seed(99))
    with torch.no_grad():
        model.eval()
        hits = (encoder.attention(x, known)[:, 0].abs().argmax(1) == day).double().mean()
        return float(F.mse_loss(model(x, known)[:, 0], y)), float(hits)


@pytest.mark.slow
def test_it_finds_the_day_of_the_past_that_the_day_ahead_is_like():
    error, hits = fitted(lambda encoder: encoder)
    assert hits >= 0.9
    assert error < 0.3 * fitted(Mean)[0]  # the control


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"segment_len": 0}, "segment_len=0"), ({"d_item": 0}, "d_item=0"), ({"att_hidden": (4, 0)}, "att_hidden=0"),
     ({"activation": "tanh"}, "activation='tanh'")], ids=str,
)
def test_what_cannot_be_is_refused(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        made(**arguments)
