"""NAB: the Numenta anomaly benchmark, one short series with its anomalies.

Source    Lavin & Ahmad (2015), "Evaluating real-time anomaly detection algorithms: the Numenta Anomaly Benchmark",
          arXiv:1510.03336; https://github.com/numenta/NAB. MIT.
Frame     unique_id the name   ds the stamps of the file   value
          labels of each row: window, 1 in the window around an anomaly; anomaly, 1 where the anomaly was seen
Units     those of the series, on the card.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from tsforge.data.adapter import Adapter
from tsforge.data.files import read_table
from tsforge.data.members import check_file_name, find_member
from tsforge.data.places import find_data
from tsforge.errors import DataNotFoundError, FrameError
from tsforge.frame.check import read_times
from tsforge.frame.grid import UNITS, infer_freq, split_freq
from tsforge.frame.schema import require


class NAB(Adapter):
    """One series of one target, labelled row by row.

    Args:
        name: A file without folder and ending: "nyc_taxi", "machine_temperature_system_failure", ...
        path: The user's own folder, in place of `nab/`: folders of csv files, `combined_windows.json` and
            `combined_labels.json`.

    Raises:
        ArgumentError: `name` is no name of a file.
    """

    def __init__(self, *, name: str = "nyc_taxi", path: str | Path | None = None) -> None:
        self.name, self.path = check_file_name("name", name), path

    def table(self) -> pl.DataFrame:
        """`unique_id`, `ds`, `value`, `window`, `anomaly`. Where a stamp stands twice, the later row is kept.

        Raises:
            UnknownNameError: no folder has a file of this name.
            DataNotFoundError: a file of labels is not there.
            FrameError: a column is not there, or the labels do not speak of this series.
        """
        return self._table

    def roles(self) -> dict[str, Any]:
        freq = infer_freq(self._table)
        return {"targets": "value", "labels": ["window", "anomaly"], "freq": freq, "season": _steps_a_day(freq)}

    @cached_property
    def _table(self) -> pl.DataFrame:
        folder = find_data("nab", "nab/", self.path)
        known = sorted(path.stem for path in folder.glob("*/*.csv"))
        path = find_member("name", self.name, sorted(folder.glob(f"*/{self.name}.csv")), known, folder)
        rows = read_table(path)
        require(rows.columns, ("timestamp", "value"), str(path))
        rows = rows.select(pl.lit(self.name).alias("unique_id"), read_times(rows["timestamp"], "timestamp").alias("ds"),
                           "value")
        key, ds = f"{path.parent.name}/{path.name}", pl.col("ds")
        spans = [_stamps(span) for span in _labels(folder / "combined_windows.json", key)]
        seen = _stamps(_labels(folder / "combined_labels.json", key))
        inside = [ds.is_between(*span) for span in spans]
        rows = rows.with_columns(
            window=(pl.any_horizontal(inside) if inside else pl.lit(False)).cast(pl.Int64),
            anomaly=ds.is_in(seen.implode()).cast(pl.Int64),
        )
        return rows.unique("ds", keep="last", maintain_order=True).sort("ds")


def _steps_a_day(freq: str | None) -> int:
    """Steps of a day; 1 where a day is no whole number of them."""
    number, unit = split_freq(freq or "1d")
    steps, rest = divmod(UNITS["d"], number * UNITS.get(unit, UNITS["w"]))
    return 1 if rest else steps


def _labels(path: Path, key: str) -> list[Any]:
    """What a file of labels says of one series."""
    if not path.exists():
        raise DataNotFoundError(f"There is no {path}: wanted it beside the folders of series, as NAB publishes it.")
    labels = json.loads(path.read_text(encoding="utf-8"))
    if key not in labels:
        raise FrameError(f"{path} says nothing of {key}. Take the file that came with the series.")
    return labels[key]


def _stamps(texts: list[str]) -> pl.Series:
    return read_times(pl.Series("stamp", texts, dtype=pl.String), "stamp").cast(pl.Datetime("us"))
