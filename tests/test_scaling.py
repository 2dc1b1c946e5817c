import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tsforge.scaling as module
from tsforge.errors import ArgumentError
from tsforge.scaling import blocks, check_scaler, fit_scaling

SCALERS = ("standard", "minmax", "robust")


def series_of(seed: int, lengths: list[int], channels: int = 2, missing: float = 0.2):
    """Values of series that stand one after another, where each starts, and an end of training inside each."""
    rng = np.random.default_rng(seed)
    starts = np.cumsum([0, *lengths[:-1]])
    values = rng.normal(size=(sum(lengths), channels)) * 10 ** rng.normal(size=channels) + 7
    values[rng.random(values.shape) < missing] = np.nan
    return values, starts, starts + np.array([rng.integers(0, n + 1) for n in lengths])


def by_numpy(part: np.ndarray, scaler: str) -> tuple[float, float]:
    """Place and width of one column, as the words say it."""
    seen = part[~np.isnan(part)]
    if not len(seen):
        return 0.0, 1.0
    low, middle, high = np.quantile(seen, (0.25, 0.5, 0.75))
    loc, scale = {"standard": (seen.mean(), seen.std()), "minmax": (seen.min(), np.ptp(seen)),
                  "robust": (middle, high - low)}[scaler]
    return loc, scale if scale > 1e-12 else 1.0


@settings(deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 9), min_size=1, max_size=6), st.sampled_from(SCALERS),
       st.integers(1, 12))
def test_each_series_is_scaled_by_its_own_training_rows_whatever_the_size_of_a_block(seed, lengths, scaler, chunk):
    values, starts, ends = series_of(seed, lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        scaling = fit_scaling(values, starts, ends, scaler)
    for s, (start, end) in enumerate(zip(starts, ends, strict=True)):
        for c in range(values.shape[1]):
            loc, scale = by_numpy(values[start:end, c], scaler)
            assert_allclose([scaling.loc[s, c], scaling.scale[s, c]], [loc, scale], rtol=1e-9, atol=1e-12)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 9), min_size=1, max_size=6), st.sampled_from(SCALERS),
       st.integers(1, 12))
def test_a_global_scaling_is_that_of_all_training_rows_together(seed, lengths, scaler, chunk):
    values, starts, ends = series_of(seed, lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        scaling = fit_scaling(values, starts, ends, scaler, "global")
    together = np.concatenate([values[start:end] for start, end in zip(starts, ends, strict=True)])
    expected = np.array([by_numpy(column, scaler) for column in together.T])
    assert_allclose(scaling.loc, expected[None, :, 0], rtol=1e-9, atol=1e-12)
    assert_allclose(scaling.scale, expected[None, :, 1], rtol=1e-9, atol=1e-12)
    assert_array_equal(scaling.of(np.array([2, 0]))[0], np.repeat(scaling.loc, 2, axis=0))


@pytest.mark.parametrize("scaler", SCALERS)
def test_rows_after_the_end_of_training_change_nothing_and_rows_before_it_do(scaler):
    values, starts, _ = series_of(0, [20, 30], missing=0)
    ends = starts + 10

    def changed(row: int):
        other = values.copy()
        other[row] += 1000
        return fit_scaling(other, starts, ends, scaler)

    plain = fit_scaling(values, starts, ends, scaler)
    for row in (10, 19, 30, 49):
        assert_array_equal(changed(row).loc, plain.loc)
        assert_array_equal(changed(row).scale, plain.scale)
    assert changed(9).loc[0, 0] != plain.loc[0, 0] or changed(9).scale[0, 0] != plain.scale[0, 0]
    assert_array_equal(changed(9).loc[1], plain.loc[1])


def test_series_may_be_scaled_out_of_the_middle_of_a_store():
    values, starts, _ = series_of(1, [20, 30, 10, 5])
    ends = np.append(starts[1:], 65)
    whole, some = fit_scaling(values, starts, ends, "standard"), np.array([1, 3])
    part = fit_scaling(values, starts[some], ends[some], "standard")
    assert_array_equal(part.loc, whole.loc[some])
    assert_array_equal(part.scale, whole.scale[some])


@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize("value", [0.1, 1e9 + 0.1, -3.0])
def test_the_width_of_a_constant_counts_as_one_and_is_counted(scaler, value):
    values = np.full((1000, 2), value)
    values[::3, 0], values[:, 1] = np.nan, np.arange(1000)
    scaling = fit_scaling(values, np.array([0]), np.array([1000]), scaler)
    assert scaling.loc[0, 0] == value
    assert scaling.scale[0, 0] == 1
    assert scaling.scale[0, 1] != 1
    assert scaling.constant == 1


def test_a_small_variation_far_from_zero_keeps_its_width():
    wave = np.sin(np.arange(5000.0))[:, None] * 1e-3
    far = fit_scaling(1e9 + wave, np.array([0]), np.array([5000]), "standard")
    assert_allclose(far.scale, wave.std(), rtol=1e-3)  # 1e9 is kept to 1e-7
    assert_allclose(far.loc, 1e9, rtol=1e-12)


def test_a_series_without_an_observed_training_row_is_left_as_it_is():
    values = np.array([[np.nan], [np.nan], [5.0], [7.0]])
    for scaler in SCALERS:
        scaling = fit_scaling(values, np.array([0, 2, 4]), np.array([2, 4, 4]), scaler)
        assert scaling.loc[[0, 2], 0].tolist() == [0, 0]
        assert scaling.scale[[0, 2], 0].tolist() == [1, 1]
        assert scaling.constant == 0


def test_no_scaler_changes_nothing():
    scaling = fit_scaling(*series_of(3, [4, 5]), None)
    loc, scale = scaling.of(np.array([1, 0, 1]))
    assert (loc == 0).all()
    assert (scale == 1).all()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 12))
