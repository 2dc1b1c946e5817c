"""Cells of the encoder benchmark: whether one applies, how it is measured, and how that is kept."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import torch

from tsforge.data.prepare import Preparation, prepare
from tsforge.data.store import build_store
from tsforge.encoders import ENCODERS
from tsforge.encoders.adapter.base import Adapter
from tsforge.encoders.base import Encoder
from tsforge.errors import ArgumentError, CapabilityError, OutputExistsError, ShapeError
from tsforge.estimators.checks import check_card
from tsforge.estimators.deep import models_able
from tsforge.estimators.division import Divided, training_rows
from tsforge.estimators.encoder_benchmark_settings import METRIC, EncoderCell
from tsforge.estimators.fitted import versions
from tsforge.estimators.run import prepare_run
from tsforge.estimators.study_cells import Frames, text_of
from tsforge.evaluation.backtest import forecasts_at
from tsforge.evaluation.evaluate import evaluate
from tsforge.models.base import Model
from tsforge.training.checkpoint import write_aside
from tsforge.training.network import build_network

log = logging.getLogger("tsforge")


@dataclass
class Ground:
    """Frames, divided once for all cells of a dataset."""

    frames: Frames = field(default_factory=Frames)
    _divided: dict[str, tuple[Divided, dict[str, Any], pl.DataFrame]] = field(default_factory=dict)

    def of(self, cell: EncoderCell) -> tuple[Divided, dict[str, Any], pl.DataFrame]:
        """The parts of the frame, the sizes that a network is given, and the rows that scores are scaled by."""
        key = text_of([cell.recipe.frame, cell.recipe.split.model_dump(), cell.recipe.model])
        if key not in self._divided:
            model, divided = prepare_run(cell.recipe, self.frames.of(cell.recipe.frame))
            store = build_store(divided.fitted)
            preparation = Preparation.fit(store, store.ends, "standard", "series")
            static, widths = preparation.static, prepare(store, preparation).widths
            sizes = {"h": model.h, "input_size": model.lookback(divided.fitted), **widths, "outputs": 1,
                     "static_cardinalities": () if static is None else static.cardinalities}
            self._divided[key] = divided, sizes, training_rows(divided.fitted, model)
        return self._divided[key]


def refusal(cell: EncoderCell, ground: Ground) -> str | None:
    """Why this combination does not apply; None where it does. Nothing is trained to find out."""
    divided, sizes, _ = ground.of(cell)
    frame, model = divided.fitted, cell.estimator()
    made: Any = None if cell.encoder is None else ENCODERS[cell.encoder]
    if made is not None and not (isinstance(made, type) and issubclass(made, Encoder)):
        changes = isinstance(made, type) and issubclass(made, Adapter)
        return "It changes a fitted run: docs/adapters.md." if changes else "It is no encoder of windows or series."
    if made is not None and made.reads == "static" and len(frame.ids) == 1 and frame.schema.static == ():
        return "It reads what is known of a series, and there is one series, of which nothing is known."
    if made is not None and cell.recipe.context is not None and made.of_batch is Encoder.of_batch:
        return "It gives no vector of a window or a series, so it is no context."
    random = torch.random.get_rng_state()
    try:
        with quietly():
            plugs = model._plugs()
            check_card(model.network, frame, models_able(), static_read=plugs.reads_static)
            build_network(model.network, sizes, model._own(), plugs)
    except (CapabilityError, ArgumentError, ShapeError) as error:
        return str(error)
    finally:
        torch.random.set_rng_state(random)
    return None


@contextmanager
def quietly() -> Iterator[None]:
    """Without the notices of each fit, which would be said a hundred times."""
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


@dataclass(frozen=True)
class Measured:
    """What a training came to.

    Args:
        score: Mean absolute error over the test part, of standardised values.
        blocks: The same of each block: of a cutoff, over all series; or where there are more series, of a series.
        seconds: Of one core, for the fit.
        parameters: Weights that were trained.
    """

    score: float
    blocks: list[float]
    seconds: float
    parameters: int


def measure(cell: EncoderCell, ground: Ground) -> Measured:
    """Fits and scores a cell; raises as a fit does."""
    (divided, _, rows), model = ground.of(cell), cell.estimator()
    began = time.process_time()
    model.fit(divided.fitted)
    seconds = time.process_time() - began
    assert divided.cutoffs is not None
    forecasts = forecasts_at([model], divided.frame, divided.cutoffs, fit=False)
    scoring: Any = {"scale": cell.recipe.evaluate.scale, "train": rows, "season": divided.frame.season}
    several = forecasts["unique_id"].n_unique() > forecasts["cutoff"].n_unique()
    by = "unique_id" if several else "cutoff"
    blocks = evaluate(forecasts, [METRIC], by=(by,), **scoring).filter(pl.col("cells") > 0).sort(by)
    score = float(evaluate(forecasts, [METRIC], by=(), **scoring)["value"][0])
    network = model.fitted_.predictor
    assert isinstance(network, Model)
    count = sum(weight.numel() for weight in network.parameters())
    return Measured(score, blocks["value"].to_list(), seconds, count)


def write_measured(found: Measured, cell: EncoderCell, out: Path) -> None:
    """Keeps what a cell came to; a kill leaves a whole file or none."""
    told = {"format": 1, "recipe": cell.recipe.plain(), **vars(found), "versions": versions()}
    write_aside(out / f"{cell.name}.json", json.dumps(told, indent=1, default=str).encode())


def read_measured(cell: EncoderCell, out: Path, *, overwrite: bool) -> Measured | None:
    """What a cell came to before; None where it is still to be trained.

    Raises:
        OutputExistsError: the file is of another recipe, and `overwrite` was not given.
    """
    path = out / f"{cell.name}.json"
    if not path.exists():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        same = text_of(told["recipe"]) == text_of(cell.recipe.plain())
        found = Measured(*(told[name] for name in ("score", "blocks", "seconds", "parameters")))
    except (ValueError, KeyError, TypeError):
        same = found = None
    if same:
        return found
    if not overwrite:
        raise OutputExistsError(f"{path} is of other settings, or not whole. Choose another folder, ask for the same, "
                                "or measure anew with overwrite=True (--overwrite).")
    return None
