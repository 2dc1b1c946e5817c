"""UCR: cases of the UEA and UCR archives of time series classification, each a short series with a class.

Source    Bagnall et al. (2018), "The UEA multivariate time series classification archive, 2018", arXiv:1811.00075;
          Dau et al. (2019), "The UCR time series archive", arXiv:1810.07758; https://timeseriesclassification.com.
Frame     unique_id "train-0001", ..., "test-0001", ... in the order of the files   ds step number
          x0, x1, ... the dimensions   labels of each series: class (target in a regression problem), part
Units     those of the problem, which the files leave out.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from tsforge.data.adapter import Adapter
from tsforge.data.members import check_choice, check_file_name, find_member
from tsforge.data.places import find_data
from tsforge.data.ts import Cases, read_ts
from tsforge.errors import FrameError


class UCR(Adapter):
    """One series for each case of a problem; lengths may differ.

    Args:
        name: A problem, which is a folder with `NAME_TRAIN.ts` and `NAME_TEST.ts`.
        part: "train", "test" or "both".
        path: The user's own folder of problems, in place of `uea_ucr/`.

    Raises:
        ArgumentError: `name` is no name of a folder, or `part` is none of the three.
    """

    def __init__(self, *, name: str = "JapaneseVowels", part: str = "train", path: str | Path | None = None) -> None:
        self.name = check_file_name("name", name)
        self.part, self.path = check_choice("part", part, ("train", "test", "both")), path

    def table(self) -> pl.DataFrame:
        """`unique_id`, `ds` and the dimensions.

        Raises:
            UnknownNameError: the folder has no such problem.
            DataNotFoundError: a file of it is not there.
            FrameError: a file is not as the format says, or the parts differ in their dimensions.
        """
        tables = []
        for part, cases in self._cases.items():
            ids = _named(part, cases.values["case"], cases.values["case"].n_unique())
            tables.append(cases.values.select(ids, pl.exclude("case")))
        if tables[0].columns != tables[-1].columns:
            widths = " and ".join(str(len(table.columns) - 2) for table in tables)
            raise FrameError(f"{self.name}: its parts have {widths} dimensions, wanted the same.")
        return pl.concat(tables)

    def roles(self) -> dict[str, Any]:
        return {"targets": self.table().columns[2:], "labels": self._labels(), "freq": "1i", "season": 1}

    @cached_property
    def _cases(self) -> dict[str, Cases]:
        folder = find_data("ucr", "uea_ucr/", self.path)
        known = sorted(path.name for path in folder.glob("*/"))
        parts = ("train", "test") if self.part == "both" else (self.part,)
        files = {part: [folder / self.name / f"{self.name}_{part.upper()}.ts"] for part in parts}
        return {part: read_ts(find_member("name", self.name, file, known, folder)) for part, file in files.items()}

    def _labels(self) -> pl.DataFrame:
        tables = []
        for part, cases in self._cases.items():
            many = cases.values["case"].n_unique()
            table = pl.DataFrame([_named(part, pl.Series(range(many)), many)])
            if cases.outcome is not None:
                name = "class" if cases.outcome.dtype == pl.String else "target"
                table = table.with_columns(cases.outcome.alias(name))
            tables.append(table.with_columns(part=pl.lit(part)))
        return pl.concat(tables)


def _named(part: str, case: pl.Series, many: int) -> pl.Series:
    """`train-0001`: written so that they sort as in the file."""
    digits = (case + 1).cast(pl.String).str.zfill(max(4, len(str(many))))
    return (f"{part}-" + digits).alias("unique_id")
