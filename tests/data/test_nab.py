import csv
import json
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from tsforge.data.nab import NAB
from tsforge.errors import ArgumentError, DataNotFoundError, FrameError, UnknownNameError

TAXI, MACHINE, CPU = "nyc_taxi", "machine_temperature_system_failure", "ec2_cpu_utilization_5f5533"
GROUPS = {TAXI: "realKnownCause", MACHINE: "realKnownCause", CPU: "realAWSCloudwatch"}


@pytest.fixture(params=GROUPS)
def name(request, shared_data) -> str:
    shared_data("nab/")
    return request.param


def published(folder: Path, name: str) -> list[tuple[datetime, float]]:
    with (folder / GROUPS[name] / f"{name}.csv").open() as file:
        return [(datetime.fromisoformat(row["timestamp"]), float(row["value"])) for row in csv.DictReader(file)]


def spans(folder: Path, name: str) -> list[tuple[datetime, datetime]]:
    windows = json.loads((folder / "combined_windows.json").read_text())[f"{GROUPS[name]}/{name}.csv"]
    return [(datetime.fromisoformat(a), datetime.fromisoformat(b)) for a, b in windows]


def own(tmp_path: Path, rows: str, windows: list, group: str = "g") -> NAB:
    (tmp_path / group).mkdir()
    (tmp_path / group / "mine.csv").write_text("timestamp,value\n" + rows)
    (tmp_path / "combined_windows.json").write_text(json.dumps({"g/mine.csv": windows}))
    (tmp_path / "combined_labels.json").write_text(json.dumps({"g/mine.csv": []}))
    return NAB(name="mine", path=tmp_path)


@pytest.mark.parametrize(("name", "rows", "kept", "freq", "season"), [
    (TAXI, 10_320, 10_320, "30m", 48), (MACHINE, 22_695, 22_683, "5m", 288), (CPU, 4_032, 4_032, "5m", 288),
])
def test_the_series_are_those_of_the_readme(shared_data, name, rows, kept, freq, season):
    assert len(published(shared_data("nab/"), name)) == rows
    frame = NAB(name=name).frame()
    assert (len(frame), frame.freq, frame.season, frame.notices) == (kept, freq, season, ())
    assert frame.steps.to_list() == list(range(kept))


def test_every_value_is_the_last_that_the_file_has_for_its_stamp(name, shared_data):
    table = NAB(name=name).table()
    assert dict(zip(table["ds"], table["value"], strict=True)) == dict(published(shared_data("nab/"), name))
    assert table["ds"].is_sorted()


def test_machine_temperature_writes_one_hour_twice_and_goes_back_once(shared_data):
    stamps = [at for at, _ in published(shared_data("nab/"), MACHINE)]
    backwards = [b for a, b in pairwise(stamps) if b < a]
    assert backwards == [datetime(2014, 1, 7, 2)]
    assert len(stamps) - len(set(stamps)) == 12
    twice = {a for a, b in pairwise(sorted(stamps)) if a == b}
    assert twice == {datetime(2014, 1, 7, 2) + timedelta(minutes=5 * k) for k in range(12)}


def test_a_row_is_in_a_window_exactly_where_the_benchmark_says(name, shared_data):
    windows = spans(shared_data("nab/"), name)
    labels = NAB(name=name).frame().labels
    for at, window in labels.select("ds", "window").iter_rows():
        assert window == any(a <= at <= b for a, b in windows)
    assert 0 < labels["window"].sum() < len(labels) / 5


def test_every_anomaly_is_one_row_and_lies_in_a_window(name, shared_data):
    seen = json.loads((shared_data("nab/") / "combined_labels.json").read_text())[f"{GROUPS[name]}/{name}.csv"]
    labels = NAB(name=name).frame().labels
    rows = labels.filter(labels["anomaly"] == 1)
    assert rows["ds"].to_list() == [datetime.fromisoformat(text) for text in seen]
    assert rows["window"].min() == 1


def test_a_series_of_the_users_own_is_found_in_any_folder_and_may_have_no_anomaly(tmp_path):
    frame = own(tmp_path, "2020-01-01 00:00:00,1\n2020-01-01 07:00:00,2\n", []).frame()
    assert (frame.freq, frame.season) == ("7h", 1)
    assert frame.labels.select("window", "anomaly").rows() == [(0, 0), (0, 0)]


def test_windows_hold_both_their_ends(tmp_path):
    rows = "".join(f"2020-01-01 0{k}:00:00,{k}\n" for k in range(5))
    frame = own(tmp_path, rows, [["2020-01-01 01:00:00.000000", "2020-01-01 03:00:00.000000"]]).frame()
    assert frame.labels["window"].to_list() == [0, 1, 1, 1, 0]


def test_names_labels_and_files_that_are_not_there_are_said(tmp_path):
    adapter = own(tmp_path, "2020-01-01,1\n2020-01-02,2\n", [], group="other")
    with pytest.raises(FrameError, match=r"combined_windows.json says nothing of other/mine.csv"):
        adapter.table()
    (tmp_path / "combined_windows.json").unlink()
    with pytest.raises(DataNotFoundError, match=r"combined_windows\.json"):
        adapter.table()
    with pytest.raises(UnknownNameError, match="Did you mean 'mine'"):
        NAB(name="mien", path=tmp_path).table()
    with pytest.raises(ArgumentError, match="name='g/mine'"):
        NAB(name="g/mine")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataNotFoundError, match="there is no file of it in"):
        NAB(name="mine", path=tmp_path / "empty").table()
