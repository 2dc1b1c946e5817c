from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import tsforge
from tsforge.frame.block import Block
from tsforge.frame.block_frame import BlockFrame
from tsforge.frame.frame import Frame

START, HOUR = datetime(2024, 1, 1), timedelta(hours=1)


def frames(missing: float, time: int = 120) -> tuple[BlockFrame, Frame]:
    """A travelling wave of two channels at five stations, as a block and as a table."""
    rng = np.random.default_rng(0)
    phase = np.arange(time)[None, :, None] / 24 * 2 * np.pi + np.arange(5)[:, None, None] + np.arange(2)
    values = (10 * np.sin(phase) + rng.normal(size=phase.shape) + 15).astype(np.float32)
    values[rng.random(values.shape) < missing] = np.nan
    roles = {"targets": ["t", "rh"], "freq": "1h"}
    block = BlockFrame(Block.dense(values, ["t", "rh"]), ids=pl.Series(range(5)), first=START, **roles)
    parts = [
        pl.DataFrame(own, schema=["t", "rh"]).with_columns(
            unique_id=pl.lit(k, pl.Int64), ds=pl.Series([START + HOUR * n for n in range(time)]))
        for k, own in enumerate(values)
    ]
    return block, Frame(pl.concat(parts), **roles)


def dlinear(**changes):
    return tsforge.DLinear(h=6, input_size=24, **{"max_steps": 30, "val_size": 30} | changes)


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_fit_and_predict_are_the_same_on_a_block_and_on_its_table(missing, tmp_path):
    block, table = frames(missing)
    models = [dlinear().fit(frame) for frame in (block, table)]
    assert "table" not in vars(block)
    assert models[0].history_ == models[1].history_
    for given in (None, block):
        forecasts = [model.predict(given, level=[50]) for model in models]
        assert_frame_equal(*forecasts, check_exact=True)
    assert_frame_equal(models[0].predict(block), models[1].predict(table), check_exact=True)
    assert "table" not in vars(block)
    saved = tsforge.open(models[0].save(tmp_path / "run"))
    assert_frame_equal(saved.predict(), models[1].predict(), check_exact=True)


@pytest.mark.parametrize("align", ["time", "end"])
def test_a_backtest_is_the_same_on_a_block_and_on_its_table(align):
    block, table = frames(0.1)
    models = [dlinear(), tsforge.SeasonalNaive(h=6)]
    made = [tsforge.backtest(models, frame, n_windows=3, align=align, refit=2) for frame in (block, table)]
    assert "table" not in vars(block)
    assert_frame_equal(*made, check_exact=True)
    assert made[0]["y"].count() > 150


def test_a_series_unseen_in_training_is_scaled_by_its_context_in_both():
    block, table = frames(0.0)
    seen = block.block.choose(np.arange(4))
    small = BlockFrame(seen, ids=pl.Series(range(4)), first=START, freq="1h", targets=["t", "rh"])
    models = [dlinear().fit(small), dlinear().fit(table.rows(pl.col("unique_id") < 4))]
    assert_frame_equal(models[0].predict(block), models[1].predict(table), check_exact=True)


def test_stations_as_channels_are_the_same_on_a_block_and_on_its_table():
    block, table = frames(0.0)
    wide = Frame(table.table, targets=["t", "rh"], freq="1h", channels_from="unique_id")
    models = [dlinear().fit(frame) for frame in (block.as_channels(), wide)]
    assert_frame_equal(models[0].predict(), models[1].predict(), check_exact=True)
