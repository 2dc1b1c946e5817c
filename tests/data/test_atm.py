import sys
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

import tsforge
from tsforge.data.atm import Atm
from tsforge.errors import ArgumentError, CapabilityError, FrameError, PackageError, UnknownNameError

NAMES = {"id": "machine", "date": "day", "amount": "cash"}


@pytest.fixture
def export(tmp_path):
    """A bank's file: `export("A,2024-01-01,5", ...)`."""

    def write(*lines: str, columns: str = "machine,day,cash"):
        (tmp_path / "bank.csv").write_text("\n".join([columns, *lines]) + "\n")
        return tmp_path / "bank.csv"

    return write


@pytest.fixture
def two_machines(tmp_path):
    days = [date(2024, 1, 1) + timedelta(days=day) for day in range(90)]
    rng = np.random.default_rng(0)
    table = pl.concat(
        pl.DataFrame({"machine": [name] * 90, "day": days, "cash": 50 + rng.normal(size=90)}) for name in ("A", "B")
    )
    table.write_parquet(tmp_path / "bank.parquet")
    return tmp_path / "bank.parquet"


def values(frame):
    return frame.table["y"].to_list()


THREE = ("A,2024-01-01,5", "A,2024-01-02,0", "A,2024-01-03,", "A,2024-01-05,7")


@pytest.mark.parametrize(("rules", "wanted"), [
    ({}, [5, 0, None, None, 7]),
    ({"zero": "missing"}, [5, None, None, None, 7]),
    ({"absent": "zero"}, [5, 0, None, 0, 7]),
    ({"zero": "missing", "absent": "zero"}, [5, None, None, 0, 7]),
])
def test_zero_missing_and_absent_days_are_three_things(export, rules, wanted):
    frame = Atm(path=export(*THREE), **NAMES, **rules, states=True).frame()
    assert values(frame) == wanted
    assert frame.table["ds"].to_list() == [date(2024, 1, day) for day in range(1, 6)]
    assert frame.labels is not None
    assert frame.labels["state"].to_list() == ["amount", "zero", "missing", "absent", "amount"]
    assert (frame.freq, frame.season, frame.notices) == ("1d", 7, ())


@pytest.mark.parametrize("words", [("true", "false"), ("1", "0")])
def test_what_a_machine_that_was_down_shows_is_missing_also_a_zero(export, words):
    yes, no = words
    path = export(f"A,2024-01-01,5,{no}", f"A,2024-01-02,0,{yes}", f"A,2024-01-03,0,{no}", "A,2024-01-04,3,",
                  columns="machine,day,cash,out")
    assert values(Atm(path=path, **NAMES, down="out").frame()) == [5, None, 0, 3]
    assert values(Atm(path=path, **NAMES).frame()) == [5, 0, 0, 3]


def test_transactions_of_a_day_add_up_and_one_of_unknown_amount_makes_the_day_unknown(export):
    path = export("A,2024-01-01 09:30,5", "A,2024-01-01 17:00,20", "A,2024-01-02 08:00,", "A,2024-01-02 09:00,10",
                  "B,2024-01-01 10:00,3")
    frame = Atm(path=path, **NAMES, aggregate="sum").frame()
    assert values(frame) == [25, None, 3]
    assert frame.table["ds"].dtype == pl.Date


def test_several_rows_of_a_day_are_refused_unless_they_are_to_be_added(export):
    path = export("A,2024-01-01,5", "A,2024-01-01,20", "B,2024-01-01,1")
    with pytest.raises(FrameError, match=r"'A' has 2 rows on 2024-01-01 \(2 rows share.*aggregate='sum'"):
        Atm(path=path, **NAMES).frame()


def test_a_file_of_one_machine_needs_no_name(export):
    frame = Atm(path=export("2024-01-01,5", "2024-01-02,6", columns="ds,y"), id=None).frame()
    assert frame.ids.to_list() == ["atm"]


@pytest.mark.parametrize(("lines", "columns", "arguments", "message"), [
    (["A,2024-01-01,5"], "atm,day,cash", {}, "no column 'machine'"),
    (["A,2024-01-01,5"], "machine,day,cash", {"down": "out"}, "no column 'out'"),
    (["A,2024-01-01,5,broken"], "machine,day,cash,out", {"down": "out"}, "'out', row 1: 'broken' does not say"),
    (["A,2024-01-01,5", ",2024-01-02,5"], "machine,day,cash", {}, "'machine', row 2: the machine has no name"),
    (["A,3,5", "A,4,5"], "machine,day,cash", {}, "'day' holds integers, wanted days"),
    (["A,2024-01-01,5", "A,2024-01-02,much"], "machine,day,cash", {}, "the text 'much'"),
])
def test_a_file_that_cannot_be_read_as_days_says_where(export, lines, columns, arguments, message):
    with pytest.raises(FrameError, match=message):
        Atm(path=export(*lines, columns=columns), **NAMES, **arguments).frame()


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({}, ArgumentError, "give path="),
    ({"path": "x.csv", "aggregate": "mean"}, ArgumentError, "aggregate='mean'"),
    ({"path": "x.csv", "absent": "nothing"}, ArgumentError, "absent='nothing'"),
    ({"path": "x.csv", "holidays": "gb"}, UnknownNameError, "Did you mean 'GB'"),
    ({"path": "x.csv", "holidays": "GB-LON"}, UnknownNameError, "GB has no part 'LON'. There are: ENG"),
])
def test_an_argument_that_cannot_work_is_refused_before_anything_is_read(arguments, error, message):
    with pytest.raises(error, match=message):
        Atm(**arguments)


