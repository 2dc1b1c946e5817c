from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from tsforge.data.store import Nearest, build_store
from tsforge.errors import FrameError
from tsforge.frame.frame import Frame


def table(rows: dict[str, list[int]], start=datetime(2024, 1, 1), step=timedelta(hours=1)) -> pl.DataFrame:
    """Series with values at some steps only; y is 100 a step, p and f are the step."""
    keys = [(name, start + step * k, 100.0 * k, float(k), -float(k)) for name, steps in rows.items() for k in steps]
    return pl.DataFrame(keys, schema=["unique_id", "ds", "y", "p", "f"], orient="row")


@given(st.lists(st.sets(st.integers(0, 12), min_size=2), min_size=1, max_size=4), st.integers(0, 3))
def test_each_series_stands_on_its_grid_with_absent_rows_missing(steps, ahead):
    rows = {f"s{k}": sorted(own) for k, own in enumerate(steps)}
    frame = Frame(table(rows), targets="y", past="p", future="f", freq="1h")
    store = build_store(frame, ahead=ahead, open_ended=True)
    assert_array_equal(store.ends - store.starts, [own[-1] - own[0] + 1 for own in rows.values()])
    assert_array_equal(np.diff(store.offsets), store.ends - store.starts + ahead)
    for s, own in enumerate(rows.values()):
        steps_there = np.arange(own[0], own[-1] + 1 + ahead)
        expected = np.where(np.isin(steps_there, own), steps_there, np.nan)
        span = slice(store.offsets[s], store.offsets[s + 1])
        for values, factor in ((store.values, 100), (store.past, 1), (store.future, -1)):
            assert_array_equal(values[span, 0], expected * factor)
        number = np.arange(span.start, span.stop)
        assert_array_equal(store.series_of(number), s)
        stamps = store.stamps(np.full(len(number), s), number).to_list()
        assert stamps == [datetime(2024, 1, 1) + timedelta(hours=int(k)) for k in steps_there]


def test_null_nan_and_absent_rows_are_one_thing():
    full = table({"a": [0, 1, 2, 3]})
    hole = pl.col("ds").dt.hour() == 2
    absent = full.filter(~hole)
    for empty in (None, np.nan):
        other = full.with_columns(y=pl.when(hole).then(empty).otherwise("y"))
        ours = build_store(Frame(other, targets="y", freq="1h")).values
        assert_array_equal(ours, build_store(Frame(absent, targets="y", freq="1h")).values)
    assert not np.isnan(build_store(Frame(full, targets="y", freq="1h")).values).any()


@pytest.mark.parametrize(("ds", "freq", "after"), [
    ([date(2024, 1, 31), date(2024, 2, 29)], "1mo", [date(2024, 3, 31), date(2024, 4, 30)]),
    ([date(2024, 1, 30), date(2024, 2, 29)], "1mo", [date(2024, 3, 30), date(2024, 4, 30)]),
    ([date(2023, 12, 31), date(2024, 3, 31)], "1q", [date(2024, 6, 30), date(2024, 9, 30)]),
    ([date(2024, 2, 28), date(2024, 2, 29)], "1d", [date(2024, 3, 1), date(2024, 3, 2)]),
    ([5, 8], "3i", [11, 14]),
])
def test_the_rows_ahead_carry_the_next_stamps(ds, freq, after):
    frame = Frame(pl.DataFrame({"ds": ds, "y": [1.0, 2.0]}), freq=freq)
    store = build_store(frame, ahead=2)
    assert store.stamps(np.zeros(2, int), store.ends[0] + np.arange(2)).to_list() == after
    assert np.isnan(store.values[2:]).all()


def known(rows: dict[str, list[int]]) -> pl.DataFrame:
    return table(rows).select("unique_id", "ds", f=pl.col("f") * 10)


def test_covariates_known_ahead_are_written_after_each_series_and_nowhere_else():
    frame = Frame(table({"a": [0, 1, 2], "b": [4, 5]}), targets="y", future="f", freq="1h")
    given_ahead = known({"b": [7, 5, 6], "a": [0, 3, 4, 5], "unknown": [1]}).with_columns(
        f=pl.when(pl.col("ds").dt.hour() > 2).then("f")  # what it says of the past is not read
    )
    store = build_store(frame, ahead=2, known=given_ahead)
    assert store.future is not None
    assert store.future[:, 0].tolist() == [0, -1, -2, -30, -40, -4, -5, -60, -70]


def test_dates_for_the_covariates_of_datetimes_are_midnights():
    days = {"start": datetime(2024, 1, 1), "step": timedelta(days=1)}
    frame = Frame(table({"a": [0, 1, 2]}, **days), targets="y", future="f", freq="1d")
    ahead = table({"a": [3, 4]}, **days).select("unique_id", pl.col("ds").cast(pl.Date), "f")
    store = build_store(frame, ahead=2, known=ahead)
    assert store.future is not None
    assert store.future[-2:, 0].tolist() == [-3, -4]


