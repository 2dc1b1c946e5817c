"""Checkpoints: all of a training's state in one file without pickles, written aside and renamed."""

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tsforge.errors import ArtifactError

NAME = "checkpoint.safetensors"


@dataclass
class Progress:
    """Counters of a training.

    Args:
        step: Optimiser steps done.
        best_loss: Lowest validation loss so far, None before the first validation.
        best_step: The step it was seen at.
        waited: Validations since then.
        loss_sum: Sum of the training losses since the last validation.
        loss_steps: Steps in that sum.
        stopped: Whether training ended, by its last step or by patience.
        history: One row per validation: step, loss, val_loss, learning_rate.
        arguments: What the training is a function of; another one may not go on from here.
    """

    step: int = 0
    best_loss: float | None = None
    best_step: int = 0
    waited: int = 0
    loss_sum: float = 0.0
    loss_steps: int = 0
    stopped: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)
    arguments: str = ""


@dataclass
class Checkpoint:
    """Weights, best weights, optimiser and counters."""

    progress: Progress
    weights: dict[str, Tensor]
    best: dict[str, Tensor] | None
    optimizer: dict[str, Any]
    precision: dict[str, Any]  # loss scale of 16-mixed

    def write(self, folder: Path) -> None:
        """Replaces the checkpoint in `folder` at once: a reader sees the old one or this one."""
        tensors = {f"weights/{k}": v for k, v in self.weights.items()}
        tensors |= {f"best/{k}": v for k, v in (self.best or {}).items()}
        plain: dict[str, Any] = {"state": {}, "groups": self.optimizer.get("param_groups", [])}
        for number, slots in self.optimizer.get("state", {}).items():
            plain["state"][str(number)] = {k: v for k, v in slots.items() if not isinstance(v, Tensor)}
            tensors |= {f"optimizer/{number}/{k}": v for k, v in slots.items() if isinstance(v, Tensor)}
        words = {"progress": asdict(self.progress), "optimizer": plain, "precision": self.precision,
                 "has_best": self.best is not None}
        content = save(
            {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, {"tsforge": json.dumps(words)}
        )
        folder.mkdir(parents=True, exist_ok=True)
        write_aside(folder / NAME, content)

    @classmethod
    def read(cls, folder: Path) -> "Checkpoint | None":
        """The checkpoint in `folder`, None where there is none.

        Raises:
            ArtifactError: the file is not a whole checkpoint.
        """
        path = folder / NAME
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                words = json.loads((file.metadata() or {})["tsforge"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
            known = {f.name for f in fields(Progress)}
            progress = Progress(**{k: v for k, v in words["progress"].items() if k in known})
            state: dict[int, dict[str, Any]] = {int(k): dict(v) for k, v in words["optimizer"]["state"].items()}
            for name, tensor in under(tensors, "optimizer").items():
                number, slot = name.split("/", 1)
                state.setdefault(int(number), {})[slot] = tensor
            best = under(tensors, "best") if words["has_best"] else None
            optimizer = {"state": state, "param_groups": words["optimizer"]["groups"]}
            return cls(progress, under(tensors, "weights"), best, optimizer, words["precision"])
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"{path} is not a whole checkpoint ({error}). Delete {folder} and start again."
            ) from None


def under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name starts with `prefix/`, without it."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}/")}


def write_aside(path: Path, content: bytes) -> None:
    """Writes a file beside its place and renames it; on a failure (a full disk) the old file stays and no other."""
    aside = path.with_name(f"{path.name}.part")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def copy_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that later steps will not change."""
    return {name: tensor.detach().clone() for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}
