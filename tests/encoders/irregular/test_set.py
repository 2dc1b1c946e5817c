from itertools import permutations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.encoders.irregular.base import Observations
from tsforge.encoders.irregular.set import SetEncoder, attended, gaps, matched_loss
from tsforge.errors import ArgumentError


def drawn(batch=4, n=9, channels=3):
    random = torch.Generator().manual_seed(1)
    return Observations(
        12 * torch.rand(batch, n, generator=random, dtype=torch.float64),
        torch.randint(channels, (batch, n), generator=random),
        torch.randn(batch, n, generator=random, dtype=torch.float64),
        torch.rand(batch, n, generator=random) < 0.7,
    )


def test_it_is_what_its_equations_say():
    torch.manual_seed(0)
    encoder, seen = SetEncoder(3, 12, 5, hidden=7, n_steps=3, time_freqs=2, channel_dim=4).double(), drawn()
    first, last, cell = encoder.element[0], encoder.element[2], encoder.process
    for row in range(4):
        memory = []
        there = [i for i in range(9) if seen.there[row, i]]
        for i in there:
            age = seen.age[row, i] / 12
            older = [seen.age[row, j] / 12 - age for j in there
                     if seen.channel[row, j] == seen.channel[row, i] and seen.age[row, j] > seen.age[row, i]]
            gap = min(older, default=torch.tensor(1.0, dtype=torch.float64))
            turns = torch.stack([torch.pi * age, 2 * torch.pi * age])
            x = torch.cat([torch.stack([age, seen.value[row, i], torch.log(gap + 1e-3)]), turns.sin(), turns.cos(),
                           encoder.channels.weight[seen.channel[row, i]]])
            memory.append(last.weight @ F.relu(first.weight @ x + first.bias) + last.bias)
        memory = torch.stack(memory)
        q = c = torch.zeros(7, dtype=torch.float64)
        asked = torch.zeros(14, dtype=torch.float64)
        for _ in range(3):
            gates = cell.weight_ih @ asked + cell.bias_ih + cell.weight_hh @ q + cell.bias_hh
            i, f, g, o = gates.chunk(4)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            q = o.sigmoid() * c.tanh()
            asked = torch.cat([q, (memory @ q).softmax(0) @ memory])
        assert_close(encoder.encode(seen)[row], encoder.out.weight @ asked + encoder.out.bias, atol=1e-6, rtol=1e-6)


def test_the_parameters_are_as_many_as_the_formula_says():
    encoder, h, f = SetEncoder(3, 12, 5, hidden=7, time_freqs=2, channel_dim=4), 7, 2 * 2 + 4 + 3
    expected = 3 * 4 + (f + 1) * h + (h + 1) * h + 12 * h * h + 8 * h + (2 * h + 1) * 5
    assert sum(p.numel() for p in encoder.parameters()) == expected


def test_a_reading_is_a_softmax_pooling_and_of_nothing_it_is_nothing():
    memory, query = torch.randn(2, 5, 3), torch.randn(2, 3)
    there = torch.tensor([[True] * 3 + [False] * 2, [False] * 5])
    weights = (memory[0, :3] @ query[0]).softmax(0)
    assert_close(attended(memory, query, there)[0], weights @ memory[0, :3])
    assert torch.equal(attended(memory, query, there)[1], torch.zeros(3))
    assert not torch.allclose(attended(memory, query, there.new_ones(2, 5))[0], weights @ memory[0, :3])  # the control


def test_a_gap_is_to_the_moment_before_of_the_same_channel_and_the_same_for_those_of_one_moment():
    age = torch.tensor([[0.5, 0.1, 0.5, 0.2, 0.9, 0.3, 0.5]])
    channel = torch.tensor([[0, 0, 1, 0, 1, 0, 0]])
    there = torch.tensor([[True, True, True, True, True, False, True]])
    expected = torch.tensor([[1.0, 0.1, 0.4, 0.3, 1.0, 1.0, 1.0]])
    found = gaps(age, channel, there)
    assert_close(found[there], expected[there])
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    assert_close(gaps(age[:, order], channel[:, order], there[:, order]), found[:, order])
    more = torch.tensor([[0.8, 0.5, 0.2, 0.5]])  # two of one moment after an older one: both say 0.3
    assert_close(gaps(more, torch.zeros(1, 4).long(), more > 0), torch.tensor([[1.0, 0.3, 0.3, 0.3]]))


def test_ages_are_measured_by_the_oldest_observation_of_training():
    encoder = SetEncoder(1, 10, 4)
    assert encoder.span == 10
    x, times = torch.zeros(2, 3, 1), torch.tensor([[-90.0, -40.0, 0.0], [-30.0, -20.0, 0.0]])
    mask = torch.ones(2, 3, 1, dtype=torch.bool)
    mask[0, 0] = False
    encoder.fit(x, mask, times)
    assert encoder.span == 40
    encoder.fit(x)
    assert encoder.span == 2
    encoder.fit(x, torch.zeros_like(mask))
    assert encoder.span == 1


