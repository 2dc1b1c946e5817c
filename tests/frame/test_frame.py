import logging
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tsforge.errors import ArgumentError, FrameError
from tsforge.frame.canonical import check_words
from tsforge.frame.frame import Frame, as_frame
from tsforge.frame.schema import Schema
from tsforge.frame.split import Split

DAYS = [date(2024, 2, 27) + timedelta(days=k) for k in range(5)]


def table(**columns) -> pl.DataFrame:
    """Two series of five days; columns given here replace or join the plain ones."""
    plain = {"unique_id": ["a"] * 5 + ["b"] * 5, "ds": DAYS * 2, "y": np.arange(10.0)}
    return pl.DataFrame(plain | columns)


def one(ds) -> pl.DataFrame:
    return pl.DataFrame({"ds": ds, "y": np.arange(float(len(ds)))})


def steps_of(frame: Frame) -> list[int]:
    assert frame.steps is not None
    return frame.steps.to_list()


def static_of(frame: Frame) -> pl.DataFrame:
    assert frame.static is not None
    return frame.static


# Roles


def test_y_is_the_target_and_other_columns_are_left_out_with_one_notice(caplog):
    with caplog.at_level(logging.INFO, logger="tsforge"):
        frame = Frame(table(z=np.ones(10), word=["x"] * 10))
    assert frame.targets == ("y",)
    assert [line for line in caplog.messages if "'z'" in line] == ["Columns without a role are left out: 'z', 'word'."]
    assert list(frame.notices) == caplog.messages


def test_without_y_every_undeclared_numeric_column_is_a_target_and_a_notice_names_them():
    renamed = table(z=range(10), name=["x"] * 10, flag=[True] * 10, known=np.ones(10)).rename({"y": "load"})
    frame = Frame(renamed, future="known")
    assert frame.targets == ("load", "z", "flag")
    assert "Targets are the numeric columns 'load', 'z', 'flag'" in frame.notices[0]
    assert frame.schema.future == ("known",)


def test_a_frame_whose_roles_are_all_stated_has_no_notice():
    assert Frame(table(), targets="y", freq="1d").notices == ()


def test_a_table_without_names_of_series_is_one_series_and_gets_no_such_column_back():
    frame = Frame(one(DAYS))
    assert frame.schema.id_col is None
    assert len(frame.ids) == 1
    assert frame.give_back(frame.table).columns == ["ds", "y"]


@pytest.mark.parametrize("name", ["ds", "date", "Date", "time", "TIMESTAMP"])
def test_the_time_column_is_found_under_its_usual_names(name):
    assert Frame(one(DAYS).rename({"ds": name})).schema.time_col == name


def test_the_columns_of_users_come_back_under_their_own_names():
    frame = Frame(table().rename({"unique_id": "store", "ds": "day"}), id_col="store", time_col="day")
    assert frame.table.columns == ["unique_id", "ds", "y"]
    assert frame.give_back(frame.table).columns == ["store", "day", "y"]


@pytest.mark.parametrize(("roles", "words"), [
    ({"targets": "yy"}, "targets: the table has no column 'yy'.*Did you mean 'y'"),
    ({"past": ["p", "q"]}, r"no column 'p' \(nor 1 more\)"),
    ({"id_col": "store"}, "id_col: the table has no column 'store'"),
    ({"time_col": "when"}, "time_col: the table has no column 'when'"),
    ({"targets": "y", "past": "y"}, "Column 'y' has two roles"),
    ({"targets": "y", "static": "y"}, "Column 'y' has two roles"),
    ({"targets": "ds"}, "Column 'ds' has two roles"),
    ({"calendar": "hourr"}, "no calendar feature 'hourr'. Did you mean 'hour'"),
    ({"season": 0}, "season=0 is no length"),
    ({"grid": "1h"}, "belongs to freq='irregular'"),
    ({"freq": "1h"}, "finer than the time column"),
])
def test_a_role_that_cannot_be_is_refused_by_name(roles, words):
    with pytest.raises((FrameError, ArgumentError), match=words):
        Frame(table(), **roles)


