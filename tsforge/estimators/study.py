"""A study: the runs of a grid, each in a folder of its own, and one table of their scores.

The same call goes on where an earlier one was stopped: finished runs are taken, begun ones go on from their checkpoint.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from tsforge.errors import ArgumentError, OutputExistsError
from tsforge.estimators.grid import Cell
from tsforge.estimators.study_cells import Frames, Outcome
from tsforge.estimators.study_checks import check_cells, check_data, taken
from tsforge.estimators.study_table import score_rows, study_table
from tsforge.estimators.study_workers import run_here, run_in_workers
from tsforge.training.artifact import SUMS
from tsforge.training.checkpoint import write_aside

log = logging.getLogger("tsforge")


@dataclass
class Study:
    """Cells and what became of them.

    Args:
        cells: The runs of the grid.
        out: The folder that holds theirs.
        outcomes: By name of the cell; one that has not run yet is absent.
    """

    cells: Sequence[Cell]
    out: Path
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def table(self) -> list[dict[str, Any]]:
        """One row per setting, means over seeds; see `study_table`."""
        return study_table(self.cells, self.outcomes)

    @property
    def failed(self) -> dict[str, str]:
        """Why cells failed, by their names."""
        known = [self.outcomes[cell.name] for cell in self.cells if cell.name in self.outcomes]
        return {outcome.name: outcome.reason for outcome in known if outcome.reason is not None}

    @property
    def runs(self) -> list[dict[str, Any]]:
        """One row per cell: run, its setting, state ("done", "failed", "waiting") and the reason of a failure."""
        rows = []
        for cell in self.cells:
            outcome = self.outcomes.get(cell.name)
            state = "waiting" if outcome is None else "done" if outcome.reason is None else "failed"
            rows.append({"run": cell.name, "setting": cell.setting, "state": state,
                         "reason": outcome.reason if outcome else None})
        return rows

    def write(self) -> None:
        """Writes study.json (runs, and scores with one row per cell, model and metric) and table.csv."""
        self.out.mkdir(parents=True, exist_ok=True)
        whole = {"format": 1, "runs": self.runs, "scores": score_rows(self.cells, self.outcomes)}
        write_aside(self.out / "study.json", json.dumps(whole, indent=1, default=str).encode())
        table = pl.DataFrame(self.table, infer_schema_length=None, strict=False)
        write_aside(self.out / "table.csv", table.write_csv().encode() if len(table) else b"")


def run_study(
    cells: Sequence[Cell], out: Path, *, workers: int = 1, overwrite: bool = False, verbose: bool = False,
) -> Study:
    """Runs the cells that are not there yet; what one of them fails by is kept, and the others go on.

    Args:
        cells: What `read_grid` read.
        out: The folder that holds their runs.
        workers: Processes that share the cores; 1 trains in this one.
        overwrite: Replaces runs of other recipes that stand in the place of a cell.
        verbose: Shows the progress of each training; with one worker only.

    Raises:
        OutputExistsError: `out` is a run or a file, or a run of another recipe stands in the place of a cell.
        TsforgeError: a cell cannot be run as it is written, or its data cannot be read: found before any is trained.
    """
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise ArgumentError(f"workers={workers!r}: wanted a number of processes, 1 or more.")
    if (out / SUMS).exists() or (out.exists() and not out.is_dir()):
        raise OutputExistsError(f"{out} is a run or a file: a study needs a folder of its own. Choose another place.")
    check_cells(cells)
    study = Study(cells, out, taken(cells, out, overwrite))
    left = [cell for cell in cells if cell.name not in study.outcomes]
    if study.outcomes:
        log.info(f"{len(study.outcomes)} of {len(cells)} runs are there already and are not trained again.")
    workers, frames = min(workers, len(left)), Frames()
    check_data(left, frames, keep=workers == 1)
    study.write()
    if workers > 1:
        frames.keep([])
        outcomes = run_in_workers(left, out, workers, overwrite=overwrite)
    else:
        outcomes = run_here(left, out, frames, overwrite=overwrite, verbose=verbose)
    for outcome in outcomes:
        study.outcomes[outcome.name] = outcome
        study.write()
        log.info(_told(outcome, len(study.outcomes), len(cells)))
    return study


def _told(outcome: Outcome, number: int, count: int) -> str:
    own = [row for row in outcome.test if row["model"] == outcome.test[0]["model"] and row["value"] is not None]
    scores = ", ".join(f"{row['metric']} {row['value']:.4g}" for row in own)
    became = f"failed: {outcome.reason}" if outcome.reason is not None else scores or "done"
    return f"{outcome.name} ({number} of {count}, {outcome.seconds:.1f} s): {became}"
