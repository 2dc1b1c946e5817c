import polars as pl
import pytest

from tsforge.data.card import read_card
from tsforge.data.m4 import M4, PARTS
from tsforge.errors import DataNotFoundError, UnknownNameError
from tsforge.frame.grid import grid_of

HOURLY = "m4_hourly/m4_hourly_dataset.tsf"
HEADER = "# a comment\n@relation M4\n@attribute series_name string\n@attribute start_timestamp date\n@frequency {}\n" \
    "@horizon {}\n@missing false\n@equallength false\n@data\n"


def test_the_hourly_file_has_414_series_of_two_lengths(shared_data):
    shared_data(HOURLY)
    frame = M4().frame()
    lengths = frame.table.group_by("unique_id").len()["len"]
    assert (frame.freq, frame.season, frame.targets, frame.notices) == ("1h", 24, ("y",), ())
    assert (len(frame.ids), set(lengths)) == (414, {748, 1_008})
    assert frame.table["y"].null_count() == 0


def test_the_values_are_those_of_the_lines(shared_data):
    lines = shared_data(HOURLY).read_bytes().decode("cp1252").splitlines()
    lines = lines[lines.index("@data") + 1 :]
    table = M4().table()
    for line in (lines[0], lines[-1]):
        name, start, values = line.split(":")
        own = table.filter(unique_id=name)
        assert own["y"].to_list() == [float(value) for value in values.split(",")]
        assert own["ds"][0].strftime("%Y-%m-%d %H-%M-%S") == start


def test_the_horizon_is_that_of_the_file(shared_data):
    lines = shared_data(HOURLY).read_bytes().decode("cp1252").splitlines()
    assert f"@horizon {M4().horizon}" in lines
    assert M4().horizon == 48


@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_its_file_on_the_card_and_its_step(part, tmp_path):
    assert f"m4_{part}/m4_{part}_dataset.tsf" in [file.path for file in read_card("m4").files]
    text = HEADER.format(part, PARTS[part].horizon) + "T1:1990-01-01 12-00-00:1,2,3\nT2:1650-05-31 00-00-00:4,5\n"
    (tmp_path / "own.tsf").write_text(text)
    frame = M4(part=part, path=tmp_path / "own.tsf").frame()
    assert (frame.freq, frame.season) == (PARTS[part].freq, PARTS[part].season)
    assert frame.table.group_by("unique_id", maintain_order=True).agg("y").rows() == [("T1", [1, 2, 3]), ("T2", [4, 5])]
    first = pl.Series([frame.table["ds"][0]])
    assert grid_of(frame.freq, first).add(first, pl.Series([2]).to_numpy())[0] == frame.table["ds"][2]


def test_the_horizons_are_those_of_the_competition():
    horizons = {part: M4(part=part).horizon for part in PARTS}
    assert horizons == {"hourly": 48, "daily": 14, "weekly": 13, "monthly": 18, "quarterly": 8, "yearly": 6}


def test_an_unknown_part_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"no part 'hour'\. Did you mean 'hourly'"):
        M4(part="hour")


def test_a_part_whose_file_is_absent_says_where_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TSFORGE_DATA", str(tmp_path))
    with pytest.raises(DataNotFoundError, match=r"m4_weekly_dataset\.tsf: .*forecastingdata\.org"):
        M4(part="weekly").frame()
