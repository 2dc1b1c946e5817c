from itertools import product

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tsforge.layers.missingness import flexible_inputs, signed_log


def observed(rows: list[list[float | None]]) -> tuple[Tensor, Tensor]:
    """Values and mask of one window [1, time, channel]; None is missing, and holds a number that must not be read."""
    mask = torch.tensor([[value is not None for value in row] for row in rows])[None]
    values = torch.tensor([[99.0 if value is None else value for value in row] for row in rows], dtype=torch.float64)
    return values[None], mask


def at(*times: float) -> Tensor:
    return torch.tensor([times], dtype=torch.float64)


def everywhere(mask: Tensor) -> Tensor:
    return torch.ones_like(mask)


def by_event(values, mask, times, grid, delta, mean) -> list[list[float]]:
    """f of one channel, event by event, as the paper's program goes through them; rows off the grid are zeros."""
    seen = [v for v, m in zip(values, mask, strict=True) if m]
    whole = sum(seen) / len(seen) if seen else 0.0
    out, came, last, since, counter, start = [], [], None, None, -1, None
    for value, here, time, on in zip(values, mask, times, grid, strict=True):
        if not on:
            out.append([0.0] * 4)
            continue
        start = time if start is None else start
        if here:
            came.append(value)
            last, since, counter = value, time, 0
        average = whole if mean == "sequence" else sum(came) / len(came) if came else 0.0
        d = counter if delta == "count" else time - (start if since is None else since)
        out.append([average if last is None else last, average, float(not here), d])
        counter += 1
    return out


def test_the_hand_case_of_one_channel_observed_twice():
    values, mask = observed([[None, 5.0], [2.0, None], [None, 5.0], [4.0, 5.0]])
    f = flexible_inputs(values, mask, at(0, 1, 3, 7), everywhere(mask))[0, :, 0]
    assert f.tolist() == [[3, 3, 1, 0], [2, 3, 0, 0], [2, 3, 1, 2], [4, 3, 0, 0]]
    count = flexible_inputs(values, mask, at(0, 1, 3, 7), everywhere(mask), delta="count")[0, :, 0]
    assert count[:, 3].tolist() == [-1, 0, 1, 0]
    assert count[:, :3].equal(f[:, :3])


def test_of_a_channel_that_was_never_observed_time_alone_is_known():
    values, mask = observed([[None, 1.0], [None, 2.0], [None, 3.0]])
    f = flexible_inputs(values, mask, at(0, 1.5, 4), everywhere(mask))[0, :, 0]
    assert f.tolist() == [[0, 0, 1, 0], [0, 0, 1, 1.5], [0, 0, 1, 4]]
    count = flexible_inputs(values, mask, at(0, 1.5, 4), everywhere(mask), delta="count")[0, :, 0, 3]
    assert count.tolist() == [-1, 0, 1]


@pytest.mark.parametrize("delta", ["time", "count"])
def test_of_complete_data_value_and_mean_alone_are_told(delta):
    values = torch.randn(3, 7, 2, dtype=torch.float64)
    mask = torch.ones_like(values, dtype=torch.bool)
    f = flexible_inputs(values, mask, at(*range(7)).expand(3, 7), mask, delta=delta)
    assert f[..., 0].equal(values)
    assert_close(f[..., 1], values.mean(1, keepdim=True).expand_as(values))
    assert not f[..., 2:].any()


def random_windows(windows: int, steps: int = 9, channels: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(windows, steps, channels, dtype=torch.float64, generator=generator)
    mask = torch.rand(windows, steps, channels, generator=generator) < torch.rand(windows, 1, 1, generator=generator)
    times = torch.rand(windows, steps, dtype=torch.float64, generator=generator).cumsum(1)
    grid = mask | (torch.rand(windows, steps, channels, generator=generator) < 0.5)
    return values, mask, times, grid


@pytest.mark.parametrize(("delta", "mean"), [*product(["time", "count"], ["sequence", "running"])])
def test_a_thousand_random_series_are_as_event_by_event(delta, mean):
    values, mask, times, grid = random_windows(500)
    f = flexible_inputs(values, mask, times, grid, delta=delta, mean=mean)
    expected = [
        [by_event(*(part[n, :, c].tolist() for part in (values, mask)), times[n].tolist(), grid[n, :, c].tolist(),
                  delta, mean) for c in range(2)] for n in range(500)
    ]
    expected = torch.tensor(expected, dtype=torch.float64).transpose(1, 2)
    assert_close(f, expected, rtol=1e-12, atol=1e-12)
    for fault in ({"delta": "count" if delta == "time" else "time"}, {"mean": "running" if mean == "sequence" else
                                                                       "sequence"}):
        other = flexible_inputs(values, mask, times, grid, **({"delta": delta, "mean": mean} | fault))
        assert (other - expected).abs().max() > 0.1  # the loop sees another convention


def with_a_time_more(place: int, *parts: Tensor) -> list[Tensor]:
    """The windows with a step more before the one at `place`, at which nothing is observed."""
    return [torch.cat([part[:, :place], part[:, place - 1 : place], part[:, place:]], 1) for part in parts]


@pytest.mark.parametrize("place", [1, 4, 8])
def test_a_time_at_which_nothing_was_observed_changes_no_other_row(place):
    values, mask, times, _ = random_windows(20)
    grid = everywhere(mask)
    more, there, when, on = with_a_time_more(place, values, mask, times, grid)
    there[:, place] = False
    kept = [step for step in range(10) if step != place]
    for mean in ("sequence", "running"):
        before = flexible_inputs(values, mask, times, grid, mean=mean)
        assert_close(flexible_inputs(more, there, when, on, mean=mean)[:, kept], before)
    before = flexible_inputs(values, mask, times, grid, delta="count")
    counted = flexible_inputs(more, there, when, on, delta="count")[:, kept]
    assert (counted - before).abs().max() == 1  # the control: a counter sees a step more
    on[:, place] = False
    assert_close(flexible_inputs(more, there, when, on, delta="count")[:, kept], before)


def test_steps_off_the_grid_in_front_change_nothing():
    values, mask, times, grid = random_windows(20)
    pad = torch.zeros(20, 3, 2, dtype=torch.bool)
    for delta in ("time", "count"):
        padded = flexible_inputs(
            torch.cat([torch.full((20, 3, 2), 7.0, dtype=torch.float64), values], 1), torch.cat([pad, mask], 1),
            torch.cat([times[:, :1].expand(20, 3), times], 1), torch.cat([pad, grid], 1), delta=delta,
        )
        assert not padded[:, :3].any()
        assert_close(padded[:, 3:], flexible_inputs(values, mask, times, grid, delta=delta))


def test_with_a_running_mean_nothing_later_has_a_part():
    values, mask, times, grid = random_windows(20)
    later = values.clone()
    later[:, 5:] += 10
    for mean, same in (("running", True), ("sequence", False)):
        before, after = (flexible_inputs(v, mask, times, grid, mean=mean)[:, :5] for v in (values, later))
        assert torch.equal(before, after) == same


def test_what_stands_where_nothing_was_observed_is_never_read():
    values, mask, times, grid = random_windows(20)
    other = torch.where(mask, values, 1e6)
    assert torch.equal(flexible_inputs(other, mask, times, grid), flexible_inputs(values, mask, times, grid))


def test_the_logarithm_keeps_the_sign_and_the_order():
    x = torch.tensor([-1.0, 0.0, 1.0, 10.0, 100.0])
    y = signed_log(x)
    assert torch.isfinite(y).all()
    assert (y.diff() > 0).all()
    assert y[0] == -y[2]
    assert y[1] == 0
