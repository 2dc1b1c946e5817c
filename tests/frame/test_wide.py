"""Series as channels: the pairs (unique_id, target) are forecast together and come back one by one."""

import numpy as np
import polars as pl
import pytest

import tsforge
from tsforge.errors import FrameError
from tsforge.frame.frame import Frame


def stations(n: int = 60, targets: int = 2) -> pl.DataFrame:
    t = np.arange(n)
    parts = []
    for k, name in enumerate(("b", "a", "c")):
        columns = {f"y{c}": np.sin(t / 3 + k) + 10 * k + c for c in range(targets)}
        parts.append(pl.DataFrame({"unique_id": [name] * n, "ds": t, **columns, "x": (t + k) % 5 * 1.0}))
    return pl.concat(parts)


def wide(table: pl.DataFrame, **roles) -> Frame:
    targets = [name for name in table.columns if name.startswith("y")]
    return Frame(table, targets=targets, channels_from="unique_id", **roles)


def test_the_channels_are_the_sorted_pairs_and_absent_rows_are_missing():
    table = stations().filter(~((pl.col("unique_id") == "c") & (pl.col("ds") < 20)))
    frame = wide(table)
    assert frame.targets == ("a/y0", "a/y1", "b/y0", "b/y1", "c/y0", "c/y1")
    assert len(frame.ids) == 1
    assert frame.table["c/y1"].null_count() == 20
    long = frame.observations().filter(pl.col("y0").is_not_null()).sort("unique_id", "ds")
    assert long.equals(table.select(long.columns).sort("unique_id", "ds"))


@pytest.mark.parametrize("targets", [1, 2])
def test_a_forecast_returns_to_one_row_per_series(targets):
    table = stations(targets=targets)
    alone = Frame(table, targets=[f"y{c}" for c in range(targets)])
    together, apart = (tsforge.SeasonalNaive(h=4, season=6).fit(frame).predict() for frame in (wide(table), alone))
    keys = together.columns[:-1]
    assert together.sort(keys).equals(apart.sort(keys))


def test_a_model_sees_the_other_series():
    table = stations(targets=1)
    model = tsforge.TimesNet(h=4, input_size=12, max_steps=3, d_model=4, d_ff=4, accelerator="cpu").fit(wide(table))
    other = table.with_columns(y0=pl.when(pl.col("unique_id") == "a").then(pl.col("y0") ** 2).otherwise("y0"))
    of_b = [model.predict(wide(t)).filter(pl.col("unique_id") == "b")["TimesNet"].to_list() for t in (table, other)]
    assert of_b[0] != of_b[1]


def test_future_covariates_of_each_series_are_read_and_a_run_opens_again(tmp_path):
    table = stations(targets=1)
    frame = wide(table, future=["x"])
    model = tsforge.TimesNet(h=4, input_size=12, max_steps=3, d_model=4, d_ff=4, accelerator="cpu").fit(frame)
    ahead = pl.DataFrame({"unique_id": ["a", "b", "c"] * 4, "ds": np.repeat(np.arange(60, 64), 3), "x": [1.0] * 12})
    expected = model.predict(future=ahead)
    assert expected["unique_id"].unique().sort().to_list() == ["a", "b", "c"]
    opened = tsforge.open(model.save(tmp_path / "run"))
    assert opened.predict(future=ahead).equals(expected)
    assert opened.predict(table, future=ahead).equals(expected)
    with pytest.raises(FrameError, match="'b/x'"):
        model.predict(future=ahead.filter(pl.col("unique_id") != "b"))


def test_a_backtest_scores_each_series():
    table = stations(targets=1)
    found = tsforge.backtest([tsforge.Naive(h=4)], wide(table), n_windows=3)
    apart = tsforge.backtest([tsforge.Naive(h=4)], Frame(table, targets=["y0"]), n_windows=3)
    keys = ["unique_id", "cutoff", "ds"]
    assert found.sort(keys).equals(apart.select(found.columns).sort(keys))


def test_other_series_are_named():
    table = stations(targets=1)
    model = tsforge.Naive(h=4).fit(wide(table))
    new = table.with_columns(pl.col("unique_id").replace({"c": "d"}))
    with pytest.raises(FrameError, match=r"Missing here: 'c'; not there then: 'd'"):
        model.predict(wide(new))
    with pytest.raises(FrameError, match="Missing here: 'c'"):
        model.predict(table.filter(pl.col("unique_id") != "c"))


def test_it_needs_names_of_series():
    with pytest.raises(FrameError, match="names the series"):
        Frame(stations().drop("unique_id").head(60), targets=["y0"], channels_from="unique_id")
    with pytest.raises(FrameError, match="wanted 'unique_id'"):
        Frame(stations(), targets=["y0"], channels_from="target")
