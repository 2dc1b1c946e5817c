from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from tsforge.batch import Batch
from tsforge.data.prepare import Preparation, Prepared, prepare
from tsforge.data.rows import CalendarRows, Rows
from tsforge.data.splits import split_rows, training_cutoffs
from tsforge.data.store import Store, build_store
from tsforge.data.windows import Cutoffs, Windows, forecast_frame
from tsforge.errors import FrameError
from tsforge.estimators.fitted import fingerprint_of
from tsforge.frame.block import Block
from tsforge.frame.block_frame import BlockFrame
from tsforge.frame.frame import Frame

START, HOUR = datetime(2024, 1, 1), timedelta(hours=1)
NAMES = ("y", "z", "p", "f")
ROLES = {"targets": ("y", "z"), "past": "p", "future": "f", "calendar": ("hour", "dayofweek")}


def frames(seed: int, lengths: list[int], missing: float, dtype: type = np.float32) -> tuple[BlockFrame, Frame]:
    """Series that end together, as a block and as a table."""
    rng = np.random.default_rng(seed)
    rows = (rng.normal(size=(sum(lengths), len(NAMES))) * 3 + 50).astype(dtype)
    rows[rng.random(rows.shape) < missing] = np.nan
    rows[0, :2] = 1.0
    offsets = np.cumsum([0, *lengths])
    firsts = [START + HOUR * (max(lengths) - n) for n in lengths]
    ids = [f"s{k}" for k in range(len(lengths))]
    block = BlockFrame(Block.ragged(rows, offsets, NAMES), ids=ids, first=pl.Series(firsts), freq="1h", **ROLES)
    parts = [
        pl.DataFrame(rows[a:b], schema=list(NAMES)).with_columns(
            unique_id=pl.lit(name), ds=pl.Series([first + HOUR * k for k in range(b - a)]))
        for name, first, a, b in zip(ids, firsts, offsets[:-1], offsets[1:], strict=True)
    ]
    return block, Frame(pl.concat(parts), freq="1h", **ROLES)


def prepared_of(frame: Frame, scaler: str | None, scope: str, ahead: int = 0) -> tuple[Store, Prepared]:
    store = build_store(frame, ahead=ahead, open_ended=True)
    until = store.starts + np.maximum((store.ends - store.starts) * 3 // 4, 1)
    return store, prepare(store, Preparation.fit(store, until, scaler, scope))


def same_batches(one: Batch, other: Batch) -> None:
    for name in ("past", "past_mask", "future", "future_mask", "past_covariates", "future_covariates", "series"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.lists(st.integers(2, 15), min_size=1, max_size=4), st.sampled_from([0.0, 0.3]),
       st.sampled_from(["standard", "minmax", "robust", None]), st.sampled_from(["series", "global"]),
       st.integers(0, 3), st.booleans())
def test_windows_of_a_block_are_those_of_the_table_to_the_bit(seed, lengths, missing, scaler, scope, ahead, wide):
    block, table = frames(seed, lengths, missing, np.float64 if wide else np.float32)
    (mapped, lazy), (plain, eager) = prepared_of(block, scaler, scope, ahead), prepared_of(table, scaler, scope, ahead)
    assert isinstance(mapped.values, Rows)
    assert "table" not in vars(block)
    assert_array_equal(lazy.loc, eager.loc)
    assert_array_equal(lazy.scale, eager.scale)
    assert lazy.widths == eager.widths
    assert fingerprint_of(mapped) == fingerprint_of(plain)
    rows = np.concatenate([np.arange(a, b) for a, b in zip(plain.starts, plain.ends, strict=True)])
    index = Cutoffs(plain.series_of(rows), rows)  # every window, also those over an edge of their series
    same_batches(*(Windows(p, index, 4, 3).gather(np.arange(len(rows))) for p in (lazy, eager)))
    whole = (rows - plain.starts[index.series] >= 3) & (plain.ends[index.series] - rows > 3)
    if whole.any():
        same_batches(*(Windows(p, index, 4, 3).gather(np.flatnonzero(whole)) for p in (lazy, eager)))
    assert_array_equal(lazy.observed(rows[:, None]), eager.observed(rows[:, None]))


def test_training_windows_of_a_complete_block_have_the_same_masks_as_a_complete_table():
    block, table = frames(0, [30, 40], 0.0)
    batches = []
    for frame in (block, table):
        store = build_store(frame)
        parts = split_rows(store, 3, 0, 0.0)
        prepared = prepare(store, Preparation.fit(store, parts.train, "standard", "series"))
        windows = Windows(prepared, training_cutoffs(parts, 6, 3, "drop", store.ids), 6, 3)
        batches.append(list(windows.batches([np.arange(10), np.arange(10, 25)])))
    for one, other in zip(*batches, strict=True):
        same_batches(one, other)
        assert one.past_mask.all()


@given(st.integers(0, 10**6), st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 3))
def test_rows_are_read_like_an_array(seed, lengths, ahead):
    block, table = frames(seed, lengths, 0.2)
    rows = build_store(block, ahead=ahead, open_ended=True).values
    array = build_store(table, ahead=ahead, open_ended=True).values
    assert rows.shape == array.shape
    assert rows.dtype == array.dtype
    rng = np.random.default_rng(seed)
    low, high = sorted(rng.integers(0, len(array) + 1, 2))
    assert_array_equal(rows[low:high], array[low:high])
    numbers = rng.integers(0, len(array), (2, 3))
    assert_array_equal(rows[numbers], array[numbers])


