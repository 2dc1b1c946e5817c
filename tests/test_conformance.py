"""What must be true of every model. It runs over the catalogs, so a new row is tested with no new line."""

from datetime import datetime
from inspect import signature
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone

import tsforge
from tsforge.errors import FrameError, TsforgeError
from tsforge.estimators.estimator import estimator
from tsforge.estimators.parameters import own_arguments
from tsforge.local import LOCAL
from tsforge.models import MODELS

ROWS = [*MODELS, *LOCAL]
MODES = {"s4d streaming": {"streaming": True}, "chimera streaming": {"streaming": True, "decode": "closed_loop"}}
EVERY = [*ROWS, *MODES]
H, LOOKBACK, SEASON = 4, 12, 6


def row(name: str) -> str:
    """The row of a model in one of its modes."""
    return name.partition(" ")[0]


def make(name: str, **changes: Any) -> Any:
    """A small, quickly trained estimator of a row."""
    arguments: dict[str, Any] = {"input_size": LOOKBACK, "max_steps": 4, "batch_size": 16, "accelerator": "cpu",
                                 "n_trees": 10}
    made = estimator(row(name))
    known, arguments = signature(made).parameters, arguments | MODES.get(name, {}) | changes
    return made(h=H, **{k: v for k, v in arguments.items() if k in known})


def series(lengths=(60, 45, 52), channels=1, seed=0, missing=0.0, start=datetime(2024, 1, 1)) -> pl.DataFrame:
    """Noisy sines of different size; `start` None counts steps."""
    rng = np.random.default_rng(seed)
    parts = []
    for number, length in enumerate(lengths):
        t = np.arange(length)
        ds = pl.Series(t) if start is None else pl.select(
            pl.lit(start) + pl.duration(hours=pl.Series(t))).to_series()
        values = {}
        for c in range(channels):
            y = (number + 1) * 10 + (c + 1) * np.sin(2 * np.pi * (t + c) / SEASON) + 0.1 * rng.normal(size=length)
            y[rng.random(length) < missing] = np.nan
            values["y" if channels == 1 else f"y{c}"] = y
        parts.append(pl.DataFrame({"unique_id": [f"s{number}"] * length, "ds": ds, **values}))
    return pl.concat(parts)


def frame(table: pl.DataFrame | None = None, **roles: Any) -> Any:
    table = series() if table is None else table
    return tsforge.Frame(table, **({"season": SEASON} | roles))


def values(forecasts: pl.DataFrame) -> np.ndarray:
    return forecasts.select(pl.selectors.float()).to_numpy()


FRAMES = {
    "one series": lambda: frame(series((60,))),
    "unequal lengths": lambda: frame(),
    "many channels": lambda: frame(series(channels=3)),
    "missing values": lambda: frame(series(missing=0.2)),
    "absent rows": lambda: frame(series().filter(pl.int_range(pl.len()) % 7 != 3), freq="1h"),
    "float32": lambda: frame(series().with_columns(pl.col("y").cast(pl.Float32))),
    "integer time": lambda: frame(series(start=None)),
    "a constant series": lambda: frame(
        series().with_columns(y=pl.when(pl.col("unique_id") == "s1").then(7.0).otherwise("y"))
    ),
    "huge values": lambda: frame(series().with_columns(pl.col("y") * 1e6 + 1e9)),
}


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("name", EVERY)
def test_it_fits_and_forecasts_every_step_of_every_series(name, kind):
    data = FRAMES[kind]()
    forecasts = make(name).fit(data).predict()
    assert len(forecasts) == len(data.ids) * H * len(data.targets)
    assert np.isfinite(values(forecasts)).all()
    ends = data.table.group_by("unique_id").agg(pl.col("ds").max().alias("end"))
    assert (forecasts.join(ends, on="unique_id").select(pl.col("ds") > pl.col("end")).to_series()).all()