def test_an_encoding_that_is_none_is_refused():
    check_words(("hour",), "cyclic")
    with pytest.raises(ArgumentError, match="encoding='sine'"):
        check_words(("hour",), "sine")


def test_a_value_column_cannot_be_called_as_the_frame_calls_its_keys():
    named = table(ds=range(10), date=DAYS * 2)
    assert Frame(named, time_col="date").targets == ("y",)
    with pytest.raises(FrameError, match=r"Column 'ds' cannot hold values.*under this name"):
        Frame(named, time_col="date", targets="ds")


def test_a_table_without_a_time_column_is_refused_with_the_names_it_has():
    with pytest.raises(FrameError, match="no time column: the columns are 'when', 'y'"):
        Frame(one(DAYS).rename({"ds": "when"}))


def test_a_table_without_numbers_has_no_target():
    with pytest.raises(FrameError, match="none of the columns 'word' is numeric"):
        Frame(pl.DataFrame({"ds": DAYS, "word": ["x"] * 5}))


def test_calendar_words_are_kept_in_their_order():
    assert Frame(table(), calendar=["month", "dayofweek"]).schema.calendar == ("month", "dayofweek")


def test_roles_survive_as_plain_values():
    frame = Frame(table(p=1.0), targets="y", past="p", calendar="month")
    assert Schema.from_dict(frame.schema.to_dict()) == frame.schema


# Time


@pytest.mark.parametrize(("text", "freq", "last"), [
    (["2016-07-01 00:00:00", "2016-07-01 01:00:00"], "1h", datetime(2016, 7, 1, 1)),
    (["2016-07-01T00:00:00", "2016-07-01T00:15:00"], "15m", datetime(2016, 7, 1, 0, 15)),
    (["2016-07-01 00:00", "2016-07-01 00:30"], "30m", datetime(2016, 7, 1, 0, 30)),
    (["2016-07-01T00:00:00Z", "2016-07-01T01:00:00Z"], "1h", datetime(2016, 7, 1, 1)),
    (["2016-07-01", "2016-07-02"], "1d", date(2016, 7, 2)),
    (["20160701", "20160708"], "1w", date(2016, 7, 8)),
    (["2016/07/01", "2016/07/02"], "1d", date(2016, 7, 2)),
    (["1949-01", "1949-02"], "1mo", date(1949, 2, 1)),
])
def test_text_dates_are_read(text, freq, last):
    frame = Frame(one(text))
    assert frame.freq == freq
    assert frame.table["ds"][-1] == last


def test_text_with_an_offset_becomes_the_same_instants():
    frame = Frame(one(["2024-03-31T01:00:00+01:00", "2024-03-31T03:00:00+02:00"]))
    assert frame.freq == "1h"
    assert frame.table["ds"][0].isoformat() == "2024-03-31T00:00:00+00:00"


@pytest.mark.parametrize(("bad", "words"), [
    ("01/31/2024", "'01/31/2024'"), (None, "an empty cell"), ("soon", "'soon'"),
])
def test_a_stamp_that_cannot_be_read_is_named_with_its_row_and_the_count(bad, words):
    with pytest.raises(FrameError, match=rf"'ds', row 2: {words} is no time stamp \(1 of 3 rows\)"):
        Frame(one(["2024-01-30", bad, "2024-02-01"]))


@pytest.mark.parametrize("dtype", [pl.UInt8, pl.UInt32, pl.Int16, pl.Int64, pl.Float64])
def test_integer_steps_do_not_wrap_whatever_their_type(dtype):
    frame = Frame(one(pl.Series([3, 1, 2], dtype=dtype)))
    assert frame.table.schema["ds"] == pl.Int64
    assert frame.table["y"].to_list() == [1.0, 2.0, 0.0]
    assert (frame.freq, steps_of(frame)) == ("1i", [0, 1, 2])


def test_numbers_that_are_written_dates_are_dates():
    frame = Frame(one([20240130, 20240131, 20240201]))
    assert (frame.freq, steps_of(frame)) == ("1d", [0, 1, 2])
    steps = Frame(one([20240130, 20240131, 20240132]))  # no calendar has a 32nd
    assert (steps.freq, steps_of(steps)) == ("1i", [0, 1, 2])


