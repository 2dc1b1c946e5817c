"""The one LightningModule: any network, any loss. Imported inside `fit` only, for lightning is slow to import."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import cos, isfinite, pi
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from tsforge.batch import Batch
from tsforge.data.windows import Windows
from tsforge.errors import TrainingError
from tsforge.losses.base import Loss
from tsforge.models.base import Model
from tsforge.training.adversarial import alternation_of
from tsforge.training.arguments import TrainArguments
from tsforge.training.checkpoint import Checkpoint, Progress, copy_of
from tsforge.training.keys import key
from tsforge.training.loader import EvalLoader, TrainLoader, evaluation_batch, steps_per_epoch
from tsforge.training.network import encoders_of, parameter_groups, weight_of_second

SHORT_EPOCH = 50  # steps: validating every few steps would cost more than the steps
LOGGERS = ("lightning", "lightning.pytorch", "lightning.fabric")
OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


@dataclass(frozen=True)
class Watcher:
    """What someone who looks on is told: each step, each validation."""

    step: Callable[[int, Tensor], None]
    validation: Callable[[dict[str, Any]], None]


class ForecastModule(lightning.LightningModule):
    """Trains a network in segments: the steps from one validation to the next are one epoch of lightning's.

    Step k draws from (seed, k) alone, so a run that goes on from a checkpoint ends with the same bits.
    """

    def __init__(
        self, network: Model, loss: Loss, arguments: TrainArguments, train: Windows, val: Windows, *,
        folder: Path | None, resumed: Checkpoint | None, fingerprint: str, watcher: Watcher | None = None,
    ) -> None:
        super().__init__()
        self.network, self.loss, self.arguments, self.train_windows, self.val_windows = (
            network,
            loss,
            arguments,
            train,
            val,
        )
        self.folder, self.resumed, self.watcher = folder, resumed, watcher
        self.progress = resumed.progress if resumed else Progress(arguments=fingerprint)
        self.best = resumed.best if resumed else None
        self.per_epoch = steps_per_epoch(len(train), arguments.batch_size, arguments.drop_last)
        self.total = arguments.total_steps(self.per_epoch)
        self.every = arguments.validate_every or self.per_epoch * -(-SHORT_EPOCH // self.per_epoch)
        self.sums = torch.zeros(2, dtype=torch.float64)
        self.adding = encoders_of(network, "aux_loss")
        self.alternation = alternation_of(network)
        self.automatic_optimization = self.alternation is None
        self.second = weight_of_second(network)
        if resumed:
            network.load_state_dict(resumed.weights)

    def __setstate__(self, state: dict[str, Any]) -> None:
        quiet_lightning()  # this is a process of its own, which has not seen the levels set by who started it
        super().__setstate__(state)

    @property
    def _place(self) -> dict[str, int]:
        return {"rank": self.trainer.global_rank, "world": self.trainer.world_size}

    def train_dataloader(self) -> TrainLoader:
        """The steps up to the next validation."""
        start = self.progress.step
        stop = min(self.total, (start // self.every + 1) * self.every)
        a = self.arguments
        return TrainLoader(
            self.train_windows, a.batch_size, seed=a.seed, start=start, stop=stop, drop_last=a.drop_last, **self._place
        )

    def val_dataloader(self) -> EvalLoader | list:
        """All validation windows."""
        if not len(self.val_windows):
            return []
        return EvalLoader(self.val_windows, evaluation_batch(self.network, self.arguments.batch_size), **self._place)

    def configure_optimizers(self) -> Any:
        """The optimiser, and the schedule as a pure function of the step."""
        a = self.arguments
        optimizer = OPTIMIZERS[a.optimizer](
            parameter_groups(self.network, a.learning_rate, a.weight_decay), lr=a.learning_rate
        )
        if a.schedule == "constant":
            return optimizer
        first = self.progress.step
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self._factor(first + step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _factor(self, step: int) -> float:
        if self.arguments.schedule == "halve":
            return 0.5 ** max(step // self.per_epoch - 1, 0)  # published scripts: the second epoch still at full rate
        return 0.5 * (1 + cos(pi * min(step / self.total, 1.0)))

    def on_train_start(self) -> None:
        """Puts the optimiser where the checkpoint left it."""
        if self.resumed:
            optimizer = self.trainer.optimizers[0]
            rates = [group["lr"] for group in optimizer.param_groups]  # the schedule has set them for this step
            initial = [group.get("initial_lr") for group in optimizer.param_groups]
            optimizer.load_state_dict(self.resumed.optimizer)
            for group, rate, first in zip(optimizer.param_groups, rates, initial, strict=True):
                group["lr"] = rate
                if first is not None:
                    group["initial_lr"] = first
            if self.resumed.precision:
                self.trainer.precision_plugin.load_state_dict(self.resumed.precision)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Keys the draws of this step (dropout) by its number."""
        seed = key(self.arguments.seed, "step", self.progress.step, self.trainer.global_rank)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed looks at every kind of device, at every step
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The sum over observed cells divided by their count on all devices together, and what encoders add to it."""
        if self.alternation is not None:
            return self.alternation.step(self, batch)
        total, count = self._sums(batch) if self.second is None else self._sums_of_both(batch, self.second)
        world = self.trainer.world_size
        if world > 1:
            count = self.trainer.strategy.reduce(count.clone(), reduce_op="sum")
        return self.checked(total * world / torch.as_tensor(count).clamp(min=1))  # gradients of devices are averaged

    def checked(self, loss: Tensor) -> Tensor:
        """The loss with what encoders add to it.

        Raises:
            TrainingError: it is not finite.
        """
        for encoder in self.adding:
            loss = loss + sum(encoder.aux_loss().values())
        if loss.device.type == "cpu" and not isfinite(loss.item()):
            raise TrainingError(_diverged(loss.item(), self.progress.step))
        return loss

    def _sums(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.sums_of(self.network(batch), batch)

    def sums_of(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The sum of the loss over observed cells, and their number."""
        assert batch.future is not None
        assert batch.future_mask is not None
        cells = self.loss.cells(outputs, batch.future)
        mask = batch.future_mask
        if not any(mask.stride()) and bool(mask[0, 0, 0]):  # one true cell, seen as all: nothing is missing
            return cells.sum(), torch.tensor(mask.numel(), device=cells.device)
        return (cells * mask).sum(), torch.count_nonzero(mask)

    def _sums_of_both(self, batch: Batch, second: float) -> tuple[Tensor, Tensor]:
        """Of windows that are read twice: the second reading weighs `second` times as much as the first."""
        both = batch.twice()
        assert both.future is not None
        assert both.future_mask is not None
        cells = self.loss.cells(self.network(both), both.future)
        first, again = (both.future_mask.to(cells.dtype)).chunk(2)
        weights = torch.cat([first, second * again])
        return (cells * weights).sum(), weights.sum()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Counts the step; writes a checkpoint where one is due and no validation follows."""
        progress = self.progress
        progress.step += 1
        progress.loss_steps += 1
        loss = outputs["loss"].detach()
        progress.loss_sum = progress.loss_sum + (
            loss.item() if loss.device.type == "cpu" else loss
        )  # no wait for a GPU
        if self.watcher:
            self.watcher.step(progress.step, loss)
        every = self.arguments.checkpoint_every
        if every and progress.step % every == 0 and progress.step % self.every and progress.step < self.total:
            self._write()

    def on_train_epoch_end(self) -> None:
        """Where nothing is held back a segment ends here."""
        if not len(self.val_windows):
            self._end_segment(None)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds the cells of a batch."""
        total, count = self._sums(batch)
        self.sums = self.sums.to(total.device) + torch.stack([total.double(), count.double()])

    def on_validation_epoch_end(self) -> None:
        """Compares with the best, and decides whether to go on."""
        sums = self.trainer.strategy.reduce(self.sums, reduce_op="sum") if self.trainer.world_size > 1 else self.sums
        self.sums = torch.zeros_like(self.sums)
        self._end_segment(float(sums[0] / sums[1].clamp(min=1)))  # pyright: ignore[reportIndexIssue, reportOptionalSubscript]

    def _end_segment(self, val_loss: float | None) -> None:
        progress = self.progress
        mean = self._over_devices(float(progress.loss_sum) / max(progress.loss_steps, 1))
        for value in (mean, val_loss):
            if value is not None and not isfinite(value):
                raise TrainingError(_diverged(value, progress.step))
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        row = {"step": progress.step, "loss": mean, "val_loss": val_loss, "learning_rate": rate}
        progress.history.append(row)
        progress.loss_sum, progress.loss_steps = 0.0, 0
        if val_loss is not None:
            self._compare(val_loss)
        patience = self.arguments.early_stop_patience
        if progress.step >= self.total or (patience is not None and progress.waited >= patience):
            progress.stopped = self.trainer.should_stop = True
        if self.watcher:
            self.watcher.validation(row)
        self._write()

    def _over_devices(self, mean: float) -> float:
        """The loss of the whole batch: each device has seen its share, times their number."""
        if self.trainer.world_size == 1:
            return mean
        return float(self.trainer.strategy.reduce(torch.tensor(mean, dtype=torch.float64), reduce_op="mean"))

    def _compare(self, val_loss: float) -> None:
        progress = self.progress
        if progress.best_loss is None or val_loss < progress.best_loss:
            progress.best_loss, progress.best_step, progress.waited = val_loss, progress.step, 0
            self.best = copy_of(self.network.state_dict())
        else:
            progress.waited += 1

    def teardown(self, stage: str) -> None:
        """Joins the threads of the process group while Python still runs: at exit they now and then abort it."""
        distributed = torch.distributed
        if distributed.is_available() and distributed.is_initialized():
            distributed.barrier()
            distributed.destroy_process_group()

    def _write(self) -> None:
        if self.folder is None or self.trainer.global_rank:
            return
        self.progress.loss_sum = float(self.progress.loss_sum)
        optimizer = self.trainer.optimizers[0].state_dict()
        precision = self.trainer.precision_plugin.state_dict()
        Checkpoint(self.progress, self.network.state_dict(), self.best, optimizer, precision).write(self.folder)


def quiet_lightning() -> None:
    """No lines about devices, no advertisement, no warning about lightning's own code."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)")  # lightning on newer torch
    warnings.filterwarnings("ignore", message=r".*does not have many workers")  # windows are gathered, not loaded
    warnings.filterwarnings("ignore", message=r"Grad strides do not match bucket view strides")


def _diverged(loss: float, step: int) -> str:
    return (
        f"The loss is {loss} after step {step}: training diverged. Lower learning_rate, set gradient_clip, or look for "
        "extreme values in the data."
    )
