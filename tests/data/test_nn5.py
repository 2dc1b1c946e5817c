import math
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from tsforge.data.nn5 import NN5
from tsforge.errors import ArgumentError
from tsforge.frame.split import Split


@pytest.fixture
def file(shared_data):
    return shared_data("atm_nn5/nn5_daily.csv")


@pytest.fixture
def wide(tmp_path):
    """A file of the layout of NN5: `wide({"NN5-001": values})`."""

    def write(machines: dict[str, np.ndarray]):
        rows = len(next(iter(machines.values())))
        days = [date(1996, 3, 18) + timedelta(days=day) for day in range(rows)]
        pl.DataFrame({"date": days, **machines}).write_csv(tmp_path / "nn5.csv")
        return tmp_path / "nn5.csv"

    return write


def test_the_file_has_the_published_days_machines_and_missing_cells(file):
    frame = NN5().frame()
    assert (len(frame.ids), len(frame), frame.targets, frame.freq, frame.season) == (74, 74 * 791, ("y",), "1d", 7)
    assert all(name.startswith("NN5-") and 1 <= int(name[4:]) <= 111 for name in frame.ids)
    assert set(frame.spans()["first"]) == {date(1996, 3, 18)}
    assert set(frame.spans()["last"]) == {date(1998, 5, 17)}
    assert frame.table["y"].null_count() == 1_104
    assert frame.notices == ()


def test_the_last_56_days_are_the_test_part_of_the_competition(file):
    assert NN5().frame().split == NN5.published == Split(train=735, val=0, test=56)
    assert NN5.published.train + NN5.published.test == 791


def test_no_withdrawal_and_no_record_are_two_things(file):
    as_it_is, unknown = NN5(states=True).frame(), NN5(zero="missing").frame()
    assert (as_it_is.table["y"] == 0).sum() == 302
    assert (unknown.table["y"] == 0).sum() == 0
    assert unknown.table["y"].null_count() == 1_104 + 302
    assert as_it_is.labels is not None
    assert dict(as_it_is.labels["state"].value_counts().iter_rows()) == {
        "missing": 1_104, "zero": 302, "amount": 74 * 791 - 1_104 - 302
    }
    assert as_it_is.schema.columns == ("y",)  # no forecaster is shown the states


def test_the_monash_file_is_read_under_the_names_of_the_competition(file, tmp_path):
    (tmp_path / "nn5.tsf").write_text(
        "@attribute series_name string\n@attribute start_timestamp date\n@frequency daily\n@data\n"
        "T2:1996-03-18 00-00-00:11.5504535147392,13.5912698412698,?\n"
        "T103:1996-03-18 00-00-00:1,0,2\n"
    )
    read, published = NN5(path=tmp_path / "nn5.tsf").frame(), NN5().frame().table
    assert read.ids.to_list() == ["NN5-002", "NN5-103"]
    assert read.table["ds"].to_list() == [date(1996, 3, day) for day in (18, 19, 20)] * 2
    assert read.table["y"].to_list()[2:] == [None, 1, 0, 2]
    same = published.filter(pl.col("unique_id") == "NN5-002")["y"][:2]
    np.testing.assert_allclose(same, read.table["y"][:2], atol=1e-4)