@pytest.mark.parametrize(("ahead", "words"), [
    (None, "known ahead, so the forecast needs its values"),
    (known({"a": [3, 4], "b": [6]}), r"Series 'b', covariate 'f': its value at 2024-01-01 07.* \(1 such values of 4\)"),
    (known({"a": [3, 4], "b": [6, 7]}).with_columns(f=np.inf), "missing or infinite"),
    (known({"a": [3, 4, 4], "b": [6, 7]}), r"series 'a' has the time 2024-01-01 04:00:00 more than once \(2"),
    (known({"a": [3, 4], "b": [6, 7]}).with_columns(ds=pl.int_range(4)), "its time column holds Int64"),
])
def test_covariates_that_are_not_known_ahead_are_asked_for_by_name(ahead, words):
    frame = Frame(table({"a": [0, 1, 2], "b": [4, 5]}), targets="y", future="f", freq="1h")
    with pytest.raises(FrameError, match=words):
        build_store(frame, ahead=2, known=ahead)
    assert np.isnan(build_store(frame, ahead=2, open_ended=True).future[3:5]).all()


@pytest.mark.parametrize(("encoding", "width"), [("linear", 1), ("cyclic", 2), ("onehot", 24)])
def test_calendar_features_tell_the_hours_apart_also_in_the_rows_ahead(encoding, width):
    frame = Frame(table({"a": list(range(20))}), targets="y", calendar="hour", encoding=encoding)
    hours = build_store(frame, ahead=6).calendar
    assert hours is not None
    assert hours.shape == (26, width)
    assert_array_equal(hours[24:], hours[:2])
    assert len(np.unique(hours.round(6), axis=0)) == 24


def test_linear_calendar_features_span_one_unit_around_zero():
    year = pl.datetime_range(datetime(2024, 1, 1), datetime(2024, 12, 31, 23, 59), "1m", eager=True)
    names = ("minute", "hour", "dayofweek", "day", "dayofyear", "month", "quarter")
    features = build_store(Frame(pl.DataFrame({"ds": year, "y": 1.0}), calendar=names)).calendar
    assert features is not None
    assert_array_equal(features.min(axis=0), -0.5)
    assert_array_equal(features.max(axis=0), 0.5)


@pytest.mark.parametrize(("ds", "words"), [
    ([1, 2], "integers, which have no calendar"), ([date(2024, 1, 1), date(2024, 1, 2)], "dates, which have no hour"),
])
def test_times_without_a_clock_have_no_hours(ds, words):
    with pytest.raises(FrameError, match=words):
        build_store(Frame(pl.DataFrame({"ds": ds, "y": [1.0, 2.0]}), calendar="hour"))


def irregular(hours: dict[str, list[float]]) -> Frame:
    keys = [(name, datetime(2024, 1, 1) + timedelta(hours=k), k) for name, own in hours.items() for k in own]
    rows = pl.DataFrame(keys, schema={"unique_id": pl.String, "ds": pl.Datetime("us"), "y": pl.Float64}, orient="row")
    return Frame(rows, freq="irregular", grid="1h")


def test_an_irregular_store_has_a_row_a_stamp_and_rows_ahead_a_grid_unit_apart():
    store = build_store(irregular({"a": [0, 0.5, 2.25], "b": [7, 8]}), ahead=2)
    assert store.times is not None
    assert store.times.tolist() == [0, 0.5, 2.25, 3.25, 4.25, 0, 1, 2, 3]
    assert store.values[:, 0].tolist()[:3] == [0, 0.5, 2.25]
    assert np.isnan(store.values[[3, 4, 7, 8]]).all()
    stamps = store.stamps(np.array([0, 1]), np.array([3, 8]))
    assert stamps.to_list() == [datetime(2024, 1, 1, 3, 15), datetime(2024, 1, 1, 10)]


def test_months_are_no_unit_of_irregular_time():
    rows = pl.DataFrame({"ds": [date(2024, 1, 1), date(2024, 1, 9)], "y": [1.0, 2.0]})
    with pytest.raises(FrameError, match="months differ in length"):
        Frame(rows, freq="irregular", grid="1mo")


@given(st.integers(0, 10**6), st.integers(1, 4))
def test_the_nearest_observation_is_found_inside_the_series_and_within_half_a_step(seed, h):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 8, size=3)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    times = np.concatenate([np.cumsum(np.append(0, rng.integers(1, 32, n - 1) / 16)) for n in lengths])
    series = np.repeat(np.arange(3), lengths)
    cutoffs = np.arange(len(times))
    rows, close = Nearest(times, offsets[:-1], offsets[1:], h).rows(series, cutoffs)
    for w, (s, cutoff) in enumerate(zip(series, cutoffs, strict=True)):
        for k in range(h):
            wanted = times[cutoff] + k + 1
            later = range(cutoff + 1, offsets[s + 1])
            near = min(later, key=lambda row: abs(times[row] - wanted), default=None)  # the earlier of two
            expected = near is not None and abs(times[near] - wanted) <= 0.5
            assert close[w, k] == expected
            assert not expected or rows[w, k] == near