def test_blocks_hold_every_row_once_beside_its_series(lengths, chunk):
    starts = np.cumsum([0, *lengths[:-1]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        found = list(blocks(starts, sum(lengths)))
    rows = [row for block in found for row in range(block.rows.start, block.rows.stop)]
    series = [s for block in found for s in block.spread(np.arange(99.0)).astype(int)]
    assert rows == list(range(sum(lengths)))
    assert series == [s for s, n in enumerate(lengths) for _ in range(n)]
    assert all(len(range(block.rows.start, block.rows.stop)) <= chunk for block in found)


def test_unknown_scalers_and_scopes_are_refused():
    check_scaler("robust", "global")
    with pytest.raises(ArgumentError, match="scaler='std': wanted 'standard'"):
        check_scaler("std", "series")
    with pytest.raises(ArgumentError, match="scaler_scope='channel'"):
        check_scaler(None, "channel")


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 400), st.sampled_from(["normal", "ties", "zeros", "far", "same"]),
       st.sampled_from([np.float32, np.float64]), st.integers(20, 100))
def test_quartiles_found_by_counting_are_those_of_sorting_to_the_bit(seed, rows, kind, dtype, chunk):
    rng = np.random.default_rng(seed)
    values = {"normal": rng.normal(size=(rows, 2)), "ties": rng.integers(-2, 3, (rows, 2)) / 3,
              "zeros": rng.choice([0.0, -0.0, 1e-300], (rows, 2)), "same": np.full((rows, 2), -1.5),
              "far": rng.normal(size=(rows, 2)) * 10.0 ** rng.integers(-30, 30, (rows, 2))}[kind].astype(dtype)
    values[rng.random(values.shape) < 0.2] = np.nan
    starts, ends = np.array([0, rows // 2]), np.array([rows // 2, rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        found = module._counted_quartiles(lambda: module._training_rows(values, starts, ends), 2)
    assert_array_equal(found, module._quartiles(values))


class Reading:
    """Values that lie elsewhere, and the most rows that were asked for at once."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.most = values, values.shape, 0

    def __getitem__(self, rows: slice) -> np.ndarray:
        taken = self.values[rows]
        self.most = max(self.most, len(taken))
        return taken.copy()


@pytest.mark.parametrize("scope", ["series", "global"])
@pytest.mark.parametrize("scaler", SCALERS)
def test_no_scaler_holds_more_than_a_block_or_a_series(monkeypatch, scaler, scope):
    monkeypatch.setattr(module, "CHUNK", 50)
    values, starts, ends = series_of(0, [40] * 20)
    reading = Reading(values)
    found, expected = (fit_scaling(v, starts, ends, scaler, scope) for v in (reading, values))
    assert 0 < reading.most <= 50
    assert_array_equal(found.loc, expected.loc)
    assert_array_equal(found.scale, expected.scale)
