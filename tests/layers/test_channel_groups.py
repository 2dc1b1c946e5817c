import math
from itertools import combinations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tsforge.layers.channel_groups import APART, ChannelSums, rate_groups, supports_of


def sums_of(past, mask, times, parts: int = 1) -> ChannelSums:
    sums = ChannelSums(past.shape[2])
    for part in zip(*(x.chunk(parts) for x in (past, mask, times)), strict=True):
        sums.add(*part)
    return sums


def windows(count: int = 30, steps: int = 12, channels: int = 4):
    generator = torch.Generator().manual_seed(0)
    past = torch.randn(count, steps, channels, dtype=torch.float64, generator=generator)
    past[..., 1] += 2 * past[..., 0]
    past = past + 100
    share = torch.linspace(0.9, 0.2, channels)
    mask = torch.rand(count, steps, channels, generator=generator) < share
    times = torch.rand(count, steps, dtype=torch.float64, generator=generator).cumsum(1)
    return past, mask, times


def test_gaps_are_the_mean_time_between_observations_of_a_window():
    past, mask, times = windows()
    found = []
    for c in range(4):
        spans = [times[n, mask[n, :, c]].diff() for n in range(len(past))]
        found.append(torch.cat(spans).mean())
    assert_close(sums_of(past, mask, times).gaps(), torch.stack(found))
    assert_close(sums_of(past, mask, times, parts=4).gaps(), torch.stack(found))


def test_a_channel_that_is_never_seen_twice_has_an_infinite_gap():
    past, mask, times = windows()
    mask[:, 1:, 2], mask[..., 3] = False, False
    assert sums_of(past, mask, times).gaps().isinf().tolist() == [False, False, True, True]


def test_correlations_are_those_of_the_steps_at_which_both_were_observed():
    past, mask, times = windows()
    r = sums_of(torch.where(mask, past, 1e9), mask, times, parts=3).correlation()
    for i, j in combinations(range(4), 2):
        both = (mask[..., i] & mask[..., j]).numpy()
        expected = np.corrcoef(past[..., i].numpy()[both], past[..., j].numpy()[both])[0, 1]
        assert r[i, j].item() == pytest.approx(expected, abs=1e-9)
        assert r[j, i].item() == pytest.approx(expected, abs=1e-9)
    seen = mask[..., 0].numpy()
    on_all = np.corrcoef(past[..., 0].numpy()[seen], torch.where(mask, past, 100.0)[..., 1].numpy()[seen])[0, 1]
    assert abs(r[0, 1].item() - on_all) > 1e-2  # the control: filled values say something else


def test_a_channel_that_stands_still_or_is_never_met_goes_with_none():
    past, mask, times = windows()
    past[..., 2] = 7.3
    mask[..., 3] = False
    mask[..., 0], mask[..., 1] = torch.arange(12) % 2 == 0, torch.arange(12) % 2 == 1
    r = sums_of(past, mask, times).correlation()
    assert not r[2].any()
    assert not r[3].any()
    assert r[0, 1] == 0
    assert torch.isfinite(r).all()


def test_the_twin_of_a_channel_is_its_first_support():
    past, mask, times = windows()
    past[..., 3] = -past[..., 1]
    found = supports_of(sums_of(past, mask, times).correlation().abs(), torch.zeros(4, dtype=torch.long), 2)
    assert found[1, 0] == 3
    assert found[3, 0] == 1
    signed = supports_of(sums_of(past, mask, times).correlation(), torch.zeros(4, dtype=torch.long), 2)
    assert signed[1, 0] != 3  # the control: by r instead of |r|


def test_supports_are_others_of_the_group_the_strongest_first_and_ties_go_to_the_lowest():
    strength = torch.tensor([[1, 0.5, 0.9, 0.5], [0.5, 1, 0.5, 0.5], [0.9, 0.5, 1, 0.2], [0.5, 0.5, 0.2, 1]])
    one = torch.zeros(4, dtype=torch.long)
    assert supports_of(strength, one, 3).tolist() == [[2, 1, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    assert supports_of(strength, one, 0).shape == (4, 0)
    two = torch.tensor([0, 1, 0, 0])
    assert supports_of(strength, two, 3).tolist() == [[2, 3, -1], [-1, -1, -1], [0, 3, -1], [0, 2, -1]]


def test_two_rates_become_two_groups_the_fast_one_first():
    gaps = torch.tensor([24.0, 1.0, 1.2, 20.0, math.inf, 0.9])
    assert rate_groups(gaps, 2).tolist() == [1, 0, 0, 1, 1, 0]
    assert rate_groups(gaps, 1).tolist() == [0] * 6
    assert rate_groups(gaps, 5).tolist() == [1, 0, 0, 1, 1, 0]  # no third rate is apart from both
    assert rate_groups(torch.full((3,), math.inf), 2).tolist() == [0, 0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_rates_that_differ_by_what_happens_to_be_missing_are_one(seed):
    mask = torch.rand(200, 24, 7, generator=torch.Generator().manual_seed(seed)) >= 0.3
    sums = sums_of(torch.zeros(200, 24, 7, dtype=torch.float64), mask, torch.arange(24.0).double().expand(200, 24))
    assert sums.gaps().unique().numel() == 7
    assert not rate_groups(sums.gaps(), 2).any()
    mask[..., 2] &= torch.arange(24) % 2 == 0  # the control: one at half the rate
    sums = sums_of(torch.zeros(200, 24, 7, dtype=torch.float64), mask, torch.arange(24.0).double().expand(200, 24))
    assert rate_groups(sums.gaps(), 2).tolist() == [0, 0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("seed", range(10))
def test_the_classes_have_the_least_squares_within(seed):
    logs = np.sort(np.random.default_rng(seed).normal(size=9) * 3)
    found = rate_groups(torch.from_numpy(np.exp(logs)), 3).numpy()
    k = found.max() + 1

    def within(cuts: tuple[int, ...]) -> float:
        return sum(((part - part.mean()) ** 2).sum() for part in np.split(logs, cuts))

    def apart(cuts: tuple[int, ...]) -> bool:
        means = [part.mean() for part in np.split(logs, cuts)]
        return bool((np.diff(means) >= math.log(APART)).all())

    best = {many: min(combinations(range(1, 9), many - 1), key=within) for many in (1, 2, 3)}
    assert within(tuple(np.flatnonzero(np.diff(found)) + 1)) == pytest.approx(within(best[k]))
    assert k == max(many for many, cuts in best.items() if apart(cuts))
