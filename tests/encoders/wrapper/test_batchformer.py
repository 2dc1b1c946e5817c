import numpy as np
import polars as pl
import pytest
import torch
from torch.testing import assert_close

import tsforge
from tsforge import Frame
from tsforge.batch import Batch
from tsforge.encoders.sequence.phnn import PHCEncoder
from tsforge.encoders.wrapper.batchformer import BatchFormerAdapter
from tsforge.errors import ArgumentError, ShapeError

WIDTH = 8


def adapter(seed=0, **arguments):
    torch.manual_seed(seed)
    return BatchFormerAdapter(lambda: PHCEncoder(2, WIDTH, n=2, n_layers=1, dropout=0.0), WIDTH,
                              **{"dropout": 0.0} | arguments)


def windows(batch=5, seed=1):
    return torch.randn(batch, 6, 2, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 5])
def test_in_evaluation_it_is_the_encoder_inside_to_the_bit_whatever_the_attention_weighs(batch):
    made, x = adapter(dropout=0.5), windows(batch)
    bare = made.remove().eval()
    before = bare(x), bare.pooled(x)
    for _ in range(2):
        made.eval()
        assert torch.equal(made(x), before[0])
        assert torch.equal(made.pooled(x), before[1])
        for weight in made.across.parameters():
            weight.add_(torch.randn_like(weight))
    assert bare is made.encoder
    assert not torch.equal(made.train()(torch.cat([x, x]))[batch:], before[0])  # the control: in training they count


