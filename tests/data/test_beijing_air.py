import gzip
from datetime import datetime, timedelta

import polars as pl
import pytest

from tsforge.data.beijing_air import STATIONS, BeijingAir
from tsforge.errors import ArgumentError, DataNotFoundError, FrameError, UnknownNameError

FOLDER = "station_weather/beijing/"
MISSING = {"Aotizhongxin": 7_271, "Changping": 5_166, "Dingling": 7_015, "Huairou": 7_485}
WEATHER = ["TEMP", "PRES", "DEWP", "RAIN", "wd", "WSPM"]
HEADER = "No,year,month,day,hour,PM2.5,PM10,SO2,NO2,CO,O3,TEMP,PRES,DEWP,RAIN,wd,WSPM,station\n"


@pytest.fixture(scope="module")
def table(shared_data):
    shared_data(FOLDER)
    return BeijingAir(stations=list(MISSING)).table()


def own(folder, station, *directions, ending=".csv"):
    """A file of a station with one hour for each direction, the year 2014, all values 1."""
    rows = [f"{k + 1},2014,1,1,{k}{',1' * 10},{word},1,{station}\n" for k, word in enumerate(directions)]
    text = (HEADER + "".join(rows)).encode()
    path = folder / f"PRSA_Data_{station}_20130301-20170228{ending}"
    path.write_bytes(gzip.compress(text) if ending.endswith(".gz") else text)


def test_every_station_has_every_hour_of_four_years(table):
    hours = pl.datetime_range(datetime(2013, 3, 1), datetime(2017, 2, 28, 23), timedelta(hours=1), eager=True)
    assert len(hours) == 35_064
    assert table["unique_id"].unique(maintain_order=True).to_list() == list(MISSING)
    for _, rows in table.group_by("unique_id"):
        assert rows["ds"].to_list() == hours.to_list()


def test_missing_cells_stay_missing_most_of_them_in_the_pollutants(table):
    counts = table.group_by("unique_id").agg(pl.exclude("ds").null_count())
    assert dict(counts.select("unique_id", pl.sum_horizontal(pl.exclude("unique_id"))).iter_rows()) == MISSING
    weather = counts.select(pl.sum_horizontal(WEATHER)).sum().item()
    assert weather < sum(MISSING.values()) / 10


def test_values_are_those_of_the_file_and_points_of_the_compass_are_degrees(table, shared_data):
    raw = pl.read_csv(shared_data(FOLDER) / "PRSA_Data_Huairou_20130301-20170228.csv.gz", infer_schema_length=None,
                      null_values=["NA"])
    assert raw.shape == (35_064, 18)
    station = table.filter(unique_id="Huairou")
    assert station["PM2.5"].to_list() == raw["PM2.5"].to_list()
    pairs = pl.DataFrame([raw["wd"], station["wd"].alias("degrees")]).unique().drop_nulls().sort("degrees")
    assert len(pairs) == 16
    assert pairs.filter(pl.col("wd").is_in(["N", "E", "S", "W"]))["degrees"].to_list() == [0, 90, 180, 270]


def test_two_stations_share_their_weather_and_not_their_air_as_the_card_says(table):
    first, second = (table.filter(unique_id=name) for name in ("Changping", "Dingling"))
    other = table.filter(unique_id="Huairou")
    for name in WEATHER:
        assert (first[name] - second[name]).abs().max() < 1e-3
        assert (first[name] - other[name]).abs().max() > 1
    assert (first["PM2.5"] - second["PM2.5"]).abs().max() > 1


def test_the_frame_states_its_roles(shared_data):
    shared_data(FOLDER)
    frame = BeijingAir(stations="Dingling", wind="sincos").frame()
    assert (frame.ids.to_list(), frame.freq, frame.season, frame.notices) == (["Dingling"], "1h", 24, ())
    assert frame.targets[-3:] == ("wd_sin", "wd_cos", "WSPM")
    assert len(BeijingAir(stations="Dingling").frame().targets) == 12


def test_all_stations_of_a_folder_are_read_packed_or_not(tmp_path):
    own(tmp_path, "Tiantan", "N", "NNW")
    own(tmp_path, "Gucheng", "NA", "E", ending=".csv.gz")
    table = BeijingAir(path=tmp_path).table()
    assert table["unique_id"].to_list() == ["Gucheng", "Gucheng", "Tiantan", "Tiantan"]
    assert table["wd"].to_list() == [None, 90, 0, 337.5]
    assert set(BeijingAir(stations=["Tiantan"], path=tmp_path).table()["unique_id"]) == {"Tiantan"}


def test_a_folder_without_the_station_says_which_are_there(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"PRSA_Data_STATION_.*Stations there: none"):
        BeijingAir(path=tmp_path).table()
    own(tmp_path, "Tiantan", "N")
    with pytest.raises(DataNotFoundError, match=r"PRSA_Data_Dongsi_.*Stations there: Tiantan\."):
        BeijingAir(stations=["Tiantan", "Dongsi"], path=tmp_path).table()


def test_a_direction_that_is_none_is_named(tmp_path):
    own(tmp_path, "Tiantan", "N", "up")
    with pytest.raises(FrameError, match="'wd' holds 'up'"):
        BeijingAir(path=tmp_path).table()


def test_stations_and_words_that_are_not_there_are_refused_before_anything_is_read():
    assert len(STATIONS) == 12
    with pytest.raises(UnknownNameError, match=r"no station 'Dingding'\. Did you mean 'Dingling'"):
        BeijingAir(stations=["Dingding"])
    with pytest.raises(ArgumentError, match="wind='text'"):
        BeijingAir(wind="text")
