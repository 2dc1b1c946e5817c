"""The ensemble of delay models; what it shares with the others is in test_delays.py."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tsforge.dynamics.lag import lag_by_acf
from tsforge.errors import ArgumentError, ArtifactError, FrameError
from tsforge.local import delay_ensemble as room
from tsforge.local.delay_ensemble import DelayEnsemble
from tsforge.local.delays import free_runs, under


def henon(steps: int) -> np.ndarray:
    """[time, 1] of the first coordinate."""
    path = np.empty(steps + 100)
    path[:2] = 0.1, 0.2
    for t in range(2, len(path)):
        path[t] = 1 - 1.4 * path[t - 1] ** 2 + 0.3 * path[t - 2]
    return path[100:, None]


SERIES = henon(160)
SMALL = {"delays": (2, 3), "stride": 1}


def runs_of(model: DelayEnsemble, values: np.ndarray, cutoffs: np.ndarray) -> tuple[np.ndarray, dict]:
    """[member, window, h, channel] in the user's units, and the state."""
    state = dict(model.fit(values))
    y, runs, number = (values - state["loc"]) / state["scale"], [], 0
    while member := under(state, f"{number}/"):
        step = model.kinds[int(member["kind"])].step(under(member))
        runs.append(free_runs(step, y, cutoffs, model.h, {**state, "lags": member["lags"]}))
        number += 1
    return np.stack(runs) * state["scale"] + state["loc"], state


def test_the_forecast_is_the_median_of_the_free_runs_of_its_members():
    model, cutoffs = DelayEnsemble(12, members=7, **SMALL), np.array([140, 147])
    runs, state = runs_of(model, SERIES[:148], cutoffs)
    assert len(runs) == 7
    found = model.forecast(SERIES[:148], cutoffs, state)
    assert_allclose(found, np.median(runs, axis=0), rtol=1e-12)
    assert np.abs(found - runs.mean(axis=0)).max() > 1e-9  # the control: they do not agree


def test_members_are_the_candidates_with_the_least_error_in_free_runs_over_the_last_fifth():
    model = DelayEnsemble(10, members=5, **SMALL)
    state = model.fit(SERIES)
    y = (SERIES - state["loc"]) / state["scale"]
    until, steps = 128, 10
    starts = np.unique(np.linspace(until - 1, 159 - steps, room.STARTS).astype(int))
    truth = y[starts[:, None] + np.arange(1, steps + 1)]
    errors = []
    for k in (2, 3):
        lags = 1 + np.arange(k)
        origins = np.arange(k - 1, until - 1)
        x, change = np.concatenate([y[origins + 1 - lag] for lag in lags], axis=1), y[origins + 1] - y[origins]
        for kind, learned in model._candidates(x, change):
            run = free_runs(model.kinds[kind].step(learned), y, starts, steps, {**state, "lags": lags})
            errors.append((np.minimum(np.abs(run - truth), 1.0).mean(), kind, k))
    best = sorted(errors, key=lambda row: row[0])[:5]
    assert [(int(state[f"{n}/kind"]), len(state[f"{n}/lags"])) for n in range(5)] == [row[1:] for row in best]
    assert best[0][0] < 1e-3 < max(row[0] for row in errors)  # the control: candidates differ


def test_several_kinds_of_members_are_tried():
    model = DelayEnsemble(5, **SMALL)
    kinds = {kind for kind, _ in model._candidates(np.random.default_rng(0).normal(size=(40, 2)), np.ones((40, 1)))}
    assert kinds == {0, 1, 2, 3, 4}
    few = {kind for kind, _ in model._candidates(np.random.default_rng(0).normal(size=(8, 6)), np.ones((8, 1)))}
    assert few == {0, 1, 2}  # 84 and 210 products say nothing of 8 rows


def test_it_is_right_on_a_map_for_longer_than_its_worst_member():
    model, cutoffs = DelayEnsemble(8, members=9, **SMALL), np.arange(120, 150)
    train = SERIES[:121]
    runs, state = runs_of(model, SERIES[:151], cutoffs)
    state = model.fit(train)
    truth = SERIES[cutoffs[:, None] + np.arange(1, 9)]
    error = np.abs(model.forecast(SERIES[:151], cutoffs, state) - truth).mean()
    assert error < 0.02 * SERIES.std()
    assert error <= max(np.abs(run - truth).mean() for run in runs)


def test_strides_follow_the_memory_of_the_series():
    t = np.arange(600)
    slow = np.sin(2 * np.pi * t / 100)[:, None] + 0.3 * np.sin(2 * np.pi * t / 37.3)[:, None]
    lag = lag_by_acf(slow[:, 0], "1/e")
    state = DelayEnsemble(5, delays=3, members=40).fit(slow)
    found = {int(np.diff(state[f"{n}/lags"])[0]) for n in range(40)}
    assert lag > 10
    assert found <= {round(share * lag) for share in room.SHARES}
    assert len(found) > 1
    told = DelayEnsemble(5, delays=3, stride=4, members=4).fit(slow)
    assert told["0/lags"].tolist() == [1, 5, 9]


def test_no_delay_vector_reaches_further_back_than_the_span():
    t = np.arange(800)
    slow = np.sin(2 * np.pi * t / 200)[:, None] + np.sin(2 * np.pi * t / 61.7)[:, None]
    model = DelayEnsemble(5, span=20, members=3)
    state = model.fit(slow)
    assert max(int(state[f"{n}/lags"][-1]) for n in range(3)) <= 20 == model.lookback
    with pytest.raises(ArgumentError, match="span=5"):
        DelayEnsemble(5, delays=4, stride=3, span=5)


def test_only_the_last_rows_are_learned_from_where_there_are_more():
    def most(rows: int) -> int:
        state = DelayEnsemble(3, delays=2, stride=1, members=60, max_rows=rows).fit(SERIES)
        return max(len(array) for name, array in state.items() if name.endswith("support"))

    assert most(30) == 30
    assert most(1000) == len(SERIES) - 2


@pytest.mark.parametrize(("name", "array"), [
    ("0/kind", np.array(9)), ("0/kind", np.array(0.0)), ("0/lags", np.array([2, 3])), ("scale", np.array([np.nan])),
])
def test_a_state_that_fit_cannot_have_made_is_refused(name, array):
    model = DelayEnsemble(3, members=2, **SMALL)
    state = dict(model.fit(SERIES))
    model.check(state, 1)
    with pytest.raises(ArtifactError):
        model.check(state | {name: array}, 1)
    with pytest.raises(ArtifactError, match="0 members"):
        model.check({key: value for key, value in state.items() if "/" not in key}, 1)
    with pytest.raises(ArtifactError, match="wanted 1 to 1"):
        DelayEnsemble(3, members=1, **SMALL).check(state, 1)


def test_too_few_steps_are_an_error_in_words():
    with pytest.raises(FrameError, match="too few for DelayEnsemble"):
        DelayEnsemble(3, delays=4).fit(np.arange(7.0)[:, None])


def test_what_follows_a_gap_is_not_learned_from():
    gappy = SERIES.copy()
    gappy[60] = np.nan
    gappy[61:63] = np.nan

    def supports(values: np.ndarray) -> int:
        state = DelayEnsemble(2, delays=2, stride=1, members=60).fit(values)
        return max(len(array) for name, array in state.items() if name.endswith("support"))

    assert supports(gappy) == supports(SERIES) - 3
