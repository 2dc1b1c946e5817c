import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from batches import batch_of
from torch.testing import assert_close

import tsforge
from tsforge.encoders.retrieval.leanvec import LeanVecEncoder
from tsforge.encoders.retrieval.muvera import MuveraEncoder
from tsforge.encoders.sequence.phnn import PHCEncoder
from tsforge.errors import ArgumentError, ArtifactError, CapabilityError
from tsforge.layers.instance_norm import normalise
from tsforge.models.analog_forecaster import AnalogForecaster

SIZES = {"h": 3, "input_size": 10, "in_channels": 2}


def windows(count=60, missing=0.1, seed=0):
    random = torch.Generator().manual_seed(seed)
    y = torch.randn(count, 13, 2, generator=random, dtype=torch.float64).cumsum(1) + 4
    mask = torch.rand(y.shape, generator=random) >= missing
    y = torch.where(mask, y, 0.0)
    return batch_of(y[:, :10], mask[:, :10], future=y[:, 10:], future_mask=mask[:, 10:])


def fitted(encoder=LeanVecEncoder, batches=None, **arguments):
    """Its index is of 60 windows; leanvec is fitted on the windows as the model hands them over."""
    batches = [windows()] if batches is None else batches
    model = AnalogForecaster(**SIZES, **{"neighbours": 4, "d_model": 6} | arguments)
    shape = {} if encoder is PHCEncoder else {"input_size": 10}
    model.plug(lambda in_channels, d_model: encoder(in_channels=in_channels, d_model=d_model, **shape))
    model = model.double().eval()
    x, _, _ = model._measured(batches[0])
    with torch.no_grad():
        model.encoder.fit(x, batches[0].past_mask)
    model.after_fit(batches)
    return model


def brute_force(query, stored, neighbours, sharpness, level, instance_norm):
    """The docstring's equation, a window and a cell at a time, by exact distances."""

    def parts(batch):
        _, mean, deviation = normalise(batch.past, batch.past_mask)
        s = (deviation.square() + 0.05**2).sqrt() if instance_norm else torch.ones_like(deviation)
        at = batch.past[:, -1:] if level == "last" else mean
        cells = (batch.past - mean) / s if instance_norm else batch.past
        return torch.where(batch.past_mask, cells, 0.0).flatten(1), at, s

    (q, q_at, q_s), (x, x_at, x_s) = parts(query), parts(stored)
    out = torch.zeros(len(q), 3, 2, dtype=torch.float64)
    for n in range(len(q)):
        apart = (x - q[n]).square().sum(1)
        near = apart.argsort(stable=True)[:neighbours]
        gap = apart[near] - apart[near[0]]
        w = torch.exp(-sharpness * gap / gap.mean())
        for k in range(3):
            for c in range(2):
                seen = stored.future_mask[near, k, c]
                change = (stored.future[near, k, c] - x_at[near, 0, c]) / x_s[near, 0, c]
                total = (w * seen).sum()
                mean = (w * seen * change).sum() / total if total > 0 else 0.0
                out[n, k, c] = q_at[n, 0, c] + q_s[n, 0, c] * mean
    return out


@pytest.mark.parametrize("level", ["last", "mean"])
@pytest.mark.parametrize("instance_norm", [True, False])
def test_it_is_the_weighted_mean_of_what_followed_the_nearest_windows(level, instance_norm, monkeypatch):
    monkeypatch.setattr("tsforge.models.analog_forecaster.quantise", lambda v, bits: (
        v.clone(), torch.stack([torch.zeros(len(v)), torch.ones(len(v))], 1)))  # codes that are the numbers themselves
    monkeypatch.setattr("tsforge.models.analog_forecaster.dequantise", lambda codes, ranges, d, bits: codes)
    query = replace(windows(7, seed=1), future=None, future_mask=None)
    for sharpness in (0.0, 2.0):
        model = AnalogForecaster(**SIZES, neighbours=4, d_model=30, sharpness=sharpness, level=level,
                                 instance_norm=instance_norm)
        model.plug(lambda in_channels, d_model: LeanVecEncoder(in_channels, 10, d_model, ridge=1e-9))
        model = model.double().eval()
        model.codes, model.full_codes = model.codes.double(), model.full_codes.double()
        monkeypatch.setattr(model, "_room", lambda: None)
        model.encoder.fit(model._measured(windows())[0], windows().past_mask)
        model.after_fit([windows()])
        expected = brute_force(query, windows(), 4, sharpness, level, instance_norm)
        assert_close(model(query)[..., 0], expected, atol=1e-6, rtol=1e-6)


def test_eight_bits_change_a_forecast_by_little_and_four_by_more():
    query = windows(20, seed=1)
    exact = brute_force(query, windows(), 4, 1.0, "last", True)
    error = {bits: float((fitted(bits=bits, d_model=30)(query)[..., 0] - exact).abs().mean()) for bits in (4, 8)}
    assert error[8] < 0.05 * exact.std() < error[4]


@pytest.mark.parametrize("encoder", [LeanVecEncoder, MuveraEncoder, PHCEncoder])
def test_a_window_that_is_in_the_index_is_its_own_likest(encoder):
    model, batch = fitted(encoder, d_model=64), windows()
    score, index = model.search(model._measured(batch)[0], batch.past_mask)
    assert index.shape == score.shape == (60, 4)
    assert (index[:, 0] == torch.arange(60)).double().mean() > 0.9
    assert (score.diff(dim=1) <= 0).all()


def test_with_one_neighbour_a_window_that_it_knows_is_followed_by_what_followed_it():
    batch = windows(missing=0.0)
    model = fitted(batches=[batch], neighbours=1, d_model=30)
    assert_close(model(batch)[..., 0], batch.future, atol=1e-9, rtol=1e-9)


