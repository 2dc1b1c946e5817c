import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tsforge.errors import ArgumentError
from tsforge.local.croston import Croston


def intermittent(steps: int = 120, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((steps, 1)) < 0.3, rng.integers(1, 9, (steps, 1)), 0).astype(float)


def by_loop(y: np.ndarray, variant: str, alpha: float, beta: float) -> float:
    size = interval = None
    rate, waited = float(y[0] != 0), 0
    for value in y:
        waited += 1
        rate += beta * ((value != 0) - rate)
        if value:
            size = value if size is None else size + alpha * (value - size)
            interval = waited if interval is None else interval + beta * (waited - interval)
            waited = 0
    if size is None:
        return 0.0
    return {"croston": size / interval, "sba": (1 - beta / 2) * size / interval, "tsb": size * rate}[variant]


@pytest.mark.parametrize("variant", ["croston", "sba", "tsb"])
def test_every_cutoff_is_a_loop_over_the_steps_before_it(variant):
    values, cutoffs = intermittent(), np.arange(0, 120, 7)
    found = Croston(3, variant=variant, alpha=0.2, beta=0.3).forecast(values, cutoffs)
    expected = [by_loop(values[: cutoff + 1, 0], variant, 0.2, 0.3) for cutoff in cutoffs]
    assert_allclose(found, np.broadcast_to(np.array(expected)[:, None, None], found.shape), rtol=1e-12)


def test_a_demand_of_six_at_every_third_step_is_two_a_step():
    values = np.tile([0.0, 0, 6], 30)[:, None]
    cutoff = np.array([89])
    assert_allclose(Croston(1, variant="croston").forecast(values, cutoff), 2)
    assert_allclose(Croston(1, variant="sba").forecast(values, cutoff), 1.9)
    waited = np.concatenate([values, np.zeros((10, 1))])
    assert_allclose(Croston(1, variant="croston").forecast(waited, np.array([99])), 2)  # it does not notice
    tsb = Croston(1, variant="tsb")
    assert_allclose(tsb.forecast(waited, np.array([99])), tsb.forecast(values, cutoff) * 0.9**10)


def test_croston_is_too_large_on_random_demand_and_sba_is_nearer():
    values = intermittent(60_000, seed=1)
    cutoffs = np.arange(1000, 60_000, 50)
    bias = {v: Croston(1, variant=v, alpha=0.2, beta=0.2).forecast(values, cutoffs).mean() / values.mean() - 1
            for v in ("croston", "sba")}
    assert abs(bias["sba"]) < 0.05 < bias["croston"]


def test_missing_steps_are_left_out_and_each_channel_is_its_own():
    values = np.concatenate([intermittent(60), intermittent(60, seed=3)], axis=1)
    gaps = np.insert(values, [5, 20, 20, 60], np.nan, axis=0)
    assert_array_equal(Croston(2).forecast(gaps, np.array([63])), Croston(2).forecast(values, np.array([59])))
    assert_array_equal(Croston(2).forecast(values, np.array([59]))[..., 1:],
                       Croston(2).forecast(values[:, 1:], np.array([59])))


def test_before_the_first_demand_it_is_nothing_and_before_the_first_step_unknown():
    values = np.array([np.nan, 0, 0, 4])[:, None]
    found = Croston(1, variant="croston").forecast(values, np.arange(4)).ravel()
    assert_allclose(found, [np.nan, 0, 0, 4 / 3])


@pytest.mark.parametrize("variant", ["croston", "sba", "tsb"])
def test_no_demand_at_all_is_nothing_and_what_was_sent_back_counts_as_demand(variant):
    model, end = Croston(2, variant=variant), np.array([29])
    assert_array_equal(model.forecast(np.zeros((30, 1)), end), 0)
    values = intermittent(30)
    assert_allclose(model.forecast(-values, end), -model.forecast(values, end))
    assert (model.forecast(values, end) > 0).all()  # the control


@pytest.mark.parametrize("wrong", [{"variant": "tsbb"}, {"alpha": 0}, {"beta": 1.5}, {"alpha": True}])
def test_arguments_that_cannot_work_are_refused(wrong):
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        Croston(1, **wrong)
