"""PhysioNet 2012: the first 48 hours of stays in intensive care, measured when somebody measured.

Source    Silva et al. (2012), "Predicting in-hospital mortality of ICU patients: the PhysioNet/Computing in Cardiology
          Challenge 2012", Computing in Cardiology 39; https://physionet.org/content/challenge-2012/1.0.0/. ODC-BY 1.0.
Frame     unique_id the RecordID   ds the time since admission, counted from 2000-01-01 00:00; irregular, grid "1h"
          36 measurements, called as in the files   static: Age, Gender, Height, ICUType, Weight, all at admission
          labels: SAPS-I, SOFA, Length_of_stay, Survival, In-hospital_death
Units     on the card, as in the description of the challenge.
"""

from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tsforge.data.adapter import Adapter
from tsforge.data.members import check_choice, read_text
from tsforge.data.places import find_data
from tsforge.errors import DataNotFoundError, FrameError
from tsforge.frame.schema import list_names, require

MEASURED = (
    "ALP", "ALT", "AST", "Albumin", "BUN", "Bilirubin", "Cholesterol", "Creatinine", "DiasABP", "FiO2", "GCS",
    "Glucose", "HCO3", "HCT", "HR", "K", "Lactate", "MAP", "MechVent", "Mg", "NIDiasABP", "NIMAP", "NISysABP", "Na",
    "PaCO2", "PaO2", "Platelets", "RespRate", "SaO2", "SysABP", "Temp", "TroponinI", "TroponinT", "Urine", "WBC", "pH",
)
STATIC = ("Age", "Gender", "Height", "ICUType", "Weight")
UNITS = {1: "coronary care", 2: "cardiac surgery recovery", 3: "medical", 4: "surgical"}
OUTCOMES = ("SAPS-I", "SOFA", "Length_of_stay", "Survival", "In-hospital_death")
UNKNOWN = -1
SUMMED = ("Urine",)  # amounts; all else are readings
ADMISSION = datetime(2000, 1, 1)  # a date, since steps of whole numbers know no hour: grid="1h" and resample="1h" do
COLUMNS = {"Time": pl.String, "Parameter": pl.String, "Value": pl.Float64}


class PhysioNet2012(Adapter):
    """One irregular series of 36 targets for each stay.

    Models that take no irregular steps are given `frame(resample="1h")`; the static columns are left out where a model
    reads none.

    Args:
        part: "a", "b" or "c": the stays of `set-a` with `Outcomes-a.txt`, and so on.
        path: The user's own folder of this layout, in place of `physionet2012/`.

    Raises:
        ArgumentError: `part` is none of the three.
    """

    def __init__(self, *, part: str = "a", path: str | Path | None = None) -> None:
        self.part, self.path = check_choice("part", part, ("a", "b", "c")), path

    def table(self) -> pl.DataFrame:
        """`unique_id`, `ds` and the 36 measurements, null where not taken.

        Of two values of one minute the mean is taken, of two amounts of urine the sum.

        Raises:
            DataNotFoundError: there are no stays.
            FrameError: a file is not as the source writes it.
        """
        return _wide(self._rows.filter(pl.col("Parameter").is_in(MEASURED)), MEASURED)

    def roles(self) -> dict[str, Any]:
        return {
            "targets": MEASURED, "static": self._static(), "labels": self._outcomes(), "freq": "irregular",
            "grid": "1h", "season": 1,
        }

    @cached_property
    def _folder(self) -> Path:
        return find_data("physionet2012", "physionet2012/", self.path)

    @cached_property
    def _rows(self) -> pl.DataFrame:
        """`unique_id`, `ds`, `Parameter`, `Value` of all files, without what is unknown."""
        files = sorted((self._folder / f"set-{self.part}").glob("*.txt"))
        if not files:
            raise DataNotFoundError(
                f"There are no stays in {self._folder / f'set-{self.part}'}: wanted a file RecordID.txt for each."
            )
        rows = read_text(files, schema_overrides=COLUMNS, include_file_paths="file")
        require(rows.columns, tuple(COLUMNS), str(files[0]))
        names = pl.DataFrame({"file": [str(file) for file in files], "unique_id": [file.stem for file in files]})
        return _timed(rows.join(names, on="file", how="left", maintain_order="left"))

    def _static(self) -> pl.DataFrame:
        first = self._rows.filter(pl.col("Parameter").is_in(STATIC), pl.col("ds") == ADMISSION)
        wide = _wide(first, STATIC).drop("ds")
        unit = pl.col("ICUType").cast(pl.Int64).replace_strict(UNITS, default=None, return_dtype=pl.String)
        ids = self._rows.select(pl.col("unique_id").unique().sort())
        return ids.join(wide.with_columns(unit), on="unique_id", how="left", maintain_order="left")

    def _outcomes(self) -> pl.DataFrame:
        path = self._folder / f"Outcomes-{self.part}.txt"
        if not path.exists():
            raise DataNotFoundError(f"There is no {path}: wanted the outcomes beside set-{self.part}, as published.")
        outcomes = read_text(path)
        require(outcomes.columns, ("RecordID", *OUTCOMES), str(path))
        known = [pl.col(name).replace(UNKNOWN, None) for name in OUTCOMES]
        return outcomes.select(pl.col("RecordID").cast(pl.String).alias("unique_id"), *known)


def _timed(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with a value, at their time."""
    hours, minutes = (pl.col("Time").str.extract(r"^(\d+):(\d\d)$", k).cast(pl.Int64) for k in (1, 2))
    times = rows.select(pl.col("Time").unique())  # each is read once
    times = times.with_columns(ds=pl.lit(ADMISSION) + pl.duration(hours=hours, minutes=minutes))
    rows = rows.join(times, on="Time", how="left", maintain_order="left")
    late = rows.filter(pl.col("ds").is_null())
    if len(late):
        raise FrameError(
            f"Stay {late[0, 'unique_id']}: the time {late[0, 'Time']!r} is not written as 07:15, hours and minutes "
            f"since admission ({len(late)} such rows)."
        )
    rows = rows.filter(pl.col("Value").is_not_null() & (pl.col("Value") != UNKNOWN))
    strange = rows.filter(pl.col("Parameter").is_in((*MEASURED, *STATIC, "RecordID")).not_().fill_null(True))
    if len(strange):
        raise FrameError(
            f"Stay {strange[0, 'unique_id']}: {strange[0, 'Parameter']!r} is no parameter of the challenge "
            f"({len(strange)} such rows). There are {list_names((*MEASURED, *STATIC), 50)}."
        )
    return rows.select("unique_id", "ds", "Parameter", "Value")


def _wide(rows: pl.DataFrame, names: tuple[str, ...]) -> pl.DataFrame:
    """One row for each stay and time and a column for each parameter, null where it has no row."""
    rows = rows.sort("unique_id", "ds", maintain_order=True)
    line = rows.select(pl.struct("unique_id", "ds").rle_id()).to_series().to_numpy().astype(np.int64)
    cell = line * len(names) + rows["Parameter"].cast(pl.Enum(names)).to_physical().to_numpy()
    first = np.flatnonzero(np.diff(line, prepend=-1))
    shape = (len(first), len(names))
    totals, counts = (
        np.bincount(cell, weights, len(first) * len(names)).reshape(shape) for weights in (rows["Value"], None)
    )
    counts = np.where([name in SUMMED for name in names], counts > 0, counts)
    values = np.divide(totals, counts, out=np.full(shape, np.nan), where=counts > 0)
    return rows.select("unique_id", "ds")[first].hstack(pl.DataFrame(values, schema=[*names]).fill_nan(None))
