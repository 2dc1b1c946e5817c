"""The encoder benchmark: forecasters with each encoder beside the same without one, on several datasets.

Line      "No encoder" is the same model, trained alike: DLinear and TimesNet as they are, of EncoderForecaster a linear
          map of each step in the place of the encoder. What asks with covariates known ahead has a line of its own, to
          which the calendar is given, too.
Trained   A fixed number of steps on all rows before the test part, the last weights kept; nothing is chosen, so nothing
          is held back. Encoders have their defaults, and models are small.
Scored    Mean absolute error of values standardised by the training rows. Blocks are cutoffs at least a horizon apart
          (means over series), or series where those are more.
Resumed   A cell that is measured is a small file, and is not trained again.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from tsforge.encoders import ENCODERS
from tsforge.errors import ArgumentError, UnknownNameError, suggest
from tsforge.estimators.encoder_benchmark_cells import (
    Ground,
    Measured,
    measure,
    quietly,
    read_measured,
    refusal,
    write_measured,
)
from tsforge.estimators.encoder_benchmark_settings import (
    CALENDAR,
    MAX_STEPS,
    SMALL,
    TASKS,
    EncoderCell,
    Task,
    cells_of,
)
from tsforge.estimators.encoder_benchmark_table import by_encoder, markdown, refused_rows, score_rows
from tsforge.estimators.study_cells import FAILURES
from tsforge.estimators.study_checks import check_recipe_arguments
from tsforge.training.checkpoint import write_aside

log = logging.getLogger("tsforge")
COLUMNS = ("dataset", "model", "encoder", "mae", "sd", "ratio", "wins", "p", "time", "parameters", "verdict")


@dataclass
class EncoderBenchmark:
    """Cells and what became of them.

    Args:
        cells: Every training that was asked for, also of what does not apply.
        measured: By the name of the cell.
        refused: Why cells do not apply.
        failed: Why cells failed in training; the same call tries them again.
    """

    cells: Sequence[EncoderCell]
    measured: dict[str, Measured] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def table(self) -> list[dict[str, Any]]:
        """A row for each dataset, model and encoder; see `score_rows`."""
        return score_rows(self.cells, self.measured)

    @property
    def encoders(self) -> list[dict[str, Any]]:
        """A row for each encoder; see `by_encoder`."""
        return by_encoder(self.table)

    @property
    def not_applied(self) -> list[dict[str, str]]:
        """What does not apply, and why; see `refused_rows`."""
        return refused_rows(self.cells, self.refused)

    def skips(self, cell: EncoderCell) -> bool:
        """Whether a cell does not apply."""
        return cell.name in self.refused

    def markdown(self) -> str:
        """The three tables for a page."""
        parts = [markdown(self.encoders, ("encoder", "compared", "helps", "hurts", "ratio", "time", "helps_in",
                                          "hurts_in")), markdown(self.table, COLUMNS)]
        refused = self.not_applied
        return "\n".join([*parts, *([markdown(refused, tuple(refused[0]))] if refused else [])])

    def write(self, out: Path) -> None:
        """Writes table.csv, encoders.csv, refused.csv and tables.md."""
        for name, rows in (("table", self.table), ("encoders", self.encoders), ("refused", self.not_applied)):
            frame = pl.DataFrame(rows, infer_schema_length=None)
            write_aside(out / f"{name}.csv", frame.write_csv().encode() if rows else b"")
        write_aside(out / "tables.md", self.markdown().encode())


def encoder_benchmark(
    out: str | Path, *, datasets: Sequence[str] | None = None, models: Sequence[str] | None = None,
    encoders: Sequence[str] | None = None, seeds: Sequence[int] = (0, 1, 2), max_steps: int = MAX_STEPS,
    overrides: Sequence[str] = (), overwrite: bool = False, tasks: Mapping[str, Task] = TASKS,
) -> EncoderBenchmark:
    """Trains and scores what is not measured yet, and keeps each cell as it is ready.

    Args:
        out: The folder of cells and tables.
        datasets: Names in `tasks`; all of them unless told.
        models: Neural forecasters: encoder_forecaster, dlinear and timesnet unless told.
        encoders: Rows of `tsforge list encoders`; all of them unless told.
        seeds: Of the trainings.
        max_steps: Steps of each training.
        overrides: `key=value`, for all recipes.
        overwrite: Measures cells of other settings anew.
        tasks: The datasets there are, with horizons and test parts.

    Raises:
        UnknownNameError: there is no such dataset, model or encoder.
        ArgumentError: seeds are missing or stand twice, or an argument of the recipes cannot work.
        OutputExistsError: a cell of other settings is there, and `overwrite` was not given.
        TsforgeError: data cannot be read.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise ArgumentError(f"seeds={list(seeds)}: wanted one or more numbers, each once.")
    names = list(tasks) if datasets is None else list(datasets)
    for name in names:
        if name not in tasks:
            hint = suggest(name, tasks) or f" There are: {', '.join(tasks)}."
            raise UnknownNameError(f"The encoder benchmark has no dataset {name!r}.{hint}")
    cells = cells_of({name: tasks[name] for name in names}, list(SMALL) if models is None else models,
                     list(ENCODERS) if encoders is None else encoders, seeds, max_steps, overrides)
    for cell in {cell.setting: cell for cell in cells}.values():
        check_recipe_arguments(cell.recipe, cell.recipe.split.val)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    found, ground = EncoderBenchmark(cells), Ground()
    for cell in cells:
        kept = read_measured(cell, out, overwrite=overwrite)
        if kept is not None:
            found.measured[cell.name] = kept
    if found.measured:
        log.info(f"{len(found.measured)} of {len(cells)} cells are there already and are not trained again.")
    _refuse(found, ground)
    left = [cell for cell in cells if cell.name not in found.measured and not found.skips(cell)]
    left.sort(key=lambda cell: list(seeds).index(cell.seed))  # so that what is stopped has one seed of everything
    if left:
        _warm(left[0], ground)
    try:
        for number, cell in enumerate(left, 1):
            _run(cell, found, ground, out, f"{number} of {len(left)}")
    finally:
        found.write(out)  # also of what is stopped, with the rows whose seeds are all there
    return found


