import numpy as np
import polars as pl
import pytest
import torch

from tsforge.data.prepare import Preparation, prepare
from tsforge.data.store import build_store
from tsforge.data.windows import Cutoffs, Windows
from tsforge.frame.frame import Frame
from tsforge.layers.stable_hash import stable_hash

STATIC = {"size": 1.5, "kind": "x", "owner": None}


def store_of(ids, missing=False, **static):
    steps = np.arange(12.0)
    y = np.where(missing & (steps == 3), np.nan, steps)
    parts = [pl.DataFrame({"unique_id": [name] * 12, "ds": range(12), "y": y}) for name in ids]
    table = pl.concat(parts).with_columns(**{name: pl.lit(value, pl.String if value is None else None)
                                             for name, value in static.items()})
    return build_store(Frame(table, freq="1i", static=list(static)))


def fitted(store):
    return Preparation.fit(store, store.ends, "standard", "series")


@pytest.mark.parametrize("ids", [["a", "b"], [7, 2**40]], ids=["words", "numbers"])
@pytest.mark.parametrize("missing", [False, True])
def test_a_batch_holds_the_hashes_of_the_name_and_of_each_category(ids, missing):
    store = store_of(ids, missing, **STATIC)
    cutoffs = Cutoffs(np.array([0, 1, 1]), np.array([5, 17, 18]))
    windows = Windows(prepare(store, fitted(store), ids=True), cutoffs, 4, 2)
    expected = [[stable_hash(name), stable_hash("x"), stable_hash(None)] for name in (ids[0], ids[1], ids[1])]
    assert windows.gather(np.arange(3)).static_ids.tolist() == expected
    batches = list(windows.batches([np.array([0, 1]), np.array([2])]))
    assert [batch.static_ids.tolist() for batch in batches] == [expected[:2], expected[2:]]


def test_large_batches_of_whole_windows_hold_them_too():
    store = store_of(["a", "b"])
    many = Cutoffs(np.repeat([0, 1], 3000), np.repeat([5, 17], 3000))
    batch = next(iter(Windows(prepare(store, fitted(store), ids=True), many, 4, 2).batches([np.arange(6000)])))
    assert batch.static_ids.flatten().tolist() == [stable_hash("a")] * 3000 + [stable_hash("b")] * 3000


def test_nothing_is_hashed_where_nobody_asks():
    store = store_of(["a"], **STATIC)
    prepared = prepare(store, fitted(store))
    assert prepared.static_ids is None
    windows = Windows(prepared, Cutoffs(np.array([0]), np.array([5])), 4, 2)
    assert windows.gather(np.array([0])).static_ids is None
    assert next(iter(windows.batches([np.array([0])]))).static_ids is None


def test_a_series_and_a_category_unseen_in_training_have_hashes_of_their_own():
    known = fitted(store_of(["a"], **STATIC))
    prepared = prepare(store_of(["new"], **STATIC | {"kind": "unheard of"}), known, ids=True)
    assert prepared.static_ids.tolist() == [[stable_hash("new"), stable_hash("unheard of"), stable_hash(None)]]
    assert prepared.static_categorical.tolist() == [[0, 0]]  # the control: codes know it not
    assert prepared.static_ids.dtype == torch.int64
