import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tsforge.errors import ArgumentError, CalibrationError
from tsforge.evaluation.intervals import Law, check_levels, check_quantiles, trained_pairs

QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)


def unit(windows: int) -> tuple[np.ndarray, np.ndarray]:
    """A place of 0 and a width of 1, so that columns are in scaled units."""
    return np.zeros((windows, 1)), np.ones((windows, 1))


def world(rng: np.random.Generator, series: int, windows: int, quantiles: tuple[float, ...], narrow: float):
    """Forecasts [window, h, 1, output] and truth of windows; errors have the sd of their series and step.

    Quantiles are those of errors `narrow` times as wide as they are.
    """
    from scipy.stats import norm

    who = np.repeat(np.arange(series), windows)
    sd = (1 + who[:, None, None] % 3) * np.array([1.0, 2.0])[None, :, None]
    centre = rng.normal(size=(len(who), 2, 1)) * 3
    truth = centre + sd * rng.standard_normal(centre.shape)
    spread = norm.ppf(quantiles or (0.5,)) * narrow
    return who, centre[..., None] + sd[..., None] * spread, truth


def covered(columns: dict[str, np.ndarray], truth: np.ndarray, level: str, series: int) -> tuple[float, float]:
    """The share covered, and its standard error: series are independent, the windows of one share its calibration."""
    inside = (columns[f"M-lo-{level}"] <= truth) & (truth <= columns[f"M-hi-{level}"])
    shares = inside.reshape(series, -1).mean(axis=1)
    return float(shares.mean()), float(shares.std(ddof=1) / series**0.5)


CASES = [((), 1.0), ((0.1, 0.5, 0.9), 0.5), ((0.1, 0.5, 0.9), 2.0)]


@pytest.mark.parametrize(("quantiles", "narrow"), CASES)
@pytest.mark.parametrize("level", [50, 90])
def test_intervals_cover_their_level_on_windows_that_were_not_calibrated_on(quantiles, narrow, level):
    rng, series, n = np.random.default_rng(level), 300, 39
    law = Law(quantiles, {}).fit_scores(*swap(world(rng, series, n, quantiles, narrow)), series)
    who, outputs, truth = world(rng, series, 20, quantiles, narrow)
    columns = law.columns("M", outputs, who, *unit(len(who)), level=[level])
    share, error = covered(columns, truth, str(level), series)
    assert abs(share - level / 100) <= 3 * error  # (n + 1) level is whole, so the level is met and not exceeded
    assert error < 0.01


def swap(made):
    who, outputs, truth = made
    return outputs, truth, who


@pytest.mark.parametrize(("quantiles", "narrow"), CASES)
def test_residuals_of_training_rows_which_are_too_small_fail_that_bound(quantiles, narrow):
    rng, series = np.random.default_rng(0), 300
    who, outputs, truth = world(rng, series, 39, quantiles, narrow)
    centre = outputs[..., outputs.shape[-1] // 2]
    learned = centre + 0.8 * (truth - centre)  # a network has partly learned the noise of what it was fitted on
    law = Law(quantiles, {}).fit_scores(outputs, learned, who, series)
    who, outputs, truth = world(rng, series, 20, quantiles, narrow)
    share, error = covered(law.columns("M", outputs, who, *unit(len(who)), level=[90]), truth, "90", series)
    assert share < 0.9 - 3 * error


def test_series_that_were_not_there_are_covered_by_the_residuals_of_all():
    rng, series = np.random.default_rng(1), 300
    law = Law((), {}).fit_scores(*swap(world(rng, series, 39, (), 1.0)), series)
    who, outputs, truth = world(rng, series, 20, (), 1.0)
    columns = law.columns("M", outputs, np.full(len(who), -1), *unit(len(who)), level=[80])
    share, error = covered(columns, truth, "80", series)
    assert abs(share - 0.8) <= 3 * error + 1 / (series * 39)
    width = columns["M-hi-80"] - columns["M-lo-80"]
    assert np.ptp(width, axis=0).max() < 1e-12  # one width for all


def calibrated(rng: np.random.Generator, quantiles: tuple[float, ...]) -> Law:
    outputs = rng.normal(size=(120, 3, 2, max(1, len(quantiles)))).astype(np.float32)
    return Law(quantiles, {}).fit_scores(outputs, rng.normal(size=(120, 3, 2)) * 2, np.repeat(np.arange(4), 30), 4)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(), QUANTILES, (0.2, 0.5, 0.8)]),
       st.lists(st.sampled_from([5, 50, 60.0, 80, 95, 97]), unique=True),
       st.lists(st.sampled_from([0.02, 0.025, 0.1, 0.3, 0.45, 0.5, 0.51, 0.9, 0.97]), unique=True))
