"""M4: series of the fourth Makridakis competition, one frequency at a time.

Source    Makridakis, Spiliotis & Assimakopoulos (2020), "The M4 Competition: 100,000 time series and 61 forecasting
          methods", International Journal of Forecasting 36; files of the Monash archive, arXiv:2105.06643.
Frame     unique_id "T1", "T2", ...   ds from the start of each series   y training and test joined
Units     differ from series to series and are not told.
"""

from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tsforge.data.adapter import Adapter
from tsforge.data.files import read_table
from tsforge.data.places import find_data
from tsforge.errors import UnknownNameError, suggest


class Part(NamedTuple):
    """How the competition counts the series of one frequency."""

    freq: str
    season: int  # of its scaled errors and its seasonal naive
    horizon: int


PARTS = {
    "hourly": Part("1h", 24, 48), "daily": Part("1d", 1, 14), "weekly": Part("1w", 1, 13),
    "monthly": Part("1mo", 12, 18), "quarterly": Part("1q", 4, 8), "yearly": Part("1y", 1, 6),
}


class M4(Adapter):
    """The series of one frequency, of unequal length; the last `horizon` values of each are the test part.

    Args:
        part: hourly, daily, weekly, monthly, quarterly or yearly.
        path: The user's own .tsf file of this part.

    Raises:
        UnknownNameError: there is no such part.
    """

    def __init__(self, *, part: str = "hourly", path: str | Path | None = None) -> None:
        if part not in PARTS:
            raise UnknownNameError(f"M4 has no part {part!r}.{suggest(part, PARTS)} There are: {', '.join(PARTS)}.")
        self.part, self.path = part, path

    @property
    def horizon(self) -> int:
        """Steps ahead that the competition asked for."""
        return PARTS[self.part].horizon

    def table(self) -> pl.DataFrame:
        """`unique_id`, `ds`, `y`.

        Raises:
            DataNotFoundError: the file is not in the data folder, or is not the published one.
            FrameError: the file is not as the format says.
        """
        relative = f"m4_{self.part}/m4_{self.part}_dataset.tsf"
        return read_table(find_data("m4", relative, self.path)).select("unique_id", "ds", "y")

    def roles(self) -> dict[str, Any]:
        part = PARTS[self.part]
        return {"targets": "y", "freq": part.freq, "season": part.season}
