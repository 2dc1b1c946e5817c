"""Sunspots: the yearly number of sunspots since 1700.

Source    National Geophysical Data Center, after the Solar Influences Data Center, Brussels; public domain. Read from
          the csv file inside statsmodels, which is not imported.
Frame     unique_id "Sunspots"   ds the year as a number, 1700 to 2008   sunspots yearly mean of the daily number
Units     ds: years.   sunspots: the international (Wolf) number, dimensionless.
"""

from typing import Any

import polars as pl

from tsforge.data.adapter import Adapter
from tsforge.data.files import read_table
from tsforge.data.places import find_data


class Sunspots(Adapter):
    """One short series with a cycle of about 11 years that is no fixed season."""

    def table(self) -> pl.DataFrame:
        """`unique_id`, `ds`, `sunspots`.

        Raises:
            DataNotFoundError: statsmodels is not installed.
        """
        table = read_table(find_data("sunspots", "datasets/sunspots/sunspots.csv"))
        return table.select(
            pl.lit("Sunspots").alias("unique_id"), pl.col("YEAR").cast(pl.Int64).alias("ds"),
            pl.col("SUNACTIVITY").cast(pl.Float64).alias("sunspots"),
        )

    def roles(self) -> dict[str, Any]:
        return {"targets": "sunspots", "freq": "1i", "season": 11}
