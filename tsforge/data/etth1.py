"""ETTh1: load and oil temperature of one electricity transformer, hourly.

Source    Zhou et al. (2021), "Informer: Beyond Efficient Transformer for Long Sequence Time-Series Forecasting",
          arXiv:2012.07436; https://github.com/zhouhaoyi/ETDataset. CC BY-ND 4.0, so the file is not shipped.
Frame     unique_id "ETTh1"   ds 2016-07-01 00:00 to 2018-06-26 19:00, 17,420 hours
          HUFL, HULL, MUFL, MULL, LUFL, LULL high, middle, low useful and useless load   OT oil temperature
Units     loads: as published, without a unit.   OT: degrees Celsius.
"""

from typing import Any

import polars as pl

from tsforge.data.adapter import Adapter
from tsforge.data.files import read_table
from tsforge.data.places import find_data
from tsforge.frame.split import Split

TARGETS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")


class ETTh1(Adapter):
    """One series of seven targets; `split` is the published one of 12, 4 and 4 months of 30 days."""

    published = Split(train=8_640, val=2_880, test=2_880)

    def table(self) -> pl.DataFrame:
        """`unique_id`, `ds` and the seven columns.

        Raises:
            DataNotFoundError: the file is not in the data folder, or is not the published one.
        """
        path = find_data("etth1", "ett/ETTh1.csv")
        stamps = pl.col("date").str.to_datetime().alias("ds")
        return read_table(path).select(pl.lit("ETTh1").alias("unique_id"), stamps, *TARGETS)

    def roles(self) -> dict[str, Any]:
        return {"targets": TARGETS, "freq": "1h", "season": 24}
