"""Air passengers: passengers of international airlines, by the month.

Source    Box & Jenkins (1976), "Time Series Analysis: Forecasting and Control", series G; the file of aeon 1.6.0.
Frame     unique_id "AirPassengers"   ds 1949-01-01 to 1960-12-01, 144 months   Passengers
Units     thousands of passengers.
"""

from pathlib import Path
from typing import Any

import polars as pl

from tsforge.data.adapter import Adapter
from tsforge.data.files import read_table
from tsforge.data.places import find_data
from tsforge.frame.check import read_times
from tsforge.frame.schema import require


class AirPassengers(Adapter):
    """One series that grows, with a season that grows with it.

    Args:
        path: The user's own file of the same layout.
    """

    def __init__(self, *, path: str | Path | None = None) -> None:
        self.path = path

    def table(self) -> pl.DataFrame:
        """`unique_id`, `ds` the first of each month, `Passengers`.

        Raises:
            DataNotFoundError: the file is not in the data folder, or is not the published one.
            FrameError: a column is not there, or a month cannot be read.
        """
        path = find_data("air_passengers", "air_passengers/Airline.csv", self.path)
        table = read_table(path)
        require(table.columns, ("Date", "Passengers"), str(path))
        months = read_times(table["Date"], "Date").alias("ds")  # written as 1949-01
        return table.select(pl.lit("AirPassengers").alias("unique_id"), months, "Passengers")

    def roles(self) -> dict[str, Any]:
        return {"targets": "Passengers", "freq": "1mo", "season": 12}