def test_days_in_a_zone_are_steps_of_one_day_over_a_change_of_the_clock():
    ds = pl.datetime_range(datetime(2024, 3, 29), datetime(2024, 4, 2), "1d", time_zone="Europe/Berlin", eager=True)
    frame = Frame(one(ds))
    assert (frame.freq, steps_of(frame)) == ("1d", [0, 1, 2, 3, 4])
    hours = Frame(one(ds), freq="1h")
    assert steps_of(hours) == [0, 24, 48, 71, 95]  # the 31st of March has 23 hours


def test_month_ends_are_months():
    frame = Frame(one([date(2023, 11, 30), date(2023, 12, 31), date(2024, 1, 31), date(2024, 2, 29)]))
    assert (frame.freq, frame.season, steps_of(frame)) == ("1mo", 12, [0, 1, 2, 3])


def test_quarters_are_found():
    frame = Frame(one([date(2023, 1, 1), date(2023, 4, 1), date(2023, 7, 1), date(2023, 10, 1)]))
    assert (frame.freq, frame.season) == ("1q", 4)


def test_an_absent_row_is_a_step_without_a_row():
    kept = table().filter(pl.col("ds") != DAYS[1])
    assert steps_of(Frame(kept)) == [0, 2, 3, 4] * 2


def test_a_stamp_off_the_grid_is_named_with_its_series_and_the_count():
    ds = [datetime(2024, 1, 1, k) for k in range(4)] + [datetime(2024, 1, 1, 4, 30)]
    with pytest.raises(FrameError, match=r"Series 'b': the time 2024-01-01 04:30:00 .* of 1h .*\(1 rows in 1 series\)"):
        Frame(table(ds=[datetime(2024, 1, 1, k) for k in range(5)] + ds))


def test_one_row_per_series_needs_a_stated_step():
    single = table().filter(pl.col("ds") == DAYS[0])
    with pytest.raises(FrameError, match=r"No series has two rows.*freq="):
        Frame(single)
    assert Frame(single, freq="D").freq == "1d"


# Rows and values


def test_null_nan_and_whole_numbers_become_floats_with_one_kind_of_missing():
    frame = Frame(table(y=[1.0, None, float("nan")] + [2.0] * 7, k=range(10)), targets=["y", "k"])
    assert frame.table["y"].to_list() == [1.0, None, None] + [2.0] * 7
    assert frame.table.schema["k"] == pl.Float64


def test_rows_in_any_order_make_the_same_frame_and_a_notice_counts_those_that_go_back():
    shuffled = table().sample(fraction=1, shuffle=True, seed=3)
    frame, ordered = Frame(shuffled), Frame(table())
    assert_frame_equal(frame.table, ordered.table)
    assert steps_of(frame) == steps_of(ordered)
    assert not any("order" in notice for notice in ordered.notices)
    assert any("Time was not in order" in notice for notice in Frame(table().reverse()).notices)


def test_rows_that_alternate_between_series_are_in_order():
    frame = Frame(table().sort("ds", "unique_id"))
    assert_frame_equal(frame.table, Frame(table()).table)
    assert not any("order" in notice for notice in frame.notices)


def test_a_repeated_time_is_named_with_its_series_and_the_count():
    again = pl.concat([table(), table().filter(pl.col("unique_id") == "b").head(2)])
    words = r"Series 'b' has the time 2024-02-27 more than once \(2 repeated rows in 1 series\)"
    with pytest.raises(FrameError, match=words):
        Frame(again)


def test_text_among_numbers_is_named_with_series_column_time_and_count():
    y = ["1", "2", None, "4.5", "5", "6", "closed", "8", "n/a", "10"]
    words = r"Series 'b', column 'y': the value at 2024-02-28 is the text 'closed'.*\(2 such"
    with pytest.raises(FrameError, match=words):
        Frame(table(y=y))