def test_without_the_package_of_holidays_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "holidays", None)
    assert Atm(path="x.csv", pay_day="last").ahead.columns  # nothing else needs it
    with pytest.raises(PackageError, match="pip install holidays"):
        Atm(path="x.csv", holidays="GB")


@pytest.mark.parametrize(("pay_day", "day", "to", "since"), [
    (28, date(2024, 2, 28), 0, 0),
    (28, date(2024, 2, 29), 28, 1),
    (28, date(2024, 3, 1), 27, 2),
    ("last", date(2024, 2, 28), 1, 28),
    ("last", date(2024, 2, 29), 0, 0),
    ("last", date(2024, 3, 1), 30, 1),
    (31, date(2024, 2, 29), 0, 0),
    (30, date(2024, 3, 1), 29, 1),
    (1, date(2024, 1, 31), 1, 30),
])
def test_days_to_and_since_the_pay_day_are_those_of_the_calendar(two_machines, pay_day, day, to, since):
    row = Atm(path=two_machines, **NAMES, pay_day=pay_day).frame().table.filter(pl.col("ds") == day)
    assert row.select("days_to_pay_day", "days_since_pay_day").row(0) == (to, since)


@pytest.mark.parametrize("roles", [{}, {"channels_from": "unique_id"}])
def test_what_is_known_ahead_is_what_the_calendar_then_shows(two_machines, roles):
    adapter = Atm(path=two_machines, **NAMES, day_of_week=True, holidays="GB-ENG", pay_day="last")
    later = adapter.frame().table.filter(pl.col("ds") > date(2024, 3, 16)).drop("y")
    earlier = adapter.frame(**roles).rows(pl.col("ds") <= date(2024, 3, 16))
    known = adapter.known_ahead(earlier, h=14)
    assert known.columns == later.columns
    assert known.cast(later.schema).sort("unique_id", "ds").equals(later)
    assert later.filter(pl.col("holiday") == 1)["ds"].to_list() == [date(2024, 3, 29)] * 2  # Good Friday


def test_a_model_that_takes_covariates_forecasts_with_what_is_known_ahead(two_machines):
    adapter = Atm(path=two_machines, **NAMES, day_of_week=True, holidays="GB-ENG", pay_day=28)
    frame = adapter.frame()
    model = tsforge.TimesNet(h=7, input_size=14, d_model=4, d_ff=4, top_k=1, max_steps=2).fit(frame)
    with pytest.raises(FrameError, match="'monday' is known ahead"):
        model.predict()
    with pytest.raises(FrameError, match="missing or infinite in future="):
        model.predict(future=adapter.known_ahead(frame, h=6))
    forecast = model.predict(future=adapter.known_ahead(frame, h=7))
    assert forecast["ds"].to_list() == [date(2024, 3, 31) + timedelta(days=day) for day in range(7)] * 2
    assert forecast["TimesNet"].is_finite().all()


def test_dlinear_takes_the_amounts_alone_and_says_so(two_machines):
    frame = Atm(path=two_machines, **NAMES, day_of_week=True, delay_embed=True, train=60).frame()
    assert frame.schema.past
    model = tsforge.DLinear(h=7, input_size=14, max_steps=2)
    with pytest.raises(CapabilityError, match=r"DLinear takes no .* covariates"):
        model.fit(frame)
    assert len(model.fit(frame.without_covariates()).predict()) == 14


def test_where_nothing_is_known_ahead_the_arguments_that_make_it_are_named(two_machines):
    adapter = Atm(path=two_machines, **NAMES)
    with pytest.raises(ArgumentError, match="knows nothing ahead: make it with day_of_week="):
        adapter.known_ahead(adapter.frame(), 7)
    with pytest.raises(ArgumentError, match="h=0"):
        adapter.known_ahead(adapter.frame(), 0)


def test_delays_of_noise_get_the_largest_dimension_rather_than_none(two_machines):
    frame = Atm(path=two_machines, **NAMES, delay_embed=True).frame()
    assert 1 <= len(frame.schema.past) <= 9
