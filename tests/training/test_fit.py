"""A training is a function of (arguments, seed, step): it can stop anywhere and go on to the same bits."""

import logging
import os
import random
import warnings
from pathlib import Path

import jaxtyping
import numpy as np
import polars as pl
import pytest
import torch

import tsforge
from tsforge.errors import ArgumentError, ArtifactError, TrainingError, UnknownArgumentError
from tsforge.training.arguments import TRAINING, TrainArguments
from tsforge.training.checkpoint import NAME, Checkpoint
from tsforge.training.module import ForecastModule


def table(n: int = 200, missing: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    t = np.arange(n)
    y = np.concatenate([np.sin(t / 3), 3 + 2 * np.sin(t / 3)]) + 0.1 * rng.normal(size=2 * n)
    y[rng.random(2 * n) < missing] = np.nan
    return pl.DataFrame({"unique_id": ["a"] * n + ["b"] * n, "ds": [*t, *t], "y": y})


def timesnet(**changes):
    """Small, with all that has state: dropout, a schedule, moments, best weights."""
    small = {"d_model": 4, "d_ff": 4, "e_layers": 1, "top_k": 2, "num_kernels": 2, "dropout": 0.3, "input_size": 16}
    train = {"max_steps": 40, "validate_every": 15, "checkpoint_every": 4, "batch_size": 16, "schedule": "cosine",
             "optimizer": "adamw", "weight_decay": 0.01, "accelerator": "cpu"}
    return tsforge.TimesNet(h=4, **(small | train | changes))


def weights(model) -> dict[str, torch.Tensor]:
    return model.fitted_.predictor.state_dict()


def equal(one, other) -> bool:
    a, b = weights(one), weights(other)
    return all(torch.equal(a[name], b[name]) for name in a)


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.fixture
def killed_at(monkeypatch):
    """A training dies at the start of a step."""

    def at(step: int) -> None:
        def start(self, batch, batch_idx, before=ForecastModule.on_train_batch_start):
            if self.progress.step == step and not self.resumed:
                raise Killed
            before(self, batch, batch_idx)

        monkeypatch.setattr(ForecastModule, "on_train_batch_start", start)

    return at


@pytest.fixture(scope="module")
def uninterrupted():
    return timesnet().fit(table())


@pytest.mark.parametrize("step", [5, 15, 22, 31, 39])
def test_a_training_that_died_goes_on_to_the_same_bits(tmp_path, killed_at, uninterrupted, step):
    killed_at(step)
    with pytest.raises(Killed):
        timesnet().fit(table(), checkpoint=tmp_path)
    resumed = timesnet().fit(table(), checkpoint=tmp_path)
    assert equal(resumed, uninterrupted)
    assert resumed.history_ == uninterrupted.history_
    assert resumed.predict().equals(uninterrupted.predict())


def test_a_planted_fault_in_the_optimiser_state_is_seen(tmp_path, killed_at, uninterrupted):
    killed_at(22)
    with pytest.raises(Killed):
        timesnet().fit(table(), checkpoint=tmp_path)
    stopped = Checkpoint.read(tmp_path)
    assert stopped is not None
    assert stopped.progress.step == 20
    for slots in stopped.optimizer["state"].values():
        slots["exp_avg"] = torch.zeros_like(slots["exp_avg"])
    stopped.write(tmp_path)
    assert not equal(timesnet().fit(table(), checkpoint=tmp_path), uninterrupted)


def test_a_finished_checkpoint_is_not_trained_again(tmp_path, monkeypatch, uninterrupted):
    timesnet().fit(table(), checkpoint=tmp_path)
    monkeypatch.setattr(ForecastModule, "training_step", lambda *_: 1 / 0)
    assert equal(timesnet().fit(table(), checkpoint=tmp_path), uninterrupted)


def test_a_checkpoint_goes_on_with_its_own_arguments_and_data_only(tmp_path, killed_at):
    killed_at(22)
    with pytest.raises(Killed):
        timesnet().fit(table(), checkpoint=tmp_path)
    with pytest.raises(ArtifactError, match="another training"):
        timesnet(learning_rate=0.1).fit(table(), checkpoint=tmp_path)
    with pytest.raises(ArtifactError, match="another training"):
        timesnet().fit(table().with_columns(pl.col("y") + 1), checkpoint=tmp_path)


@pytest.mark.parametrize("cut", [0, 7, 100, -1])
def test_a_torn_checkpoint_is_an_artifact_error(tmp_path, killed_at, cut):
    killed_at(22)
    with pytest.raises(Killed):
        timesnet().fit(table(), checkpoint=tmp_path)
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ArtifactError, match="not a whole checkpoint"):
        timesnet().fit(table(), checkpoint=tmp_path)


