from dataclasses import fields
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from polars.testing import assert_frame_equal

from tsforge.batch import Batch
from tsforge.data.calendar import calendar_features
from tsforge.data.prepare import Preparation, prepare
from tsforge.data.store import build_store
from tsforge.data.windows import CutoffRanges, Cutoffs, Windows, carried_forward, forecast_frame
from tsforge.frame.frame import Frame

START, HOUR = datetime(2024, 2, 28), timedelta(hours=1)
STATIC = {"size": [1.0, 5.0, 9.0, 2.0], "kind": ["u", "v", "u", "w"]}


def random_frame(rng: np.random.Generator, count: int, missing: float) -> Frame:
    """Up to four series of unequal length, with absent rows, missing values and every kind of covariate."""
    keys = []
    for s in range(count):
        steps = np.flatnonzero(rng.random(rng.integers(2, 25)) >= missing)
        keys += [(f"s{s}", START + HOUR * int(k)) for k in (steps if len(steps) else [0])]
    table = pl.DataFrame(keys, schema=["unique_id", "ds"], orient="row")
    for name in ("y", "z", "p", "f"):
        values = rng.normal(size=len(table)) * 5 + 20
        values[1:][rng.random(len(table) - 1) < missing] = np.nan
        table = table.with_columns(pl.Series(name, values))
    static = pl.DataFrame({"unique_id": [f"s{s}" for s in range(4)], **STATIC})
    return Frame(table, targets=["y", "z"], past="p", future="f", static=static, freq="1h", calendar=["hour", "month"])


def prepared_of(frame: Frame, ahead: int = 0, until: int | None = None):
    store = build_store(frame, ahead=ahead, open_ended=True)
    ends = store.ends if until is None else np.minimum(store.starts + until, store.ends)
    preparation = Preparation.fit(store, ends, "standard", "series")
    return store, preparation, prepare(store, preparation, dtype=torch.float64)


class Reference:
    """One window at a time, one step at a time, out of the table of the frame."""

    def __init__(self, frame: Frame, preparation: Preparation, input_size: int, h: int) -> None:
        self.frame, self.fit, self.input_size, self.h = frame, preparation, input_size, h
        self.rows = {(row["unique_id"], row["ds"]): row for row in frame.table.iter_rows(named=True)}
        self.names = frame.ids.to_list()
        stamps = frame.table.group_by("unique_id", maintain_order=True).agg("ds")["ds"].to_list()
        self.first, self.last = [own[0] for own in stamps], [own[-1] for own in stamps]

    def value(self, s: int, when: datetime, name: str, scaling, column: int) -> float:
        value = self.rows.get((self.names[s], when), {}).get(name)
        return np.nan if value is None else (value - scaling.loc[s, column]) / scaling.scale[s, column]

    def window(self, s: int, step: int, ahead: int):
        """past, mask, future, mask, past covariates, future covariates."""
        stamps = [self.first[s] + HOUR * (step + k) for k in range(1 - self.input_size, self.h + 1)]
        targets = np.array([[self.value(s, when, "yz"[c], self.fit.targets, c) for c in (0, 1)] for when in stamps])
        within = [self.first[s] <= when <= self.last[s] + HOUR * ahead for when in stamps]
        calendar = calendar_features(pl.Series(stamps), ["hour", "month"], "linear")
        p = np.nan_to_num([[self.value(s, when, "p", self.fit.past, 0)] for when in stamps])
        f = np.nan_to_num([[self.value(s, when, "f", self.fit.future, 0)] for when in stamps])
        known = np.concatenate([f, calendar], axis=1) * np.array(within)[:, None]
        mask, size = ~np.isnan(targets), self.input_size
        return targets[:size], mask[:size], targets[size:], mask[size:], (p * np.array(within)[:, None])[:size], known


def filled(past: np.ndarray) -> np.ndarray:
    out = past.copy()
    for c in range(past.shape[1]):
        last = 0.0
        for t in range(len(past)):
            last = out[t, c] = last if np.isnan(past[t, c]) else past[t, c]
    return out


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([0.0, 0.3]), st.integers(1, 6), st.integers(1, 4),
       st.integers(0, 4), st.booleans())