def test_quantiles_never_cross_levels_are_nested_and_all_intervals_hold_the_point(seed, quantiles, level, asked):
    rng = np.random.default_rng(seed)
    outputs = rng.normal(size=(9, 3, 2, max(1, len(quantiles)))).astype(np.float32)  # of a network that lets them cross
    loc, scale = rng.normal(size=(9, 2)) * 100, np.exp(rng.normal(size=(9, 2)))
    columns = calibrated(rng, quantiles).columns("M", outputs, rng.integers(-1, 4, 9), loc, scale, level, asked)
    by_level = {0.5: columns["M"]}
    for name, values in columns.items():
        kind, _, number = name.removeprefix("M-").partition("-")
        if name != "M":
            q = round({"lo": 0.5 - float(number) / 200, "hi": 0.5 + float(number) / 200, "q": float(number)}[kind], 9)
            assert q not in by_level or np.array_equal(by_level[q], values)  # one quantile, whatever it is called
            by_level[q] = values
    stacked = np.stack([by_level[q] for q in sorted(by_level)])
    assert (np.diff(stacked, axis=0) >= 0).all()


def test_a_wider_level_holds_a_narrower_one_also_where_it_pools_series_that_are_easier():
    who = np.repeat([0, 1], [4, 96])
    truth = np.where(who == 0, 100.0, 1.0)[:, None, None]  # four windows: their own for 80 %, pooled for 95 %
    law = Law((), {}).fit_scores(np.zeros((100, 1, 1, 1)), truth, who, 2)
    raw = [law.scores[0.5, 0.5].quantile(share, np.array([0]))[0, 0, 0] for share in (0.8, 0.95)]
    assert raw == [100, 1]  # taken as they are, they would not be nested
    columns = law.columns("M", np.zeros((1, 1, 1, 1)), np.array([0]), *unit(1), level=[95, 80])
    assert columns["M-lo-95"] <= columns["M-lo-80"] <= columns["M"] <= columns["M-hi-80"] <= columns["M-hi-95"]


def test_columns_are_named_by_level_and_come_in_the_order_of_levels():
    law = calibrated(np.random.default_rng(0), ())
    columns = law.columns("M", np.zeros((2, 3, 2, 1)), np.zeros(2, int), np.zeros((2, 2)), np.ones((2, 2)),
                          level=[90, 80, 62.5], quantiles=[0.1, 0.025])
    assert list(columns) == ["M", *(f"M-{end}-{lv}" for lv in ("62.5", "80", "90") for end in ("lo", "hi")),
                             "M-q-0.1", "M-q-0.025"]


def test_columns_are_in_the_units_of_the_user():
    law, outputs = calibrated(np.random.default_rng(0), ()), np.random.default_rng(1).normal(size=(2, 3, 2, 1))
    loc, scale = np.array([[10.0, 20], [30, 40]]), np.array([[1.0, 2], [3, 4]])
    ours = law.columns("M", outputs, np.array([0, 3]), loc, scale, level=[80])
    plain = law.columns("M", outputs, np.array([0, 3]), np.zeros((2, 2)), np.ones((2, 2)), level=[80])
    for name, values in plain.items():
        for w in range(2):
            for c in range(2):
                assert_allclose(ours[name][w, :, c], values[w, :, c] * scale[w, c] + loc[w, c])


