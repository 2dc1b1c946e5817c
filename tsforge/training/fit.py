"""Fitting a network: windows in, best weights out; random state, terminal and folder stay as they were."""

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from tsforge.data.windows import Windows
from tsforge.errors import ArtifactError, UnknownArgumentError
from tsforge.losses.base import Loss
from tsforge.models.base import Model
from tsforge.training.adversarial import check_alone
from tsforge.training.arguments import TrainArguments
from tsforge.training.checkpoint import Checkpoint, Progress
from tsforge.training.keys import key
from tsforge.training.loader import EvalLoader, evaluation_batch
from tsforge.training.network import BARE, build_network, fit_encoders
from tsforge.training.specs import Plugs

# What changes where or how fast a training runs, and not its result.
NOT_THE_RESULT = ("accelerator", "devices", "strategy", "trainer_kwargs", "checkpoint_every", "alias", "threads")


@dataclass(frozen=True)
class Trained:
    """The network with its best weights, in evaluation mode, and how it came there."""

    network: Model
    history: list[dict[str, Any]]
    steps: int
    best_step: int | None


def fit_network(
    make: type[Model], sizes: dict[str, Any], own: dict[str, Any], loss: Loss, arguments: TrainArguments,
    train: Windows, val: Windows, *, plugs: Plugs = BARE, checkpoint: Path | None = None, watcher: Any = None,
    data: str = "", ready: Model | None = None,
) -> Trained:
    """Trains `make(**sizes, **own)` on `train`, choosing the weights with the lowest loss on `val`.

    Args:
        make: The class of the network.
        sizes: Its data-given arguments.
        own: Its hyper-parameters.
        loss: What it is judged by.
        arguments: How it is trained.
        train: Training windows.
        val: Windows that choose the weights; without any, the last weights are kept.
        plugs: Its encoders.
        checkpoint: Folder of the checkpoint. One that is there is gone on from.
        watcher: Told of each step and each validation.
        data: Fingerprint of the data, so that a checkpoint never goes on with others.
        ready: A network to go on from, in the place of a new one: those of its weights are trained that require
            gradients, and its encoders stay as they were fitted.

    Raises:
        TrainingError: the loss is not finite.
        ArtifactError: the checkpoint belongs to another training.
    """
    with _undisturbed(arguments.threads):
        torch.manual_seed(key(arguments.seed, "init"))
        network = build_network(make, sizes | {"outputs": loss.outputs}, own, plugs) if ready is None else ready
        network = network.to(dtype_of(arguments.precision))
        fingerprint = _fingerprint(make, sizes, own, plugs, arguments, data)
        resumed = _resumed(checkpoint, fingerprint)
        if resumed is None and ready is None:
            fit_encoders(network, train)
            _show(network, EvalLoader(train, evaluation_batch(network, arguments.batch_size)))
        if not any(weight.requires_grad for weight in network.parameters()):  # all is learnt in `fit` and `after_fit`
            resumed = Checkpoint(Progress(stopped=True, arguments=fingerprint), network.state_dict(), None, {}, {})
        if resumed is None or not resumed.progress.stopped:
            resumed = _train(network, loss, arguments, train, val, checkpoint, resumed, fingerprint, watcher)
        progress = resumed.progress
        network.load_state_dict(resumed.best or resumed.weights)
        network = network.cpu().eval()
        with torch.no_grad():
            network.after_fit(EvalLoader(train, evaluation_batch(network, arguments.batch_size)))
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    best = progress.best_step if progress.best_loss is not None else None
    return Trained(network, progress.history, progress.step, best)


@torch.no_grad()
def _show(network: Model, windows: EvalLoader) -> None:
    """Lets a network find in training windows what it does not learn by gradient."""
    training = network.training
    network.eval().before_fit(windows)
    network.train(training)


def dtype_of(precision: int | str) -> torch.dtype:
    """The type of weights and data: float64 for precision 64, else float32, which autocasts from there."""
    return torch.float64 if str(precision) == "64" else torch.float32


def _train(network, loss, arguments, train, val, folder, resumed, fingerprint, watcher) -> Checkpoint:
    from tsforge.training.module import ForecastModule

    several = arguments.devices not in (1, "1", [0])
    check_alone(network, several)
    with tempfile.TemporaryDirectory() if several and folder is None else _nothing() as aside:
        where = folder or (Path(aside) if aside else None)  # processes of their own hand the result over in a file
        module = ForecastModule(network, loss, arguments, train, val, folder=where, resumed=resumed,
                                fingerprint=fingerprint, watcher=watcher)
        trainer = _trainer(arguments, validates=len(val) > 0, alternates=module.alternation is not None)
        _run(trainer, module)
        if several and where is not None and (handed := Checkpoint.read(where)) is not None:
            return handed
    return Checkpoint(module.progress, network.state_dict(), module.best, {}, {})


def _trainer(arguments: TrainArguments, *, validates: bool, alternates: bool) -> Any:
    import lightning

    ours: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "max_epochs": -1,
        "reload_dataloaders_every_n_epochs": 1,
        "limit_val_batches": None if validates else 0,
        "accelerator": arguments.accelerator,
        "devices": arguments.devices,
        "strategy": arguments.strategy,
        "gradient_clip_val": None if alternates else arguments.gradient_clip,  # then it is clipped at each step
        # float64 is in the weights and the data already; lightning's own way there refuses a frozen batch
        "precision": 32 if dtype_of(arguments.precision) == torch.float64 else arguments.precision,
    }
    given = dict(arguments.trainer_kwargs or {})
    taken = sorted(set(given) & set(ours))
    if taken:
        raise UnknownArgumentError(f"trainer_kwargs: {', '.join(taken)} are set by tsforge; use its own arguments.")
    try:
        return lightning.Trainer(**ours, **given)
    except TypeError as error:
        raise UnknownArgumentError(f"trainer_kwargs: {error}") from None


def _run(trainer: Any, module: Any) -> None:
    try:
        trainer.fit(module)
    except SystemExit:
        if trainer.interrupted:  # lightning turns Ctrl-C into an exit
            raise KeyboardInterrupt from None
        raise


@contextmanager
def _undisturbed(threads: int | None) -> Iterator[None]:
    """Keeps random state, thread count, gradient mode and the terminal for whoever called."""
    from tsforge.training.module import LOGGERS, quiet_lightning

    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    before = torch.get_num_threads()
    with torch.random.fork_rng(), torch.enable_grad(), warnings.catch_warnings():
        try:
            quiet_lightning()
            if threads is not None:
                torch.set_num_threads(threads)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            torch.set_num_threads(before)


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


def _resumed(folder: Path | None, fingerprint: str) -> Checkpoint | None:
    found = Checkpoint.read(folder) if folder is not None else None
    if found is not None and found.progress.arguments != fingerprint:
        raise ArtifactError(
            f"{folder} holds the checkpoint of another training: its arguments or its data differ from those given. "
            "Give the same ones to go on from it, or delete the folder to start again."
        )
    return found


def _fingerprint(make: type, sizes: dict, own: dict, plugs: Plugs, arguments: TrainArguments, data: str) -> str:
    ours = {k: v for k, v in asdict(arguments).items() if k not in NOT_THE_RESULT}
    encoders = [] if plugs == BARE else [plugs.plain()]
    return json.dumps([make.__name__, sizes, own, ours, data, *encoders], sort_keys=True, default=str)
