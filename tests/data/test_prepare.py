import logging
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import tsforge.scaling
from tsforge.data.prepare import Preparation, StaticCoding, prepare
from tsforge.data.store import build_store
from tsforge.errors import FrameError
from tsforge.frame.frame import Frame


def frame_of(names: str = "abc", rows: int = 30, seed: int = 0, **roles) -> Frame:
    rng = np.random.default_rng(seed)
    n = rows * len(names)
    values = {name: rng.normal(size=n) * 5 + 20 for name in ("y", "z", "p", "f")}
    keys = {"unique_id": np.repeat(list(names), rows), "ds": np.tile(np.arange(rows), len(names))}
    return Frame(pl.DataFrame(keys | values), **{"targets": ["y", "z"], "past": "p", "future": "f"} | roles)


def fitted(frame: Frame, until: int = 20, scaler="standard", scope="series"):
    store = build_store(frame)
    return store, Preparation.fit(store, store.starts + until, scaler, scope)


@pytest.mark.parametrize("scope", ["series", "global"])
@pytest.mark.parametrize("scaler", ["standard", "minmax", "robust", None])
def test_scaling_is_undone_by_place_and_scale(scaler, scope):
    store, preparation = fitted(frame_of(), scaler=scaler, scope=scope)
    prepared = prepare(store, preparation, dtype=torch.float64)
    series = store.series_of(np.arange(len(store.values)))
    assert_allclose(prepared.values.numpy() * prepared.scale[series] + prepared.loc[series], store.values)


def test_the_size_of_a_block_changes_no_bit(monkeypatch):
    store, preparation = fitted(frame_of())
    plain = prepare(store, preparation)
    monkeypatch.setattr(tsforge.scaling, "CHUNK", 7)
    small = prepare(store, preparation)
    for part in ("values", "past", "future", "mask"):
        assert torch.equal(getattr(small, part), getattr(plain, part))


def test_training_rows_have_mean_zero_and_sd_one_and_later_rows_do_not_enter():
    store, preparation = fitted(frame_of())
    values = prepare(store, preparation, dtype=torch.float64).values.reshape(3, 30, 2)
    assert_allclose(values[:, :20].mean(dim=1), 0, atol=1e-12)
    assert_allclose(values[:, :20].std(dim=1, correction=0), 1)
    later = store.values.copy()
    later[np.arange(90) % 30 >= 20] += 1000
    store.values[:] = later
    again = Preparation.fit(store, store.starts + 20, "standard", "series")
    assert_array_equal(again.targets.loc, preparation.targets.loc)
    assert_array_equal(again.targets.scale, preparation.targets.scale)


def test_a_small_variation_far_from_zero_survives_float32():
    wave = np.sin(np.arange(400) / 5) * 0.01
    frame = Frame(pl.DataFrame({"ds": np.arange(400), "y": 1e9 + wave}))
    prepared = prepare(*fitted(frame, until=300))
    assert prepared.values.dtype == torch.float32
    back = prepared.values.double().numpy()[:, 0] * prepared.scale[0] + (prepared.loc[0] - 1e9)
    assert_allclose(back, wave, atol=1e-6)
    assert np.ptp(np.float32(1e9 + wave)) == 0  # rounded before it is scaled nothing would be left


def test_missing_values_are_zero_under_a_false_mask_and_complete_data_say_so():
    table = frame_of().table.with_columns(y=pl.when(pl.col("ds") == 4).then(None).otherwise("y"))
    table = table.with_columns(p=pl.when(pl.col("ds") == 5).then(None).otherwise("p"))
    store, preparation = fitted(Frame(table, targets=["y", "z"], past="p", future="f"))
    prepared = prepare(store, preparation)
    holes = np.isnan(store.values)
    assert holes.sum() == 3
    assert_array_equal(prepared.mask.numpy(), ~holes)
    assert (prepared.values.numpy()[holes] == 0).all()
    assert prepared.past is not None
    assert (prepared.past[5::30] == 0).all()
    assert not prepared.complete
    assert prepare(*fitted(frame_of())).complete


def test_a_series_of_training_is_scaled_as_it_was_there_whatever_comes_with_it():
    _, preparation = fitted(frame_of())
    alone = frame_of("b", seed=9)
    prepared = prepare(build_store(alone), preparation)
    assert prepared.known.tolist() == [1]
    assert_array_equal(prepared.loc[0], preparation.targets.loc[1])


