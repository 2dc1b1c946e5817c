from datetime import date

import polars as pl
import pytest

from tsforge.data.atm_india import MADE, MEASURED, AtmIndia
from tsforge.data.files import read_table
from tsforge.errors import ArgumentError, UnknownNameError

ABSENT = {"Big Street ATM": 110, "Airport ATM": 211, "KK Nagar ATM": 93}
ROWS = {"Big Street ATM": 2_354, "Airport ATM": 2_253, "KK Nagar ATM": 2_371}


@pytest.fixture
def raw(shared_data):
    table = read_table(shared_data("atm_india/atm_transactions.csv"))
    return table.with_columns(pl.col("transaction_date").str.to_date("%m/%d/%Y").alias("ds"))


def test_the_file_has_the_published_rows_and_absent_days(raw):
    assert raw.shape == (6_978, 12 + 1)
    assert dict(raw["atm_name"].value_counts().iter_rows()) == ROWS
    frame = AtmIndia().frame()
    assert (frame.targets, frame.freq, frame.season) == (("total_amount_withdrawn",), "1d", 7)
    assert set(frame.table.group_by("unique_id").len()["len"]) == {2_464}
    absent = frame.table.group_by("unique_id").agg(pl.col("total_amount_withdrawn").null_count())
    assert dict(absent.iter_rows()) == ABSENT
    assert (frame.table["ds"].min(), frame.table["ds"].max()) == (date(2011, 1, 1), date(2017, 9, 29))
    assert frame.notices == ()


def test_the_two_parts_add_up_to_the_total_in_every_row(raw):
    table = AtmIndia(targets=MEASURED).frame().table.drop_nulls("no_of_withdrawals")
    assert len(table) == 6_978
    total, *parts = (table[name] for name in MEASURED[:3])
    assert (parts[0] + parts[1] == total).all()
    total, *parts = (table[name] for name in MEASURED[3:])
    assert (parts[0] + parts[1] == total).all()


def test_the_weekday_of_the_file_is_wrong_only_in_2012_and_ours_never(raw):
    wrong = raw.filter(pl.col("weekday") != pl.col("ds").dt.strftime("%A"))
    assert set(wrong["ds"].dt.year()) == {2012}
    assert len(wrong) == 735
    table = AtmIndia(day_of_week=True).frame().table
    assert table["sunday"].to_list() == [float(day.weekday() == 6) for day in table["ds"]]


def test_absent_days_may_count_as_days_on_which_nobody_drew(raw):
    zeros = AtmIndia(absent="zero", states=True).frame()
    assert zeros.table["total_amount_withdrawn"].null_count() == 0
    assert (zeros.table["total_amount_withdrawn"] == 0).sum() == sum(ABSENT.values())
    assert zeros.labels is not None
    assert dict(zeros.labels["state"].value_counts().iter_rows()) == {"absent": 414, "amount": 6_978}


def test_no_row_of_2012_is_a_working_day_in_the_file_and_mended_it_has_as_many_as_other_years(raw):
    assert not (raw.filter(pl.col("ds").dt.year() == 2012)["working_day"] == "W").any()
    table = AtmIndia(festivals=True).frame().table.filter(pl.col("unique_id") == "KK Nagar ATM")
    years = table.group_by(pl.col("ds").dt.year().alias("year")).agg(
        pl.col("working_day").mean(), feasts=pl.sum_horizontal("^festival_.*$").mean()
    )
    mended, others = years.filter(pl.col("year") == 2012), years.filter(pl.col("year") != 2012)
    for name in ("working_day", "feasts"):
        assert others[name].min() * 0.9 < mended[0, name] < others[name].max() * 1.1  # pyright: ignore
    told = raw.filter(pl.col("ds").dt.year() == 2012).unique("ds")
    assert (told["festival_religion"] != "NH").mean() > 1.5 * others["feasts"].max()  # unmended it is far out  # pyright: ignore


def test_in_2012_the_days_beside_a_holiday_are_told_by_its_neighbours(raw):
    table = AtmIndia(festivals=True).frame().table.filter(pl.col("unique_id") == "KK Nagar ATM")
    days = {row["ds"]: row for row in table.iter_rows(named=True)}
    friday, republic_day, saturday = (days[date(2012, 1, day)] for day in (27, 26, 28))
    assert (friday["working_day"], friday["holiday_before"], friday["holiday_after"]) == (1, 1, 1)
    assert (republic_day["working_day"], republic_day["festival_national"]) == (0, 1)
    assert (saturday["working_day"], friday["festival_national"]) == (0, 0)


def test_the_calendar_of_the_other_years_is_that_of_the_file(raw):
    table = AtmIndia(festivals=True).frame().table
    kept = table.join(raw.filter(pl.col("ds").dt.year() != 2012), left_on=["unique_id", "ds"],
                      right_on=["atm_name", "ds"], suffix="_told")
    assert len(kept) == 6_978 - 1_096
    assert ((kept["working_day"] == 1) == (kept["working_day_told"] == "W")).all()
    assert ((kept["festival_muslim"] == 1) == (kept["festival_religion"] == "M")).all()
    assert ((kept["holiday_before"] == 1) == (kept["holiday_sequence"].str.slice(0, 1) == "H")).all()
    assert ((kept["holiday_after"] == 1) == (kept["holiday_sequence"].str.slice(2, 1) == "H")).all()
    assert table.filter(pl.col("total_amount_withdrawn").is_null()).select(MADE).null_count().row(0) == (414,) * 7


def test_the_calendar_of_the_file_is_given_only_as_asked_and_ends_with_it(raw):
    assert AtmIndia().frame().schema.future == ()
    adapter = AtmIndia(festivals=True, holidays="IN")
    frame = adapter.frame()
    assert frame.schema.future == (*MADE, "holiday")
    with pytest.raises(ArgumentError, match="end with the file"):
        adapter.known_ahead(frame, 7)


def test_delays_belong_to_each_target(raw):
    frame = AtmIndia(targets=["no_of_withdrawals", "total_amount_withdrawn"], delay_embed="1/e").frame()
    roots = {name.rpartition("_lag_")[0] for name in frame.schema.past}
    assert roots == {"no_of_withdrawals", "total_amount_withdrawn"}


def test_an_unknown_target_and_an_unreadable_date_are_named(tmp_path):
    with pytest.raises(UnknownNameError, match=r"no 'amount'.*There are: total_amount_withdrawn"):
        AtmIndia(targets="amount")
    path = tmp_path / "x.csv"
    path.write_text("atm_name,transaction_date,total_amount_withdrawn\nA,1/1/2011,5\nA,1/32/2011,6\n")
    with pytest.raises(ValueError, match=r"'transaction_date', row 2: '1/32/2011' is no time stamp"):
        AtmIndia(path=path).frame()
