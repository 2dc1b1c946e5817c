import csv
from datetime import datetime, timedelta

import polars as pl
import pytest

from tsforge import DLinear
from tsforge.data.activity import CHANNELS, Activity
from tsforge.errors import FrameError

FILE = "activity/ConfLongDemo_JSI_first10pct.csv"
HEAD = "id, sequence_name, tag_indicator, timestamp, x_coordinate, y_coordinate, z_coordinate, activity\n"


@pytest.fixture(scope="module")
def rows(shared_data) -> list[dict[str, str]]:
    with shared_data(FILE).open() as file:
        return [{name.strip(): cell for name, cell in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def frame(rows):
    return Activity().frame()


def test_the_readings_are_those_of_the_readme(rows, frame):
    assert len(rows) == 16_486
    assert frame.ids.to_list() == ["A01", "A02", "A03"]
    assert len(frame) == 16_485  # two readings of one microsecond share a row
    cells = frame.table.select(pl.sum_horizontal(pl.col(*CHANNELS).is_not_null()).alias("n"))["n"]
    assert cells.sum() == 3 * 16_486
    assert (cells == 3).sum() == 16_484
    assert (frame.freq, frame.schema.grid, frame.season, frame.notices) == ("irregular", "100ms", 1, ())


def test_every_reading_stands_at_its_time_under_its_tag(rows, frame):
    tags = {"010-000-024-033": "ankle_left", "010-000-030-096": "ankle_right", "020-000-033-111": "chest",
            "020-000-032-221": "belt"}
    names = frame.table.columns
    found = {(row[0], row[1]): dict(zip(names, row, strict=True)) for row in frame.table.iter_rows()}
    for row in rows:
        at = datetime(1, 1, 1) + timedelta(microseconds=int(row["timestamp"]) // 10)
        stands = found[row["sequence_name"], at]
        for axis in "xyz":
            assert stands[f"{tags[row['tag_indicator']]}_{axis}"] == float(row[f"{axis}_coordinate"])
    assert {at.date().isoformat() for _, at in found} == {"2009-05-27"}


def test_each_row_has_one_of_eleven_activities_as_its_label(rows, frame):
    assert frame.labels["activity"].n_unique() == 11
    assert frame.labels["activity"].null_count() == 0
    published = pl.DataFrame({"activity": [row["activity"] for row in rows]})["activity"].value_counts(sort=True)
    counted = frame.labels["activity"].value_counts(sort=True)
    assert published["activity"].to_list() == counted["activity"].to_list()
    assert (published["count"] - counted["count"]).to_list() == [1] + [0] * 10  # "lying" was read twice in a row


def test_on_a_grid_a_model_forecasts_it(frame):
    regular = Activity().frame(resample="200ms", how="mean", targets=["chest_z", "belt_z"])
    assert regular.freq == "200ms"
    forecast = DLinear(h=2, input_size=4, max_steps=3).fit(regular).predict()
    assert len(forecast) == 3 * 2 * 2
    assert forecast["DLinear"].is_between(-3, 3).all()


def test_the_file_of_the_archive_is_read_too(tmp_path):
    ticks = 633790226051280329
    cells = [(f"A0{k}", "020-000-033-111", ticks + k, 0.5, 1.5, 2.5, "falling") for k in (1, 2)]
    ours, theirs = tmp_path / "a.csv", tmp_path / "b.txt"
    ours.write_text(HEAD + "".join(f"{n},{','.join(map(str, row))}\n" for n, row in enumerate(cells)))
    dated = [(*row[:3], "27.05.2009 14:03:25:127", *row[3:]) for row in cells]
    theirs.write_text("".join(f"{','.join(map(str, row))}\n" for row in dated))
    tables = [Activity(path=path).table() for path in (ours, theirs)]
    assert tables[0].equals(tables[1])
    assert tables[0]["chest_y"].to_list() == [1.5, 1.5]


def test_an_unknown_tag_is_named(tmp_path):
    (tmp_path / "a.csv").write_text(HEAD + "0,A01,030-000,633790226051280329,0,0,0,falling\n")
    with pytest.raises(FrameError, match=r"'030-000' is none of the tags .* \(1 rows\)"):
        Activity(path=tmp_path / "a.csv").table()
