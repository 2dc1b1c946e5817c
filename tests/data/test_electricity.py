from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from tsforge.data.electricity import Electricity
from tsforge.errors import DataNotFoundError, FrameError
from tsforge.frame.split import Split

ROWS, START = 5, datetime(2016, 7, 1, 2)
VALUES = np.arange(ROWS * 321, dtype=float).reshape(ROWS, 321) / 8
NAMES = [*map(str, range(321 - 1)), "OT"]


@pytest.fixture
def file(tmp_path):
    """Five hours in the layout of the published file."""
    dates = pl.Series("date", [str(START + timedelta(hours=k)) for k in range(ROWS)])
    pl.DataFrame(VALUES, schema=NAMES).insert_column(0, dates).write_csv(tmp_path / "own.csv")
    return tmp_path / "own.csv"


def test_all_columns_are_the_channels_of_one_series(file):
    frame = Electricity(path=file).frame()
    assert (frame.ids.to_list(), frame.freq, frame.season, frame.notices) == (["electricity"], "1h", 24, ())
    assert frame.targets == tuple(NAMES)
    assert frame.table["ds"].to_list() == [START + timedelta(hours=k) for k in range(ROWS)]
    assert (frame.table.select(NAMES).to_numpy() == VALUES).all()


def test_as_series_each_column_is_a_series_with_the_same_values(file):
    frame = Electricity(path=file, as_series=True).frame()
    assert (frame.targets, len(frame.ids), frame.notices) == (("y",), 321, ())
    wide = frame.table.pivot("unique_id", index="ds", values="y")
    assert (wide.select(NAMES).to_numpy() == VALUES).all()


@pytest.mark.parametrize("as_series", [False, True])
def test_a_file_as_long_as_the_published_one_has_its_split_and_a_shorter_one_has_none(file, as_series):
    assert Electricity(path=file, as_series=as_series).frame().split is None
    table = pl.read_csv(file).tail(1).with_columns(date=pl.lit(str(START + timedelta(hours=26_304 - 1))))
    pl.concat([pl.read_csv(file), table]).write_csv(file)
    assert Electricity(path=file, as_series=as_series).frame().split == Split(train=18_412, val=2_632, test=5_260)


def test_a_file_that_lacks_a_column_names_it(file):
    pl.read_csv(file).drop("17").write_csv(file)
    with pytest.raises(FrameError, match=r"own\.csv: the table has no column '17'"):
        Electricity(path=file).frame()


def test_without_its_file_it_says_where_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TSFORGE_DATA", str(tmp_path))
    with pytest.raises(DataNotFoundError, match=r"There is no .*electricity\.csv: .*Autoformer.*Licence"):
        Electricity().frame()
