import logging
import pickle
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from polars.testing import assert_frame_equal

from tsforge.errors import FrameError, ShapeError
from tsforge.frame.block import Block
from tsforge.frame.block_frame import BlockFrame
from tsforge.frame.frame import Frame

START, HOUR = datetime(2024, 1, 1), timedelta(hours=1)
NAMES = ("y", "z", "p")
ROLES = {"targets": ("y", "z"), "past": "p"}


def values_of(seed: int, series: int = 3, time: int = 20, missing: float = 0.2) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(series, time, len(NAMES))).astype(np.float32)
    values[np.random.default_rng(seed + 1).random(values.shape) < missing] = np.nan
    return values


def dense(values: np.ndarray, **roles) -> BlockFrame:
    ids = [f"s{k}" for k in range(len(values))]
    return BlockFrame(Block.dense(values, NAMES), ids=ids, first=START, freq="1h", **ROLES | roles)


def ragged(values: np.ndarray, lengths: list[int]) -> tuple[BlockFrame, list[datetime]]:
    """The last `lengths` steps of each series, one series after another."""
    rows = np.concatenate([own[-n:] for own, n in zip(values, lengths, strict=True)])
    firsts = [START + HOUR * (values.shape[1] - n) for n in lengths]
    block = Block.ragged(rows, np.cumsum([0, *lengths]), NAMES)
    ids = [f"s{k}" for k in range(len(lengths))]
    return BlockFrame(block, ids=ids, first=pl.Series(firsts), freq="1h", **ROLES), firsts


def long(values: np.ndarray, lengths: list[int] | None = None, **roles) -> Frame:
    parts = []
    for k, own in enumerate(values):
        keep = len(own) if lengths is None else lengths[k]
        stamps = [START + HOUR * n for n in range(len(own))]
        table = pl.DataFrame(own, schema=list(NAMES)).with_columns(unique_id=pl.lit(f"s{k}"), ds=pl.Series(stamps))
        parts.append(table.tail(keep))
    return Frame(pl.concat(parts), **{"freq": "1h"} | ROLES | roles)


def same(one: Frame, other: Frame) -> None:
    assert_frame_equal(one.table, other.table)
    assert one.schema == other.schema
    assert one.grid == other.grid
    assert one.targets == other.targets
    assert one.ids.to_list() == other.ids.to_list()
    assert len(one) == len(other)
    assert one.steps is not None
    assert other.steps is not None
    assert one.steps.to_list() == other.steps.to_list()
    assert repr(one) == repr(other)


@given(st.integers(0, 10**6), st.permutations([0, 1, 2]))
def test_a_block_with_its_axes_in_any_order_in_memory_is_the_table_of_its_values(seed, order):
    values = values_of(seed)
    laid = np.ascontiguousarray(values.transpose(order)).transpose(np.argsort(order))
    same(dense(laid), long(values))
    same(dense(laid[:, 2:15]), dense(np.ascontiguousarray(laid[:, 2:15])))


@given(st.integers(0, 10**6), st.lists(st.integers(1, 20), min_size=1, max_size=5), st.integers(1, 25))
def test_ragged_series_and_their_last_steps_are_those_of_the_table(seed, lengths, count):
    values = values_of(seed, series=len(lengths))
    values[:, -1, 0] = values[:, -1, 1] = 0.0  # each target is observed
    block, _ = ragged(values, lengths)
    table = long(values, lengths)
    same(block, table)
    same(block.last_steps(count), table.last_steps(count))
    assert_frame_equal(block.spans(), table.spans())
    for s, own in enumerate(lengths):
        rows = block.block.rows(int(block.block.offsets[s]), int(block.block.offsets[s]) + own)
        assert_array_equal(rows, values[s, -own:])


@given(st.integers(0, 10**6), st.integers(1, 7) | st.sampled_from([19, 20, 21, 2**40]), st.floats(0, 0.9))
def test_the_steps_since_a_phase_was_observed_are_those_of_the_table(seed, count, missing):
    values = values_of(seed, missing=missing)
    values[0, 0, :2] = values[2, 3, :2] = 0.0
    same(dense(values).since_observed(count), long(values).since_observed(count))


@given(st.integers(0, 10**6), st.lists(st.integers(-3, 25), min_size=4, max_size=4), st.booleans())
def test_rows_up_to_cutoffs_are_those_of_the_table_and_stay_in_the_block(seed, hours, shared):
    lengths = [20, 7, 12, 15]
    values = values_of(seed, series=4)
    values[:, -1, :2] = values[:, 0, :2] = values[:, -7, :2] = 0.0
    block, _ = ragged(values, lengths)
    table = long(values, lengths)
    hours = [max(hours[0], 13)] * 2 if shared else [max(hours[0], 1), *hours[1:3]]
    times = [START + HOUR * k for k in hours]
    cutoffs = pl.DataFrame({"unique_id": [f"s{k}" for k in range(len(hours))], "cutoff": times})
    cut = block.up_to(cutoffs)
    assert isinstance(cut, BlockFrame)
    assert "table" not in vars(cut)
    expected = table.up_to(cutoffs)
    assert_frame_equal(cut.table, expected.table)
    again = cut.up_to(expected.spans().select("unique_id", cutoff="first"))
    assert len(again) == len(expected.ids)