def test_every_week_of_two_years_has_one_of_each_weekday_and_a_holiday_is_one_in_england(file):
    table = NN5(day_of_week=True, holidays="GB-ENG").frame().table.filter(pl.col("unique_id") == "NN5-002")
    assert table.select(pl.sum_horizontal("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
                        ).to_series().unique().to_list() == [1]
    assert table["monday"].to_list() == [float(day.weekday() == 0) for day in table["ds"]]
    feasts = table.filter(pl.col("holiday") == 1)["ds"].to_list()
    assert {date(1996, 12, 25), date(1996, 12, 26), date(1997, 8, 25), date(1998, 4, 13)} <= set(feasts)
    assert date(1997, 8, 26) not in feasts


def waves(n: int, period: float, phase: float = 0.0) -> np.ndarray:
    return 10 + np.sin(2 * math.pi * np.arange(n) / period + phase)


def spoiled(x: np.ndarray) -> np.ndarray:
    """The same training rows; 56 test rows that jump up and down."""
    return np.concatenate([x[:-56], 10 + 100.0 * (-1) ** np.arange(56)])


def test_delays_are_chosen_by_the_training_rows_alone(wide):
    x = waves(500, period=41.3)
    kept = NN5(delay_embed=True, path=wide({"NN5-001": x})).frame()
    changed = NN5(delay_embed=True, path=wide({"NN5-001": spoiled(x)})).frame()
    assert kept.schema.past == changed.schema.past == ("y_lag_11",)  # a quarter of the period, in two dimensions
    before = pl.int_range(pl.len()) < 500 - 56
    assert kept.table.filter(before).equals(changed.table.filter(before))
    leaking = NN5(delay_embed=True, train=500, path=wide({"NN5-001": spoiled(x)})).frame()  # the fault, planted
    assert leaking.schema.past != kept.schema.past


@pytest.mark.parametrize(("train", "same"), [(444, True), (0.888, True), (490, False), (0.99, False)])
def test_train_says_which_rows_choose(wide, train, same):
    path = wide({"NN5-001": spoiled(waves(500, period=41.3))})
    assert (NN5(delay_embed=True, train=train, path=path).frame().schema.past == ("y_lag_11",)) is same


def test_a_delayed_value_is_the_one_of_so_many_days_before_in_its_own_series(wide):
    path = wide({"NN5-001": waves(500, 41.3), "NN5-002": waves(500, 41.3, phase=1.0), "NN5-003": 3 * waves(500, 20.7)})
    frame = NN5(delay_embed="zero", path=path).frame()
    assert frame.schema.past == ("y_lag_11",)  # the median of the three
    for _, series in frame.table.group_by("unique_id"):
        y, delayed = series["y"].to_numpy(), series["y_lag_11"].to_numpy()
        assert np.isnan(delayed[:11]).all()
        np.testing.assert_array_equal(delayed[11:], y[:-11])


def test_the_1_e_rule_finds_a_shorter_lag_than_the_zero_rule(wide):
    path = wide({"NN5-001": waves(500, period=41.3)})
    zero, e = (NN5(delay_embed=rule, path=path).frame().schema.past[0] for rule in ("zero", "1/e"))
    assert int(e.rpartition("_")[2]) < int(zero.rpartition("_")[2])


def test_a_missing_day_stays_missing_in_the_frame_and_does_not_stop_the_choice(wide):
    x = waves(500, period=41.3)
    x[[20, 21, 150]] = np.nan
    frame = NN5(delay_embed=True, path=wide({"NN5-001": x})).frame()
    assert frame.table["y"].null_count() == 3
    assert frame.schema.past == ("y_lag_11",)


def test_a_lag_is_cut_to_what_the_length_allows(wide):
    frame = NN5(delay_embed=True, path=wide({"NN5-001": waves(500, period=200.3)})).frame()  # the first zero is at 51
    lag = int(frame.schema.past[0].removeprefix("y_lag_"))
    assert lag * 10 < (500 - 56) / 3 <= (lag + 1) * 10


def test_series_too_short_or_constant_cannot_choose(wide):
    for values in (waves(70, 7), np.full(500, 3.0)):
        with pytest.raises(ArgumentError, match="no series has more than 30 days that differ"):
            NN5(delay_embed=True, path=wide({"NN5-001": values})).frame()


@pytest.mark.parametrize(("arguments", "message"), [
    ({"zero": "nothing"}, "zero='nothing': wanted 'zero' or 'missing'"),
    ({"pay_day": 32}, "pay_day=32: wanted a day of the month"),
    ({"pay_day": "first"}, "pay_day='first': wanted a day of the month"),
    ({"delay_embed": "2/e"}, "delay_embed='2/e': wanted True"),
    ({"delay_embed": True, "train": 1.5}, "train=1.5: wanted a number of rows"),
    ({"delay_embed": True, "train": 0}, "train=0: wanted a number of rows"),
    ({"train": 100}, "train=100 belongs to delay_embed=True"),
])
def test_an_argument_that_cannot_work_is_refused_before_anything_is_read(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        NN5(**arguments)


def test_weeks_have_no_covariates_of_days(wide):
    path = wide({"NN5-001": waves(70, 7)})
    assert len(NN5(path=path).frame(resample="1w", how="sum")) == 10
    with pytest.raises(ArgumentError, match="counted in days"):
        NN5(day_of_week=True, path=path).frame(resample="1w", how="sum")
