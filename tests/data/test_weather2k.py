import logging
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from polars.testing import assert_frame_equal

from tsforge.data.weather2k import CURRENT, FIRST_RELEASE, Weather2K
from tsforge.errors import ArgumentError, DataNotFoundError, FrameError
from tsforge.frame.block_frame import BlockFrame


@pytest.mark.parametrize(("variables", "hours"), [(13, 3), (23, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_release_is_known_by_its_shape_and_every_value_stands_where_the_layout_has_it(
    weather2k_file, variables, hours, dtype,
):
    path = weather2k_file(variables, stations=3, days=2, dtype=dtype)
    array, release = np.load(path), {13: CURRENT, 23: FIRST_RELEASE}[variables]
    frame = Weather2K(path=path).frame()
    assert isinstance(frame, BlockFrame)
    assert (frame.freq, frame.season, len(frame)) == (f"{hours}h", 24 // hours, 3 * 48 // hours)
    assert frame.targets == release.variables[3:]
    assert (len(release.variables), release.shape[1]) == (variables, variables)
    table = frame.to_polars()
    assert table["ds"][:2].to_list() == [datetime(2017, 1, 1), datetime(2017, 1, 1, hours)]
    for number, name in enumerate(release.variables[3:], start=3):
        assert table.schema[name] == (pl.Float32 if dtype == "float32" else pl.Float64)
        assert_array_equal(table[name].to_numpy().reshape(3, -1), array[:, number])
    assert frame.static is not None
    assert_allclose(frame.static.select("lat", "lon", "alt").to_numpy(), array[:, :3, 0])
    assert frame.ids.to_list() == [0, 1, 2]


def test_the_last_step_of_a_whole_file_is_the_last_of_august_2021():
    for release, hours in ((CURRENT, 3), (FIRST_RELEASE, 1)):
        last = datetime(2017, 1, 1) + timedelta(hours=hours) * (release.shape[2] - 1)
        assert last == datetime(2021, 8, 31, 24 - hours)


@pytest.mark.parametrize("shape", [(4, 12, 30), (13, 30), (0, 13, 30), (4, 13, 30, 1)])
def test_an_array_of_another_shape_is_refused_with_both_that_are_known(tmp_path, shape):
    np.save(tmp_path / "w.npy", np.zeros(shape))
    with pytest.raises(FrameError) as caught:
        Weather2K(path=tmp_path / "w.npy").frame()
    for part in (str(shape), "(1866, 13, 13632)", "(1866, 23, 40896)"):
        assert part in str(caught.value)


def test_files_that_are_no_arrays_of_floats_are_refused_and_no_object_is_unpickled(tmp_path):
    path = tmp_path / "w.npy"
    np.save(path, np.zeros((1, 13, 4), np.int64))
    with pytest.raises(FrameError, match="wanted float32 or float64"):
        Weather2K(path=path).frame()
    np.save(path, np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(FrameError, match=r"cannot be read as an array.*numpy\.save\.$"):
        Weather2K(path=path).frame()
    for content in (b"", b"no array"):
        path.write_bytes(content)
        with pytest.raises(FrameError, match="cannot be read as an array"):
            Weather2K(path=path).frame()


def test_targets_stations_and_past_covariates_are_chosen_by_name_and_index(weather2k_file):
    path = weather2k_file(23, stations=5, days=2)
    array = np.load(path)
    frame = Weather2K(path=path, targets=["rh", "t"], stations=[3, 1]).frame(past="ap", calendar="hour", static=None)
    assert (frame.targets, frame.schema.past, frame.static) == (("rh", "t"), ("ap",), None)
    assert frame.ids.to_list() == [1, 3]
    assert_array_equal(frame.to_polars()["rh"].to_numpy().reshape(2, -1), array[[1, 3], 8])
    assert Weather2K(path=path, stations=2).frame().ids.to_list() == [0, 1]
    assert Weather2K(path=path).frame(static="alt").static.columns == ["unique_id", "alt"]
    with pytest.raises(FrameError, match="no column 'height'"):
        Weather2K(path=path).frame(static="height")
    others = Weather2K(path=path).frame(past=["t", "rh"]).targets
    assert len(others) == 18
    assert not {"t", "rh"} & {*others}


def test_directions_near_north_are_near_as_components(weather2k_file):
    path = weather2k_file(13, stations=2, days=20)
    plain = Weather2K(path=path, targets="wd").frame().to_polars()["wd"].to_numpy()
    frame = Weather2K(path=path, targets=["t", "wd"], wind="sincos").frame()
    assert frame.targets == ("t", "wd_sin", "wd_cos")
    parts = frame.to_polars().select("wd_sin", "wd_cos").to_numpy()
    assert_allclose(np.rad2deg(np.arctan2(*parts.T)) % 360, plain, atol=1e-9)
    west, east = (np.array([np.sin(a), np.cos(a)]) for a in np.deg2rad([359, 1]))
    assert np.linalg.norm(west - east) < 0.04  # and 358 as degrees
    every = Weather2K(path=path, wind="sincos").frame().targets
    assert every[-6:] == ("wd_sin", "wd_cos", "ws", "mwd_sin", "mwd_cos", "mws")


def test_stations_as_channels_are_the_pairs_of_station_and_variable(weather2k_file):
    path = weather2k_file(13, stations=3, days=3)
    array = np.load(path)
    frame = Weather2K(path=path, targets=["t", "rh"], channels="stations").frame()
    assert frame.targets == ("0/t", "0/rh", "1/t", "1/rh", "2/t", "2/rh")
    assert_array_equal(frame.to_polars()["2/rh"].to_numpy(), array[2, 7])
    by_role = Weather2K(path=path, targets=["t", "rh"]).frame(channels_from="unique_id")
    assert_frame_equal(by_role.table, frame.table)
    assert frame.split == by_role.split


def test_a_role_that_needs_the_table_collects_it(weather2k_file):
    path = weather2k_file(23, stations=2, days=4)
    frame = Weather2K(path=path, targets="t").frame(resample="1d", how="mean")
    assert not isinstance(frame, BlockFrame)
    assert (frame.freq, len(frame)) == ("1d", 8)
    assert_allclose(frame.table["t"].to_numpy(), np.load(path)[:, 4].reshape(2, 4, 24).mean(axis=2).ravel())


def test_the_split_is_seventy_ten_and_twenty_percent_of_the_steps(weather2k_file):
    split = Weather2K(path=weather2k_file(23, days=10)).frame().split
    assert split is not None
    assert (split.train, split.val, split.test) == (168, 24, 48)
    steps = FIRST_RELEASE.shape[2]
    assert (steps * 7 // 10, steps // 10, steps - steps * 7 // 10 - steps // 10) == (28627, 4089, 8180)


def test_stations_that_move_are_said(weather2k_file, tmp_path, caplog):
    array = np.load(weather2k_file(13, stations=3, days=2))
    with caplog.at_level(logging.INFO, "tsforge"):
        np.save(tmp_path / "w.npy", array)
        Weather2K(path=tmp_path / "w.npy").frame()
        assert not caplog.messages
        array[1, 0, 5:] += 1
        np.save(tmp_path / "w.npy", array)
        Weather2K(path=tmp_path / "w.npy").frame()
    assert caplog.messages == [
        "1 stations change their position, station 1 among them; that of the first step is taken."]


@pytest.mark.parametrize(("arguments", "match"), [
    ({"stations": 0}, "from 1 to 4"), ({"stations": 5}, "from 1 to 4"), ({"stations": [4]}, "from 0 to 3"),
    ({"stations": True}, "stations=True"), ({"stations": []}, "from 0 to 3"),
    ({"wind": "compass"}, "wind='compass'"), ({"channels": "all"}, "channels='all'"),
    ({"targets": "dt"}, "no column 'dt'"), ({"targets": "lat"}, "no column 'lat'"),
])
def test_arguments_that_cannot_work_are_refused(weather2k_file, arguments, match):
    with pytest.raises((ArgumentError, FrameError), match=match):
        Weather2K(path=weather2k_file(), **arguments).frame()


def test_without_its_file_it_says_where_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TSFORGE_DATA", str(tmp_path))
    with pytest.raises(DataNotFoundError):
        Weather2K().frame()
    with pytest.raises(DataNotFoundError, match="no such file"):
        Weather2K(path=tmp_path / "w.npy").frame()


def test_a_folder_and_the_data_folder_are_searched_for_either_release(monkeypatch, tmp_path, weather2k_file):
    place = tmp_path / "weather2k" / "Weather2K-R"
    place.mkdir(parents=True)
    (place / "data.npy").write_bytes(weather2k_file(23).read_bytes())
    monkeypatch.setenv("TSFORGE_DATA", str(tmp_path))
    for path in (None, tmp_path / "weather2k", place):
        assert Weather2K(path=path).frame().freq == "1h"
    (tmp_path / "weather2k" / "weather2k.npy").write_bytes(weather2k_file(13).read_bytes())
    assert Weather2K().frame().freq == "3h"


@pytest.mark.parametrize("time", ["Date", None])
def test_the_station_files_of_release_one_are_read_by_their_header(tmp_path, weather2k_file, time):
    array = np.load(weather2k_file(23, stations=2, days=3))
    for own, name in zip(array, ("79", "114"), strict=True):
        table = pl.DataFrame(own.T, schema=[name.upper() for name in FIRST_RELEASE.variables])
        stamps = [datetime(2017, 1, 1) + timedelta(hours=k) for k in range(72)]
        table = table if time is None else table.with_columns(pl.Series(stamps).alias(time))
        table.write_csv(tmp_path / f"{name}.csv")
    frame = Weather2K(path=tmp_path, targets=["t", "wd"], wind="sincos").frame()
    whole = Weather2K(path=weather2k_file(23, stations=2, days=3), targets=["t", "wd"], wind="sincos").frame()
    assert frame.ids.to_list() == [79, 114]
    assert_frame_equal(frame.table.drop("unique_id"), whole.table.drop("unique_id"))
    assert frame.static is not None
    assert_allclose(frame.static["alt"].to_numpy(), array[:, 2, 0])
    assert Weather2K(path=tmp_path / "79.csv", targets="t").frame().ids.to_list() == [79]
    (tmp_path / "79.csv").rename(tmp_path / "x.csv")
    (tmp_path / "114.csv").unlink()
    with pytest.raises(FrameError, match="called by their index"):
        Weather2K(path=tmp_path).frame()
