"""A streaming model goes on from where it is, and forecasts as if it had read everything again."""

import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from safetensors.numpy import load, save
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import tsforge
from tsforge.errors import ArtifactError, CapabilityError, FrameError, LeakError
from tsforge.training.artifact import HASHED, SUMS

H, CUT = 4, 60
MODES = {"S4D": {}, "Chimera": {"decode": "closed_loop", "n_layers": 1, "d_model": 4}}


def make(name="S4D", **changes):
    arguments = {"h": H, "input_size": 12, "max_steps": 3, "batch_size": 16, "accelerator": "cpu", "streaming": True}
    return getattr(tsforge, name)(**arguments | MODES[name] | changes)


def series(lengths=(90, 80, 85), channels=2, missing=0.1, seed=0) -> pl.DataFrame:
    rng, parts = np.random.default_rng(seed), []
    for number, length in enumerate(lengths):
        t = np.arange(length)
        values = {}
        for c in range(channels):
            y = (number + 1) * 10 + (c + 1) * np.sin(2 * np.pi * (t + c) / 6) + 0.1 * rng.normal(size=length)
            y[1:-1][rng.random(length - 2) < missing] = np.nan
            values[f"y{c}"] = y
        values |= {"x": rng.normal(size=length), "z": (t % 5).astype(float)}
        parts.append(pl.DataFrame({"unique_id": [f"s{number}"] * length, "ds": t, **values}))
    return pl.concat(parts)


TARGETS = {"targets": ["y0", "y1"], "freq": "1i", "season": 6}


def before(table, cut=CUT):
    return table.filter(pl.col("ds") < cut)


def since(table, low=CUT, high=10**9):
    return table.filter(pl.col("ds").is_between(low, high - 1))


def fed(model, table, many, low=CUT):
    for at in range(low, int(table["ds"].max()) + 1, many):
        rows = since(table, at, at + many)
        if len(rows):
            assert model.update(rows) is model
    return model


def apart(a, b, keys=("unique_id", "ds", "target")):
    assert a.select(keys).equals(b.select(keys))
    floats = pl.selectors.float()
    return np.abs(a.select(floats).to_numpy() - b.select(floats).to_numpy()).max()


@pytest.mark.parametrize(("precision", "bound"), [(32, 1e-5), (64, 1e-10)])
@pytest.mark.parametrize("many", [pytest.param(1, marks=pytest.mark.slow), 3, 10])  # rows at a time
@pytest.mark.parametrize("name", MODES)
def test_updated_it_forecasts_as_if_it_read_the_whole_frame(name, many, precision, bound):
    table = series()
    sd = table["y0"].drop_nans().std()
    model = make(name, precision=precision).fit(before(table), **TARGETS)
    assert apart(model.predict(), model.predict(before(table))) <= bound * sd
    old = model.predict()
    fed(model, table, many)
    assert apart(model.predict(), model.predict(table)) <= bound * sd
    assert not model.predict().equals(old)
    stream = {key: np.zeros_like(array) for key, array in model.fitted_.stream.items()}
    model.fitted_ = replace(model.fitted_, stream=stream)  # the planted fault: the states forgotten
    assert apart(model.predict(), model.predict(table)) > 1e-2 * sd


@pytest.mark.parametrize("roles", [{"past": ["x"]}, {"future": ["z"]}, {"past": ["x"], "future": ["z"]}], ids=str)
@pytest.mark.parametrize("channels", ["mixed", "independent"])
def test_covariates_are_read_step_by_step_too(channels, roles):
    table = series()
    model = make(channels=channels, precision=64).fit(before(table), **TARGETS, **roles)
    fed(model, table, 7)
    ends = table.group_by("unique_id", maintain_order=True).last().select("unique_id", "ds")
    ahead = pl.concat([ends.with_columns(pl.col("ds") + k, z=pl.lit(float(k))) for k in range(1, H + 1)])
    future = {"future": ahead} if "future" in roles else {}
    assert apart(model.predict(**future), model.predict(table, **future)) < 1e-9
    changed = fed(make(channels=channels, precision=64).fit(before(table), **TARGETS, **roles),
                  table.with_columns(x=pl.col("x") + 1, z=pl.col("z") + 1), 7)
    assert apart(model.predict(**future), changed.predict(**future)) > 1e-6  # the control


def test_calendar_features_are_of_the_rows_that_come():
    table = series().with_columns(pl.lit(pd.Timestamp("2024-01-01")).dt.offset_by(pl.format("{}h", "ds")).alias("ds"))
    cut = table["ds"].min() + pd.Timedelta(hours=CUT)
    model = make(precision=64).fit(table.filter(pl.col("ds") < cut), targets=["y0", "y1"], calendar=["hour"])
    for number in range(30):
        at = cut + pd.Timedelta(hours=number)
        model.update(table.filter(pl.col("ds") == at))
    assert apart(model.predict(), model.predict(table)) < 1e-9


