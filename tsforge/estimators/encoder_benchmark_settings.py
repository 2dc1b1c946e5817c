"""Settings of the encoder benchmark: datasets, models with and without an encoder, and the recipe of each training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tsforge.encoders import ENCODERS
from tsforge.encoders.sequence.base import SequenceEncoder
from tsforge.estimators.deep import Deep
from tsforge.estimators.run import unfitted
from tsforge.models import MODELS
from tsforge.models.base import Model
from tsforge.training.recipe import Recipe, read_recipe

METRIC = "mae"  # of values standardised by the training rows; the loss of the trainings is the same
PLAIN, CALENDAR = "", "calendar"
MAX_STEPS = 150
TRAIN: Mapping[str, Any] = MappingProxyType({
    "loss": METRIC, "learning_rate": 5e-3, "schedule": "cosine", "batch_size": 32, "accelerator": "cpu", "threads": 1,
})
SMALL: Mapping[str, Mapping[str, Any]] = MappingProxyType({  # arguments of models, so that all fits into an hour
    "encoder_forecaster": {},
    "dlinear": {},
    "timesnet": {"d_model": 16, "d_ff": 16, "e_layers": 1, "top_k": 2, "num_kernels": 3},
})


@dataclass(frozen=True)
class Task:
    """A dataset and what is forecast of it.

    Args:
        frame, split: As in a recipe.
        h, input_size: Steps ahead, and steps that are seen.
        calendar: The features of time that an encoder is given which asks with what is known ahead.
    """

    frame: dict[str, Any]
    split: dict[str, Any]
    h: int
    input_size: int
    calendar: tuple[str, ...] = ()


TASKS: Mapping[str, Task] = MappingProxyType({
    "etth1": Task({"name": "etth1"}, {"test": 2880, "step": 96}, 96, 96, ("hour", "dayofweek")),
    "nn5": Task({"name": "nn5"}, {"test": 56}, 56, 56, ("dayofweek",)),
    # a Lyapunov time is 22.5 steps: 75 at 100 points of a period
    "lorenz": Task({"name": "chaos", "system": "Lorenz", "n": 6000, "pts_per_period": 30},
                   {"test": 1210, "step": 22}, 22, 44),
    "beijing": Task({"name": "beijing_air", "targets": ["TEMP"],
                     "stations": ["Aotizhongxin", "Changping", "Dingling", "Huairou"]},
                    {"test": 8760, "step": 72}, 24, 96, ("hour", "dayofyear")),
})


class StepEncoder(SequenceEncoder):
    """Each step by itself, linear in its channels: what stands in the place of an encoder where there is none."""

    def __init__(self, in_channels: int, d_model: int = 64) -> None:
        super().__init__(in_channels, d_model)
        self.map = nn.Linear(in_channels, d_model)

    def forward(
        self, x: Float[Tensor, "batch time channel"], mask: Bool[Tensor, "batch time channel"] | None = None
    ) -> Float[Tensor, "batch time d_model"]:
        """The token of each step; masked cells count as 0."""
        return self.map(x if mask is None else torch.where(mask, x, 0.0))


@dataclass(frozen=True)
class EncoderCell:
    """One training.

    Args:
        task, model: The dataset and the model.
        encoder: The row of the encoder; None is the line to beat.
        line: "", or "calendar": covariates of time are given to the model, with the encoder and without.
        seed: Of the training.
        recipe: The whole of it.
    """

    task: str
    model: str
    encoder: str | None
    line: str
    seed: int
    recipe: Recipe

    @property
    def setting(self) -> str:
        """What it is but for its seed."""
        return "_".join(word for word in (self.task, self.model, self.line, self.encoder or "none") if word)

    @property
    def name(self) -> str:
        """That of its file."""
        return f"{self.setting}_seed{self.seed}"

    def estimator(self) -> Deep:
        """The estimator, not fitted. A model that is nothing without an encoder has the plain one where none is."""
        model = unfitted(self.recipe, self.recipe.split.val)
        assert isinstance(model, Deep)
        if self.encoder is None and model.network.encoder_default is not None:
            model.set_params(encoder=(StepEncoder, {}))
        return model


def cells_of(
    tasks: Mapping[str, Task], models: Sequence[str], encoders: Sequence[str], seeds: Sequence[int], max_steps: int,
    overrides: Sequence[str] = (),
) -> list[EncoderCell]:
    """The cells, those without an encoder before those with one.

    Raises:
        UnknownNameError: there is no such neural model or encoder.
        RecipeError: an override cannot be read.
    """
    ahead = {name for name in encoders if "n_covariates" in getattr(ENCODERS[name], "given", ())}
    cells = []
    for title, task in tasks.items():
        lines = [*([PLAIN] if len(ahead) < len(encoders) or not encoders else []), *([CALENDAR] if ahead else [])]
        for model in models:
            for line in lines:
                own = [name for name in encoders if (name in ahead) == (line == CALENDAR)]
                for encoder in (None, *own):
                    made = [recipe_of(task, model, encoder, line, seed, max_steps, overrides) for seed in seeds]
                    cells += [EncoderCell(title, model, encoder, line, seed, recipe)
                              for seed, recipe in zip(seeds, made, strict=True)]
    return cells


def recipe_of(
    task: Task, model: str, encoder: str | None, line: str, seed: int, max_steps: int, overrides: Sequence[str],
) -> Recipe:
    """The recipe of a cell: an encoder is put inside a model that is nothing without one, else it is its context."""
    network: type[Model] = MODELS[model]
    way = {} if encoder is None else {"encoder" if network.encoder_default is not None else "context": encoder}
    calendar = {"calendar": list(task.calendar)} if line == CALENDAR and task.calendar else {}
    return read_recipe({
        "frame": task.frame | calendar,
        "split": {"val": 0} | task.split,
        "model": {"name": model, "h": task.h, "input_size": task.input_size, **SMALL.get(model, {})},
        "train": {**TRAIN, "max_steps": max_steps, "seed": seed},
        "evaluate": {"metrics": [METRIC], "scale": "train"},
    } | way, overrides)
