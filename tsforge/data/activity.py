"""Activity: where four tags on a person's body are, while the person walks, sits, lies or falls.

Source    Kaluza et al. (2010), "An agent-based approach to care in independent living", AmI 2010;
          https://archive.ics.uci.edu/dataset/196. CC BY 4.0.
Frame     unique_id "A01", ... the sequence   ds UTC, 2009-05-27; irregular, grid "100ms", about one reading of each tag
          ankle_left, ankle_right, chest, belt, each with _x, _y, _z: null in rows of other tags
          label of each row: activity, one of 11
Units     metres in the room.
"""

from itertools import product
from pathlib import Path
from typing import Any

import polars as pl

from tsforge.data.adapter import Adapter
from tsforge.data.files import read_table
from tsforge.data.members import read_text
from tsforge.data.places import find_data
from tsforge.errors import FrameError
from tsforge.frame.schema import require

FILE = "activity/ConfLongDemo_JSI_first10pct.csv"
TAGS = {
    "010-000-024-033": "ankle_left", "010-000-030-096": "ankle_right", "020-000-033-111": "chest",
    "020-000-032-221": "belt",
}
AXES = ("x", "y", "z")
CHANNELS = tuple(f"{tag}_{axis}" for tag, axis in product(TAGS.values(), AXES))
COORDINATES = tuple(f"{axis}_coordinate" for axis in AXES)
PUBLISHED = ["sequence_name", "tag_indicator", "timestamp", "date", *COORDINATES, "activity"]
TICKS = 621_355_968_000_000_000  # of 100 ns, from the year 1 to 1970


class Activity(Adapter):
    """One irregular series of twelve targets for each sequence, labelled row by row.

    Args:
        path: The user's own file of the same layout, or `ConfLongDemo_JSI.txt` as UCI publishes it.
    """

    def __init__(self, *, path: str | Path | None = None) -> None:
        self.path = path

    def table(self) -> pl.DataFrame:
        """`unique_id`, `ds`, the twelve channels and `activity`.

        Raises:
            DataNotFoundError: the file is not in the data folder, or is not the published one.
            FrameError: a column is not there, or a tag is none of the four.
        """
        path = find_data("activity", FILE, self.path)
        rows = self._read(path)
        require(rows.columns, [name for name in PUBLISHED if name != "date"], str(path))
        strange = rows.filter(pl.col("tag_indicator").is_in(list(TAGS)).not_())
        if len(strange):
            raise FrameError(
                f"{path}: {strange[0, 'tag_indicator']!r} is none of the tags {', '.join(TAGS)} ({len(strange)} rows)."
            )
        read = pl.col("tag_indicator").replace_strict(TAGS)
        channels = [
            pl.when(read == tag).then(pl.col(f"{axis}_coordinate")).alias(f"{tag}_{axis}")
            for tag, axis in product(TAGS.values(), AXES)
        ]
        ds = pl.from_epoch((pl.col("timestamp") - TICKS) // 10, "us").alias("ds")
        rows = rows.select(pl.col("sequence_name").alias("unique_id"), ds, *channels, "activity")
        # tags read within one microsecond share a row
        one = rows.group_by("unique_id", "ds").agg(pl.col(*CHANNELS, "activity").drop_nulls().first())
        return one.sort("unique_id", "ds")

    def roles(self) -> dict[str, Any]:
        return {"targets": CHANNELS, "labels": "activity", "freq": "irregular", "grid": "100ms", "season": 1}

    def _read(self, path: Path) -> pl.DataFrame:
        if path.suffix == ".txt":
            return read_text(path, has_header=False, new_columns=PUBLISHED)
        rows = read_table(path)
        return rows.rename({name: name.strip() for name in rows.columns})