def test_infinity_is_named_with_series_column_time_and_count():
    y = [0.0] * 7 + [float("-inf"), 1.0, float("inf")]
    words = r"Series 'b', column 'y': the value at 2024-02-29 is infinite \(2 such values\)"
    with pytest.raises(FrameError, match=words):
        Frame(table(y=y))


def test_a_target_that_was_never_observed_is_refused_and_one_value_is_enough():
    with pytest.raises(FrameError, match="Target 'y' has no observed value in any of 10 rows of 2 series"):
        Frame(table(y=[None] * 9 + [float("nan")]))
    assert len(Frame(table(y=[None] * 9 + [1.0]))) == 10


def test_a_covariate_may_be_empty():
    assert Frame(table(p=[None] * 10), past="p").table.schema["p"] == pl.Float64


def test_an_empty_table_is_refused_with_its_columns():
    with pytest.raises(FrameError, match=r"it has no row .*'unique_id', 'ds', 'y'"):
        Frame(table().head(0))


def test_a_row_without_a_series_is_named():
    with pytest.raises(FrameError, match=r"Column 'unique_id', row 5: the series has no name \(1 such rows\)"):
        Frame(table(unique_id=["a"] * 4 + [None] + ["b"] * 5))


def test_names_of_series_may_be_numbers():
    assert Frame(table(unique_id=[7] * 5 + [3] * 5)).ids.to_list() == [3, 7]


# Static


def test_constant_columns_and_a_second_table_are_the_same_static():
    inside = Frame(table(size=[1] * 5 + [2] * 5), targets="y", static="size")
    beside = Frame(table(), targets="y", static=pl.DataFrame({"unique_id": ["b", "c", "a"], "size": [2, 9, 1]}))
    assert inside.schema.static == beside.schema.static == ("size",)
    assert_frame_equal(static_of(inside), static_of(beside))
    assert "size" not in inside.table.columns


def test_a_static_column_that_changes_is_named():
    with pytest.raises(FrameError, match=r"Series 'b': the static column 'size' has 2 values.*\(1 such series\)"):
        Frame(table(size=[1] * 5 + [2] * 4 + [3]), static="size")


@pytest.mark.parametrize(("ids", "words"), [
    (["a"], r"series 'b' has no row there \(1 such"), (["a", "b", "b"], "series 'b' stands there 2 times"),
    ([1, 2], "series 'a' has no row there"),
])
def test_a_static_table_has_one_row_for_each_series(ids, words):
    with pytest.raises(FrameError, match=words):
        Frame(table(), static=pl.DataFrame({"unique_id": ids, "size": range(len(ids))}))


def test_names_of_another_kind_in_the_static_table_are_no_series():
    with pytest.raises(FrameError, match="series 1 has no row there"):
        Frame(table(unique_id=[1] * 10, ds=range(10)), static=pl.DataFrame({"unique_id": ["x"], "size": [1]}))


# Kinds of tables


@pytest.mark.parametrize(("kind", "make"), [
    ("DataFrame", pl.DataFrame.to_pandas), ("Table", pl.DataFrame.to_arrow), ("LazyFrame", pl.DataFrame.lazy),
    ("DataFrame", pl.DataFrame.clone),
])
def test_the_kind_of_table_that_came_in_goes_out(kind, make):
    stamps = table(ds=[datetime(2024, 1, 1, k) for k in range(5)] * 2)
    given = make(stamps)
    frame = Frame(given)
    back = frame.give_back(frame.table)
    assert type(back) is type(given)
    assert type(back).__name__ == kind
    assert_frame_equal(frame.table, stamps)


def test_pandas_stamps_come_back_in_their_own_unit():
    given = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=3, freq="h", unit="ns"), "y": [1.0, None, 3.0]})
    frame = Frame(given)
    assert frame.table["y"].null_count() == 1
    assert frame.give_back(frame.table)["ds"].dtype == given["ds"].dtype


def test_a_pandas_column_of_numbers_and_text_is_named():
    with pytest.raises(FrameError, match=r"Column 'y' has no single type.*abc"):
        Frame(pd.DataFrame({"ds": [1, 2], "y": [1, "abc"]}))