class Mean(nn.Module):
    """The mean of what is read of each observation: nothing is asked for."""

    def __init__(self, hidden):
        super().__init__()
        self.inner, self.out = SetEncoder(1, 1, 1, hidden=hidden, time_freqs=0), nn.Linear(hidden, 1)

    def encode(self, seen):
        memory = self.inner.memory(seen) * seen.there[..., None]
        return self.out(memory.sum(1) / seen.there.sum(1, keepdim=True))


def numbers(batch, random):
    """Between 5 and 15 numbers, all of one moment, and their median."""
    value = torch.rand(batch, 15, generator=random)
    count = torch.randint(5, 16, (batch, 1), generator=random)
    there = torch.arange(15) < count
    median = torch.where(there, value, float("nan")).nanmedian(1).values
    return Observations(torch.zeros_like(value), torch.zeros_like(value).long(), value, there), median


def trained(parameters, loss_of, learning_rate, steps):
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of().backward()
        optimizer.step()
        schedule.step()


def error_on_medians(make, seed=0, steps=700):
    torch.manual_seed(seed)
    model, random = make(), torch.Generator().manual_seed(seed)

    def loss_of():
        seen, median = numbers(128, random)
        return F.mse_loss(model.encode(seen)[:, 0], median)

    trained(model.parameters(), loss_of, 1e-2, steps)
    seen, median = numbers(2000, torch.Generator().manual_seed(99))
    with torch.no_grad():
        return float(F.mse_loss(model.encode(seen)[:, 0], median)) ** 0.5, float(median.std())


@pytest.mark.slow
def test_the_median_is_read_better_in_several_readings_than_off_a_mean():
    several, spread = error_on_medians(lambda: SetEncoder(1, 1, 1, hidden=24, n_steps=6, time_freqs=0))
    assert several <= 0.9 * error_on_medians(lambda: Mean(24))[0]
    assert several <= 0.7 * spread  # of a constant


def waves(frequency, phase, count, random):
    """Sines at random times of the last four units."""
    age = 4 * torch.rand(len(phase), count, generator=random)
    value = torch.sin(phase[:, None] - (frequency[:, None] + 1) * 1.5 * age)
    return Observations(age, torch.zeros_like(age).long(), value, torch.ones_like(age, dtype=torch.bool))


def parts(batch, random):
    """Frequencies, four of them, and phases."""
    return torch.randint(4, (batch,), generator=random), 6.3 * torch.rand(batch, generator=random)


@pytest.mark.slow
def test_after_learning_to_forecast_a_sine_is_itself_however_often_it_was_looked_at():
    torch.manual_seed(0)
    random, ahead = torch.Generator().manual_seed(0), torch.tensor([0.25, 0.5, 1.0])
    encoder, head = SetEncoder(1, 4, 16, hidden=32), nn.Linear(16, 3)

    def loss_of():
        frequency, phase = parts(128, random)
        seen = waves(frequency, phase, int(torch.randint(20, 41, (), generator=random)), random)
        later = torch.sin(phase[:, None] + (frequency[:, None] + 1) * 1.5 * ahead)
        return F.mse_loss(head(encoder.encode(seen)), later)

    trained([*encoder.parameters(), *head.parameters()], loss_of, 3e-3, 400)
    frequency, phase = parts(300, random)
    with torch.no_grad():
        few, many, other = (encoder.encode(waves(f, phase, count, random))
                            for f, count in ((frequency, 20), (frequency, 40), ((frequency + 1) % 4, 40)))
    alike = F.cosine_similarity(few, many).mean()
    assert alike >= F.cosine_similarity(few, other).mean() + 0.2


def test_the_loss_of_sets_is_that_of_their_best_order_and_knows_no_other():
    random = torch.Generator().manual_seed(0)
    found, target = (torch.randn(6, 4, 2, generator=random, dtype=torch.float64) for _ in range(2))
    loss = matched_loss(found, target)
    orders = [torch.tensor(order) for order in permutations(range(4))]
    best = torch.stack([(found[:, order] - target).square().mean((1, 2)) for order in orders]).amin(0)
    assert_close(loss, best)
    assert_close(matched_loss(found, target[:, orders[9]]), loss)
    fixed = (found - target).square().mean((1, 2))
    assert (loss <= fixed).all()
    assert (loss < fixed).any()  # the control: the given order is not the best one


def test_the_loss_of_sets_judges_only_as_many_as_there_are_and_has_a_gradient():
    found = torch.tensor([[[1.0], [5.0], [2.0]]], requires_grad=True)
    target, there = torch.tensor([[[2.5], [1.0], [77.0]]]), torch.tensor([[True, True, False]])
    loss = matched_loss(found, target, there)
    assert_close(loss, torch.tensor([0.125]))
    loss.sum().backward()
    assert found.grad.flatten().tolist() == [0.0, 0.0, -0.5]
    assert matched_loss(found, target, torch.zeros_like(there)).item() == 0


@pytest.mark.parametrize("wrong", [{"hidden": 0}, {"n_steps": 0}, {"time_freqs": -1}, {"channel_dim": 0}], ids=str)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        SetEncoder(1, 1, **wrong)