def test_nothing_collects_a_block_unasked_and_what_does_says_how_large_it_is(caplog):
    frame = dense(values_of(0), static=pl.DataFrame({"unique_id": ["s2", "s0", "s1"], "alt": [2.0, 0.0, 1.0]}))
    with caplog.at_level(logging.INFO, "tsforge"):
        for made in (frame, frame.with_split(None), frame.without_covariates()):
            assert repr(made).startswith("Frame(3 series, 60 rows, targets 'y', 'z', freq 1h, season 24)")
            assert len(made) == 60
            made.spans()
            made.last_steps(3)
            made.since_observed(3)
            assert "table" not in vars(made)
        assert not caplog.messages
        assert frame.to_polars() is frame.table
        assert frame.rows(pl.col("unique_id") == "s1").static.to_dicts() == [{"unique_id": "s1", "alt": 1.0}]
    assert caplog.messages == ["Collecting 60 rows of 3 columns from the block, about 0.0 MB."]
    assert frame.static.to_dict(as_series=False) == {"unique_id": ["s0", "s1", "s2"], "alt": [0.0, 1.0, 2.0]}


def test_a_block_is_a_view_of_the_array_it_was_given():
    values = values_of(0)
    for view in (values, values[1:, 3:], values.transpose(1, 0, 2)[2:9]):
        assert np.shares_memory(Block.dense(view, NAMES).flat, values)
    frame = dense(values)
    values[1, 4, 0] = 77
    assert frame.table["y"].max() == 77


def test_series_as_channels_are_those_of_the_table():
    values = values_of(3, missing=0)
    table = long(values).table
    same(dense(values).as_channels(), Frame(table, targets=["y", "z"], past="p", freq="1h", channels_from="unique_id"))
    block, _ = ragged(values, [20, 20, 19])
    with pytest.raises(FrameError, match="no channels of one block"):
        block.as_channels()


def test_a_direction_is_read_as_its_sine_and_cosine():
    from dataclasses import replace

    from tsforge.frame.block import Column

    degrees = np.array([[[0.0], [90.0], [np.nan], [180.0]]])
    block = Block.dense(degrees, ["d"])
    turned = replace(block, columns=(Column("d_sin", 0, "sin"), Column("d_cos", 0, "cos")))
    expected = np.array([[0, 1], [1, 0], [np.nan, np.nan], [0, -1]])
    np.testing.assert_allclose(turned.rows(0, 4), expected, atol=1e-12)
    np.testing.assert_allclose(turned.windows(np.array([0]), np.array([0]), 4)[0].T, expected, atol=1e-12)
    np.testing.assert_allclose(turned.steps(np.zeros(4, int), np.arange(4)), expected, atol=1e-12)


@pytest.mark.parametrize(("change", "match"), [
    ({"ids": ["a", "b", "a"]}, "'a' stands in ids= more than once"),
    ({"ids": ["a", "b"]}, "ids= and first= have 2 and 1 entries|wanted one for each of 3"),
    ({"ids": ["a", None, "b"]}, "none of them missing"),
    ({"targets": ["y", "q"]}, "no column 'q'"),
    ({"targets": ["y", "p"], "past": ["p"]}, "'p' has two roles"),
    ({"freq": "1i"}, "does not fit a time column of dates"),
    ({"calendar": ["hours"]}, "no calendar feature 'hours'"),
])
def test_what_does_not_fit_a_block_is_said(change, match):
    roles = {"ids": ["a", "b", "c"], "first": START, "freq": "1h", "targets": ["y"]} | change
    error = pytest.raises((FrameError, ValueError), match=match)
    with error:
        BlockFrame(Block.dense(values_of(0), NAMES), **roles)


def test_arrays_of_another_kind_are_refused():
    with pytest.raises(ShapeError, match=r"wanted \[series, time, channel\] with 3 channels"):
        Block.dense(np.zeros((2, 3)), NAMES)
    with pytest.raises(FrameError, match="int64: wanted float32 or float64"):
        Block.dense(np.zeros((2, 3, 3), np.int64), NAMES)
    with pytest.raises(ShapeError, match=r"wanted \(5, 3\)"):
        Block.ragged(np.zeros((4, 3)), np.array([0, 2, 5]), NAMES)


def test_infinity_is_refused_when_it_is_read():
    values = values_of(0)
    values[1, 3, 1] = np.inf
    frame = dense(values)
    with pytest.raises(FrameError, match="'z' holds infinite values"):
        frame.to_polars()


@settings(deadline=None)
@given(st.integers(1, 30))
def test_series_by_month_cut_and_end_where_the_calendar_has_it(steps):
    first = pl.Series([date(2023, 1, 31), date(2023, 2, 28)])
    frame = BlockFrame(Block.dense(np.zeros((2, steps, 1)), ["y"]), ids=["a", "b"], first=first, freq="1mo")
    expected = pl.date_range(date(2023, 1, 1), date(2026, 1, 1), "1mo", eager=True).dt.month_end()
    assert frame.table["ds"].to_list() == [*expected[:steps], *expected[1 : steps + 1]]


def test_another_process_is_sent_the_name_of_the_file_and_not_its_values(tmp_path):
    values = values_of(0, time=5000)
    np.save(tmp_path / "v.npy", values.transpose(0, 2, 1))
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")[1:, :, 7:].transpose(0, 2, 1)
    block = Block.dense(mapped, NAMES).choose(np.array([1]))
    sent = pickle.dumps(block)
    assert len(sent) < 2000 < len(pickle.dumps(Block.dense(values, NAMES)))
    received = pickle.loads(sent)
    assert_array_equal(received.rows(0, 4993), values[2, 7:])
    assert_array_equal(pickle.loads(pickle.dumps(Block.dense(values, NAMES))).rows(0, 9), values[0, :9])