def test_two_pandas_columns_of_one_name_are_refused():
    with pytest.raises(FrameError, match="Each column needs a name of its own"):
        Frame(pd.DataFrame([[1, 2.0, 3.0]], columns=["ds", "y", "y"]))


def test_what_is_no_table_is_refused_by_its_type():
    with pytest.raises(FrameError, match="A ndarray is no table"):
        Frame(np.zeros((3, 2)))


# Irregular


def uneven() -> pl.DataFrame:
    stamps = [datetime(2024, 1, 1), datetime(2024, 1, 1, 0, 40), datetime(2024, 1, 1, 3, 5)]
    return one(stamps).with_columns(z=pl.Series([None, 5.0, None]))


def test_an_irregular_frame_needs_a_grid_and_is_never_inferred():
    with pytest.raises(FrameError, match="needs grid="):
        Frame(uneven(), freq="irregular")
    with pytest.raises(FrameError, match="not a whole number of steps"):
        Frame(uneven())
    frame = Frame(uneven(), freq="irregular", grid="1h")
    assert (frame.freq, frame.steps, frame.schema.irregular, frame.season) == ("irregular", None, True, 24)


@pytest.mark.parametrize(("how", "y", "z"), [
    ("last", [1.0, 2.0], [5.0, None]), ("mean", [0.5, 2.0], [5.0, None]), ("sum", [1.0, 2.0], [5.0, None]),
])
def test_resampling_puts_rows_of_a_step_together_and_leaves_empty_steps_absent(how, y, z):
    frame = Frame(uneven(), targets=["y", "z"], resample="1h", how=how)
    assert frame.freq == "1h"
    assert steps_of(frame) == [0, 3]
    assert frame.table.select("y", "z").to_dict(as_series=False) == {"y": y, "z": z}


def test_resampling_keeps_series_apart():
    both = pl.concat([uneven().with_columns(unique_id=pl.lit(name)) for name in ("b", "a")])
    frame = Frame(both, targets=["y", "z"], resample="1h")
    assert frame.table["unique_id"].to_list() == ["a", "a", "b", "b"]


# What a frame gives


def test_rows_keep_roles_and_count_steps_anew():
    frame = Frame(table(size=[1] * 5 + [2] * 5), targets="y", static="size", freq="1d")
    part = frame.rows(pl.col("ds") > DAYS[1])
    assert part.schema == frame.schema
    assert steps_of(part) == [0, 1, 2] * 2
    assert static_of(frame.rows(pl.col("unique_id") == "b"))["size"].to_list() == [2]
    with pytest.raises(FrameError, match="No row"):
        frame.rows(pl.lit(False))


def test_a_frame_is_frozen():
    with pytest.raises(AttributeError):
        Frame(table()).schema = Schema(("y",))  # pyright: ignore[reportAttributeAccessIssue]


def test_a_split_and_dropped_covariates_leave_the_frame_as_it_was():
    frame = Frame(table(p=1.0), past="p", targets="y")
    split = Split(2, 1, 1)
    assert (frame.with_split(split).split, frame.split) == (split, None)
    assert frame.with_split(split).without_covariates().table.columns == ["unique_id", "ds", "y"]
    assert frame.table.columns == ["unique_id", "ds", "y", "p"]


def test_a_plain_table_takes_its_roles_from_a_schema_and_a_frame_keeps_its_own():
    frame = Frame(table(p=1.0), targets="y", past="p", calendar="month", freq="1d", season=3)
    other = table(p=2.0, z=1.0)
    assert as_frame(other, frame.schema).schema == frame.schema
    assert as_frame(other, frame.schema, season=4).season == 4
    assert as_frame(frame) is frame
    with pytest.raises(ArgumentError, match="'season': a Frame has its roles"):
        as_frame(frame, season=4)


@pytest.mark.parametrize("name", ["target", "return", "self"])
def test_a_role_that_a_frame_does_not_have_is_refused(name):
    with pytest.raises(ArgumentError, match=f"no role '{name}'"):
        as_frame(table(), None, **{name: "y"})
