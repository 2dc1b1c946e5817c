from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tsforge.data.members import check_file_name
from tsforge.data.ts import read_ts
from tsforge.data.ucr import UCR
from tsforge.errors import ArgumentError, DataNotFoundError, FrameError, UnknownNameError

HEAD = "# of é\n@problemName X\n@timeStamps false\n@classLabel true a b\n@data\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "X.ts"
    path.write_bytes(text.encode("cp1252"))
    return path


def by_hand(path: Path) -> list[tuple[list[list[float]], str]]:
    """Dimensions and class of every case, line by line."""
    lines = path.read_text().splitlines()
    data = lines[next(n for n, line in enumerate(lines) if line.lower().startswith("@data")) + 1 :]
    cases = [line.split(":") for line in data if line.strip()]
    return [([[float(cell) for cell in part.split(",")] for part in parts], label) for *parts, label in cases]


@pytest.mark.parametrize(("name", "part", "cases", "channels", "classes", "lengths"), [
    ("JapaneseVowels", "train", 270, 12, 9, (7, 26)), ("JapaneseVowels", "test", 370, 12, 9, (7, 29)),
    ("ArrowHead", "train", 36, 1, 3, (251, 251)), ("ArrowHead", "test", 175, 1, 3, (251, 251)),
])
def test_the_problems_are_those_of_the_readme(shared_data, name, part, cases, channels, classes, lengths):
    shared_data("uea_ucr/")
    frame = UCR(name=name, part=part).frame()
    steps = frame.table.group_by("unique_id").len()["len"]
    assert (len(frame.ids), len(frame.targets)) == (cases, channels)
    assert (steps.min(), steps.max()) == lengths
    assert frame.labels["class"].n_unique() == classes
    assert set(frame.labels["part"]) == {part}
    assert (frame.freq, frame.season, frame.notices) == ("1i", 1, ())


@pytest.mark.parametrize("name", ["JapaneseVowels", "ArrowHead"])
def test_every_value_and_class_stands_where_the_file_has_it(shared_data, name):
    shared_data("uea_ucr/")
    both = UCR(name=name, part="both").frame()
    for part in ("train", "test"):
        expected = by_hand(shared_data(f"uea_ucr/{name}/{name}_{part.upper()}.ts"))
        own = both.rows(pl.col("unique_id").str.starts_with(part))
        values = np.concatenate([np.array(dimensions).T for dimensions, _ in expected])
        np.testing.assert_array_equal(own.table.select(own.targets).to_numpy(), values)
        assert own.labels["class"].to_list() == [label for _, label in expected]
        assert own.ids.to_list() == [f"{part}-{k:04d}" for k in range(1, len(expected) + 1)]


def test_question_marks_are_missing_and_lengths_may_differ(tmp_path):
    cases = read_ts(written(tmp_path, HEAD + "1,?, 3:4,NaN,6:a\n\n# between\n7:8:b\n"))
    assert cases.values.rows() == [(0, 0, 1, 4), (0, 1, None, None), (0, 2, 3, 6), (1, 0, 7, 8)]
    assert cases.outcome.to_list() == ["a", "b"]


def test_a_problem_of_regression_has_numbers_and_one_without_classes_none(tmp_path):
    target = read_ts(written(tmp_path, "@targetLabel true\n@data\n1,2:0.5\n"))
    assert target.outcome.to_list() == [0.5]
    bare = read_ts(written(tmp_path, "@classLabel false\n@dimensions 2\n@data\n1,2:3,4\n"))
    assert bare.outcome is None
    assert bare.values["x1"].to_list() == [3, 4]


@pytest.mark.parametrize(("text", "said"), [
    (HEAD, "nothing follows a line @data"),
    ("1,2:a\n", "nothing follows"),
    (HEAD.replace("false", "true") + "(0,1),(3,2):a\n", "time stamps are not read"),
    (HEAD + "1,2:3,4:a\n1,2:a\n", r"line 7: 1 dimensions, wanted 2 \(1 such"),
    (HEAD + "1,2\n", "ends in '1,2', wanted one of 'a', 'b'"),
    (HEAD + "1,2:3:a\n", "line 6: its dimensions differ in length"),
    (HEAD + "1,2:c\n", "line 6: it ends in 'c', wanted one of 'a', 'b'"),
    (HEAD + "1,two:a\n", "line 6, step 2 of x0: 'two' is no number"),
    (HEAD.replace("@data", "@dimensions 3\n@data") + "1:2:a\n", "line 7: 2 dimensions, wanted 3"),
    ("@targetLabel true\n@data\n1,2:much\n", "ends in 'much', wanted a number"),
])
def test_a_fault_names_its_line(tmp_path, text, said):
    with pytest.raises(FrameError, match=said):
        read_ts(written(tmp_path, text))


def problem(folder: Path, name: str, train: str, test: str) -> None:
    (folder / name).mkdir()
    (folder / name / f"{name}_TRAIN.ts").write_text("@data\n" + train)
    (folder / name / f"{name}_TEST.ts").write_text("@data\n" + test)


def test_a_folder_of_the_users_own_is_read_and_more_cases_than_four_digits_keep_their_order(tmp_path):
    problem(tmp_path, "Many", "".join(f"{k},{k}\n" for k in range(10_001)), "1,2\n")
    frame = UCR(name="Many", part="both", path=tmp_path).frame()
    assert frame.table.filter(pl.col("ds") == 0)["x0"].to_list() == [1.0, *range(10_001)]
    assert frame.labels.columns == ["unique_id", "part"]
    assert frame.ids[-1] == "train-10001"


def test_parts_of_other_widths_are_no_one_problem(tmp_path):
    problem(tmp_path, "X", "1,2\n", "1,2:3,4\n")
    with pytest.raises(FrameError, match="X: its parts have 1 and 2 dimensions"):
        UCR(name="X", part="both", path=tmp_path).table()


def test_wrong_arguments_say_what_there_is(tmp_path):
    problem(tmp_path, "Coffee", "1,2\n", "1,2\n")
    (tmp_path / "Coffee" / "Coffee_TEST.ts").unlink()
    with pytest.raises(ArgumentError, match="part='val': wanted 'train' or 'test' or 'both'"):
        UCR(part="val")
    for name in ("../Coffee", "/etc", "", 3):
        with pytest.raises(ArgumentError, match="without folders"):
            check_file_name("name", name)
    with pytest.raises(ArgumentError, match="name='a/b'"):
        UCR(name="a/b")
    with pytest.raises(UnknownNameError, match="Did you mean 'Coffee'"):
        UCR(name="Cofee", path=tmp_path).table()
    with pytest.raises(DataNotFoundError, match=r"there is no .*Coffee_TEST\.ts"):
        UCR(name="Coffee", part="both", path=tmp_path).table()