@torch.no_grad()
@pytest.mark.parametrize("way", ["forward", "pooled"])
def test_in_training_the_first_half_is_the_encoder_and_both_halves_follow_the_order_of_the_batch(way):
    made, x = adapter().train(), windows()
    call, bare = (made, made.encoder) if way == "forward" else (made.pooled, made.encoder.pooled)
    (both,), order = made.expand_targets(x), torch.tensor([3, 0, 4, 1, 2])
    alone, company = call(both).chunk(2)
    assert torch.equal(alone, bare(x))
    turned = call(both[torch.cat([order, order])]).chunk(2)
    assert_close(turned[0], alone[order], atol=1e-5, rtol=1e-5)
    assert_close(turned[1], company[order], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(turned[1], company, atol=1e-2)  # the control


@torch.no_grad()
def test_the_second_half_is_the_layer_of_the_paper_over_the_windows_of_each_step():
    made = adapter(heads=2).double().train()
    z, layer = made.encoder(windows().double()), made.across[0]
    for weight in made.across.parameters():
        weight.copy_(torch.linspace(-0.4, 0.5, weight.numel(), dtype=torch.float64).view(weight.shape))
    attention, size = layer.self_attn, WIDTH // 2
    out = torch.zeros_like(z)
    for step in range(z.shape[1]):
        tokens = z[:, step]
        q, k, v = (tokens @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, dim=1)
        heads = []
        for head in (slice(0, size), slice(size, WIDTH)):
            heads.append(torch.softmax(q[:, head] @ k[:, head].T / size**0.5, -1) @ v[:, head])
        mixed = torch.cat(heads, 1) @ attention.out_proj.weight.T + attention.out_proj.bias
        inner = layer.norm1(tokens + mixed)
        forward = torch.relu(inner @ layer.linear1.weight.T + layer.linear1.bias)
        out[:, step] = layer.norm2(inner + forward @ layer.linear2.weight.T + layer.linear2.bias)
    both = made(torch.cat([windows(), windows()]).double())
    assert_close(both[5:], out, atol=1e-6, rtol=1e-6)
    assert not torch.allclose(both[:5], out, atol=1e-2)  # the control
    assert sum(weight.numel() for weight in made.across.parameters()) == 6 * WIDTH**2 + 10 * WIDTH


@pytest.mark.parametrize("mix", [1.0, 0.5, 0.0])
def test_the_loss_of_a_window_reaches_its_batch_mates_through_the_second_half_alone(mix):
    made, x = adapter(mix=mix).train(), windows().requires_grad_()
    both = made(made.expand_targets(x)[0])
    errors = both.square().mean((1, 2))
    weighed = torch.cat([torch.ones(5), torch.full((5,), made.twice)]) * errors
    reached = torch.autograd.grad(weighed[0] + weighed[5], x)[0].abs().sum((1, 2))
    assert reached[0] > 0
    assert bool((reached[1:] > 0).all()) is (mix > 0)
    assert bool((reached[1:] == 0).all()) is (mix == 0)  # the control


def test_a_batch_twice_has_every_part_of_a_window_twice_and_parts_of_channels_once():
    x = torch.randn(3, 4, 2)
    batch = Batch(past=x, past_mask=x > 0, series=torch.arange(3), future=x[:, :2], future_mask=x[:, :2] > 0,
                  past_covariates=x, future_covariates=torch.randn(3, 6, 1), static_numeric=x[:, 0],
                  static_categorical=torch.arange(3)[:, None], static_ids=torch.arange(3)[:, None], gaps=x[..., 0],
                  times=x[..., 1], channel_static=torch.randn(2, 5))
    both = batch.twice()
    for name, part in vars(batch).items():
        wanted = part if name == "channel_static" else torch.cat([part, part])
        assert torch.equal(getattr(both, name), wanted), name
    assert Batch(past=x, past_mask=x > 0, series=torch.arange(3)).twice().future is None


def frame():
    t = np.arange(90)
    parts = [pl.DataFrame({"ds": t, "y": np.sin(t / (3 + at)) + at}).with_columns(unique_id=pl.lit(f"s{at}"))
             for at in range(3)]
    return Frame(pl.concat(parts), targets=["y"])


def fitted(encoder):
    model = tsforge.EncoderForecaster(h=4, input_size=12, d_model=8, dropout=0.0, max_steps=6, validate_every=3,
                                      learning_rate=1e-2, encoder=encoder)
    return model.fit(frame())


def test_a_forecaster_trained_with_mix_0_is_the_one_without_it_and_with_1_it_is_another():
    inner = {"name": "phnn", "dropout": 0.0}
    bare = fitted(inner)
    rows = {mix: fitted({"name": "batchformer", "encoder": inner, "mix": mix}) for mix in (0.0, 1.0)}
    forecasts = {mix: model.predict()["EncoderForecaster"].to_numpy() for mix, model in rows.items()}
    wanted = bare.predict()["EncoderForecaster"].to_numpy()
    np.testing.assert_allclose(forecasts[0.0], wanted, atol=1e-4)
    assert np.abs(forecasts[1.0] - wanted).max() > 1e-3  # the control
    losses = [[row["val_loss"] for row in model.fitted_.history] for model in (bare, rows[0.0])]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)


def test_a_forecast_knows_of_no_batch_mates():
    model = fitted({"name": "batchformer", "encoder": "phnn"})
    table = frame().to_polars()
    whole, alone = model.predict(), model.predict(table.filter(pl.col("unique_id") == "s1"))
    np.testing.assert_allclose(
        alone["EncoderForecaster"], whole.filter(pl.col("unique_id") == "s1")["EncoderForecaster"], atol=1e-5
    )


def test_what_cannot_be_is_refused_with_what_to_do():
    for wrong in ({"heads": 3}, {"heads": 0}, {"layers": 0}, {"dropout": 1.0}, {"mix": -1}):
        with pytest.raises(ArgumentError, match=r"choose heads|give"):
            adapter(**wrong)
    with pytest.raises(ShapeError, match=r"3 windows in training, where each stands twice.*expand_targets"):
        adapter().train()(windows(3))


def test_it_stands_in_the_place_of_an_embedding_of_channels_and_beside_a_model():
    for model, way in ((tsforge.iTransformer, "encoder"), (tsforge.DLinear, "context")):
        spec = {"name": "batchformer", "encoder": {"name": "phnn", "n": 2}}
        made = model(h=4, input_size=12, max_steps=2, **{way: spec})
        assert made.fit(frame()).predict().drop("unique_id", "ds").to_numpy().shape == (12, 1)


