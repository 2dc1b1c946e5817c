from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from tsforge.data import ett
from tsforge.data.card import read_card
from tsforge.data.ett import ETT, ETTh1
from tsforge.errors import DataNotFoundError, FrameError
from tsforge.frame.split import Split

VARIANTS = [ett.ETTh1, ett.ETTh2, ett.ETTm1, ett.ETTm2]


def in_the_layout(path, channels, *, every=timedelta(hours=1), rows=30):
    """A file with `date` and these channels, each cell a number of its own."""
    dates = pl.Series("date", [str(datetime(2016, 7, 1) + k * every) for k in range(rows)])
    values = np.arange(rows * len(channels), dtype=float).reshape(rows, -1) / 8
    pl.DataFrame(values, schema=list(channels)).insert_column(0, dates).write_csv(path)
    return path, values


def step_of(variant: type[ETT]) -> timedelta:
    return timedelta(hours=24) / variant.season


def test_the_file_has_the_published_rows_without_gaps(shared_data):
    shared_data("ett/ETTh1.csv")
    frame = ETTh1().frame()
    assert (len(frame), len(frame.targets), frame.notices) == (17_420, 7, ())
    assert (frame.table["ds"][0], frame.table["ds"][-1]) == (datetime(2016, 7, 1), datetime(2018, 6, 26, 19))
    assert frame.steps is not None
    assert frame.steps.to_list() == list(range(17_420))
    assert frame.table.null_count().sum_horizontal().item() == 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_reads_a_file_of_the_layout(variant, tmp_path):
    path, values = in_the_layout(tmp_path / "own.csv", ETT.channels, every=step_of(variant))
    frame = variant(path=path).frame()
    assert frame.ids.to_list() == [variant.__name__]
    assert frame.notices == ()
    assert frame.table.select(frame.targets).to_numpy().tolist() == values.tolist()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_season_is_a_day_and_the_split_counts_months_of_thirty_days(variant):
    day = variant.season
    assert variant.published == Split(train=360 * day, val=120 * day, test=120 * day)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_its_own_file_on_its_own_card(variant):
    assert [file.path for file in read_card(variant.key).files] == [f"ett/{variant.__name__}.csv"]


def test_a_file_that_ends_before_the_test_part_has_no_published_split(tmp_path):
    long, short = (in_the_layout(tmp_path / f"{rows}.csv", ETT.channels, rows=rows)[0] for rows in (14_400, 14_399))
    assert ETTh1(path=long).frame().split == ETTh1.published
    assert ETTh1(path=short).frame().split is None


def test_a_file_that_lacks_a_channel_names_it(tmp_path):
    path, _ = in_the_layout(tmp_path / "own.csv", ETT.channels[:-1])
    with pytest.raises(FrameError, match=r"own\.csv: the table has no column 'OT'"):
        ETTh1(path=path).frame()


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_its_file_every_variant_says_where_to_get_it(variant, monkeypatch, tmp_path):
    monkeypatch.setenv("TSFORGE_DATA", str(tmp_path))
    with pytest.raises(DataNotFoundError, match=rf"{variant.__name__}\.csv: .*ETDataset.*CC BY-ND 4\.0"):
        variant().frame()