def test_gathering_equals_reading_the_table_step_by_step(seed, count, missing, input_size, h, ahead, carried):
    rng = np.random.default_rng(seed)
    frame = random_frame(rng, count, missing)
    store, preparation, prepared = prepared_of(frame, ahead)
    series = rng.integers(0, len(store.ids), size=8)
    cutoffs = store.starts[series] + (rng.random(8) * (store.ends - store.starts)[series]).astype(int)
    batch = Windows(prepared, Cutoffs(series, cutoffs), input_size, h, filled=carried).gather(np.arange(8))
    reference = Reference(frame, preparation, input_size, h)
    for w, (s, cutoff) in enumerate(zip(series, cutoffs, strict=True)):
        past, past_mask, future, future_mask, p, f = reference.window(s, cutoff - store.starts[s], ahead)
        assert_allclose(batch.past[w], filled(past) if carried else np.nan_to_num(past), atol=1e-12)
        assert_array_equal(batch.past_mask[w], past_mask)
        assert_allclose(batch.future[w], np.nan_to_num(future), atol=1e-12)
        assert_array_equal(batch.future_mask[w], future_mask)
        assert_allclose(batch.past_covariates[w], p, atol=1e-12)
        assert_allclose(batch.future_covariates[w], f, atol=1e-6)
    kinds, sizes = STATIC["kind"][:count], np.array(STATIC["size"][:count])
    assert batch.static_categorical[:, 0].tolist() == [sorted(set(kinds)).index(kinds[s]) + 1 for s in series]
    assert_allclose(batch.static_numeric[:, 0], ((sizes - sizes.mean()) / (sizes.std() or 1))[series])
    assert batch.series.tolist() == series.tolist()


def test_the_reference_sees_a_shift_of_one_step():
    rng = np.random.default_rng(0)
    frame = random_frame(rng, 2, 0.0)
    _, preparation, prepared = prepared_of(frame)
    batch = Windows(prepared, Cutoffs(np.array([0]), np.array([1])), 2, 1).gather(np.arange(1))
    past = Reference(frame, preparation, 2, 1).window(0, 0, 0)[0]
    assert np.abs(batch.past[0].numpy() - past).max() > 1e-3 or np.isnan(past).any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 4))
def test_no_window_reads_another_series(seed, input_size, h):
    frame = random_frame(np.random.default_rng(seed), 3, 0.3)
    store, preparation, prepared = prepared_of(frame, ahead=2)
    rows = np.arange(len(store.values))
    own = rows[rows < store.ends[store.series_of(rows)]]
    index = Cutoffs(store.series_of(own), own)
    before = Windows(prepared, index, input_size, h).gather(np.arange(len(own)))
    mine = store.series_of(rows) == 1
    for values in (store.values, store.past, store.future):
        values[~mine] += 1000
    after = Windows(prepare(store, preparation, dtype=torch.float64), index, input_size, h).gather(np.arange(len(own)))
    here, others = index.series == 1, index.series != 1
    for part in ("past", "future", "past_covariates", "future_covariates"):
        first, second = getattr(before, part), getattr(after, part)
        assert torch.equal(first[here], second[here])
    assert not torch.equal(before.past[others], after.past[others]) or not before.past_mask[others].any()


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(-3, 6)), min_size=1, max_size=6))
def test_locating_is_the_inverse_of_counting(ranges):
    low = np.cumsum([40] * len(ranges)) + np.array([low for low, _ in ranges])
    index = CutoffRanges(low, low + np.array([count for _, count in ranges]))
    everything = [(s, row) for s in range(len(low)) for row in range(index.low[s], index.high[s])]
    series, rows = index.locate(np.arange(len(index)))
    assert list(zip(series.tolist(), rows.tolist(), strict=True)) == everything
    assert_array_equal(index.counts(), [max(count, 0) for _, count in ranges])
    assert len(index) == len(everything)


