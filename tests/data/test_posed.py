import numpy as np
import polars as pl
import pytest
import torch

import tsforge
from tsforge.data.posed import HiddenWindows, LabelledWindows
from tsforge.data.prepare import Preparation, prepare
from tsforge.data.store import build_store
from tsforge.data.windows import CutoffRanges, Cutoffs, carried_forward

STEPS, SHARE = 8, 0.4


@pytest.fixture(scope="module")
def prepared():
    rng = np.random.default_rng(0)
    table = pl.DataFrame({
        "unique_id": ["a"] * 40 + ["b"] * 25, "ds": [*range(40), *range(25)],
        "x": np.where(rng.random(65) < 0.1, np.nan, rng.normal(size=65)), "y": rng.normal(size=65),
    })
    store = build_store(tsforge.Frame(table, targets=["x", "y"]))
    return prepare(store, Preparation.fit(store, store.ends, "standard", "series"))


def windows(prepared, **arguments):
    index = CutoffRanges(prepared.starts + STEPS - 1, prepared.ends)
    return HiddenWindows(prepared, index, STEPS, **{"filled": False, "hidden": SHARE, **arguments})


def all_of(made, size=16):
    parts = [np.arange(at, min(at + size, len(made))) for at in range(0, len(made), size)]
    batches = list(made.batches(parts))
    names = ("past", "past_mask", "future", "future_mask")
    return {name: torch.cat([getattr(batch, name) for batch in batches]) for name in names}


def test_a_hidden_cell_was_observed_is_not_shown_and_is_asked_for(prepared):
    plain, made = all_of(windows(prepared, hidden=0.0)), all_of(windows(prepared, seed=3))
    observed = plain["past_mask"]
    assert not (~observed & made["future_mask"]).any()
    assert torch.equal(made["past_mask"] | made["future_mask"], observed)
    assert not (made["past_mask"] & made["future_mask"]).any()
    assert torch.equal(made["future"], plain["future"])
    assert not (made["past"] * ~made["past_mask"]).any()
    assert torch.equal(made["past"] * made["past_mask"], plain["past"] * made["past_mask"])
    assert made["future_mask"].sum() / observed.sum() == pytest.approx(SHARE, abs=0.05)


def test_without_hidden_cells_all_observed_ones_are_asked_for(prepared):
    made = all_of(windows(prepared, hidden=0.0))
    assert torch.equal(made["future_mask"], made["past_mask"])
    assert torch.equal(made["future"], made["past"])


def test_cells_are_hidden_by_the_number_of_the_window_and_not_by_its_place_in_a_batch(prepared):
    whole, few, other = (all_of(windows(prepared, seed=seed), size) for seed, size in ((3, 64), (3, 5), (4, 64)))
    assert torch.equal(whole["future_mask"], few["future_mask"])
    assert not torch.equal(whole["future_mask"], other["future_mask"])
    assert len({tuple(mask.flatten().tolist()) for mask in whole["future_mask"]}) == len(whole["future_mask"])


def test_a_filled_window_carries_what_is_shown_and_never_what_is_hidden(prepared):
    plain, made = all_of(windows(prepared, seed=3)), all_of(windows(prepared, seed=3, filled=True))
    assert torch.equal(made["past"], carried_forward(plain["past"], plain["past_mask"]))
    peeking = carried_forward(plain["future"], plain["past_mask"] | plain["future_mask"])
    assert not torch.equal(made["past"], peeking)


def test_a_step_of_training_draws_its_own_cells(prepared):
    made = windows(prepared)
    assert made.drawn
    (batch,) = made.batches([np.arange(12)])
    one, again, other = (made.pose(batch, seed) for seed in (1, 1, 2))
    assert torch.equal(one.future_mask, again.future_mask)
    assert not torch.equal(one.future_mask, other.future_mask)
    assert torch.equal(one.future, batch.future)
    assert torch.equal(one.past_mask | one.future_mask, batch.past_mask)


def test_of_a_window_that_is_not_there_nothing_is_asked(prepared):
    for made in (windows(prepared, seed=3), windows(prepared, hidden=0.0)):
        (batch,) = made.batches([np.array([0, -1])])
        assert batch.future_mask[0].any()
        assert not batch.future_mask[1].any()


def test_a_labelled_window_is_the_end_of_a_series_with_its_class(prepared):
    index = Cutoffs(np.array([1, 0]), prepared.ends[[1, 0]] - 1)
    made = LabelledWindows(prepared, index, 30, np.array([2, 5]), filled=False)
    (batch,) = made.batches([np.array([0, 1, -1])])
    assert batch.future.flatten().tolist() == [5, 2, 5]
    assert batch.future_mask.flatten().tolist() == [True, True, False]
    assert not batch.past_mask[0, :5].any()  # 25 rows in a window of 30
    assert torch.equal(batch.past[1], prepared.values[10:40])