def test_a_kill_while_writing_leaves_the_checkpoint_before(tmp_path, monkeypatch, uninterrupted):
    writes = []

    def fsync(descriptor, before=os.fsync):
        writes.append(descriptor)
        if len(writes) == 5:
            raise Killed
        before(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(Killed):
        timesnet().fit(table(), checkpoint=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert equal(timesnet().fit(table(), checkpoint=tmp_path), uninterrupted)


def test_the_best_weights_come_back_and_not_the_last():
    model = timesnet(learning_rate=0.3, schedule="constant", max_steps=90, dropout=0.0).fit(table())
    losses = {row["step"]: row["val_loss"] for row in model.history_}
    assert model.fitted_.best_step == min(losses, key=lambda step: losses[step])
    assert model.fitted_.best_step != model.fitted_.steps  # the control: training this fast, the last is not the best


def test_training_stops_after_patience():
    model = timesnet(learning_rate=0.3, schedule="constant", max_steps=2000, early_stop_patience=2).fit(table())
    losses = [row["val_loss"] for row in model.history_]
    assert len(losses) == losses.index(min(losses)) + 3
    assert model.fitted_.steps < 2000


@pytest.mark.parametrize(("schedule", "rates"), [
    ("constant", lambda step, per_epoch: 1.0),
    ("halve", lambda step, per_epoch: 0.5 ** max(step // per_epoch - 1, 0)),
    ("cosine", lambda step, per_epoch: 0.5 * (1 + np.cos(np.pi * step / 60))),
])
def test_the_learning_rate_follows_its_schedule(schedule, rates):
    model = tsforge.DLinear(h=4, input_size=16, max_steps=60, validate_every=7, schedule=schedule, batch_size=16,
                            learning_rate=0.01, accelerator="cpu").fit(table())
    per_epoch = -(-2 * (180 - 16 - 4 + 1) // 16)
    assert 1 < 60 / per_epoch < 10
    for row in model.history_:
        assert row["learning_rate"] == pytest.approx(0.01 * rates(row["step"], per_epoch))


def test_a_loss_that_is_not_finite_says_what_to_do():
    with pytest.raises(TrainingError, match=r"diverged\. Lower learning_rate"):
        tsforge.DLinear(h=4, input_size=16, learning_rate=1e30, max_steps=50, accelerator="cpu").fit(table())


def state_of_process() -> list:
    numpy_state = np.random.get_state()[1].tolist()  # noqa: NPY002
    return [torch.get_rng_state().tolist(), numpy_state, random.getstate(), torch.get_num_threads()]


@pytest.fixture
def no_type_checks():
    """The checks of shapes in tests draw from Python's random state."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("no_type_checks")
def test_fitting_leaves_the_process_as_it_was(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002  (the global state is what is looked at)
    random.seed(1)
    level = logging.getLogger("lightning.pytorch").level
    before = state_of_process()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        model = timesnet(threads=2).fit(table())
        model.predict(level=[50])
        model.cross_validation(table(), n_windows=2)
    assert state_of_process() == before
    assert logging.getLogger("lightning.pytorch").level == level
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert [str(w.message) for w in heard if "lightning" in str(w.filename)] == []


def test_ctrl_c_stays_a_keyboard_interrupt(monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ForecastModule, "training_step", stop)
    with pytest.raises(KeyboardInterrupt):
        timesnet().fit(table())


CHANGES = {
    "max_steps": 7,
    "optimizer": "sgd",
    "learning_rate": 0.2,
    "weight_decay": 0.9,
    "schedule": "halve",
    "gradient_clip": 1e-3,
    "batch_size": 5,
    "drop_last": True,
    "validate_every": 3,
    "val_size": 0.3,
    "calibration_share": 0.0,
    "loss": "mae",
    "scaler": None,
    "scaler_scope": "global",
    "seed": 5,
    "precision": 64,
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_training_argument_changes_something(name):
    base = {"max_steps": 60, "optimizer": "adamw", "schedule": "constant", "learning_rate": 0.1, "batch_size": 48}
    base |= {"val_size": 0.4, "accelerator": "cpu"}

    def made(**changes):
        model = tsforge.DLinear(h=4, input_size=16, **(base | changes)).fit(table(missing=0.05))
        scores = {pair: ranked.pooled.counts for pair, ranked in model.fitted_.law.scores.items()}
        return model.predict().to_numpy().tolist(), model.history_, str(scores)

    assert made() != made(**{name: CHANGES[name]})


@pytest.mark.parametrize(
    "changes",
    [
        {"weight_decay": -1.0}, {"max_steps": 5, "max_epochs": 5},
        {"max_steps": 0},
        {"batch_size": 0},
        {"learning_rate": -1.0},
        {"optimizer": "adm"},
        {"schedule": "up"},
        {"precision": 16},
        {"scaler": "log"},
        {"scaler_scope": "all"},
        {"val_size": 1.5},
        {"short": "long"},
        {"calibration_share": 1.0},
    ],
)
def test_an_argument_that_cannot_work_says_what_was_wanted(changes):
    with pytest.raises(ArgumentError, match=next(iter(changes))):
        tsforge.DLinear(h=4, input_size=16, **changes).fit(table())


def test_lightnings_own_arguments_pass_through_and_ours_do_not():
    tsforge.DLinear(h=4, input_size=16, max_steps=2, trainer_kwargs={"deterministic": True}).fit(table())
    with pytest.raises(UnknownArgumentError, match="logger are set by tsforge"):
        tsforge.DLinear(h=4, input_size=16, trainer_kwargs={"logger": True}).fit(table())
    with pytest.raises(UnknownArgumentError, match="not_there"):
        tsforge.DLinear(h=4, input_size=16, trainer_kwargs={"not_there": 1}).fit(table())


def test_the_defaults_are_those_of_the_record():
    assert TrainArguments(**TRAINING) == TrainArguments()


def _fit_on_two_processes(folder: Path) -> None:
    ddp = {"devices": 2, "strategy": "ddp_spawn"}
    timesnet(dropout=0.0, precision=64, max_steps=50, batch_size=15, **ddp).fit(table(missing=0.1)).save(folder)


@pytest.mark.slow
def test_two_processes_train_like_one_with_the_same_global_batch(tmp_path):
    _fit_on_two_processes(tmp_path / "two")
    one = timesnet(dropout=0.0, precision=64, max_steps=50, batch_size=15).fit(table(missing=0.1))
    two = tsforge.open(tmp_path / "two")
    for name, tensor in weights(one).items():
        torch.testing.assert_close(weights(two)[name], tensor, atol=1e-6, rtol=0)
    for row, other in zip(one.history_, two.history_, strict=True):
        assert other == pytest.approx(row, abs=1e-6)
    other = timesnet(dropout=0.0, precision=64, max_steps=50, batch_size=16).fit(table(missing=0.1))
    assert not all(torch.allclose(weights(other)[k], v, atol=1e-6) for k, v in weights(one).items())  # the control
