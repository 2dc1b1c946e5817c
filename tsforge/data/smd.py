"""SMD: 38 metrics of a server, by the minute for five weeks; the later half is labelled.

Source    Su et al. (2019), "Robust anomaly detection for multivariate time series through stochastic recurrent neural
          network", KDD 2019; https://github.com/NetManAIOps/OmniAnomaly, ServerMachineDataset. MIT.
Frame     unique_id the machine   ds minute number; the test part follows the training part   m0 to m37 the metrics
          label of each row of the test part: 1 where anomalous
Units     none: each metric was scaled to 0..1 by the source, which gives neither names nor stamps.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from tsforge.data.adapter import Adapter
from tsforge.data.members import check_choice, check_file_name, find_member, read_text
from tsforge.data.places import find_data
from tsforge.errors import FrameError

METRICS = tuple(f"m{k}" for k in range(38))
SUFFIX = {"train": "train", "test": "test", "test_label": "test_label", "interpretation": "interpretation_label"}


class SMD(Adapter):
    """One series of 38 targets.

    Args:
        machine: As in the names of the files, "machine-1-1" to "machine-3-11".
        part: "train", "test" or "both".
        path: The user's own folder, in place of `smd/`: `MACHINE_train.txt`, or folders `train/`, `test/`,
            `test_label/`, `interpretation_label/` as published. Files may be packed as .gz.

    Raises:
        ArgumentError: `machine` is no name of a file, or `part` is none of the three.
    """

    def __init__(self, *, machine: str = "machine-1-2", part: str = "train", path: str | Path | None = None) -> None:
        self.machine = check_file_name("machine", machine)
        self.part, self.path = check_choice("part", part, ("train", "test", "both")), path

    def table(self) -> pl.DataFrame:
        """`unique_id`, `ds`, the metrics; and `label` where the part has one, null in training rows.

        Steps of the test part count from 0 where it stands alone, and go on from the training part in "both".

        Raises:
            UnknownNameError: the folder has no such machine.
            DataNotFoundError: a file of it is not there.
            FrameError: a file has not 38 columns of numbers, or not one label for each row.
        """
        label = pl.lit(None, pl.Int64).alias("label")
        train = [self._read("train").with_columns(label)] if self.part == "both" else []
        rows = self._read("train") if self.part == "train" else pl.concat([*train, self._labelled()])
        return rows.select(pl.lit(self.machine).alias("unique_id"), pl.int_range(pl.len()).alias("ds"), pl.all())

    def roles(self) -> dict[str, Any]:
        labels = None if self.part == "train" else "label"
        return {"targets": METRICS, "labels": labels, "freq": "1i", "season": 24 * 60}

    def interpretation(self) -> pl.DataFrame:
        """Which metrics an anomaly shows in: `start`, `end` (the step after its last, in `ds`), `dimensions`.

        Steps count as in `table`; of the training part there is none.

        Raises:
            UnknownNameError: the folder has no such machine.
            DataNotFoundError: the file is not there.
            FrameError: a line is not `start-end:dimension,...`.
        """
        path, before = self._file("interpretation"), len(self._read("train")) if self.part == "both" else 0
        lines = {"has_header": False, "separator": "\n", "quote_char": None, "schema": {"text": pl.String}}
        text = read_text(path, **lines)["text"]
        text = text.clear() if self.part == "train" else text
        parts = text.str.extract_groups(r"^(\d+)-(\d+):(\d+(?:,\d+)*)$").struct.unnest()
        if parts["1"].null_count():
            wrong = text.filter(parts["1"].is_null())[0]
            raise FrameError(f"{path}: {wrong!r} is not written as 15415-15418:18,20, steps and metrics from 1.")
        counted = pl.col("3").str.split(",").list.eval(pl.format("m{}", pl.element().cast(pl.Int64) - 1))
        return parts.select(
            pl.col("1").cast(pl.Int64).alias("start") + before, pl.col("2").cast(pl.Int64).alias("end") + before,
            counted.alias("dimensions"),
        )

    @cached_property
    def _folder(self) -> Path:
        return find_data("smd", "smd/", self.path)

    def _file(self, kind: str) -> Path:
        suffix, folder = SUFFIX[kind], self._folder
        plain = (folder / f"{self.machine}_{suffix}.txt", folder / suffix / f"{self.machine}.txt")
        packed = [path.with_name(f"{path.name}.gz") for path in plain]
        known = {path.name.partition("_")[0].partition(".")[0] for path in folder.rglob("machine*.txt*")}
        return find_member("machine", self.machine, [*plain, *packed], sorted(known), folder)

    def _read(self, kind: str) -> pl.DataFrame:
        names = ("label",) if kind == "test_label" else METRICS
        path = self._file(kind)
        rows = read_text(path, has_header=False, infer_schema_length=None)
        if len(rows.columns) != len(names) or not all(dtype.is_numeric() for dtype in rows.dtypes):
            raise FrameError(f"{path}: {len(rows.columns)} columns {rows.dtypes[:3]}, wanted {len(names)} of numbers.")
        return rows.rename(dict(zip(rows.columns, names, strict=True)))

    def _labelled(self) -> pl.DataFrame:
        rows, labels = self._read("test"), self._read("test_label")
        if len(rows) != len(labels):
            raise FrameError(f"{self.machine}: {len(labels)} labels for {len(rows)} test rows, wanted one for each.")
        return rows.with_columns(labels["label"].cast(pl.Int64))