def _refuse(found: EncoderBenchmark, ground: Ground) -> None:
    """Looks at each combination once, whatever the seed, before anything is trained."""
    known: dict[str, str | None] = {}
    for cell in found.cells:
        if cell.name not in found.measured and cell.setting not in known:
            known[cell.setting] = refusal(cell, ground)
        reason = known.get(cell.setting)
        if reason is not None:
            found.refused[cell.name] = reason
    applied = {(cell.task, cell.model, cell.line) for cell in found.cells if cell.encoder and not found.skips(cell)}
    for cell in found.cells:  # the calendar is there for the encoders that ask for it alone
        if cell.line == CALENDAR and (cell.task, cell.model, cell.line) not in applied:
            found.refused.setdefault(cell.name, "No encoder of this line applies.")


def _warm(cell: EncoderCell, ground: Ground) -> None:
    """One step of training, so that what is imported at the first of all counts as the time of none."""
    with quietly(), suppress(*FAILURES):
        cell.estimator().set_params(max_steps=1).fit(ground.of(cell)[0].fitted)


def _run(cell: EncoderCell, found: EncoderBenchmark, ground: Ground, out: Path, place: str) -> None:
    try:
        with quietly():
            measured = measure(cell, ground)
    except FAILURES as error:
        found.failed[cell.name] = str(error) or type(error).__name__
        log.info(f"{cell.name} ({place}): failed: {found.failed[cell.name]}")
        return
    write_measured(measured, cell, out)
    found.measured[cell.name] = measured
    log.info(f"{cell.name} ({place}, {measured.seconds:.1f} s): mae {measured.score:.4f}")