@pytest.mark.parametrize("name", EVERY)
def test_a_frame_of_two_rows_gives_a_forecast_or_a_typed_error(name):
    tiny = frame(series((2,)))
    if row(name) in MODELS:
        with pytest.raises(FrameError, match=r"'s0' has 2 training rows, and a window needs"):
            make(name).fit(tiny)
        tiny, padded = frame(series((H + 2,))), make(name, short="pad", val_size=0)
        assert np.isfinite(values(padded.fit(tiny).predict())).all()
    elif LOCAL[name].learns:
        with pytest.raises(FrameError, match=r"'s0': 2 .* too few"):
            make(name).fit(tiny)
    else:
        assert np.isfinite(values(make(name).fit(tiny).predict())).all()


COVARIATES = {
    "past": {"past": ["x"]},
    "future": {"future": ["x"], "calendar": ["hour"]},
    "static": {"static": ["size", "kind"]},
}


def with_covariate(table: pl.DataFrame) -> pl.DataFrame:
    size = pl.col("unique_id").rank("dense").cast(pl.Float64)
    x = pl.int_range(pl.len()).over("unique_id").cast(pl.Float64) % 5
    return table.with_columns(x=x, size=size, kind=pl.format("kind {}", size))


@pytest.mark.parametrize("role", COVARIATES)
@pytest.mark.parametrize("name", EVERY)
def test_it_takes_the_covariates_of_its_card_and_refuses_others_by_name(name, role):
    table = with_covariate(series())
    data = frame(table, **COVARIATES[role])
    model = make(name)
    if row(name) in MODELS and role not in MODELS[row(name)].covariates:
        with pytest.raises(TsforgeError, match=f"takes no {role} covariates"):
            model.fit(data)
        return
    model.fit(data)
    last = table.group_by("unique_id", maintain_order=True).last()
    ahead = pl.concat([last.with_columns(pl.col("ds") + pl.duration(hours=k)) for k in range(1, H + 1)]).drop("y")
    forecasts = model.predict(future=ahead) if role == "future" else model.predict()
    assert np.isfinite(values(forecasts)).all()


@pytest.mark.parametrize("name", EVERY)
def test_a_series_is_forecast_alike_alone_and_in_company(name):
    table = series((60, 45, 52, 60, 48), missing=0.05)
    model = make(name).fit(frame(table))
    together = model.predict(frame(table)).filter(pl.col("unique_id") == "s2")
    alone = model.predict(frame(table.filter(pl.col("unique_id") == "s2")))
    sd = table.filter(pl.col("unique_id") == "s2")["y"].drop_nans().std()
    np.testing.assert_allclose(values(alone), values(together), atol=1e-5 * sd, rtol=0)


@pytest.mark.parametrize("name", EVERY)
def test_nothing_after_the_cutoff_changes_a_forecast(name):
    table = series((60, 60))
    data, end = frame(table), table["ds"].unique().sort()[-1 - H]
    changed = frame(table.with_columns(y=pl.when(pl.col("ds") > end).then(1e3).otherwise("y")))
    before = tsforge.backtest([make(name)], data, n_windows=1)
    after = tsforge.backtest([make(name)], changed, n_windows=1)
    assert before.drop("y").equals(after.drop("y"))
    seen = frame(table.with_columns(y=pl.when(pl.col("ds") <= end).then(pl.col("y") ** 2).otherwise("y")))
    assert not tsforge.backtest([make(name)], seen, n_windows=1).drop("y").equals(before.drop("y"))  # the control


@pytest.mark.parametrize("name", [n for n in EVERY if n in LOCAL or "past" in MODELS[row(n)].covariates])
def test_past_covariates_after_the_cutoff_change_nothing(name):
    table = with_covariate(series((60, 60)))
    end = table["ds"].unique().sort()[-1 - H]
    changed = table.with_columns(x=pl.when(pl.col("ds") > end).then(1e3).otherwise("x"))
    before, after = (tsforge.backtest([make(name)], frame(t, past=["x"]), n_windows=1) for t in (table, changed))
    assert before.equals(after)


@pytest.mark.parametrize("name", EVERY)
def test_the_same_seed_gives_the_same_bits_whatever_was_fitted_before(name):
    data = frame(series((60, 45)))
    first = make(name).fit(data).predict()
    make("dlinear", seed=7).fit(data)
    assert make(name).fit(data).predict().equals(first)
    if row(name) in MODELS and MODELS[row(name)].drawn:
        assert not make(name, seed=1).fit(data).predict().equals(first)  # the control


