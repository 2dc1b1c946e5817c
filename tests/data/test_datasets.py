import hashlib
import re
from datetime import date, datetime

import numpy as np
import pytest

from tsforge.data import DATASETS
from tsforge.data.card import FOLDERS, read_card
from tsforge.data.ett import ETTh1
from tsforge.data.load import load
from tsforge.data.places import data_folder, find_bundled
from tsforge.errors import DataNotFoundError
from tsforge.frame.split import Split

ARGUMENTS = {"chaos": {"system": "Henon", "n": 60}, "opinion": {"n": 60}, "fitzhugh_nagumo": {"n": 60}}
OWN = ("atm",)  # is read from a file of the user's


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in OWN])
def test_every_dataset_loads_with_all_its_roles_stated(name, shared_data):
    for file in read_card(name).files:
        file.package or file.optional or shared_data(file.path)
    frame = load(name, **ARGUMENTS.get(name, {}))
    assert frame.notices == ()
    assert frame.schema.id_col == "unique_id"
    assert frame.season >= 1


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_has_a_card(name):
    card = read_card(name)
    assert all((card.title, card.source, card.licence, card.citation, card.series, card.units, card.mended))
    assert all(re.fullmatch(r"[0-9a-f]{64}|", file.sha256) for file in card.files)


def test_every_card_is_that_of_a_dataset():
    assert {path.stem for path in FOLDERS[-1].glob("*")} == set(DATASETS)


@pytest.mark.parametrize("name", DATASETS)
def test_the_checksums_on_a_card_are_those_of_the_files(name, shared_data):
    for file in read_card(name).files:
        if file.optional and not (data_folder() / file.path).exists():
            continue
        path = find_bundled(file.package, file.path) if file.package else shared_data(file.path)
        assert not file.sha256 or hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256


def test_a_card_that_lacks_a_part_says_which(monkeypatch, tmp_path):
    (tmp_path / "x.yaml").write_text("title: x\nsource: y\nlicense: z\n")
    monkeypatch.setattr("tsforge.data.card.FOLDERS", (tmp_path,))
    with pytest.raises(DataNotFoundError, match="'license' is missing or no part of a card: title"):
        read_card("x")


def test_the_file_of_etth1_gives_the_published_shape(shared_data):
    shared_data("ett/ETTh1.csv")
    frame = load("etth1")
    assert (len(frame), frame.freq, frame.season) == (17_420, "1h", 24)
    assert frame.targets == ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
    assert frame.ids.to_list() == ["ETTh1"]
    assert (frame.table["ds"][0], frame.table["ds"][-1]) == (datetime(2016, 7, 1), datetime(2018, 6, 26, 19))
    assert frame.table.null_count().sum_horizontal().item() == 0


def test_the_split_of_etth1_is_the_published_one_and_fits(shared_data):
    shared_data("ett/ETTh1.csv")
    assert load("etth1").split == ETTh1.published == Split(8_640, 2_880, 2_880)
    assert load("etth1", resample="1d", how="mean").split is None


def test_etth1_as_a_plain_file_holds_the_same_values(shared_data):
    plain = load(shared_data("ett/ETTh1.csv"))
    assert plain.table.drop("unique_id").equals(load("etth1").table.drop("unique_id"))


def test_without_its_file_etth1_says_where_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TSFORGE_DATA", str(tmp_path))
    with pytest.raises(DataNotFoundError, match=r"zhouhaoyi/ETDataset.*CC BY-ND 4\.0.*sha256: f18de3ad"):
        load("etth1")


def test_co2_is_every_saturday_with_its_gaps_left_open():
    frame = load("co2")
    assert (frame.freq, frame.season, len(frame)) == ("1w", 52, 2_284)
    assert frame.steps is not None
    assert frame.steps.to_list() == list(range(2_284))
    assert set(frame.table["ds"].dt.weekday()) == {6}
    assert frame.table["ds"][0] == date(1958, 3, 29)
    assert frame.table["co2"].null_count() == 59
    assert frame.table["co2"].is_between(300, 400).sum() == 2_284 - 59


def test_sunspots_are_counted_by_the_year():
    frame = load("sunspots")
    assert (frame.freq, frame.season) == ("1i", 11)
    assert frame.table["ds"].to_list() == list(range(1700, 2009))
    assert frame.table["sunspots"].min() == 0
    y = frame.table["sunspots"].to_numpy()
    alike = [np.corrcoef(y[lag:], y[:-lag])[0, 1] for lag in range(7, 16)]
    assert np.argmax(alike) + 7 in (10, 11)