def counted(model, monkeypatch):
    """The steps and series of every call of `advance`."""
    calls, advance = [], type(model.fitted_.predictor).advance

    def counting(self, batch, state):
        calls.append(tuple(batch.past.shape[:2]))
        return advance(self, batch, state)

    monkeypatch.setattr(type(model.fitted_.predictor), "advance", counting)
    return calls


@pytest.mark.parametrize("name", MODES)
def test_a_step_costs_the_same_after_a_long_history(name, monkeypatch):
    table = series((1000, 1000))
    model = make(name).fit(before(table), **TARGETS)
    calls = counted(model, monkeypatch)
    model.update(since(table, CUT, 61)).predict()
    assert calls == [(2, 1)]  # one step of two series, and none for the forecast
    model.update(since(table, 61, 990))
    assert sum(steps for _, steps in calls) == 1 + 929
    sizes = {key: array.shape for key, array in model.fitted_.stream.items()}
    calls.clear()
    model.update(since(table, 990, 991)).predict()
    assert calls == [(2, 1)]
    assert {key: array.shape for key, array in model.fitted_.stream.items()} == sizes
    assert len(model.fitted_.context.table) == 2
    model.predict(table)
    assert sum(steps for _, steps in calls[1:]) == 1000  # the control: the whole is read again


@pytest.mark.parametrize("name", MODES)
def test_many_cutoffs_take_one_pass_over_each_series(name, monkeypatch):
    table = series()
    model = make(name, precision=64).fit(before(table), **TARGETS)
    cutoffs = pl.concat([table.select("unique_id", cutoff="ds").filter(pl.col("cutoff") % 3 == 2),
                         pl.DataFrame({"unique_id": ["s1", "s1"], "cutoff": [60, 61]})])
    calls = counted(model, monkeypatch)
    forecasts = model.predict_at(tsforge.Frame(table, **TARGETS), cutoffs)
    assert sum(steps for _, steps in calls) == 90
    assert sum(wide * steps for wide, steps in calls) <= 90 + 80 + 85
    for at in (2, 29, 59, 77):
        here = forecasts.filter(pl.col("cutoff") == at).drop("cutoff", "y")
        assert apart(here, model.predict(before(table, at + 1))) < 1e-9


def test_a_backtest_fits_a_clone_and_scores_a_finished_run_alike():
    table = series()
    model = make().fit(before(table), **TARGETS)
    frame = tsforge.Frame(table, **TARGETS)
    scored = tsforge.backtest([model], frame, n_windows=2, fit=False)
    updated = tsforge.backtest([fed(model, table, 10)], frame, n_windows=2, fit=False)
    assert updated.equals(scored)  # what it has read since is not used
    assert len(tsforge.backtest([make()], frame, n_windows=2)) == len(scored)


def test_intervals_are_calibrated_on_the_whole_context():
    table = series((120, 110))
    model = make(val_size=40).fit(before(table, 100), **TARGETS)
    fed(model, table, 10, 100)
    assert apart(model.predict(level=[50]), model.predict(table, level=[50])) < 1e-4
    assert "S4D-lo-50" in model.predict(level=[50]).columns


@pytest.mark.parametrize(("made", "said"), [
    (lambda: tsforge.DLinear(h=H, input_size=8, max_steps=1, accelerator="cpu"), "DLinear does not stream; .*S4D"),
    (lambda: tsforge.SeasonalNaive(h=H), "SeasonalNaive does not stream; .*Chimera"),
    (lambda: make(streaming=False), "S4D was made with streaming=False.*streaming=True"),
])
def test_others_refuse_and_name_those_that_do(made, said):
    table = series()
    model = made()
    for _ in range(2):
        with pytest.raises(CapabilityError, match=said):
            model.update(since(table))
        model.fit(before(table), **TARGETS)


def test_it_must_be_fitted_first():
    with pytest.raises(NotFittedError):
        make().update(series())


