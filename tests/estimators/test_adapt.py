"""A fitted run is changed into another; it stays as it is itself, and nothing later than the new rows is seen."""

import copy
import json
import shutil
from dataclasses import replace
from hashlib import sha256

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import load_file, save_file

import tsforge
from tsforge.data.prepare import Preparation
from tsforge.errors import (
    ArgumentError,
    ArtifactError,
    CapabilityError,
    FrameError,
    LeakError,
    ShapeError,
    UnknownArgumentError,
    UnknownNameError,
)
from tsforge.models import MODELS
from tsforge.scaling import fit_scaling
from tsforge.training.artifact import HASHED, SUMS
from tsforge.training.network import parameter_groups

SMALL = {"h": 4, "input_size": 16, "accelerator": "cpu", "val_size": 0.25, "max_steps": 80, "learning_rate": 1e-2}
STEPS = {"max_steps": 40, "validate_every": 20}


def table(ids: str, period: float = 12.0, length: int = 96, scale: float = 1.0) -> pl.DataFrame:
    rng, t = np.random.default_rng(len(ids) + int(period)), np.arange(length)
    parts = [pl.DataFrame({"unique_id": [name] * length, "ds": t, "y": scale * (
        np.sin(2 * np.pi * t / period + k) + 0.1 * rng.normal(size=length)) + 5 * scale}) for k, name in enumerate(ids)]
    return pl.concat(parts)


def fitted(kind: str = "DLinear", **changes):
    return getattr(tsforge, kind)(**SMALL | changes).fit(table("ab"), freq="1i", season=12)


@pytest.fixture(scope="module")
def base():
    return fitted()


@pytest.fixture(scope="module")
def adapted(base):
    return tsforge.adapt(base, "flora", table("bc", period=7, scale=3.0), rank=1, **STEPS)


def weights(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.fitted_.predictor.state_dict().items()}


def equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def error(model, data: pl.DataFrame) -> float:
    """Mean squared error of the steps after the first 72 and later rows."""
    cutoffs = data.filter(pl.col("ds").is_between(71, 90)).select("unique_id", cutoff="ds")
    found = model.predict_at(data, cutoffs)
    return float((found["y"] - found[model.name]).pow(2).mean())


# ---------------------------------------------------------------- learning from data

@pytest.mark.parametrize("adapter", ["flora", pytest.param("random_subspace", marks=pytest.mark.slow),
                                     pytest.param("full", marks=pytest.mark.slow)])
def test_it_learns_the_new_series_and_the_run_stays_as_it_is(base, adapter):
    before, own = weights(base), base.fitted_
    new = table("c", period=7)
    arguments = {"dim": 20} if adapter == "random_subspace" else {}
    changed = tsforge.adapt(base, adapter, new, **STEPS | {"learning_rate": 1e-2, "max_steps": 120}, **arguments)
    assert error(changed, new) < 0.5 * error(base, new)
    assert type(changed) is type(base)
    assert changed.get_params() == base.get_params()
    assert equal(weights(base), before)
    assert base.fitted_ is own
    assert {name: w.shape for name, w in weights(changed).items()} == {name: w.shape for name, w in before.items()}
    assert not any(weight.requires_grad for weight in changed.fitted_.predictor.parameters())


def test_what_changed_is_of_the_rank_of_the_adapter(base, adapted):
    full = tsforge.adapt(base, "full", table("bc", period=7, scale=3.0), **STEPS)
    before = weights(base)

    def ranks(model):
        return [int(torch.linalg.matrix_rank((weight - before[name]).flatten(0, 1), rtol=1e-3))
                for name, weight in weights(model).items() if weight.ndim == 3]

    assert max(ranks(adapted)) == 1
    assert max(ranks(full)) > 2  # the control


