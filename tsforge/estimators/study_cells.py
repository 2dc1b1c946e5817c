"""Cells of a study: the frames they share, how one is run, and what becomes of it."""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tsforge.errors import ArtifactError, TsforgeError
from tsforge.estimators.grid import Cell
from tsforge.estimators.run import kept_training, load_frame, run_recipe
from tsforge.frame.frame import Frame

FAILURES = (TsforgeError, MemoryError, torch.OutOfMemoryError)  # of one run; the others may do well


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Args:
        name: The cell.
        test: Scores as a run keeps them: model, metric, value, cells.
        reason: Why it failed; None where it did not.
        seconds: How long it took; 0 where the run was there already.
    """

    name: str
    test: list[dict[str, Any]]
    reason: str | None = None
    seconds: float = 0.0


class Frames:
    """Frames by the `frame` part of a recipe, each loaded once."""

    def __init__(self) -> None:
        self._loaded: dict[str, Frame] = {}

    def of(self, part: dict[str, Any]) -> Frame:
        """The frame of a part."""
        key = text_of(part)
        if key not in self._loaded:
            self._loaded[key] = load_frame(part)
        return self._loaded[key]

    def keep(self, parts: Iterable[dict[str, Any]]) -> None:
        """Lets go of the frames of all other parts."""
        wanted = {text_of(part) for part in parts}
        self._loaded = {key: frame for key, frame in self._loaded.items() if key in wanted}


def by_frame(cells: Sequence[Cell]) -> list[Cell]:
    """The cells of one frame after the other, so that a frame is loaded once and can be let go."""
    first: dict[str, int] = {}
    for cell in cells:
        first.setdefault(text_of(cell.recipe.frame), len(first))
    return sorted(cells, key=lambda cell: first[text_of(cell.recipe.frame)])


def run_cell(cell: Cell, out: Path, frames: Frames, *, overwrite: bool, verbose: bool) -> Outcome:
    """Runs one cell, from its checkpoint where there is one."""
    place, began = out / cell.name, time.monotonic()

    def run(resume: bool) -> list[dict[str, Any]]:
        frame = frames.of(cell.recipe.frame)
        return run_recipe(
            cell.recipe, place, frame=frame, resume=resume, overwrite=overwrite, verbose=verbose
        ).test

    try:
        try:
            test = run(kept_training(place))
        except ArtifactError:  # the checkpoint of another training
            if not overwrite:
                raise
            test = run(False)
    except FAILURES as error:
        return Outcome(cell.name, [], str(error) or type(error).__name__, time.monotonic() - began)
    return Outcome(cell.name, test, None, time.monotonic() - began)


def text_of(values: Any) -> str:
    """Plain values as a text that is the same for the same values."""
    return json.dumps(values, sort_keys=True, default=str)