FAULTS = {
    "a row that is known": (lambda t: since(t, CUT - 1, CUT + 1), "'s0' is known up to 59, and a row of 59 is given"),
    "a stamp twice": (lambda t: pl.concat([since(t, CUT, 62), since(t, 61, 62)]), "has the time 61 more than once"),
    "a missing column": (lambda t: since(t).drop("y1"), "update: the table has no column 'y1'"),
    "no time": (lambda t: since(t).drop("ds"), "update: the table has no column 'ds'"),
    "no names": (lambda t: since(t).drop("unique_id"), "update: the table has no column 'unique_id'"),
    "names of another kind": (
        lambda t: since(t).with_columns(pl.col("unique_id").str.tail(1).cast(pl.Int64)), "names of series are Int",
    ),
    "time of another kind": (
        lambda t: since(t).with_columns(ds=pl.lit("2024-01-01").str.to_date()).unique("unique_id"), "stamps are Date",
    ),
    "text": (lambda t: since(t).with_columns(y0=pl.lit("dry")), "the text 'dry'"),
    "an infinity": (lambda t: since(t).with_columns(y0=pl.lit(float("inf"))), "is infinite"),
    "no row": (lambda t: t.clear(), "the table has no row"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_and_changes_nothing(fault):
    table, (spoil, said) = series(), FAULTS[fault]
    model = make().fit(before(table), **TARGETS)
    old = model.predict()
    with pytest.raises(FrameError, match=said):
        model.update(spoil(table))
    assert model.predict().equals(old)
    assert apart(fed(model, table, 30).predict(), model.predict(table)) < 1e-4


def test_a_stamp_off_the_grid_and_other_roles_are_errors():
    table = series().with_columns(pl.col("ds") * 2)
    model = make().fit(table.filter(pl.col("ds") < 2 * CUT), **TARGETS | {"freq": "2i"})
    with pytest.raises(FrameError, match=r"the time 121 is not a whole number of steps of 2i"):
        model.update(table.filter(pl.col("ds") == 120).with_columns(ds=pl.lit(121, pl.Int64)))
    frame = tsforge.Frame(table.filter(pl.col("ds") >= 120), targets=["y0"], freq="2i", season=6)
    with pytest.raises(FrameError, match="targets: the model was fitted with"):
        model.update(frame)
    model.update(tsforge.Frame(table.filter(pl.col("ds") >= 120), **TARGETS | {"freq": "2i"}))
    assert apart(model.predict(), model.predict(table)) < 1e-4


def test_rows_may_come_in_any_order_and_absent_ones_are_missing_steps():
    table = series(missing=0.0)
    gaps = table.filter((pl.col("ds") < CUT) | (pl.col("ds") % 7 != 3))
    model = make(precision=64).fit(before(table), **TARGETS)
    fed(model, gaps.sample(fraction=1, shuffle=True, seed=1), 5)
    assert apart(model.predict(), model.predict(gaps)) < 1e-9
    assert apart(model.predict(), model.predict(table)) > 1e-4  # the control: the gaps matter


def test_a_row_in_which_nothing_was_observed_moves_the_forecast_on():
    table = series()
    model = make(precision=64).fit(before(table), **TARGETS)
    nothing = since(table, CUT, CUT + 1).with_columns(pl.lit(None, pl.Float64).alias("y0"), y1=float("nan"))
    model.update(nothing)
    assert model.predict()["ds"].min() == CUT + 1
    whole = pl.concat([before(table), nothing])
    assert apart(model.predict(), model.predict(whole)) < 1e-9


def test_series_may_come_at_different_times():
    table = series()
    model = make(precision=64).fit(before(table), **TARGETS)
    for part in ("s2", "s0"):
        model.update(since(table).filter(pl.col("unique_id") == part))
    known = table.filter((pl.col("ds") < CUT) | (pl.col("unique_id") != "s1"))
    assert apart(model.predict(), model.predict(known)) < 1e-9


def test_a_new_series_begins_scaled_by_what_it_comes_with_and_keeps_that():
    table = series()
    seen, new = table.filter(pl.col("unique_id") != "s1"), table.filter(pl.col("unique_id") == "s1")
    first, then = new.filter(pl.col("ds") < 30), new.filter(pl.col("ds") >= 30)
    model = make(precision=64, val_size=20).fit(seen, **TARGETS)
    unseen = model.predict(first)
    model.update(first)
    assert model.predict()["unique_id"].unique().sort().to_list() == ["s0", "s1", "s2"]
    assert apart(model.predict().filter(pl.col("unique_id") == "s1"), unseen) < 1e-9
    scaling = model.fitted_.preparation.targets.of(np.array([2]))
    fed(model, then, 10, 30)
    assert all(np.array_equal(a, b) for a, b in zip(model.fitted_.preparation.targets.of(np.array([2])), scaling,
                                                    strict=True))
    assert apart(model.predict(), model.predict(table)) < 1e-9  # which now knows the scaling
    assert np.isfinite(model.predict(level=[50]).select(pl.selectors.float()).to_numpy()).all()
    until = dict(model.trained_until().iter_rows())
    assert until == {"s0": 89, "s1": 29, "s2": 84}  # its scaling has looked at these rows, its neighbours' at no more
    with pytest.raises(LeakError, match="'s1' up to 29"):
        tsforge.backtest([model], tsforge.Frame(new.filter(pl.col("ds") < 32), **TARGETS), n_windows=1, fit=False)


@pytest.mark.parametrize("name", MODES)
def test_saved_and_opened_it_goes_on(name, tmp_path):
    table = series((90, 80, 85, 40))
    model = make(name, val_size=10).fit(before(table).filter(pl.col("unique_id") != "s3"), **TARGETS)
    model.update(since(table, CUT, 70)).update(table.filter(pl.col("unique_id") == "s3"))
    opened = tsforge.open(model.save(tmp_path / "run"))
    assert opened.predict(level=[50]).equals(model.predict(level=[50]))
    for one in (opened, model):
        one.update(since(table, 70).filter(pl.col("unique_id") != "s3"))
    assert opened.predict(level=[50]).equals(model.predict(level=[50]))
    assert apart(opened.predict(), opened.predict(table)) < 1e-3
    assert tsforge.open(opened.save(tmp_path / "again")).predict().equals(model.predict())


FORGED = {
    "one is missing": lambda arrays: arrays.pop("stream/last"),
    "of too few series": lambda arrays: arrays.update({"stream/last": arrays["stream/last"][:1].copy()}),
    "of another type": lambda arrays: arrays.update({"stream/last": arrays["stream/last"].astype(np.float64)}),
    "not finite": lambda arrays: arrays["stream/layer_0"].fill(np.nan),
    "one too many": lambda arrays: arrays.update({"stream/more": np.zeros((3, 2), np.float32)}),
}


@pytest.mark.parametrize("forged", FORGED)
def test_states_that_do_not_fit_are_refused_when_opened(forged, tmp_path):
    run = Path(make().fit(before(series()), **TARGETS).save(tmp_path / "run"))
    copied = shutil.copytree(run, tmp_path / "copy")
    arrays = {name: array.copy() for name, array in load((copied / "model.safetensors").read_bytes()).items()}
    FORGED[forged](arrays)
    (copied / "model.safetensors").write_bytes(save(arrays))
    sums = [f"{sha256((copied / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(HASHED)]
    (copied / SUMS).write_text("".join(sums))
    with pytest.raises(ArtifactError, match="states of the stream"):
        tsforge.open(copied)
    tsforge.open(run)


def test_it_is_an_estimator_like_the_others():
    table = series()
    model = fed(make().fit(before(table), **TARGETS), table, 30)
    copy = clone(model)
    assert copy.streaming
    assert not hasattr(copy, "fitted_")
    recipe = model.to_recipe()
    assert recipe["model"]["streaming"] is True
    assert tsforge.S4D.from_recipe(recipe).get_params() == model.get_params()
    plain = make(streaming=False).fit(before(table), **TARGETS)
    assert plain.fitted_.stream is None
    model.set_params(streaming=False)
    with pytest.raises(CapabilityError):
        model.update(table)


def test_the_kind_of_table_that_was_fitted_comes_back_and_any_kind_may_be_read():
    table = series()
    model = make(precision=64).fit(before(table).to_pandas(), **TARGETS)
    model.update(since(table, CUT, 70).to_pandas()).update(since(table, 70).to_arrow())
    forecast = model.predict()
    assert isinstance(forecast, pd.DataFrame)
    assert apart(pl.from_pandas(forecast), model.predict(table)) < 1e-9


def test_series_that_are_channels_stream_together():
    table = series((80, 80, 80))
    roles = TARGETS | {"channels_from": "unique_id"}
    model = make("Chimera", precision=64).fit(before(table), **roles)
    gone = since(table, CUT, 70).filter(pl.col("unique_id") != "s1")  # a station that says nothing for a while
    model.update(gone).update(since(table, 70))
    assert apart(model.predict(), model.predict(pl.concat([before(table), gone, since(table, 70)]))) < 1e-9
    with pytest.raises(FrameError, match="without 's9'"):
        model.update(since(table).with_columns(unique_id=pl.col("unique_id").replace("s1", "s9")))


def test_training_does_not_go_step_by_step(monkeypatch):
    from tsforge.models.s4d import S4D

    def never(self, batch, state):
        raise AssertionError

    monkeypatch.setattr(S4D, "advance", never)
    with pytest.raises(AssertionError):  # only once the training is over
        make().fit(before(series()), **TARGETS)
    monkeypatch.undo()
    assert torch.is_tensor(make().fit(before(series()), **TARGETS).fitted_.predictor.head.weight)
