from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tsforge import DLinear
from tsforge.data.physionet2012 import MEASURED, STATIC, PhysioNet2012
from tsforge.errors import ArgumentError, DataNotFoundError, FrameError

ADMISSION = datetime(2000, 1, 1)
HEAD = "Time,Parameter,Value\n00:00,RecordID,7\n00:00,Age,54\n00:00,Gender,-1\n00:00,ICUType,3\n00:00,Weight,-1\n"
OUTCOMES = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n7,6,-1,5,-1,0\n8,1,1,1,1,1\n"


@pytest.fixture(scope="module")
def folder(shared_data) -> Path:
    return shared_data("physionet2012/set-a").parent


@pytest.fixture(scope="module")
def frame(folder):
    return PhysioNet2012().frame()


def lines_of(folder: Path) -> dict[str, list[tuple[str, str, float]]]:
    """Every stay as its file has it, read line by line."""
    stays = {}
    for path in sorted((folder / "set-a").iterdir()):
        cells = [line.split(",") for line in path.read_text().splitlines()[1:]]
        stays[path.stem] = [(time, name, float(value)) for time, name, value in cells]
    return stays


def own(tmp_path: Path, rows: str, part: str = "a") -> PhysioNet2012:
    (tmp_path / f"set-{part}").mkdir()
    (tmp_path / f"set-{part}" / "7.txt").write_text(HEAD + rows)
    (tmp_path / f"Outcomes-{part}.txt").write_text(OUTCOMES)
    return PhysioNet2012(part=part, path=tmp_path)


def test_the_stays_are_those_of_the_readme(folder, frame):
    stays = lines_of(folder)
    rows = [len(lines) for lines in stays.values()]
    assert (len(stays), min(rows), max(rows)) == (200, 47, 815)
    assert frame.ids.to_list() == list(stays)
    assert (len(frame.targets), frame.freq, frame.season, frame.notices) == (36, "irregular", 1, ())
    assert frame.schema.grid == "1h"


def test_every_value_of_the_files_stands_at_its_time_and_nothing_else_does(folder, frame):
    expected = defaultdict(list)
    for stay, lines in lines_of(folder).items():
        for time, name, value in lines:
            if name in MEASURED:
                expected[stay, time, name].append(value)
    long = frame.table.unpivot(index=["unique_id", "ds"]).drop_nulls()
    found = {(stay, at, name): value for stay, at, name, value in long.iter_rows()}
    assert len(found) == len(expected)
    for (stay, time, name), values in expected.items():
        hours, minutes = map(int, time.split(":"))
        value = found[stay, ADMISSION + timedelta(hours=hours, minutes=minutes), name]
        assert value == pytest.approx(sum(values) / (1 if name == "Urine" else len(values)), rel=1e-15)
    assert sum(len(values) > 1 for values in expected.values()) == 159


def test_a_row_of_the_frame_has_at_least_one_measurement(frame):
    assert frame.table.select(pl.any_horizontal(pl.col(*MEASURED).is_not_null())).to_series().all()


def test_descriptors_are_static_and_minus_one_is_missing(folder, frame):
    stays = lines_of(folder)
    for name in ("Age", "Gender", "Height", "Weight"):
        published = [next(value for _, n, value in lines if n == name) for lines in stays.values()]
        assert frame.static[name].to_list() == [None if value == -1 else value for value in published]
    assert (frame.static["Height"].null_count(), frame.static["Weight"].null_count()) == (92, 18)
    units = frame.static["ICUType"].value_counts()
    assert set(units["ICUType"]) == {"coronary care", "cardiac surgery recovery", "medical", "surgical"}


def test_outcomes_are_labels_of_the_stays_and_no_target(folder, frame):
    published = pl.read_csv(folder / "Outcomes-a.txt", schema_overrides={"RecordID": pl.String})
    assert frame.labels["In-hospital_death"].sum() == 25
    assert frame.labels["unique_id"].to_list() == frame.ids.to_list()
    joined = frame.labels.join(published, left_on="unique_id", right_on="RecordID")
    assert len(joined) == 200
    for name in ("SAPS-I", "SOFA", "Length_of_stay", "Survival"):
        assert joined[name].fill_null(-1).equals(joined[f"{name}_right"], check_names=False)
        assert (joined[name] == -1).sum() == 0
    assert not {"SAPS-I", "Survival", "In-hospital_death"} & set(frame.table.columns)