def etth1_windows(shared_data, input_size: int, h: int):
    from tsforge.data import DATASETS

    shared_data("ett/ETTh1.csv")
    frame = DATASETS["etth1"]().frame()
    split = frame.split
    assert split is not None
    _, _, prepared = prepared_of(frame, until=split.train)
    return split, prepared


def test_windows_of_the_published_split_of_etth1_touch_their_parts_at_both_ends(shared_data):
    split, prepared = etth1_windows(shared_data, 96, 96)
    for begin, end, count in ((96, split.train, 8449), (split.train, split.train + split.val, 2785),
                              (split.train + split.val, split.train + split.val + split.test, 2785)):
        index = CutoffRanges(np.array([begin - 1]), np.array([end - 96]))
        windows = Windows(prepared, index, 96, 96)
        assert len(windows) == count
        batch = windows.gather(np.array([0, count - 1]))
        scaled = prepared.values
        assert torch.equal(batch.past[0], scaled[begin - 96 : begin])
        assert torch.equal(batch.future[0], scaled[begin : begin + 96])
        assert torch.equal(batch.future[1], scaled[end - 96 : end])
        assert bool(batch.future_mask.all())


def test_a_number_of_minus_one_is_a_window_whose_horizon_is_masked():
    _, _, prepared = prepared_of(random_frame(np.random.default_rng(1), 2, 0.0))
    windows = Windows(prepared, CutoffRanges(prepared.starts, prepared.ends - 2), 3, 2)
    batch = windows.gather(np.array([0, -1, 1]))
    plain = windows.gather(np.array([0, 1]))
    assert not batch.future_mask[1].any()
    assert torch.equal(batch.future_mask[[0, 2]], plain.future_mask)
    assert torch.equal(batch.past[[0, 2]], plain.past)
    assert batch.past.isfinite().all()


def test_windows_for_prediction_hold_no_future():
    _, _, prepared = prepared_of(random_frame(np.random.default_rng(2), 1, 0.0))
    batch = Windows(prepared, CutoffRanges(prepared.starts, prepared.ends), 2, 2, targets=False).gather(np.arange(2))
    assert batch.future is None
    assert batch.future_mask is None


def same(one: Batch, other: Batch) -> bool:
    """Bit for bit, part by part."""
    pairs = [(getattr(one, part.name), getattr(other, part.name)) for part in fields(Batch)]
    return all(a is b if a is None or b is None else torch.equal(a, b) and a.dtype == b.dtype for a, b in pairs)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.3]), st.lists(st.integers(1, 9), min_size=1, max_size=7),
       st.booleans(), st.booleans(), st.sampled_from([0, 400, 1 << 20]), st.sampled_from([1, 5, 4096]))
def test_batches_are_what_gathering_each_alone_gives_and_none_is_written_over(
    seed, missing, sizes, padded, targets, alone, located
):
    rng = np.random.default_rng(seed)
    _, _, prepared = prepared_of(random_frame(rng, 3, missing))
    index = CutoffRanges(prepared.starts + (0 if padded else 2), np.maximum(prepared.ends - 2, prepared.starts + 1))
    made = Windows(prepared, index, 3, 2, targets=targets)
    parts = [rng.integers(-1 if seed % 4 == 0 else 0, max(len(made), 1), size) for size in sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsforge.data.windows.ALONE", alone)
        patch.setattr("tsforge.data.windows.AT_ONCE", 2000)
        patch.setattr("tsforge.data.windows.LOCATED", located)
        batches = list(made.batches(parts))
    expected = [made.gather(part) for part in parts]
    assert [same(a, b) for a, b in zip(batches, expected, strict=True)] == [True] * len(parts)
    torch._foreach_zero_([part for part in (batches[0].past, batches[0].future_covariates) if part is not None])
    assert all(same(a, b) for a, b in zip(batches[1:], expected[1:], strict=True))


@pytest.mark.parametrize("alone", [0, 1 << 20])
def test_both_ways_to_make_batches_are_taken_and_a_wrong_window_is_seen(alone, monkeypatch):
    _, _, prepared = prepared_of(random_frame(np.random.default_rng(1), 2, 0.0))
    made, ways = Windows(prepared, CutoffRanges(prepared.starts + 2, prepared.ends - 2), 3, 2), []
    monkeypatch.setattr("tsforge.data.windows.ALONE", alone)
    for way in ("_whole", "gather"):
        call = getattr(made, way)
        monkeypatch.setattr(made, way, lambda *given, way=way, call=call: (ways.append(way), call(*given))[1])
    parts = [np.array([0, 1]), np.array([2, 3])]
    batches = list(made.batches(parts))
    assert ways == (["gather"] if alone else ["_whole"])
    assert not same(batches[1], made.gather(parts[0]))


@given(st.integers(0, 10**6))
def test_what_was_observed_last_in_the_window_is_carried_forward(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(3, 7, 2))
    values[rng.random(values.shape) < 0.5] = np.nan
    tensor = torch.from_numpy(values)
    carried = carried_forward(tensor.nan_to_num(0.0), ~tensor.isnan())
    assert_array_equal(carried.numpy(), np.stack([filled(window) for window in values]))


def irregular(seed: int, sizes=(12, 3, 9)) -> Frame:
    """Series whose stamps lie a quarter of an hour to two hours apart; y says when, in hours of the series."""
    rng = np.random.default_rng(seed)
    parts = []
    for s, size in enumerate(sizes):
        hours = np.cumsum(np.append(0, rng.integers(1, 9, size - 1))) / 4
        parts.append(pl.DataFrame({"unique_id": f"s{s}", "ds": [START + HOUR * float(k) for k in hours], "y": hours}))
    return Frame(pl.concat(parts), freq="irregular", grid="1h")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3))
