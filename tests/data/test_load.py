import hashlib
import subprocess
import sys
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from tsforge.data import DATASETS
from tsforge.data.adapter import Adapter
from tsforge.data.card import read_card
from tsforge.data.load import ROLES, load, scalar, written
from tsforge.data.places import cache_folder, data_folder, find_bundled, find_data, is_present
from tsforge.errors import ArgumentError, DataNotFoundError, UnknownArgumentError
from tsforge.frame.frame import Frame
from tsforge.frame.split import Split

DAYS = pl.DataFrame({"ds": ["2024-01-01", "2024-01-02", "2024-01-03"], "y": [1.0, 2.0, 3.0], "z": [4.0, 5.0, 6.0]})


class Hours(Adapter):
    published = Split(8, 2, 2)

    def table(self) -> pl.DataFrame:
        ds = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 4), "1h", eager=True)
        return pl.DataFrame({"ds": ds, "y": range(len(ds))})

    def roles(self) -> dict:
        return {"targets": "y", "freq": "1h", "season": 24}


def test_a_name_a_spec_and_arguments_are_one_thing():
    inline = load("chaos:system=Henon,n=50")
    given = load("chaos", system="Henon", n=50)
    assert inline.table.equals(given.table)
    assert len(given) == 50


def test_roles_given_at_load_win_over_those_of_the_dataset():
    frame = load("chaos:system=Henon,n=50", targets="y", season=7)
    assert (frame.targets, frame.season) == (("y",), 7)
    assert load("chaos:system=Henon,n=50,season=7").season == 7


@pytest.mark.parametrize(("text", "value"), [
    ("4000", 4000), ("-3", -3), ("0.5", 0.5), (".5", 0.5), ("1e-3", 1e-3), ("true", True), ("False", False),
    ("null", None), ("~", None), ("Lorenz", "Lorenz"), ("1h", "1h"), ("1_000", "1_000"), ("a+b", "a+b"), ("nan", "nan"),
])
def test_values_are_read_as_yaml_reads_them(text, value):
    found = scalar(text)
    assert (found, type(found)) == (value, type(value))


def test_a_spec_is_name_value_pairs_once_each():
    assert written("system=Lorenz, n = 4000", "") == {"system": "Lorenz", "n": 4000}
    for text in ("n", "=3", "n=3,", ""):
        with pytest.raises(ArgumentError, match="is not name=value"):
            written(text, "chaos")
    with pytest.raises(ArgumentError, match="'n' is given twice"):
        written("n=3,n=4", "chaos")
    with pytest.raises(ArgumentError, match="'n' is given twice"):
        load("chaos:n=50", n=60)


@pytest.mark.parametrize(("source", "owner"), [("chaos:n=50", "Chaos"), ("sunspots", "Sunspots"), (DAYS, "Frame")])
def test_an_unknown_argument_names_the_class_and_the_nearest(source, owner):
    with pytest.raises(UnknownArgumentError, match=f"{owner} has no argument 'targetz'. Did you mean 'targets'"):
        load(source, targetz="y")


def test_every_role_of_a_frame_may_be_given():
    assert {"targets", "static", "id_col", "calendar", "season", "resample"} <= set(ROLES)
    assert "self" not in ROLES
    assert "df" not in ROLES


def test_a_path_is_read_with_its_roles(tmp_path):
    DAYS.write_csv(tmp_path / "days.csv")
    for path in (tmp_path / "days.csv", str(tmp_path / "days.csv")):
        assert load(path, targets="z").targets == ("z",)
    DAYS.write_parquet(tmp_path / "days.parquet")
    assert load(tmp_path).targets == ("y",)


def test_a_dataset_wins_over_a_file_of_its_name_and_a_path_means_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sunspots").mkdir()
    DAYS.write_parquet("sunspots/a.parquet")
    assert load("sunspots").targets == ("sunspots",)
    assert load("./sunspots").targets == ("y",)
    assert load(Path("sunspots")).targets == ("y",)


def test_a_folder_is_found_by_its_bare_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sales").mkdir()
    DAYS.write_parquet("sales/a.parquet")
    assert load("sales").targets == ("y",)


@pytest.mark.parametrize("source", ["etth", "ETTH1", "etth1x", "etth3:n=3"])
def test_a_name_that_is_no_dataset_and_no_file_is_a_missing_file_and_names_the_nearest(source):
    with pytest.raises(DataNotFoundError, match=r"no dataset and no file named .* Did you mean 'etth1'"):
        load(source)
    with pytest.raises(FileNotFoundError):
        load(source)