def test_hours_can_be_forecast_by_a_model_of_the_regular_grid(folder):
    hourly = PhysioNet2012().frame(resample="1h", targets=["HR", "Temp", "Urine"])
    assert (hourly.freq, hourly.season) == ("1h", 24)
    assert set(hourly.table["ds"].dt.minute()) == {0}
    forecast = DLinear(h=3, input_size=6, max_steps=3).fit(hourly.without_covariates()).predict()
    assert forecast["unique_id"].n_unique() == 200
    assert len(forecast) == 200 * 3 * 3
    assert forecast["DLinear"].is_finite().all()


def test_all_measurements_are_resampled_to_the_last_of_each_hour(folder, frame):
    hourly = PhysioNet2012().frame(resample="1h")
    assert hourly.targets == MEASURED
    key = ["unique_id", "ds"]
    last = frame.table.select(*key, "HR").drop_nulls().with_columns(pl.col("ds").dt.truncate("1h"))
    last = last.unique(key, keep="last", maintain_order=True)
    assert hourly.table.select(*key, "HR").drop_nulls().equals(last)


def test_of_two_values_of_a_minute_amounts_are_added_and_readings_averaged(tmp_path):
    table = own(tmp_path, "01:05,Urine,100\n01:05,Urine,40\n01:05,MAP,60\n01:05,MAP,70\n30:10,MAP,1\n").table()
    assert (table["ds"] - ADMISSION).to_list() == [timedelta(hours=1, minutes=5), timedelta(hours=30, minutes=10)]
    assert table["Urine"].to_list() == [140, None]
    assert table["MAP"].to_list() == [65, 1]


def test_a_folder_of_the_users_own_is_read_in_any_order_of_its_rows(tmp_path, monkeypatch):
    adapter = own(tmp_path, "02:00,HR,80\n01:00,HR,70\n01:00,pH,-1\n02:00,Weight,60\n", part="b")
    frame = adapter.frame(targets="HR")
    assert frame.table.rows() == [("7", ADMISSION + timedelta(hours=1), 70), ("7", ADMISSION + timedelta(hours=2), 80)]
    assert frame.static.row(0, named=True) == {
        "unique_id": "7", "Age": 54, "Gender": None, "Height": None, "ICUType": "medical", "Weight": None}
    assert frame.labels.rows() == [("7", 6, None, 5, None, 0)]
    assert frame.notices == ("Columns without a role are left out: " + _named(MEASURED) + ".",)
    monkeypatch.chdir(tmp_path)
    assert PhysioNet2012(part="b", path=".").table().equals(adapter.table())


def _named(columns) -> str:
    rest = [name for name in columns if name != "HR"]
    return ", ".join(map(repr, rest[:12])) + f" and {len(rest) - 12} more"


@pytest.mark.parametrize(("row", "said"), [
    ("7:5,HR,80\n", "Stay 7: the time '7:5' is not written as 07:15"),
    ("07:05,Pulse,80\n", "Stay 7: 'Pulse' is no parameter"),
    ("07:05,HR,fast\n", "set-a/7.txt cannot be read"),
])
def test_a_fault_in_a_file_is_named(tmp_path, row, said):
    with pytest.raises(FrameError, match=said):
        own(tmp_path, row).table()


def test_a_missing_folder_set_or_outcome_is_said(tmp_path):
    with pytest.raises(ArgumentError, match="part='d': wanted 'a' or 'b' or 'c'"):
        PhysioNet2012(part="d")
    adapter = own(tmp_path, "01:00,HR,70\n")
    (tmp_path / "Outcomes-a.txt").unlink()
    with pytest.raises(DataNotFoundError, match=r"no .*Outcomes-a\.txt"):
        adapter.frame()
    with pytest.raises(DataNotFoundError, match=r"no stays in .*set-b"):
        PhysioNet2012(part="b", path=tmp_path).table()


def test_parameters_are_the_42_of_the_challenge():
    assert len({*MEASURED, *STATIC, "RecordID"}) == 42
