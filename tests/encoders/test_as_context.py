"""What reads something else than a window of targets, as the context of a model."""

import numpy as np
import polars as pl
import pytest

import tsforge
from tsforge import Frame

LENGTH, AHEAD, NAMES = 60, 4, ["s0", "s1", "s2", "s3"]
SPECS = {
    "autoint": {"name": "autoint", "n_buckets": 16},
    "arm_net": {"name": "arm_net", "n_buckets": 16, "numeric": "log"},
    "json_vsa": {"name": "json_vsa", "code_dim": 64, "records": {name: {"kind": name, "no": 1} for name in NAMES}},
    "kriging": {"name": "kriging", "max_places": 8},
    "set": "set",
    "batchformer": {"name": "batchformer", "encoder": {"name": "phnn", "n": 2}, "d_model": 8},
    "convergent": {"name": "convergent", "members": 2, "steps": 2, "d_model": 8, "threshold": 0.05},
    "mip_hyper": {"name": "mip_hyper", "encoder": "phnn", "d_model": 8, "hidden": [4, 8]},
    "relative": {"name": "relative", "encoder": {"name": "phnn", "n": 2}, "d_model": 8, "center": True},
    "din": {"name": "din", "segment_len": 2},
}


def frame(name):
    """Series at places of two kinds, with a covariate known ahead where it is asked for."""
    t = np.arange(LENGTH + AHEAD)
    parts = [pl.DataFrame({"ds": t, "y": np.where(t < LENGTH, np.sin(t / 4 + at) + at, np.nan), "known": np.cos(t / 3)})
             .with_columns(unique_id=pl.lit(series)) for at, series in enumerate(NAMES)]
    table, asks = pl.concat(parts), name == "din"
    static = {"kriging": {"lat": [0.0, 1.0, 2.0, 5.0], "lon": [3.0, 1.0, 4.0, 1.0]},
              "autoint": {"kind": ["a", "b", "b", "a"]}, "arm_net": {"kind": ["a", "b", "b", "a"]},
              "mip_hyper": {"lat": [0.0, 1.0, 2.0, 5.0], "kind": ["a", "b", "b", "a"]}}.get(name)
    roles = {"static": pl.DataFrame({"unique_id": NAMES, **static})} if static else {}
    past = table.filter(pl.col("ds") < LENGTH).select("unique_id", "ds", "y", *(["known"] if asks else []))
    ahead = table.filter(pl.col("ds") >= LENGTH).select("unique_id", "ds", "known") if asks else None
    return Frame(past, targets=["y"], future=["known"] if asks else [], **roles), ahead


def make(name, **context):
    made = tsforge.MLP if name == "din" else tsforge.DLinear
    return made(h=AHEAD, input_size=12, max_steps=5, scaler_scope="global", **context)


@pytest.mark.parametrize("name", SPECS)
def test_a_model_told_by_it_forecasts_otherwise_and_the_same_when_it_is_fitted_again(name):
    known, ahead = frame(name)
    forecasts, again = (make(name, context=[SPECS[name]]).fit(known).predict(future=ahead) for _ in range(2))
    assert again.equals(forecasts)
    bare = make(name).fit(known if name == "din" else known.without_covariates()).predict(future=ahead)
    assert not bare.equals(forecasts)


@pytest.mark.parametrize("name", SPECS)
def test_a_model_told_by_it_is_saved_and_opened_alike(name, tmp_path):
    known, ahead = frame(name)
    model = make(name, context=[SPECS[name]]).fit(known)
    model.save(tmp_path / "run")
    opened = tsforge.open(tmp_path / "run")
    assert opened.get_params() == model.get_params()
    assert opened.predict(future=ahead).equals(model.predict(future=ahead))
