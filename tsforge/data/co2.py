"""CO2: carbon dioxide in the air at Mauna Loa, weekly.

Source    Keeling & Whorf (2004), "Atmospheric CO2 concentrations derived from flask air samples at sites in the SIO
          network", CDIAC; public domain. Read from the csv file inside statsmodels, which is not imported.
Frame     unique_id "CO2"   ds Saturdays, 1958-03-29 to 2001-12-29, 2,284 weeks   co2 concentration, 59 weeks missing
Units     parts per million by volume.
"""

from typing import Any

import polars as pl

from tsforge.data.adapter import Adapter
from tsforge.data.files import read_table
from tsforge.data.places import find_data


class CO2(Adapter):
    """One series that rises, swings with the year and has gaps."""

    def table(self) -> pl.DataFrame:
        """`unique_id`, `ds`, `co2`.

        Raises:
            DataNotFoundError: statsmodels is not installed.
        """
        table = read_table(find_data("co2", "datasets/co2/co2.csv"))
        dates = pl.col("date").cast(pl.String).str.to_date("%Y%m%d")  # written as the number 19580329
        return table.select(pl.lit("CO2").alias("unique_id"), dates.alias("ds"), "co2")

    def roles(self) -> dict[str, Any]:
        return {"targets": "co2", "freq": "1w", "season": 52}