def test_only_rows_ahead_can_be_written():
    block, _ = frames(0, [5, 6], 0.0)
    future = build_store(block, ahead=2, open_ended=True).future
    future[np.array([5, 14])] = np.array([[7.0], [8.0]])
    assert future[np.array([5, 14])].tolist() == [[7.0], [8.0]]
    assert np.isnan(future[np.array([6, 13])]).all()
    with pytest.raises(AssertionError, match="never written"):
        future[np.array([4])] = np.array([[7.0]])


def test_covariates_known_ahead_are_read_and_missing_ones_named():
    block, table = frames(3, [5, 8], 0.0)
    after = [START + HOUR * k for k in (8, 9)]
    known = pl.DataFrame({"unique_id": ["s0"] * 2 + ["s1"] * 2, "ds": after * 2, "f": [1.0, 2.0, 3.0, 4.0]})
    stores = [build_store(frame, ahead=2, known=known) for frame in (block, table)]
    assert_array_equal(stores[0].future[0:17], stores[1].future)
    prepared = [prepare(store, Preparation.fit(store, store.ends, "standard", "series")) for store in stores]
    index = Cutoffs(np.arange(2), stores[0].ends - 1)
    same = [Windows(p, index, 3, 2, targets=False).gather(np.arange(2)).future_covariates for p in prepared]
    assert torch.equal(*same)
    with pytest.raises(FrameError, match=r"Series 's1', covariate 'f'.*1 such values of 4"):
        build_store(block, ahead=2, known=known.head(3))


def test_the_calendar_is_kept_once_for_each_time_where_series_share_a_grid():
    block, table = frames(0, [30, 12], 0.0)
    calendar = build_store(block).calendar
    assert isinstance(calendar, CalendarRows)
    assert len(calendar.table) == 30
    found, _ = calendar.take(torch.arange(42)[:, None], 1)
    assert_array_equal(found[:, 0].numpy(), build_store(table).calendar)


@pytest.mark.parametrize(("first", "freq"), [
    ([START, START + HOUR / 2], "1h"),
    ([date(2024, 1, 31), date(2024, 2, 29)], "1mo"),
])
def test_series_that_share_no_grid_have_a_calendar_of_their_own(first, freq):
    values = np.ones((2, 5, 1))
    frame = BlockFrame(Block.dense(values, ["y"]), ids=["a", "b"], first=pl.Series(first), freq=freq,
                       calendar=["day", "dayofyear"], month_end=False)
    table = frame.table
    expected = table.select((pl.col("ds").dt.day() - 1) / 30 - 0.5, ((pl.col("ds").dt.ordinal_day() - 1) / 365 - 0.5)
                            .alias("n")).to_numpy()
    np.testing.assert_allclose(build_store(frame).calendar, expected, atol=1e-6)


def test_the_truth_of_a_forecast_is_read_from_the_block():
    made = []
    for frame in frames(5, [9, 12], 0.2):
        store = build_store(frame, ahead=3, open_ended=True)
        series, rows = np.array([0, 1, 1]), store.starts[[0, 1, 1]] + [4, 2, 10]
        made.append(forecast_frame(store, series, rows, {"M": np.zeros((3, 3, 2))}, with_cutoff=True, truth=True))
    assert made[0].equals(made[1])
    assert made[0]["y"].count() > 5