def test_irregular_windows_are_the_last_stamps_and_the_observations_nearest_to_the_grid(seed, input_size, h, ahead):
    store = build_store(irregular(seed), ahead=ahead)
    preparation = Preparation.fit(store, store.ends, None, "series")
    prepared = prepare(store, preparation, dtype=torch.float64)
    rows = np.arange(len(store.values))
    series = store.series_of(rows)
    series, rows = series[rows < store.ends[series]], rows[rows < store.ends[series]]
    batch = Windows(prepared, Cutoffs(series, rows), input_size, h).gather(np.arange(len(rows)))
    y = store.values[:, 0]
    for w, (s, cutoff) in enumerate(zip(series, rows, strict=True)):
        seen = y[max(store.starts[s], cutoff - input_size + 1) : cutoff + 1]
        pad = input_size - len(seen)
        assert batch.past_mask[w, :, 0].tolist() == [False] * pad + [True] * len(seen)
        assert_array_equal(batch.past[w, pad:, 0], seen)
        assert_allclose(batch.times[w, pad:], seen - seen[-1])
        assert_allclose(batch.gaps[w, pad:], np.diff(seen, prepend=seen[0]))
        later = y[cutoff + 1 : store.ends[s]]
        for k in range(h):
            apart = np.abs(later - (y[cutoff] + k + 1))
            close = len(apart) > 0 and apart.min() <= 0.5
            assert bool(batch.future_mask[w, k, 0]) == close
            assert not close or batch.future[w, k, 0] == later[apart.argmin()]


GRIDS = [
    (pl.date_range(date(2023, 1, 31), date(2024, 12, 31), "1mo", eager=True).dt.month_end(), "1mo"),
    (pl.datetime_range(START, START + 23 * HOUR, "1h", eager=True), "1h"),
    (pl.Series(np.arange(3, 75, 3)), "3i"),
]


