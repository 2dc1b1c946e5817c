"""The csv layout of the long-term forecasting literature: a column `date`, then one column for each channel.

Source    Zhou et al. (2021), arXiv:2012.07436 (ETT); Wu et al. (2021), arXiv:2106.13008 (the other sets).
Frame     unique_id the name of the set   ds from `date`   the channels, the one under study called OT
Split     ETT by months of 30 days, the other sets 70, 10 and 20 percent of the rows.
"""

from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from tsforge.data.adapter import Adapter
from tsforge.data.files import read_table
from tsforge.data.places import find_data
from tsforge.frame.check import read_times
from tsforge.frame.frame import Frame
from tsforge.frame.grid import split_freq
from tsforge.frame.schema import require
from tsforge.frame.split import Split


class LongTerm(Adapter):
    """A set in this layout: its channels are the targets of one series.

    Args:
        path: The user's own file of the same layout.
    """

    key: ClassVar[str]  # of the catalog and the card
    relative: ClassVar[str]  # path of the file on the card
    name: ClassVar[str]  # of the series
    channels: ClassVar[tuple[str, ...]]
    freq: ClassVar[str]
    season: ClassVar[int]

    def __init__(self, *, path: str | Path | None = None) -> None:
        self.path = path

    def table(self) -> pl.DataFrame:
        """`unique_id`, `ds` and the channels.

        Raises:
            DataNotFoundError: the file is not in the data folder, or is not the published one.
            FrameError: a column is not there, or a stamp cannot be read.
        """
        path = find_data(self.key, self.relative, self.path)
        table = self.mended(read_table(path))
        require(table.columns, ("date", *self.channels), str(path))
        stamps = read_times(table["date"], "date")
        if split_freq(self.freq)[1] in ("d", "w"):  # written with an hour that says nothing
            stamps = stamps.dt.date()
        return table.select(pl.lit(self.name).alias("unique_id"), stamps.alias("ds"), *self.channels)

    def mended(self, table: pl.DataFrame) -> pl.DataFrame:
        """The file as it was read, its known faults mended."""
        return table

    def roles(self) -> dict[str, Any]:
        return {"targets": self.channels, "freq": self.freq, "season": self.season}

    def frame(self, **roles: Any) -> Frame:
        """As every adapter's; a file that ends before the published test part does has no published split."""
        frame = super().frame(**roles)
        split, steps = frame.split, frame.steps
        if split is None or steps is None or len(steps.filter(steps >= split.train + split.val + split.test - 1)):
            return frame
        return frame.with_split(None)


class Clients(LongTerm):
    """A set whose channels measure one thing at many places, which may be read as so many series.

    Args:
        as_series: Each channel is a series of its own with the target `y`; else all are the channels of one series, as
            the literature has it.
        path: The user's own file of the same layout.
    """

    def __init__(self, *, as_series: bool = False, path: str | Path | None = None) -> None:
        super().__init__(path=path)
        self.as_series = as_series

    def table(self) -> pl.DataFrame:
        """`unique_id`, `ds` and the channels, or `unique_id`, `ds`, `y`.

        Raises:
            DataNotFoundError: the file is not in the data folder.
            FrameError: a column is not there, or a stamp cannot be read.
        """
        table = super().table()
        if not self.as_series:
            return table
        return table.drop("unique_id").unpivot(index="ds", variable_name="unique_id", value_name="y")

    def roles(self) -> dict[str, Any]:
        return super().roles() | ({"targets": "y"} if self.as_series else {})


def split_by_share(rows: int) -> Split:
    """70, 10 and 20 percent of the rows, rounded as the published tables have it: validation gets what is left."""
    train, test = int(rows * 0.7), int(rows * 0.2)
    return Split(train=train, val=rows - train - test, test=test)
