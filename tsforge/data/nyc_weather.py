"""New York weather: three airports in 2013, by the hour.

Source    ASOS, by the Iowa Environmental Mesonet; data-raw/weather.csv of github.com/tidyverse/nycflights13. CC0.
Frame     unique_id "EWR", "JFK", "LGA"   ds 2013-01-01 06:00 to 2013-12-30 23:00 UTC, 8,703 to 8,706 hours each
          temp, dewp, humid, wind_dir, wind_speed, wind_gust, precip, pressure, visib
Units     temp, dewp: degrees Fahrenheit.   humid: percent.   wind_dir: degrees, where the wind comes from, 0 is calm.
          wind_speed, wind_gust: miles per hour.   precip: inches.   pressure: millibars.   visib: miles.
"""

from pathlib import Path
from typing import Any

import polars as pl

from tsforge.data.adapter import Adapter
from tsforge.data.files import read_table
from tsforge.data.places import find_data
from tsforge.data.wind import check_wind, wind_components, wind_names
from tsforge.frame.check import read_times
from tsforge.frame.schema import require

BEFORE, AFTER = ("temp", "dewp", "humid"), ("wind_speed", "wind_gust", "precip", "pressure", "visib")
FASTEST = 254  # miles per hour, the strongest gust ever measured (Barrow Island, 1996)


class NYCWeather(Adapter):
    """Three series of nine targets.

    Args:
        wind: `wind_dir` in "degrees", or "sincos": `wind_dir_sin` and `wind_dir_cos`, both missing in a calm.
        path: The user's own file of the same layout.

    Raises:
        ArgumentError: `wind` is neither.
    """

    def __init__(self, *, wind: str = "degrees", path: str | Path | None = None) -> None:
        self.wind, self.path = check_wind(wind), path

    def table(self) -> pl.DataFrame:
        """`unique_id`, `ds` in UTC and the targets.

        Raises:
            DataNotFoundError: the file is not in the data folder, or is not the published one.
            FrameError: a column is not there, or a stamp cannot be read.
        """
        path = find_data("nyc_weather", "station_weather/nyc_asos_2013.csv", self.path)
        table = read_table(path)
        require(table.columns, ("origin", "time_hour", *BEFORE, "wind_dir", *AFTER), str(path))
        stamps = read_times(table["time_hour"], "time_hour").alias("ds")
        table = table.select(pl.col("origin").alias("unique_id"), stamps, *BEFORE, "wind_dir", *AFTER)
        speed = pl.when(pl.col("wind_speed") <= FASTEST).then("wind_speed").alias("wind_speed")
        table = table.with_columns(speed)
        return wind_components(table, "wind_dir", calm=0) if self.wind == "sincos" else table

    def roles(self) -> dict[str, Any]:
        return {"targets": (*BEFORE, *wind_names("wind_dir", self.wind), *AFTER), "freq": "1h", "season": 24}
