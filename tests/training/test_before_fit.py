"""A model may look at the training windows once before it is trained; what it finds is kept in buffers."""

import numpy as np
import polars as pl
import pytest
import torch

import tsforge
from tsforge.models.base import Model
from tsforge.models.conditioned import Conditioned
from tsforge.models.multifit import MultiFIT
from tsforge.training.module import ForecastModule

H, LOOKBACK, HELD = 2, 6, 12
SMALL = {"h": H, "input_size": LOOKBACK, "hidden": 4, "d_model": 2, "supports": 1, "max_steps": 6, "batch_size": 8,
         "val_size": HELD, "validate_every": 3, "checkpoint_every": 2, "accelerator": "cpu", "scaler": None}


def table(n: int = 60) -> pl.DataFrame:
    """Values say their row; the second channel is observed every third time."""
    t = np.arange(n, dtype=np.float64)
    return pl.DataFrame({"unique_id": "a", "ds": np.arange(n), "x": t, "y": np.where(t % 3 == 0, -t, np.nan)})


def multifit(**changes):
    return tsforge.MultiFIT(**{**SMALL, **changes})


def fitted(**more):
    return multifit().fit(table(), targets=["x", "y"], season=1, **more)


@pytest.fixture
def looked(monkeypatch) -> list[list]:
    """The windows that a network was shown before a training, one list for each time."""
    calls = []

    def look(self, batches, before=MultiFIT.before_fit):
        assert not torch.is_grad_enabled()
        assert not self.training
        calls.append([batch for batch in batches])
        before(self, batches)

    monkeypatch.setattr(MultiFIT, "before_fit", look)
    return calls


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def killed_once(monkeypatch):
    """A training dies at its fifth step, unless it goes on from a checkpoint."""

    def start(self, batch, batch_idx, before=ForecastModule.on_train_batch_start):
        if self.progress.step == 5 and not self.resumed:
            raise Killed
        before(self, batch, batch_idx)

    monkeypatch.setattr(ForecastModule, "on_train_batch_start", start)


def test_it_is_shown_all_training_windows_in_order_once_and_no_other(looked):
    model = fitted()
    (batches,) = looked
    cutoffs = torch.cat([batch.past[:, -1, 0] for batch in batches])
    assert cutoffs.tolist() == list(range(LOOKBACK - 1, 60 - HELD - H))
    seen = torch.cat([torch.cat([batch.past, batch.future], 1) for batch in batches])
    assert seen[..., 0].max() == 60 - HELD - 1  # the last training row: nothing that was held back
    assert model.fitted_.predictor.group.tolist() == [0, 1]


def test_what_was_held_back_has_no_part_in_what_is_found():
    held = pl.col("ds") >= 60 - HELD
    others = table().with_columns(
        x=pl.when(held & (pl.col("ds") % 5 != 0)).then(None).otherwise("x"),
        y=pl.when(held).then(1.0).otherwise("y"),
    )
    found = [multifit().fit(t, targets=["x", "y"], season=1).fitted_.predictor.group.tolist() for t in
             (table(), others, others.filter(held))]
    assert found[0] == found[1] == [0, 1]
    assert found[2] == [1, 0]  # the control: on those rows alone it would have been found the other way round


def test_a_training_that_goes_on_has_what_was_found_from_its_checkpoint(tmp_path, looked, killed_once, monkeypatch):
    with pytest.raises(Killed):
        fitted(checkpoint=tmp_path)
    assert len(looked) == 1
    resumed = fitted(checkpoint=tmp_path)
    assert len(looked) == 1
    assert resumed.fitted_.predictor.group.tolist() == [0, 1]
    monkeypatch.undo()
    whole = fitted()
    a, b = (model.fitted_.predictor.state_dict() for model in (whole, resumed))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_model_inside_a_context_is_shown_the_windows_too(looked):
    model = multifit(context=[{"name": "phnn", "n": 2, "n_layers": 1, "d_model": 4}])
    model.fit(table(), targets=["x", "y"], season=1)
    assert isinstance(model.fitted_.predictor, Conditioned)
    assert len(looked) == 1
    assert model.fitted_.predictor.model.group.tolist() == [0, 1]


def test_a_model_that_looks_for_nothing_is_shown_nothing():
    Model(h=1, input_size=1, in_channels=1).before_fit(1 / 0 for _ in range(1))