def test_a_name_like_none_lists_the_datasets():
    with pytest.raises(DataNotFoundError, match="Datasets are " + ", ".join(DATASETS)):
        load("zzzzzz")


def test_tables_and_frames_are_taken_too():
    frame = load(DAYS, targets="z")
    assert frame.targets == ("z",)
    assert load(frame) is frame
    assert load(pd.DataFrame({"ds": [1, 2], "y": [1.0, 2.0]})).kind == "pandas"
    with pytest.raises(ArgumentError, match="a Frame has its roles"):
        load(frame, season=3)


def test_another_step_of_time_brings_its_own_season_and_no_published_split():
    assert Hours().frame().split == Split(8, 2, 2)
    assert Hours().frame(freq="1h", targets="y").season == 24
    daily = Hours().frame(resample="1d", how="sum")
    assert (daily.freq, daily.season, daily.split) == ("1d", 7, None)
    assert Hours().frame(freq="30m").season == 48


def test_loading_imports_neither_torch_nor_the_generators():
    code = (
        "import sys; from tsforge.data.load import load; from tsforge.data.chaos import Chaos; Chaos(); load('co2');"
        "print(sorted({'torch', 'dysts', 'statsmodels', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Places


def test_folders_are_those_of_the_environment_or_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("TSFORGE_DATA", str(tmp_path / "d"))
    monkeypatch.setenv("TSFORGE_CACHE", str(tmp_path / "c"))
    assert (data_folder(), cache_folder()) == (tmp_path / "d", tmp_path / "c")
    monkeypatch.delenv("TSFORGE_DATA")
    monkeypatch.setenv("TSFORGE_CACHE", "")
    assert "tsforge" in str(data_folder())
    assert cache_folder().is_absolute()
    assert data_folder() != cache_folder()


@pytest.fixture
def card_of(monkeypatch, tmp_path):
    """Writes the card of one file, `a/b.csv`, and sets the data folder."""
    monkeypatch.setenv("TSFORGE_DATA", str(tmp_path))
    monkeypatch.setattr("tsforge.data.card.FOLDERS", (tmp_path,))
    read_card.cache_clear()

    def write(sha256: str) -> None:
        parts = ["title: t", "source: https://example.org/b", "licence: CC BY 4.0", "citation: c", "series: s",
                 "units: {y: m}", "mended: m", f"files: [{{path: a/b.csv, sha256: '{sha256}'}}]"]
        (tmp_path / "some.yaml").write_text("\n".join(parts))

    yield write
    read_card.cache_clear()


def test_a_file_that_is_not_there_says_where_to_get_it_and_where_to_put_it(card_of, tmp_path):
    card_of("0" * 64)
    with pytest.raises(DataNotFoundError) as caught:
        find_data("some", "a/b.csv")
    for words in ("https://example.org/b", "CC BY 4.0", "0" * 64, str(tmp_path / "a" / "b.csv"), "TSFORGE_DATA"):
        assert words in str(caught.value)
    assert not is_present("some")


def test_a_file_is_known_by_its_checksum_and_a_file_of_ones_own_is_taken_as_it_is(card_of, tmp_path):
    card_of(hashlib.sha256(b"ds,y\n").hexdigest())
    path = tmp_path / "a" / "b.csv"
    path.parent.mkdir()
    path.write_bytes(b"ds,y\n")
    assert find_data("some", "a/b.csv") == path
    assert is_present("some")
    path.write_bytes(b"ds,y\r\n")
    with pytest.raises(DataNotFoundError, match="another file than the published one"):
        find_data("some", "a/b.csv")
    assert find_data("some", "a/b.csv", path) == path
    with pytest.raises(DataNotFoundError, match="there is no such file"):
        find_data("some", "a/b.csv", tmp_path / "c.csv")


def test_a_file_of_a_package_is_found_without_importing_it():
    assert find_bundled("polars", "__init__.py").is_file()
    with pytest.raises(DataNotFoundError, match="package no_such_package, which is not installed"):
        find_bundled("no_such_package", "data.csv")
    with pytest.raises(DataNotFoundError, match="has no such file"):
        find_bundled("polars", "data.csv")


def test_tests_keep_their_caches_to_themselves():
    assert "pytest" in str(cache_folder())


def test_a_frame_is_what_comes_out():
    assert isinstance(load("sunspots"), Frame)
