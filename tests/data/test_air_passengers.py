from datetime import date

import pytest

from tsforge.data.air_passengers import AirPassengers
from tsforge.errors import FrameError


def test_the_file_has_twelve_months_of_twelve_years(shared_data):
    shared_data("air_passengers/Airline.csv")
    frame = AirPassengers().frame()
    assert (len(frame), frame.freq, frame.season, frame.notices) == (144, "1mo", 12, ())
    assert (frame.ids.to_list(), frame.targets) == (["AirPassengers"], ("Passengers",))
    assert frame.table["ds"].to_list() == [date(year, month, 1) for year in range(1949, 1961) for month in range(1, 13)]
    assert frame.table["Passengers"].null_count() == 0


def test_the_year_grows_and_july_or_august_is_its_height(shared_data):
    shared_data("air_passengers/Airline.csv")
    years = AirPassengers().frame().table["Passengers"].to_numpy().reshape(12, 12)
    assert (years.sum(axis=1)[1:] > years.sum(axis=1)[:-1]).all()
    assert set(years.argmax(axis=1) + 1) <= {7, 8}


def test_a_month_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "own.csv").write_text("Date,Passengers\n1949-01,112\nspring,118\n")
    with pytest.raises(FrameError, match="'spring' is no time stamp"):
        AirPassengers(path=tmp_path / "own.csv").frame()
