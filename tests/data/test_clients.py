from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from tsforge.data.electricity import Electricity
from tsforge.data.traffic import Traffic
from tsforge.errors import DataNotFoundError, FrameError
from tsforge.frame.split import Split

ROWS, START = 5, datetime(2016, 7, 1, 2)
SETS = {  # class, channels, hours of the published file, its split
    "electricity": (Electricity, 321, 26_304, Split(train=18_412, val=2_632, test=5_260)),
    "traffic": (Traffic, 862, 17_544, Split(train=12_280, val=1_756, test=3_508)),
}


@pytest.fixture(params=SETS)
def name(request):
    return request.param


def names_of(name):
    return [*map(str, range(SETS[name][1] - 1)), "OT"]


def values_of(name):
    return np.arange(ROWS * SETS[name][1], dtype=float).reshape(ROWS, -1) / 8


@pytest.fixture
def file(tmp_path, name):
    """Five hours in the layout of the published file."""
    dates = pl.Series("date", [str(START + timedelta(hours=k)) for k in range(ROWS)])
    pl.DataFrame(values_of(name), schema=names_of(name)).insert_column(0, dates).write_csv(tmp_path / "own.csv")
    return tmp_path / "own.csv"


def test_all_columns_are_the_channels_of_one_series(file, name):
    frame = SETS[name][0](path=file).frame()
    assert (frame.ids.to_list(), frame.freq, frame.season, frame.notices) == ([name], "1h", 24, ())
    assert frame.targets == tuple(names_of(name))
    assert frame.table["ds"].to_list() == [START + timedelta(hours=k) for k in range(ROWS)]
    assert (frame.table.select(names_of(name)).to_numpy() == values_of(name)).all()


def test_as_series_each_column_is_a_series_with_the_same_values(file, name):
    frame = SETS[name][0](path=file, as_series=True).frame()
    assert (frame.targets, len(frame.ids), frame.notices) == (("y",), SETS[name][1], ())
    wide = frame.table.pivot("unique_id", index="ds", values="y")
    assert (wide.select(names_of(name)).to_numpy() == values_of(name)).all()


@pytest.mark.parametrize("as_series", [False, True])
def test_a_file_as_long_as_the_published_one_has_its_split_and_a_shorter_one_has_none(file, name, as_series):
    assert SETS[name][0](path=file, as_series=as_series).frame().split is None
    table = pl.read_csv(file).tail(1).with_columns(date=pl.lit(str(START + timedelta(hours=SETS[name][2] - 1))))
    pl.concat([pl.read_csv(file), table]).write_csv(file)
    assert SETS[name][0](path=file, as_series=as_series).frame().split == SETS[name][3]


def test_a_file_that_lacks_a_column_names_it(file, name):
    pl.read_csv(file).drop("17").write_csv(file)
    with pytest.raises(FrameError, match=r"own\.csv: the table has no column '17'"):
        SETS[name][0](path=file).frame()


def test_without_its_file_it_says_where_to_get_it(monkeypatch, tmp_path, name):
    monkeypatch.setenv("TSFORGE_DATA", str(tmp_path))
    with pytest.raises(DataNotFoundError, match=rf"There is no .*{name}\.csv: .*Autoformer.*Licence"):
        SETS[name][0]().frame()
