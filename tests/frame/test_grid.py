from datetime import date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsforge.errors import FrameError
from tsforge.frame.grid import Grid, grid_of, infer_freq, season_of, split_freq

MONTH_END = [date(2023, 1, 31), date(2024, 2, 29), date(2023, 6, 30), date(2023, 12, 31)]
STARTS = {
    "i": pl.Series("ds", [-7, 0, 12], dtype=pl.Int64),
    "date": pl.Series("ds", [date(2024, 1, 31), date(2023, 2, 28), date(1999, 12, 1)]),
    "stamp": pl.Series("ds", [datetime(2024, 1, 31, 13, 30), datetime(2023, 2, 28), datetime(1960, 5, 29, 23, 59, 59)]),
    "zone": pl.Series("ds", [datetime(2024, 3, 30, 12), datetime(2024, 10, 26)]).dt.replace_time_zone("Europe/Berlin"),
    "month end": pl.Series("ds", MONTH_END),
}
FREQS = {
    "i": ["1i", "5i"],
    "date": ["1d", "2d", "1w", "1mo", "1q", "1y"],
    "stamp": ["250us", "10ms", "1s", "15m", "1h", "1d", "1w", "1mo", "2mo", "1q", "1y"],
    "zone": ["30m", "1h", "1d", "1w", "1mo"],
    "month end": ["1mo", "1q", "1y"],
}
CASES = [(kind, freq) for kind, freqs in FREQS.items() for freq in freqs]


@given(case=st.sampled_from(CASES), ahead=st.lists(st.integers(-400, 400), min_size=4, max_size=4))
def test_as_many_steps_lie_between_as_were_added(case, ahead):
    kind, freq = case
    first = STARTS[kind]
    grid, steps = grid_of(freq, first), np.array(ahead[: len(first)])
    later = grid.add(first, steps)
    assert later.dtype == first.dtype
    assert grid.steps(later, first).to_list() == steps.tolist()


@pytest.mark.parametrize(("kind", "freq"), [case for case in CASES if case[0] != "i"])
def test_a_stamp_beside_the_grid_has_no_number_of_steps(kind, freq):
    first = STARTS[kind]
    grid = grid_of(freq, first)
    later = grid.add(first, np.full(len(first), 3))
    beside = later + pl.duration(days=1) if first.dtype == pl.Date else later + pl.duration(microseconds=1)
    beside = pl.select(beside).to_series()
    if freq == "1d" and first.dtype == pl.Date:
        assert grid.steps(beside, first).to_list() == [4] * len(first)
    else:
        assert grid.steps(beside, first).null_count() == len(first)


def test_a_day_stays_at_its_hour_over_a_change_of_the_clock():
    first = pl.Series("ds", [datetime(2024, 3, 30)]).dt.replace_time_zone("Europe/Berlin")
    assert grid_of("1d", first).add(first, np.array([2]))[0].isoformat() == "2024-04-01T00:00:00+02:00"
    assert grid_of("24h", first).add(first, np.array([2]))[0].isoformat() == "2024-04-01T01:00:00+02:00"


def test_month_ends_stay_month_ends_where_all_stamps_are():
    ends = pl.Series("ds", [date(2023, 1, 31), date(2023, 2, 28)])
    assert grid_of("1mo", ends).add(ends, np.array([1, 1])).to_list() == [date(2023, 2, 28), date(2023, 3, 31)]
    mixed = pl.Series("ds", [date(2023, 1, 30), date(2023, 2, 28)])
    assert grid_of("1mo", mixed).add(mixed, np.array([1, 1])).to_list() == [date(2023, 2, 28), date(2023, 3, 28)]


def test_a_month_end_at_another_hour_is_off_the_grid():
    stamps = pl.Series("ds", [datetime(2024, 1, 31, 6), datetime(2024, 2, 29, 6), datetime(2024, 3, 31, 7)])
    first = pl.Series("ds", [stamps[0]] * 3)
    assert grid_of("1mo", stamps).steps(stamps, first).to_list() == [0, 1, None]


@pytest.mark.parametrize(("pandas", "polars"), [
    ("h", "1h"), ("H", "1h"), ("15min", "15m"), ("D", "1d"), ("W", "1w"), ("MS", "1mo"), ("ME", "1mo"), ("QS", "1q"),
    ("YS", "1y"), ("2D", "2d"),
])
def test_frequencies_of_pandas_are_understood(pandas, polars):
    assert split_freq(pandas) == split_freq(polars)


@pytest.mark.parametrize("freq", ["", "hourly", "0h", "-1d", "1.5h", "1x"])
def test_what_is_no_frequency_is_refused_by_name(freq):
    with pytest.raises(FrameError, match="is not a step of time"):
        split_freq(freq)


@pytest.mark.parametrize(("freq", "kind", "words"), [
    ("1h", "i", "time column of integers"), ("1i", "stamp", "time column of dates"),
    ("1h", "date", "finer than the time"), ("1ns", "stamp", "finer than a microsecond"),
])
def test_a_frequency_that_does_not_fit_the_column_is_refused(freq, kind, words):
    with pytest.raises(FrameError, match=words):
        grid_of(freq, STARTS[kind])


@pytest.mark.parametrize("every", ["1h", "30m", "1d", "1w", "1mo", "1q", "1y", "2y"])
def test_the_step_of_a_series_is_found_though_rows_are_missing(every):
    ds = pl.datetime_range(datetime(2001, 1, 1), datetime(2400, 1, 1), every, eager=True).head(60)
    keep = [0, 1, 2, 5, *range(9, min(len(ds), 60))]
    table = pl.DataFrame({"unique_id": ["a"] * len(keep), "ds": ds.gather(keep)})
    assert infer_freq(table) == every


def test_no_step_is_read_between_two_series():
    table = pl.DataFrame({"unique_id": ["a", "b", "c"], "ds": [date(2024, 1, day) for day in (1, 2, 3)]})
    assert infer_freq(table) is None


def test_irregular_stamps_lie_at_fractions_of_a_step():
    first = pl.Series("ds", [datetime(2024, 1, 1)] * 2)
    later = pl.Series("ds", [datetime(2024, 1, 1, 0, 30), datetime(2024, 1, 2)])
    assert Grid("1h").fraction(later, first).tolist() == [0.5, 24.0]


def test_the_season_follows_the_step():
    found = [season_of(freq) for freq in ("30m", "1h", "1d", "1w", "1mo", "1q", "1y", "1i")]
    assert found == [48, 24, 7, 52, 12, 4, 1, 1]