@pytest.mark.parametrize("name", EVERY)
def test_saved_and_opened_it_forecasts_the_same(name, tmp_path):
    table = series((80, 70), channels=2, missing=0.05)
    data = frame(table)
    model = make(name, val_size=0.4).fit(data)
    model.save(tmp_path / "run")
    opened = tsforge.open(tmp_path / "run")
    assert opened.get_params() == model.get_params()
    assert opened.predict(level=[50]).equals(model.predict(level=[50]))
    assert opened.predict(table, level=[50]).equals(model.predict(table, level=[50]))


@pytest.mark.parametrize("name", EVERY)
def test_a_clone_fits_alike_and_a_recipe_brings_it_back(name):
    data = frame(series((60, 45)))
    model = make(name)
    expected = model.fit(data).predict()
    assert clone(model).fit(data).predict().equals(expected)
    again = type(model).from_recipe(model.to_recipe())
    assert again.get_params() == model.get_params()


@pytest.mark.parametrize("name", EVERY)
def test_refitting_forgets(name):
    one, other = frame(series((60, 45))), frame(series((50,), channels=2, seed=3))
    expected = make(name).fit(other).predict()
    assert make(name).fit(one).fit(other).predict().equals(expected)


CHOICES = {"periods": ["batch", "fixed"], "norm": ["layer"],
           "stacks": ["generic", "seasonality"], "interpolation": ["nearest"],
           "channels": ["independent", "mixed"], "init": ["inv", "lin", "real"], "discretisation": ["bilinear"],
           "averaging": ["softmax"], "channel_mixing": ["flat"],
           "decode": ["closed_loop"], "coupling": ["exp", "none"], "transition": ["scalar"],
           "model": ["AAN"], "variant": ["croston", "tsb"], "order": [(1, 0, 0)], "seasonal_order": [(1, 0, 0)],
           "strategy": ["direct"], "method": ["simplex"], "max_rows": [20], "kernel": ["linear"],
           "kernel_ar.kernel": ["matern"], "span": [4], "neurons": [2], "max_depth": [1], "standard_errors": [0.0],
           "analog_forecaster.d_model": [4], "every": [5], "rerank": [1], "level": ["mean"], "bits": [4],
           "dt_min": [0.01], "d_model": [24],
           "multifit.variant": ["fitv", "fit"], "supports": [0], "groups": [[[1], [0]]], "delta": ["count"],
           "delta_scale": ["raw"], "mean": ["running"],
           "coordinates": [[[0.0, 0.0], [0.0, 1.0]]], "factors": [2], "links": [0], "quantile": [0.0],
           "anchor": ["mean", "none"]}  # arguments that are words, and those that not every number will do for


BESIDE = {"streaming": {"decode": "closed_loop"},  # what an argument needs beside it, where a model has that
          "neurons": {"standard_errors": 0.0}, "d_model": {"rerank": 1},
          "links": {"coordinates": [[0.0, 0.0], [0.0, 1.0]]}}
SPARSE = {"delta": 0.2}  # the share of missing values that an argument about them needs


def alternatives(name: str, parameter) -> list[Any]:
    """Other values of an argument of a model, by its type."""
    default, own = parameter.default, f"{name}.{parameter.name}"
    if isinstance(default, str) or parameter.name in CHOICES:
        return [other for other in CHOICES[own if own in CHOICES else parameter.name] if other != default]
    if isinstance(default, bool):
        return [not default]
    if isinstance(default, int):
        return [default + 2]
    if isinstance(default, float):
        return [default / 2 + 0.1]
    return [SEASON - 1]  # None, a number of steps


def network_of(name: str) -> type:
    return MODELS[row(name)] if row(name) in MODELS else LOCAL[name]


OWN = [(name, argument) for name in ROWS for argument in own_arguments(network_of(name))]


@pytest.mark.parametrize(("name", "argument"), OWN)
def test_every_argument_changes_something(name, argument):
    network = network_of(name)
    data = frame(series((60, 45), channels=2, missing=SPARSE.get(argument, 0.0)))
    beside = BESIDE.get(argument, {})
    before = make(name, **beside).fit(data).predict()
    others = alternatives(name, own_arguments(network)[argument])
    assert others
    for other in others:
        assert not make(name, **beside, **{argument: other}).fit(data).predict().equals(before), other


