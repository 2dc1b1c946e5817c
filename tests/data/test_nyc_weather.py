from datetime import datetime, timedelta

import polars as pl
import pytest

from tsforge.data.nyc_weather import NYCWeather
from tsforge.errors import ArgumentError

FILE = "station_weather/nyc_asos_2013.csv"
TARGETS = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
FAST = "origin,time_hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib\n" \
    "EWR,2013-01-01T06:00:00Z,39,26,59,270,10,NA,0,1012,10\nEWR,2013-01-01T07:00:00Z,39,26,59,0,1048,20,0,NA,10\n"


def test_the_file_has_three_stations_with_their_gaps_left_open(shared_data):
    shared_data(FILE)
    frame = NYCWeather().frame()
    assert (len(frame), frame.freq, frame.season, frame.notices) == (26_115, "1h", 24, ())
    assert frame.targets == TARGETS
    assert (frame.table["ds"].min(), frame.table["ds"].max()) == (datetime(2013, 1, 1, 6), datetime(2013, 12, 30, 23))
    jumps = frame.table.group_by("unique_id", maintain_order=True).agg(
        pl.len(), (pl.col("ds").diff() > timedelta(hours=1)).sum().alias("gaps")
    )
    assert jumps.rows() == [("EWR", 8_703, 17), ("JFK", 8_706, 14), ("LGA", 8_706, 14)]


def test_missing_cells_are_those_of_the_source_and_one_impossible_wind(shared_data):
    raw = pl.read_csv(shared_data(FILE), infer_schema_length=None, null_values=["NA"])
    assert raw.shape == (26_115, 15)
    table = NYCWeather().table()
    counts = table.select(TARGETS).null_count().row(0, named=True)
    assert (counts["wind_gust"], counts["pressure"], counts["wind_dir"]) == (20_778, 2_729, 460)
    assert (raw["wind_speed"] > 254).sum() == 1
    assert counts == raw.select(TARGETS).null_count().row(0, named=True) | {
        "wind_speed": raw["wind_speed"].null_count() + 1
    }
    assert table["wind_speed"].max() < 50


def test_time_is_universal_and_the_hour_of_the_source_is_local(shared_data):
    raw = pl.read_csv(shared_data(FILE), infer_schema_length=None, null_values=["NA"])
    local = NYCWeather().table()["ds"].dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York")
    assert (local.dt.hour() == raw["hour"]).all()
    assert not (NYCWeather().table()["ds"].dt.hour() == raw["hour"]).any()


def test_as_components_a_calm_has_no_direction(shared_data):
    shared_data(FILE)
    degrees, turned = NYCWeather().table(), NYCWeather(wind="sincos").frame()
    assert turned.targets == ("temp", "dewp", "humid", "wind_dir_sin", "wind_dir_cos", *TARGETS[4:])
    calm = degrees["wind_dir"] == 0
    assert (degrees.filter(calm)["wind_speed"] == 0).all()
    assert turned.table["wind_dir_sin"].null_count() == 460 + calm.sum()


def test_a_wind_above_every_gust_ever_measured_is_missing(tmp_path):
    (tmp_path / "own.csv").write_text(FAST)
    assert NYCWeather(path=tmp_path / "own.csv").table()["wind_speed"].to_list() == [10, None]


def test_another_word_for_the_wind_is_refused():
    with pytest.raises(ArgumentError, match="wind='uv'"):
        NYCWeather(wind="uv")