def test_a_level_that_was_trained_is_the_trained_pair_and_needs_no_calibration():
    outputs = np.sort(np.random.default_rng(0).normal(size=(4, 2, 1, 5)))
    columns = Law(QUANTILES, {}).columns("M", outputs, np.zeros(4, int), *unit(4), level=[80, 95], quantiles=[0.975])
    for name, k in (("M", 2), ("M-lo-95", 0), ("M-lo-80", 1), ("M-hi-80", 3), ("M-hi-95", 4), ("M-q-0.975", 4)):
        assert_array_equal(columns[name], outputs[..., k])


def test_outputs_in_any_order_are_one_law_whose_point_is_the_middle_one():
    rng = np.random.default_rng(0)
    law, outputs = calibrated(rng, QUANTILES), rng.normal(size=(4, 3, 2, 5))
    args = (np.zeros(4, int), np.zeros((4, 2)), np.ones((4, 2)), [80, 90], [0.3])
    columns = law.columns("M", outputs, *args)
    assert_array_equal(columns["M"], np.median(outputs, axis=-1))
    for name, values in law.columns("M", outputs[..., ::-1], *args).items():
        assert_array_equal(values, columns[name])


def test_another_level_is_the_nearest_pair_widened_by_the_same_on_both_sides():
    rng = np.random.default_rng(0)
    outputs = np.sort(rng.normal(size=(4, 2, 1, 5)) * 1e-3) + np.arange(5)
    law = Law(QUANTILES, {}).fit_scores(outputs, outputs[..., 4] + 7, np.zeros(4, int), 1)
    columns = law.columns("M", outputs, np.zeros(4, int), *unit(4), level=[75])  # nearest is 80, out of 80 and 95
    below, above = outputs[..., 1] - columns["M-lo-75"], columns["M-hi-75"] - outputs[..., 3]
    assert_allclose(below, above)
    assert_allclose(below, 8, atol=0.01)  # how far the truth lies above the quantile 0.9


def test_a_level_without_held_back_windows_is_an_error_that_says_what_to_do():
    outputs = np.zeros((2, 3, 1, 1))
    with pytest.raises(CalibrationError, match=r"level=80 needs calibration windows, and none were held back. Give"):
        Law((), {}).columns("M", outputs, np.zeros(2, int), *unit(2), level=[80])
    with pytest.raises(CalibrationError, match=r"level=80: the loss has no pair of quantiles"):
        Law((0.5,), {}).columns("M", outputs, np.zeros(2, int), *unit(2), quantiles=[0.1])
    assert list(Law((), {}).columns("M", outputs, np.zeros(2, int), *unit(2))) == ["M"]


def test_missing_truth_gives_no_score():
    rng = np.random.default_rng(0)
    outputs, truth, who = rng.normal(size=(30, 1, 1, 1)), rng.normal(size=(30, 1, 1)), np.zeros(30, int)
    there = np.arange(30) % 3 > 0
    some = Law((), {}).fit_scores(outputs, np.where(there[:, None, None], truth, np.nan), who, 1)
    only = Law((), {}).fit_scores(outputs[there], truth[there], who[there], 1)
    args = ("M", outputs, who, *unit(30), [80])
    assert_array_equal(some.columns(*args)["M-hi-80"], only.columns(*args)["M-hi-80"])


def test_pairs_lie_evenly_around_the_median():
    assert trained_pairs(QUANTILES) == [(0.025, 0.975), (0.1, 0.9)]
    assert trained_pairs((0.1, 0.5, 0.8)) == []


@pytest.mark.parametrize(("check", "given", "words"), [
    (check_levels, [80, 100], "level=100: wanted percents"), (check_levels, 0, "level=0"),
    (check_levels, "80", "level='80'"), (check_levels, ["80"], "level='80'"),
    (check_levels, [float("nan")], "level=nan"),
    (check_quantiles, [0.5, 1], "quantiles=1: wanted levels"), (check_quantiles, -0.1, "quantiles=-0.1"),
])
def test_levels_that_cannot_be_are_refused(check, given, words):
    with pytest.raises(Exception, match=words) as caught:
        getattr(check, "__wrapped__", check)(given)
    assert isinstance(caught.value, ArgumentError)


def test_one_level_needs_no_list():
    assert check_levels(80) == (80,)
    assert check_levels(None) == ()
    assert check_quantiles([0.1, 0.9]) == (0.1, 0.9)