def test_an_unseen_series_is_scaled_by_its_rows_before_until_alone():
    _, preparation = fitted(frame_of())
    store = build_store(frame_of("axb", seed=5))
    until = store.starts + 12
    prepared = prepare(store, preparation, until=until)
    assert prepared.known.tolist() == [0, 1, -1]  # sorted: a, b, x
    own = store.values[60:72]
    assert_allclose(prepared.loc[2], own.mean(axis=0))
    assert_allclose(prepared.scale[2], own.std(axis=0))

    def changed(row: int):
        other = build_store(frame_of("axb", seed=5))
        other.values[row] += 100
        other.past[row] += 100
        other.future[row] += 100
        return prepare(other, preparation, until=until)

    for part in ("values", "past", "future"):
        before, after = getattr(prepared, part), getattr(changed(72), part)
        assert torch.equal(after[60:72], before[60:72])
        assert not torch.equal(getattr(changed(71), part)[60:71], before[60:71])


def test_an_unseen_series_takes_the_global_scaling_where_there_is_one():
    _, preparation = fitted(frame_of(), scope="global")
    prepared = prepare(build_store(frame_of("x", seed=5)), preparation)
    assert_array_equal(prepared.loc, preparation.targets.loc)


def test_names_of_another_kind_are_unseen():
    _, preparation = fitted(Frame(frame_of("12").table.with_columns(pl.col("unique_id").cast(pl.Int64)), targets="y"))
    assert preparation.series_in(pl.Series(["2", "x"])).tolist() == [1, -1]


def test_covariates_known_ahead_stand_before_the_calendar():
    days = frame_of().table.with_columns(ds=datetime(2024, 1, 1) + pl.col("ds") * timedelta(hours=1))
    frame = Frame(days, targets="y", future=["f", "p"], calendar=["hour", "dayofweek"])
    store, preparation = fitted(frame)
    prepared = prepare(store, preparation)
    assert prepared.widths == {"in_channels": 1, "past_covariates": 0, "future_covariates": 4, "static_numeric": 0}
    assert prepared.future is not None
    assert_array_equal(prepared.future[:, 2:].numpy(), store.calendar)


def test_constant_targets_are_said_once_with_their_count(caplog):
    table = frame_of().table.with_columns(y=pl.when(pl.col("unique_id") == "b").then(0.1).otherwise("y"))
    with caplog.at_level(logging.INFO, "tsforge"):
        store, preparation = fitted(Frame(table, targets=["y", "z"], freq="1i"))
        prepared = prepare(store, preparation)
    said = [line for line in caplog.messages if "constant" in line]
    assert said == ["1 of 6 targets of series are constant in training; in scaling their width counts as 1."]
    assert (prepared.values[30:60, 0] == 0).all()


def test_missing_covariates_are_said_and_complete_ones_are_not(caplog):
    table = frame_of().table.with_columns(f=pl.when(pl.col("ds") < 2).then(None).otherwise("f"))
    with caplog.at_level(logging.INFO, "tsforge"):
        fitted(Frame(table, targets="y", past="p", future="f"))
    assert [line for line in caplog.messages if "missing" in line] == [
        "6 values of the covariates 'f' are missing; scaled, they count as 0."]


STATIC = pl.DataFrame({"unique_id": list("abc"), "size": [1.0, 2.0, None], "flat": [0.1] * 3, "kind": ["u", None, "w"],
                       "open": [True, False, True]})


def test_static_numbers_are_standardised_and_categories_coded_from_one():
    coding = StaticCoding.fit(STATIC)
    assert_allclose(coding.numbers(STATIC), [[-1, 0], [1, 0], [0, 0]])
    assert coding.cardinalities == (3, 3)
    assert_array_equal(coding.codes(STATIC), [[1, 2], [0, 1], [2, 2]])


def test_static_values_unseen_in_training_are_code_zero_and_nan_counts_as_the_mean():
    coding = StaticCoding.fit(STATIC)
    other = STATIC.with_columns(kind=pl.lit("new"), size=pl.Series([np.nan, 3.0, 1.0]))
    assert_array_equal(coding.codes(other)[:, 0], 0)
    assert_allclose(coding.numbers(other)[:, 0], [0, 3, -1])
    assert StaticCoding.fit(STATIC.with_columns(pl.col("size").fill_null(np.nan))) == coding


def test_static_columns_that_a_model_was_fitted_with_are_asked_for():
    store, preparation = fitted(frame_of(static=STATIC))
    assert prepare(store, preparation).widths["static_numeric"] == 2
    with pytest.raises(FrameError, match="fitted with the column 'open', which this frame does not have"):
        prepare(build_store(frame_of(static=STATIC.drop("open"))), preparation)
    with pytest.raises(FrameError, match="'size' was numeric in training, and here it holds 'big'"):
        prepare(build_store(frame_of(static=STATIC.with_columns(size=pl.lit("big")))), preparation)
