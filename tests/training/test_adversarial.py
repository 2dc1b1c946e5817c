"""Training against a critic: the two halves of a step, and that it goes on from a checkpoint to the same bits."""

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

import tsforge
from tsforge.errors import CapabilityError
from tsforge.models.dcgan import DCGAN
from tsforge.training.checkpoint import Checkpoint
from tsforge.training.module import ForecastModule


def table(n: int = 100) -> pl.DataFrame:
    t, draw = np.arange(n), np.random.default_rng(0)
    return pl.DataFrame({"ds": t, "y": np.sin(t / 3) + 0.1 * draw.normal(size=n)})


def dcgan(**changes):
    small = {"input_size": 6, "hidden": 8, "d_model": 4, "bank": 8, "max_steps": 24, "validate_every": 10,
             "checkpoint_every": 4, "batch_size": 16, "schedule": "cosine", "gradient_clip": 0.5, "accelerator": "cpu",
             "optimizer": "adamw", "weight_decay": 0.01}
    return tsforge.DCGAN(h=3, **(small | changes)).fit


def fitted(*, checkpoint=None, **changes):
    return dcgan(**changes)(table(), freq="1i", season=19, checkpoint=checkpoint)


def weights(model) -> dict[str, torch.Tensor]:
    return model.fitted_.predictor.state_dict()


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def uninterrupted():
    return fitted()


@pytest.mark.parametrize("step", [3, 13])
def test_a_training_that_died_goes_on_to_the_same_bits_of_both_networks(tmp_path, monkeypatch, uninterrupted, step):
    before = ForecastModule.on_train_batch_start

    def start(self, batch, batch_idx):
        if self.progress.step == step and not self.resumed:
            raise Killed
        before(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(ForecastModule, "on_train_batch_start", start)
        with pytest.raises(Killed):
            fitted(checkpoint=tmp_path)
    resumed = fitted(checkpoint=tmp_path)
    a, b = weights(resumed), weights(uninterrupted)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert resumed.history_ == uninterrupted.history_


def test_the_checkpoint_holds_the_moments_of_both_networks_and_a_fault_in_those_of_the_critic_is_seen(
    tmp_path, monkeypatch, uninterrupted
):
    before, write = ForecastModule.on_train_batch_start, Checkpoint.write

    def start(self, batch, batch_idx):
        if self.progress.step == 13 and not self.resumed:
            raise Killed
        before(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(ForecastModule, "on_train_batch_start", start)
        with pytest.raises(Killed):
            fitted(checkpoint=tmp_path)
    found = Checkpoint.read(tmp_path)
    assert found is not None
    names = [name for name, _ in uninterrupted.fitted_.predictor.named_parameters()]
    assert {float(slots["step"]) for slots in found.optimizer["state"].values()} == {12.0}
    critic = [number for number, name in enumerate(names) if name.startswith("critic.")]
    assert set(critic) < set(found.optimizer["state"]) == set(range(len(names)))
    for number in critic:
        found.optimizer["state"][number]["exp_avg"].zero_()
    write(found, tmp_path)
    a, b = weights(fitted(checkpoint=tmp_path)), weights(uninterrupted)
    assert not all(torch.equal(a[name], b[name]) for name in a if name.startswith("critic."))


def test_each_half_of_a_step_moves_its_own_weights_and_the_critic_stays_clipped(monkeypatch):
    moved = []

    def parts(network):
        critic = {id(weight) for weight in network.critic_parameters()}
        return [[w.detach().clone() for w in network.parameters() if (id(w) in critic) == own] for own in (True, False)]

    def after_step(self, before=DCGAN.after_step):
        moved.append(("critic", parts(self)))
        before(self)
        maps = [m for m in self.critic.modules() if isinstance(m, nn.Linear)]
        assert all(m.weight.abs().max() <= 1 / m.out_features + 1e-7 for m in maps)

    def critic_loss(self, batch, before=DCGAN.critic_loss):
        moved.append(("start", parts(self)))
        return before(self, batch)

    monkeypatch.setattr(DCGAN, "after_step", after_step)
    monkeypatch.setattr(DCGAN, "critic_loss", critic_loss)
    fitted(max_steps=3)
    assert [name for name, _ in moved] == ["start", "critic"] * 3
    for (_, start), (_, critic) in zip(moved[::2], moved[1::2], strict=True):
        assert any(not torch.equal(a, b) for a, b in zip(start[0], critic[0], strict=True))
        assert all(torch.equal(a, b) for a, b in zip(start[1], critic[1], strict=True))
    for (_, critic), (_, then) in zip(moved[1:-1:2], moved[2::2], strict=True):
        assert any(not torch.equal(a, b) for a, b in zip(critic[1], then[1], strict=True))


def test_the_critic_has_a_part_in_what_the_generator_learns(uninterrupted):
    free = weights(fitted(adversarial=0.0))
    assert not torch.equal(free["chain.drift.0.weight"], weights(uninterrupted)["chain.drift.0.weight"])


def test_several_devices_are_refused():
    with pytest.raises(CapabilityError, match="trained against a critic"):
        fitted(devices=2)