@pytest.mark.parametrize("name", [n for n in EVERY if network_of(n).learns])
def test_it_learns_a_sine_better_than_the_mean(name):
    t = np.arange(300)
    data = frame(pl.DataFrame({"ds": t, "y": np.sin(2 * np.pi * t / SEASON)}))
    forecasts = make(name, max_steps=150, learning_rate=1e-2, input_size=2 * SEASON).fit(data).predict()
    truth = np.sin(2 * np.pi * forecasts["ds"].to_numpy() / SEASON)
    point = values(forecasts)[:, 0]
    assert np.mean((point - truth) ** 2) < 0.1 * np.var(np.sin(2 * np.pi * t / SEASON))


SMALL = {"n": 2, "n_layers": 1}
WAYS = {
    "encoder": {"encoder": {"name": "phnn", **SMALL}},
    "context": {"context": [{"name": "phnn", "d_model": 4, **SMALL},
                            {"name": "unified_embedding", "n_buckets": 32, "d_model": 4}]},
}
TOLD = [(n, "context") for n in MODELS] + [(n, "encoder") for n in MODELS if MODELS[n].encoder_takes]


@pytest.mark.parametrize(("name", "way"), TOLD)
def test_with_encoders_it_is_cloned_saved_and_opened_alike_and_forecasts_alone_as_in_company(name, way, tmp_path):
    table = series(missing=0.05)
    model = make(name, **WAYS[way]).fit(frame(table))
    forecasts = model.predict()
    assert clone(model).fit(frame(table)).predict().equals(forecasts)
    assert type(model).from_recipe(model.to_recipe()).get_params() == model.get_params()
    model.save(tmp_path / "run")
    opened = tsforge.open(tmp_path / "run")
    assert opened.get_params() == model.get_params()
    assert opened.predict().equals(forecasts)
    alone = model.predict(frame(table.filter(pl.col("unique_id") == "s2")))
    together = forecasts.filter(pl.col("unique_id") == "s2")
    sd = table.filter(pl.col("unique_id") == "s2")["y"].drop_nans().std()
    np.testing.assert_allclose(values(alone), values(together), atol=1e-5 * sd, rtol=0)


@pytest.mark.parametrize(
    ("name", "way"), [("dlinear", "context"), ("timesnet", "encoder"), ("itransformer", "encoder")]
)
def test_nothing_after_the_cutoff_reaches_an_encoder(name, way):
    table = series((60, 60))
    end = table["ds"].unique().sort()[-1 - H]
    changed = table.with_columns(y=pl.when(pl.col("ds") > end).then(1e3).otherwise("y"))
    before, after = (tsforge.backtest([make(name, **WAYS[way])], frame(t), n_windows=1) for t in (table, changed))
    assert before.drop("y").equals(after.drop("y"))


def test_the_preconditions_leave_out_what_the_cards_say():
    left_out = {
        "past": [n for n in MODELS if "past" not in MODELS[n].covariates],
        "future": [n for n in MODELS if "future" not in MODELS[n].covariates],
        "static": [n for n in MODELS if "static" not in MODELS[n].covariates],
        "learns": [n for n in MODELS if not MODELS[n].learns],
        "drawn": [n for n in MODELS if not MODELS[n].drawn],
        "encoder": [n for n in MODELS if not MODELS[n].encoder_takes],
    }
    blind = ["dlinear", "nlinear", "patchtst", "nbeats", "nhits", "multifit", "echo_state", "chimera", "lightnet",
             "encoder_forecaster", "analog_forecaster", "dcgan"]
    static = [n for n in MODELS if n != "mambamixer"]
    takers = ("s4d", "timesnet", "itransformer", "encoder_forecaster", "analog_forecaster")
    plain = [n for n in MODELS if n not in takers]
    assert left_out == {"past": blind, "future": blind, "static": static, "learns": [], "drawn": ["analog_forecaster"],
                        "encoder": plain}