def test_the_history_is_that_of_the_fine_tuning(base, adapted):
    assert [row["step"] for row in adapted.history_] == [20, 40]
    assert adapted.fitted_.steps == 40
    assert adapted.history_[0]["learning_rate"] == 3e-3
    entry = adapted.fitted_.adapted[-1]
    assert (entry["adapter"], entry["arguments"]["rank"], entry["data"]) == ("flora", 1, base.fitted_.fingerprint)
    again = tsforge.adapt(adapted, "full", table("c"), max_steps=2)
    assert [entry["adapter"] for entry in again.fitted_.adapted] == ["flora", "full"]


def test_the_same_seed_gives_the_same_bits_and_leaves_the_random_state_alone(base):
    new, torch_state = table("c", period=7), torch.get_rng_state()
    runs = [tsforge.adapt(base, "flora", new, max_steps=5, seed=seed) for seed in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert equal(weights(runs[0]), weights(runs[1]))
    assert not equal(weights(runs[0]), weights(runs[2]))


def test_a_known_series_is_scaled_as_before_and_a_new_one_by_its_training_rows(base, adapted):
    before, after = base.fitted_.preparation, adapted.fitted_.preparation
    assert after.ids.to_list() == ["a", "b", "c"]
    np.testing.assert_array_equal(after.targets.loc[:2], before.targets.loc)
    values = table("bc", period=7, scale=3.0).filter(unique_id="c")["y"].to_numpy()[:, None]
    for rows, same in ((72, True), (96, False)):  # a quarter is held back; all rows are the control
        own = fit_scaling(values, np.array([0]), np.array([rows]), "standard")
        assert np.allclose(after.targets.loc[2], own.loc[0], rtol=1e-12, atol=0) is same
        assert np.allclose(after.targets.scale[2], own.scale[0], rtol=1e-12, atol=0) is same


@pytest.mark.parametrize("held_back", [True, False])
def test_rows_that_are_held_back_change_no_scale(base, held_back):
    new = table("c")
    late = pl.col("ds") >= (72 if held_back else 60)
    other = new.with_columns(y=pl.when(late).then(pl.col("y") * 9).otherwise("y"))
    runs = [tsforge.adapt(base, "flora", data, max_steps=1) for data in (new, other)]
    scales = [run.fitted_.preparation.targets.scale[2] for run in runs]
    assert np.array_equal(*scales) is held_back


def test_one_scale_for_all_series_stays_the_one_of_the_run():
    run = fitted(scaler_scope="global", max_steps=2)
    changed = tsforge.adapt(run, "flora", table("c", scale=9.0), max_steps=2)
    assert changed.fitted_.preparation.targets is run.fitted_.preparation.targets
    assert changed.fitted_.preparation.ids.to_list() == ["a", "b", "c"]


def test_a_run_of_one_series_gets_a_scale_for_each():
    run = tsforge.DLinear(**SMALL | {"max_steps": 2}).fit(table("a"), freq="1i", season=12)
    scaling = tsforge.adapt(run, "flora", table("bc", scale=3.0), max_steps=2).fitted_.preparation.targets
    assert scaling.scale.shape == (3, 1)
    assert scaling.scale[1] > 2 * scaling.scale[0]


def test_no_score_is_taken_on_rows_that_either_fit_has_seen(base, adapted):
    assert dict(adapted.trained_until().rows()) == {"a": 95, "b": 95, "c": 95}
    long = table("abc", length=130)
    cut = tsforge.adapt(base, "flora", long.filter(unique_id="b").head(60), max_steps=2)
    assert dict(cut.trained_until().rows()) == {"a": 95, "b": 95}
    later = long.filter(pl.col("unique_id").is_in(["b", "c"]), pl.col("ds") < 120)
    more = tsforge.adapt(base, "flora", later, max_steps=2)
    assert dict(more.trained_until().rows()) == {"a": 95, "b": 119, "c": 119}
    frame = tsforge.Frame(long, freq="1i", season=12)
    assert len(tsforge.backtest([more], frame, fit=False, n_windows=2, step_size=4))
    with pytest.raises(LeakError, match="'b'"):
        tsforge.backtest([more], frame, fit=False, n_windows=4, step_size=4)
    assert len(tsforge.backtest([base], frame, fit=False, n_windows=4, step_size=4))  # the control: the run itself


def test_intervals_are_those_of_the_rows_held_back_of_the_new_data(base):
    loud = table("c", length=200).with_columns(y=pl.col("y") + pl.Series(np.random.default_rng(1).normal(size=200)))
    widths = []
    for data in (table("c", length=200), loud):
        changed = tsforge.adapt(base, "flora", data, max_steps=2)
        found = changed.predict(level=[50])
        widths.append(float((found["DLinear-hi-50"] - found["DLinear-lo-50"]).mean()))
        known = changed.predict(table("a"), level=[50])  # which has no calibration windows of its own
        assert (known["DLinear-hi-50"] > known["DLinear-lo-50"]).all()
    assert widths[1] > 2 * widths[0]


def test_it_forecasts_after_the_new_data_and_after_any_other(adapted):
    assert adapted.predict()["unique_id"].unique(maintain_order=True).to_list() == ["b", "c"]
    assert adapted.predict()["ds"].min() == 96
    assert len(adapted.predict(table("ad"))) == 8


def test_an_adapted_network_trains_its_adapter_alone_and_without_decay():
    from tsforge.encoders.adapter.flora import FLoRAAdapter

    network, adapter = MODELS["s4d"](2, 8, 1), FLoRAAdapter()
    assert len(parameter_groups(network, 0.1, 0.5)) == 2  # its own groups
    adapter.attach(network)
    (group,) = parameter_groups(network, 0.1, 0.5)
    assert {id(weight) for weight in group["params"]} == {id(weight) for weight in adapter.parameters()}
    assert (group["lr"], group["weight_decay"]) == (0.1, 0.0)


def test_encoders_stay_as_they_were_fitted():
    run = fitted(context={"name": "leanvec", "d_model": 4}, max_steps=2)
    changed = tsforge.adapt(run, "flora", table("c", period=5), max_steps=2)
    fixed = {name for name, _ in run.fitted_.predictor.named_buffers()} & weights(run).keys()
    assert fixed
    assert all(torch.equal(weights(changed)[name], weights(run)[name]) for name in fixed)
    assert not equal(weights(changed), weights(run))


# ---------------------------------------------------------------- folders

def signed(folder):
    lines = [f"{sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(HASHED)]
    (folder / SUMS).write_text("".join(lines))


def record(folder) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_it_is_saved_and_opened_as_any_run_and_plain_runs_are_as_before(base, adapted, tmp_path):
    opened = tsforge.open(adapted.save(tmp_path / "adapted"))
    assert opened.predict(level=[50]).equals(adapted.predict(level=[50]))
    assert opened.fitted_.adapted == adapted.fitted_.adapted
    told = record(tmp_path / "adapted")
    assert (told["format"], told["recipe"]) == (2, None)
    base.save(tmp_path / "base")
    told = record(tmp_path / "base")
    assert (told["format"], "adapted" in told) == (1, False)


def test_a_run_folder_is_adapted_as_what_was_saved_in_it(base, tmp_path):
    base.save(tmp_path / "base")
    new = table("c")
    for run in (tmp_path / "base", str(tmp_path / "base")):
        assert tsforge.adapt(run, "flora", new, max_steps=3).predict().equals(
            tsforge.adapt(base, "flora", new, max_steps=3).predict())


# ---------------------------------------------------------------- composing

@pytest.fixture(scope="module")
def tuned(base):
    return [tsforge.adapt(base, "full", table(name, period=period), **STEPS) for name, period in (("c", 7), ("d", 5))]


@pytest.mark.parametrize(("arguments", "coefficients"), [({}, [0.5, 0.5]), ({"init": [1, -0.5]}, [1.0, -0.5])])
def test_without_data_runs_are_added_up(base, tuned, arguments, coefficients):
    summed = tsforge.adapt(base, "task_vectors", others=tuned, **arguments)
    start = weights(base)
    for name, weight in weights(summed).items():
        parts = [c * (weights(run)[name] - start[name]) for c, run in zip(coefficients, tuned, strict=True)]
        torch.testing.assert_close(weight, start[name] + sum(parts), atol=1e-6, rtol=1e-6)
    assert dict(summed.trained_until().rows()) == dict.fromkeys("abcd", 95)
    assert summed.fitted_.preparation.targets.loc[3] == tuned[1].fitted_.preparation.targets.loc[2]
    assert summed.predict()["unique_id"].unique(maintain_order=True).to_list() == ["a", "b"]


@pytest.mark.slow
def test_with_data_coefficients_are_learnt_that_serve_it_better_than_the_run_or_the_sum(base, tuned):
    new = table("e", period=7, length=60)
    composed = tsforge.adapt(base, "task_vectors", new, others=tuned, **STEPS)
    whole = table("e", period=7)
    assert error(composed, whole) < 0.7 * error(base, whole)
    assert error(composed, whole) < error(tsforge.adapt(base, "task_vectors", others=tuned), whole)
    assert composed.trained_until()["unique_id"].to_list() == ["a", "b", "c", "d", "e"]
    assert len(composed.fitted_.adapted[-1]["others"]) == 2


def test_runs_of_other_sizes_are_refused(base):
    with pytest.raises(ArgumentError, match="same model and sizes"):
        tsforge.adapt(base, "task_vectors", others=[fitted("NLinear", max_steps=1)])
    small, large = (fitted("MLP", d_model=width, max_steps=1) for width in (4, 8))
    with pytest.raises(ShapeError, match="same model with the same arguments"):
        tsforge.adapt(small, "task_vectors", others=[large])


# ---------------------------------------------------------------- quantised

@pytest.fixture(scope="module")
def wide():
    return fitted("MLP", d_model=128)


def bytes_of(folder) -> int:
    arrays = load_file(folder / "model.safetensors")
    return sum(array.nbytes for name, array in arrays.items() if name.startswith(("network/", "bytes/")))


def test_weights_of_a_byte_take_a_quarter_of_the_room_and_open_to_the_bit(wide, tmp_path):
    small = tsforge.adapt(wide, "quantized")
    opened = tsforge.open(small.save(tmp_path / "small"))
    wide.save(tmp_path / "wide")
    assert bytes_of(tmp_path / "small") <= 0.30 * bytes_of(tmp_path / "wide")
    assert equal(weights(opened), weights(small))
    assert opened.predict(level=[50]).equals(small.predict(level=[50]))
    assert opened.trained_until().equals(wide.trained_until())
    opened.save(tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (
        tmp_path / "small" / "model.safetensors").read_bytes()


def test_a_byte_costs_a_percent_of_error_at_most_and_fewer_bits_move_forecasts_farther(wide):
    data = table("ab")
    rounded = [tsforge.adapt(wide, "quantized", bits=bits) for bits in (8, 6, 4)]
    assert error(rounded[0], data) <= 1.01 * error(wide, data)
    far = [(run.predict()["MLP"] - wide.predict()["MLP"]).pow(2).mean() for run in rounded]
    assert 0 < far[0] < far[1] < far[2]


@pytest.mark.slow
def test_training_through_the_rounding_ends_on_the_grid_and_is_stored_so(wide, tmp_path):
    rounded = tsforge.adapt(wide, "quantized", bits=3)
    trained = tsforge.adapt(wide, "quantized", table("ab"), mode="qat", bits=3, schedule="cosine", **STEPS)
    assert error(trained, table("ab")) < error(rounded, table("ab"))
    opened = tsforge.open(trained.save(tmp_path / "run"))
    assert equal(weights(opened), weights(trained))
    values = [array for name, array in load_file(tmp_path / "run" / "model.safetensors").items()
              if name.endswith("/values") and name.startswith("bytes/")]
    assert {array.dtype for array in values} == {np.dtype(np.int8)}
    assert max(abs(array.astype(int)).max() for array in values) == 3
    floats = tsforge.adapt(opened, "flora", table("c"), max_steps=2)
    floats.save(tmp_path / "floats")
    assert not any(name.startswith("bytes/") for name in load_file(tmp_path / "floats" / "model.safetensors"))


@pytest.mark.parametrize(("part", "forged"), [
    ("values", lambda a: a.astype(np.int16)), ("step", lambda a: a * np.nan), ("step", lambda a: a[:1].repeat(3, 0)),
    ("zero", lambda a: a[:, 0]), ("values", lambda a: a[:, :2]), ("zero", None),
], ids=["kind", "nan", "rows", "flat", "columns", "absent"])
def test_bytes_without_their_grid_are_no_run(wide, tmp_path, part, forged):
    folder = tsforge.adapt(wide, "quantized").save(tmp_path / "run")
    arrays = dict(load_file(folder / "model.safetensors"))
    name = next(key for key in arrays if key.startswith("bytes/") and key.endswith(f"/{part}"))
    if forged is None:
        del arrays[name]
    else:
        arrays[name] = np.ascontiguousarray(forged(arrays[name]))
    save_file(arrays, folder / "model.safetensors")
    signed(folder)
    with pytest.raises(ArtifactError):
        tsforge.open(folder)


def test_a_run_that_was_signed_again_without_a_change_opens(wide, tmp_path):
    folder = tsforge.adapt(wide, "quantized").save(tmp_path / "run")
    save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors")
    signed(folder)
    tsforge.open(shutil.copytree(folder, tmp_path / "copy"))


# ---------------------------------------------------------------- what cannot be

def test_what_cannot_be_asked_for_is_refused_with_what_to_do(base, tuned):
    new = table("c")
    for arguments, kind, words in (
        ({"adapter": "flor"}, UnknownNameError, "no adapter named 'flor'. Did you mean 'flora'?"),
        ({"adapter": "phnn"}, UnknownNameError, "There are: flora"),
        ({}, ArgumentError, "learns from data: give X"),
        ({"adapter": "full"}, ArgumentError, "learns from data: give X"),
        ({"adapter": "quantized", "mode": "qat"}, ArgumentError, "learns from data: give X"),
        ({"adapter": "quantized", "X": new}, ArgumentError, "mode='qat'"),
        ({"adapter": "task_vectors"}, ArgumentError, "give others="),
        ({"X": new, "others": tuned}, ArgumentError, "task_vectors"),
        ({"X": new, "rnak": 2}, UnknownArgumentError, "Did you mean 'rank'?"),
        ({"X": new, "loss": "mae"}, UnknownArgumentError, "has no argument 'loss'"),
        ({"X": new, "epochs": 3}, UnknownArgumentError, "max_epochs"),
        ({"X": new, "max_epochs": 1, "max_steps": 1}, ArgumentError, "exclude each other"),
        ({"X": new.rename({"y": "z"})}, FrameError, "'y'"),
        ({"X": new.with_columns(unique_id=pl.lit(1))}, FrameError, "named by"),
        ({"X": new.head(15)}, FrameError, "too short"),
    ):
        with pytest.raises(kind, match=words):
            tsforge.adapt(base, **arguments)


def streaming(model):
    """The model as one that keeps states."""
    made = copy.copy(model)
    made.fitted_ = replace(model.fitted_, stream={})
    return made


def test_what_is_no_fitted_neural_forecaster_is_refused(base):
    from sklearn.exceptions import NotFittedError

    new = table("c")
    with pytest.raises(CapabilityError, match="this is Drift"):
        tsforge.adapt(tsforge.Drift(h=2).fit(table("a"), freq="1i"), "flora", new)
    with pytest.raises(NotFittedError):
        tsforge.adapt(tsforge.DLinear(h=2), "flora", new)
    with pytest.raises(CapabilityError, match="streaming=False"):
        tsforge.adapt(streaming(base), "flora", new)
    with pytest.raises(CapabilityError, match="finds no weight in DLinear"):
        tsforge.adapt(base, "flora", new, include="nowhere")


def test_a_preparation_without_new_series_is_the_same(base):
    from tsforge.estimators.adapt_series import joined

    known = base.fitted_.preparation
    assert isinstance(known, Preparation)
    assert joined(known, known.ids, {}) is known
