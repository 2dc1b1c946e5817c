import gzip
from pathlib import Path

import numpy as np
import pytest

from tsforge.data.smd import METRICS, SMD
from tsforge.errors import ArgumentError, DataNotFoundError, FrameError, UnknownNameError

TEST = "smd/machine-1-2_test.txt.gz"


@pytest.fixture(scope="module")
def frames(shared_data):
    shared_data(TEST)
    return {part: SMD(part=part).frame() for part in ("train", "test", "both")}


def own(tmp_path: Path, rows: str = "", label: str = "0\n1\n1\n", interpretation: str = "1-3:1,38\n") -> Path:
    rows = rows or "".join(",".join(str(row + k / 100) for k in range(38)) + "\n" for row in range(3))
    files = {"train": rows, "test": rows, "test_label": label, "interpretation_label": interpretation}
    for name, text in files.items():
        (tmp_path / f"machine-9-9_{name}.txt").write_text(text)
    return tmp_path


@pytest.mark.parametrize("part", ["train", "test"])
def test_each_part_is_as_the_readme_says(shared_data, frames, part):
    frame = frames[part]
    published = np.loadtxt(shared_data(f"smd/machine-1-2_{part}.txt.gz"), delimiter=",")
    assert published.shape == (23_694, 38)
    np.testing.assert_array_equal(frame.table.select(METRICS).to_numpy(), published)
    assert frame.table["ds"].to_list() == list(range(23_694))
    assert (frame.ids.to_list(), frame.freq, frame.season, frame.notices) == (["machine-1-2"], "1i", 1440, ())


def test_five_metrics_are_constant_in_training(frames):
    values = frames["train"].table.select(METRICS).to_numpy()
    assert np.flatnonzero(values.std(axis=0) == 0).tolist() == [7, 26, 28, 36, 37]


def test_only_the_test_part_has_labels_and_542_minutes_are_anomalous(frames):
    assert frames["train"].labels is None
    assert frames["test"].labels["label"].sum() == 542
    assert set(frames["test"].labels["label"]) == {0, 1}
    assert all("label" not in frame.table.columns for frame in frames.values())


def test_both_parts_are_one_series_of_which_the_later_half_is_labelled(frames):
    both = frames["both"]
    assert both.table["ds"].to_list() == list(range(2 * 23_694))
    assert both.table["m0"].to_list() == frames["train"].table["m0"].to_list() + frames["test"].table["m0"].to_list()
    assert both.labels["label"].head(23_694).null_count() == 23_694
    assert both.labels["label"].tail(23_694).to_list() == frames["test"].labels["label"].to_list()


@pytest.mark.parametrize("part", ["test", "both"])
def test_the_spans_of_the_interpretation_are_exactly_the_anomalous_minutes(frames, part):
    label = frames[part].labels["label"].fill_null(0).to_numpy()
    spans = SMD(part=part).interpretation()
    assert len(spans) == 10
    inside = np.zeros(len(label), int)
    for start, end, _ in spans.iter_rows():
        inside[start:end] = 1
    np.testing.assert_array_equal(inside, label)


def test_no_constant_metric_is_named_as_anomalous_and_counted_from_zero_some_would_be(frames):
    values = frames["test"].table.select(METRICS).to_numpy()
    constant = {f"m{k}" for k in np.flatnonzero(values.std(axis=0) == 0)}
    named = {name for names in SMD(part="test").interpretation()["dimensions"] for name in names}
    assert not named & constant
    assert named <= set(METRICS)
    assert {f"m{int(name[1:]) + 1}" for name in named} & constant


def test_the_layouts_of_the_source_and_of_one_folder_are_the_same(tmp_path):
    flat, nested = tmp_path / "a", tmp_path / "b"
    flat.mkdir()
    own(flat)
    for path in flat.iterdir():
        kind = path.stem.partition("_")[2]
        (nested / kind).mkdir(parents=True)
        (nested / kind / "machine-9-9.txt.gz").write_bytes(gzip.compress(path.read_bytes()))
    one, other = (SMD(machine="machine-9-9", part="both", path=path) for path in (flat, nested))
    assert one.table().equals(other.table())
    assert one.interpretation().rows() == other.interpretation().rows() == [(4, 6, ["m0", "m37"])]
    assert SMD(machine="machine-9-9", path=flat).interpretation().is_empty()
    with pytest.raises(UnknownNameError, match="Did you mean 'machine-9-9'"):
        SMD(machine="machine-9-8", path=nested).table()


@pytest.mark.parametrize(("fault", "said"), [
    ({"rows": "1,2\n3,4\n5,6\n"}, "2 columns .*, wanted 38 of numbers"),
    ({"rows": "a" + ",0" * 37 + "\n"}, "38 columns .*, wanted 38 of numbers"),
    ({"label": "0\n1\n"}, "2 labels for 3 test rows"),
])
def test_a_file_of_another_shape_is_refused(tmp_path, fault, said):
    with pytest.raises(FrameError, match=said):
        SMD(machine="machine-9-9", part="test", path=own(tmp_path, **fault)).table()


def test_a_broken_interpretation_and_wrong_arguments_are_said(tmp_path):
    adapter = SMD(machine="machine-9-9", part="test", path=own(tmp_path, interpretation="1-3 1,38\n"))
    with pytest.raises(FrameError, match="'1-3 1,38' is not written as 15415-15418:18,20"):
        adapter.interpretation()
    (tmp_path / "machine-9-9_test_label.txt").unlink()
    with pytest.raises(DataNotFoundError, match=r"there is no .*machine-9-9_test_label"):
        adapter.table()
    with pytest.raises(ArgumentError, match="part='val'"):
        SMD(part="val")
    with pytest.raises(ArgumentError, match="machine='a/b'"):
        SMD(machine="a/b")
