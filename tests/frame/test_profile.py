from datetime import date, timedelta

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tsforge.frame.frame import Frame
from tsforge.frame.profile import profile

DAYS = [date(2024, 1, 1) + timedelta(days=k) for k in range(10)]


def table(**changes):
    return pl.DataFrame({"unique_id": ["a"] * 10, "ds": DAYS, "y": np.arange(10.0)} | changes)


def said(found, words):
    return any(words in sentence for sentence in found.advice)


def test_a_sound_table_is_told_from_its_keys():
    found = profile(table())
    assert found.fault is None
    assert found.advice == ["Nothing stands in the way of a fit."]
    assert {k: found.keys[k] for k in ("series", "first", "last", "freq", "season", "repeated", "absent")} == {
        "series": 1, "first": DAYS[0], "last": DAYS[-1], "freq": "1d", "season": 7, "repeated": 0, "absent": 0,
    }
    assert [row["role"] for row in found.columns] == ["series", "time", "target"]
    assert found.columns[2] | {"least": 0, "mean": 4.5, "greatest": 9, "missing": 0} == found.columns[2]


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(1, 8), max_size=5))
def test_steps_without_a_row_are_counted_as_the_frame_counts_them(gone):
    kept = table().filter(~pl.col("ds").is_in([DAYS[k] for k in gone]))
    found = profile(kept, freq="1d")
    steps = Frame(kept, freq="1d").steps
    assert steps is not None
    assert found.keys["absent"] == steps.max() + 1 - len(kept) == len(gone)


def test_repeated_stamps_are_a_fault_and_the_column_that_tells_the_series_apart_is_found():
    twice = pl.concat([table().drop("unique_id").with_columns(shop=pl.lit(name)) for name in "ab"])
    found = profile(twice)
    assert found.keys["repeated"] == 10
    assert found.fault is not None
    assert said(found, "With 'shop' as the series there are none")
    assert profile(twice, id_col="shop").fault is None


def test_a_table_without_a_known_time_column_names_the_one_that_would_do():
    renamed = table().with_columns(pl.col("ds").cast(pl.String)).rename({"ds": "day_of_sale"})
    found = profile(renamed)
    assert found.keys["time_col"] is None
    assert "no time column" in str(found.fault)
    assert said(found, "'day_of_sale' would do as the time")


def test_sentinels_and_extremes_are_pointed_at_and_ordinary_values_are_not():
    y = np.sin(np.arange(10.0))
    assert said(profile(table(y=[-9999.0, *y[1:]])), "holds -9999 1 times")
    assert said(profile(table(y=[1048.0, *y[1:]])), "reaches 1048")
    assert not said(profile(table(y=[-1.0, *y[1:]])), "-1")  # a sine reaches nearly as far


def test_disorder_and_stamps_off_the_grid_are_counted():
    assert profile(table().reverse()).keys["out_of_order"] == 9
    hours = [k * 3600 for k in range(9)] + [9 * 3600 + 60]
    moved = table().with_columns(pl.from_epoch(pl.Series("ds", hours), time_unit="s").alias("ds"))
    found = profile(moved)
    assert found.keys["off_grid"] == 1
    assert said(found, "off the grid of 1h")


def test_text_and_infinity_do_not_stop_the_look():
    found = profile(table(y=[*"abcdefghij"]))
    assert found.keys["series"] == 1
    assert found.fault is not None
    assert profile(table(y=[np.inf, *np.arange(9.0)])).columns[2]["infinite"] == 1