@pytest.mark.parametrize(("ds", "freq"), GRIDS)
@pytest.mark.parametrize("targets", [["y"], ["y", "z"]])
@pytest.mark.parametrize("ahead", [0, 3])
def test_the_truth_comes_back_at_its_own_stamps(ds, freq, targets, ahead):
    rng = np.random.default_rng(0)
    table = pl.concat([
        pl.DataFrame({"unique_id": name, "ds": ds[:n], "y": rng.normal(size=n), "z": rng.normal(size=n)})
        for name, n in (("a", 24), ("b", 11))
    ]).filter(pl.int_range(pl.len()) != 7)  # an absent row
    store = build_store(Frame(table, targets=targets, freq=freq), ahead=ahead)
    series = np.array([0, 0, 1, 1])
    cutoffs = store.starts[series] + np.array([4, 23, 0, 9])
    values = np.full((4, 3, len(targets)), np.nan)
    for window, s, cutoff in zip(values, series, cutoffs, strict=True):
        there = store.values[cutoff + 1 : min(cutoff + 4, store.ends[s])]
        window[: len(there)] = there
    forecasts = forecast_frame(store, series, cutoffs, {"M": values}, with_cutoff=True, truth=True)
    assert forecasts.columns == ["unique_id", "ds", *(["target"] if len(targets) > 1 else []), "cutoff", "M", "y"]
    assert len(forecasts) == 4 * 3 * len(targets)
    assert_frame_equal(forecasts.select(pl.col("M").fill_nan(None)), forecasts.select(M="y"))
    long = table.unpivot(on=targets, index=["unique_id", "ds"], variable_name="target", value_name="truth")
    keys = ["unique_id", "ds"] + (["target"] if len(targets) > 1 else [])
    joined = forecasts.join(long, on=keys, how="left")
    assert joined["y"].to_list() == joined["truth"].to_list()
    assert joined["y"].count() == (2 + 0 + 3 + 1) * len(targets)  # of 12: an absent row, rows after the ends
    stamps = {name: table.filter(unique_id=name)["ds"].to_list() for name in "ab"}
    first = forecasts.group_by("unique_id", "cutoff", maintain_order=True).agg(pl.col("ds").min())
    assert first.row(0) == ("a", ds[4], ds[5])
    assert first.row(2) == ("b", stamps["b"][0], stamps["b"][1])


def test_the_truth_is_the_same_read_a_window_at_a_time_or_a_row_at_a_time():
    rng, size = np.random.default_rng(3), 700
    y = rng.normal(size=(2 * size, 2))
    y[rng.random(y.shape) < 0.1] = np.nan
    table = pl.DataFrame(y, schema=["y", "z"]).with_columns(
        unique_id=pl.Series(["a", "b"]).gather(np.repeat([0, 1], size)), ds=pl.Series(np.tile(np.arange(size), 2))
    )
    frame = Frame(table, targets=["y", "z"], freq="1i")
    series, steps = np.repeat([0, 1], size), np.tile(np.arange(size), 2)
    columns = {"M": np.zeros((2 * size, 3, 2))}

    def truth(ahead: int, shift: int = 0) -> pl.DataFrame:
        store = build_store(frame, ahead=ahead)
        return forecast_frame(store, series, store.starts[series] + steps - shift, columns, truth=True)

    assert_frame_equal(truth(0), truth(3))  # without rows ahead the last windows reach over the end of the store
    assert not truth(0)["y"].equals(truth(0, shift=1)["y"])


def test_the_steps_after_the_data_go_on_along_the_grid():
    for ds, freq in GRIDS:
        store = build_store(Frame(pl.DataFrame({"ds": ds[:-3], "y": 1.0}), freq=freq), ahead=3)
        made = forecast_frame(store, np.zeros(1, int), store.ends - 1, {"M": np.zeros((1, 3, 1))})
        assert made["ds"].to_list() == ds[-3:].to_list()
        assert made.columns == ["unique_id", "ds", "M"]


def test_irregular_forecasts_lie_grid_steps_after_the_cutoff_beside_the_nearest_observation():
    hours = [0.0, 0.75, 2.0, 2.25, 5.0]
    table = pl.DataFrame({"ds": [START + HOUR * k for k in hours], "y": hours})
    store = build_store(Frame(table, freq="irregular", grid="1h"), ahead=2)
    columns = {"M": np.zeros((2, 2, 1))}
    made = forecast_frame(store, np.zeros(2, int), np.array([1, 4]), columns, truth=True, with_cutoff=True)
    assert made["cutoff"].unique().to_list() == [START + HOUR * 0.75, START + HOUR * 5]
    assert made["ds"].to_list() == [START + HOUR * k for k in (1.75, 2.75, 6, 7)]
    assert made["y"].to_list() == [2.0, 2.25, None, None]
