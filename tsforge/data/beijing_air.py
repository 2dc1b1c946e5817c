"""Beijing air: pollutants and weather at twelve stations, by the hour.

Source    Zhang et al. (2017), "Cautionary tales on air-quality improvement in Beijing", Proceedings of the Royal
          Society A 473; UCI dataset 501. CC BY 4.0.
Frame     unique_id the station   ds 2013-03-01 00:00 to 2017-02-28 23:00, 35,064 hours each, the clock of Beijing
          PM2.5, PM10, SO2, NO2, CO, O3   TEMP, PRES, DEWP, RAIN, wd, WSPM weather
Units     pollutants: micrograms per cubic metre.   TEMP, DEWP: degrees Celsius.   PRES: hPa.   RAIN: mm.
          wd: degrees, where the wind comes from, written as 16 points of the compass.   WSPM: m/s.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tsforge.data.adapter import Adapter
from tsforge.data.files import read_table
from tsforge.data.places import find_data
from tsforge.data.wind import check_wind, compass_degrees, wind_components, wind_names
from tsforge.errors import DataNotFoundError, UnknownNameError, suggest
from tsforge.frame.schema import as_names, require

STATIONS = (
    "Aotizhongxin", "Changping", "Dingling", "Dongsi", "Guanyuan", "Gucheng", "Huairou", "Nongzhanguan", "Shunyi",
    "Tiantan", "Wanliu", "Wanshouxigong",
)
BEFORE = ("PM2.5", "PM10", "SO2", "NO2", "CO", "O3", "TEMP", "PRES", "DEWP", "RAIN")
CLOCK = ("year", "month", "day", "hour")


class BeijingAir(Adapter):
    """One series of twelve targets for each station.

    Args:
        stations: Names of stations; None takes all whose files lie in the folder.
        wind: `wd` in "degrees", or "sincos": `wd_sin` and `wd_cos`.
        path: The user's own folder of station files.

    Raises:
        UnknownNameError: the source has no such station.
        ArgumentError: `wind` is neither.
    """

    def __init__(
        self, *, stations: str | Sequence[str] | None = None, wind: str = "degrees", path: str | Path | None = None,
    ) -> None:
        self.stations = as_names(stations)
        for station in self.stations:
            if station not in STATIONS:
                hint = f"{suggest(station, STATIONS)} There are: {', '.join(STATIONS)}."
                raise UnknownNameError(f"beijing_air has no station {station!r}.{hint}")
        self.wind, self.path = check_wind(wind), path

    def table(self) -> pl.DataFrame:
        """`unique_id`, `ds` and the targets.

        Raises:
            DataNotFoundError: the folder or the file of a station is not there.
            FrameError: a column is not there, or a text in `wd` is no point of the compass.
        """
        folder = find_data("beijing_air", "station_weather/beijing/", self.path)
        files = {path.name.split("_")[2]: path for path in sorted(folder.glob("PRSA_Data_*_20130301-20170228.csv*"))}
        wanted = self.stations or tuple(files)
        absent = [station for station in wanted if station not in files]
        if absent or not files:
            raise DataNotFoundError(
                f"{folder} holds no file PRSA_Data_{absent[0] if absent else 'STATION'}_20130301-20170228.csv or "
                f".csv.gz. Stations there: {', '.join(files) or 'none'}. Put it there, or choose others with stations=."
            )
        table = pl.concat([_station(name, files[name]) for name in wanted], how="vertical_relaxed")
        return wind_components(table, "wd") if self.wind == "sincos" else table

    def roles(self) -> dict[str, Any]:
        return {"targets": (*BEFORE, *wind_names("wd", self.wind), "WSPM"), "freq": "1h", "season": 24}


def _station(name: str, path: Path) -> pl.DataFrame:
    table = read_table(path)
    require(table.columns, (*CLOCK, *BEFORE, "wd", "WSPM"), str(path))
    stamps = pl.datetime(*CLOCK).alias("ds")
    return compass_degrees(table, "wd").select(pl.lit(name).alias("unique_id"), stamps, *BEFORE, "wd", "WSPM")