def test_re_ranking_by_whole_windows_finds_what_short_vectors_miss():
    query = windows(40, missing=0.0, seed=1)
    stored = windows(600, missing=0.0)

    def recall(**arguments):
        model = fitted(batches=[stored], d_model=5, **arguments)
        x = model._measured(query)[0]
        truth = torch.cdist(x.flatten(1), model._measured(stored)[0].flatten(1)).argsort(1)[:, :4]
        found = model.search(x, query.past_mask)[1]
        return sum(len(set(a.tolist()) & set(b.tolist())) for a, b in zip(found, truth, strict=True)) / truth.numel()

    assert recall(rerank=20) > 0.9 > recall(rerank=1) + 0.2


def test_windows_of_which_nothing_was_observed_later_are_not_indexed_and_every_third_is_where_asked_for():
    batch = windows()
    batch.future_mask[10:15] = False
    assert len(fitted(batches=[batch]).followed) == 55
    halves = [windows(30), windows(30, seed=3)]
    assert torch.equal(fitted(batches=halves, every=3).followed, fitted(batches=halves).followed[::3])


def test_windows_can_be_added_later():
    halves = [windows(30), windows(30, seed=3)]
    both, one = fitted(batches=halves), fitted(batches=halves[:1])
    one.append(halves[1:])
    assert {k: v.shape for k, v in one.state_dict().items()} == {k: v.shape for k, v in both.state_dict().items()}
    assert_close(one(windows(5, seed=2)), both(windows(5, seed=2)))
    one.after_fit(halves[:1])  # this begins anew
    assert len(one.followed) == 30


def test_before_windows_are_indexed_it_forecasts_the_level_and_nothing_in_it_can_be_trained():
    model = AnalogForecaster(**SIZES)
    model.plug(lambda in_channels, d_model: PHCEncoder(in_channels, d_model))
    batch = windows(5)
    batch = replace(batch, past=batch.past.float())
    assert_close(model(batch)[..., 0], batch.past[:, -1:].expand(-1, 3, -1))
    assert not any(weight.requires_grad for weight in model.parameters())
    assert list(fitted().parameters()) == []


def table(steps=200, seed=0):
    t = np.arange(steps)
    noise = 0.1 * np.random.default_rng(seed).normal(size=steps)
    return pl.DataFrame({"ds": t, "y": np.sin(2 * np.pi * t / 12) + noise})


def test_it_takes_no_step_of_training_and_gives_intervals_from_windows_held_back(tmp_path):
    model = tsforge.AnalogForecaster(h=4, input_size=24, accelerator="cpu").fit(tsforge.Frame(table(), season=12))
    assert (model.history_, model.fitted_.steps, model.fitted_.best_step) == ([], 0, None)
    forecast = model.predict(level=[80])
    assert (forecast["AnalogForecaster-lo-80"] < forecast["AnalogForecaster-hi-80"]).all()
    truth = np.sin(2 * np.pi * forecast["ds"].to_numpy() / 12)
    assert np.abs(forecast["AnalogForecaster"].to_numpy() - truth).max() < 0.3
    model.save(tmp_path / "run")
    assert len(tsforge.open(tmp_path / "run").fitted_.predictor.followed) == len(model.fitted_.predictor.followed) > 100


def test_of_a_context_the_maps_are_trained():
    model = tsforge.AnalogForecaster(h=4, input_size=24, accelerator="cpu", max_steps=3, context="leanvec")
    model.fit(tsforge.Frame(table(), season=12))
    assert model.fitted_.steps == 3
    assert model.fitted_.predictor.residual.weight.abs().sum() > 0


def test_an_index_whose_parts_do_not_have_the_same_rows_is_not_opened(tmp_path, monkeypatch):
    model = tsforge.AnalogForecaster(h=4, input_size=24, accelerator="cpu").fit(tsforge.Frame(table(), season=12))
    network = model.fitted_.predictor
    network.followed_seen = network.followed_seen[:-1]
    model.save(tmp_path / "run")
    with pytest.raises(ArtifactError, match="do not have the shapes"):
        tsforge.open(tmp_path / "run")


def test_an_encoder_of_names_is_no_way_to_find_windows():
    with pytest.raises(CapabilityError, match="takes an encoder of windows; UnifiedEmbeddingEncoder reads what"):
        tsforge.AnalogForecaster(h=4, encoder="unified_embedding").fit(tsforge.Frame(table(), season=12))


def test_the_command_line_fits_it_with_an_encoder_by_name(tmp_path, capsys):
    from tsforge.cli.main import app
    from tsforge.cli.output import end

    table().write_csv(tmp_path / "y.csv")
    words = ["fit", str(tmp_path / "y.csv"), "--model", "analog_forecaster", "--encoder", "muvera", "--h", "4",
             "--input-size", "24", "--freq", "1i", "--out", str(tmp_path / "run"), "--json", "--set", "d_model=256"]
    try:
        app(words, standalone_mode=False)
    finally:
        end()  # the log is shared with other tests
    assert json.loads(capsys.readouterr().out)["history"] == []
    assert tsforge.open(tmp_path / "run").predict().height == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"outputs": 3}, "the loss asks for 3"), ({"level": "first"}, "level='first'"), ({"sharpness": -1.0}, "sharpness"),
     ({"neighbours": 0}, "neighbours=0"), ({"rerank": 0}, "rerank=0"), ({"every": 0}, "every=0"),
     ({"bits": 16}, "bits=16"), ({"d_model": 0}, "d_model=0")],
)
def test_what_cannot_be_is_refused(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        AnalogForecaster(**SIZES, **arguments)
