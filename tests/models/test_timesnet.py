from dataclasses import replace

import pytest
import torch
from batches import batch_of
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.layers.folding import amplitudes, find_periods, fold, strongest, unfold
from tsforge.models import timesnet
from tsforge.models.timesnet import TimesNet

SIZES = {"h": 5, "input_size": 12, "in_channels": 3, "d_model": 6, "d_ff": 4}  # T = 17: no period divides it but itself


def alone(batch, window):
    parts = {name: part[window : window + 1] for name, part in vars(batch).items() if part is not None}
    return replace(batch, **parts)


def waves(windows=4, steps=12, channels=3, dtype=torch.float64):
    """Windows of different periods, with noise."""
    time = torch.arange(steps, dtype=dtype)[:, None]
    period = torch.linspace(2.5, 9, windows, dtype=dtype)[:, None, None]
    return (6.28 * time / period).sin() + 0.3 * torch.randn(windows, steps, channels, dtype=dtype)


def network(dtype=torch.float64, **arguments):
    """A network whose weights follow a fixed, irregular rule, in eval mode."""
    model = TimesNet(**{**SIZES, **arguments}).to(dtype)
    with torch.no_grad():
        for rank, weight in enumerate(model.parameters(), start=1):
            angle = torch.arange(weight.numel(), dtype=torch.float64) * 12.9898 + rank * 78.233
            weight.copy_((angle.sin() * 43758.5453 % 1 - 0.5).view_as(weight) * 3 / weight[0].numel() ** 0.5)
    return model.eval()


def transcription(model, batch):
    """The published computation, written from its description: six convolutions, and a loop over the k periods."""
    steps = model.input_size + model.h
    mean = batch.past.mean(1, keepdim=True)
    deviation = (batch.past.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
    x = (batch.past - mean) / deviation
    ring = torch.cat([x[:, -1:], x, x[:, :1]], 1)
    x = F.conv1d(ring.mT, model.embedding.value.weight).mT + published_position(model)
    for part, columns in ((batch.past_covariates, 0), (batch.future_covariates, model.past_covariates)):
        if part is not None:
            x = x + part[:, : model.input_size] @ model.embedding.time.weight[:, columns : columns + part.shape[2]].T
    x = F.linear(x.permute(0, 2, 1), model.extend.weight, model.extend.bias).permute(0, 2, 1)
    for block in model.blocks:
        x = model.norm(published_block(block, x, model.top_k, steps))
    y = F.linear(x, model.head.weight, model.head.bias).reshape(len(x), steps, model.in_channels, model.outputs)
    return (y * deviation[..., None] + mean[..., None])[:, -model.h :]


def published_position(model):
    place, width = torch.arange(model.input_size, dtype=torch.float64)[:, None], model.embedding.position.shape[1]
    rate = torch.exp(torch.arange(0, width, 2) * -(torch.log(torch.tensor(1e4, dtype=torch.float64)) / width))
    table = torch.zeros(model.input_size, width, dtype=torch.float64)
    table[:, 0::2], table[:, 1::2] = torch.sin(place * rate), torch.cos(place * rate)[:, : width // 2]
    return table.float().to(model.embedding.position.dtype)


def published_block(block, x, top_k, steps):
    spectrum = torch.fft.rfft(x, dim=1)
    amplitude = spectrum.abs().mean(0).mean(-1)
    amplitude[0] = 0
    frequencies = amplitude.topk(top_k).indices
    results = []
    for frequency in frequencies.tolist():
        period = steps // frequency
        rows = -(-steps // period)
        filled = torch.cat([x, x.new_zeros(len(x), rows * period - steps, x.shape[2])], 1)
        maps = filled.reshape(len(x), rows, period, x.shape[2]).permute(0, 3, 1, 2)
        for inception, activation in ((block.widen, F.gelu), (block.narrow, lambda y: y)):
            kernels = zip(inception.kernels, inception.biases, strict=True)
            maps = [F.conv2d(maps, kernel, bias, padding=kernel.shape[-1] // 2) for kernel, bias in kernels]
            maps = activation(torch.stack(maps, -1).mean(-1))
        results.append(maps.permute(0, 2, 3, 1).reshape(len(x), -1, x.shape[2])[:, :steps])
    weights = spectrum.abs().mean(-1)[:, frequencies].softmax(1)
    return (torch.stack(results, -1) * weights[:, None, None]).sum(-1) + x


def covariates(windows=4):
    past = torch.randn(windows, 12, 2, dtype=torch.float64)
    return {"past_covariates": past, "future_covariates": torch.randn(windows, 17, 4, dtype=torch.float64)}


CASES = [{}, {"top_k": 8}, {"top_k": 1}, {"e_layers": 3, "d_model": 5, "outputs": 2, "num_kernels": 3, "top_k": 3}]


@pytest.mark.parametrize("arguments", CASES, ids=str)
@pytest.mark.parametrize("with_covariates", [False, True])
def test_with_periods_of_the_batch_it_is_the_published_network(arguments, with_covariates):
    sizes = {"past_covariates": 2, "future_covariates": 4} if with_covariates else {}
    model, batch = network(periods="batch", **arguments, **sizes), batch_of(waves())
    batch = replace(batch, **covariates()) if with_covariates else batch
    assert_close(model(batch), transcription(model, batch), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("arguments", CASES, ids=str)
@pytest.mark.parametrize("with_covariates", [False, True])
def test_with_periods_of_the_window_it_is_the_published_network_on_each_window_alone(arguments, with_covariates):
    sizes = {"past_covariates": 2, "future_covariates": 4} if with_covariates else {}
    model, batch = network(**arguments, **sizes), batch_of(waves())
    batch = replace(batch, **covariates()) if with_covariates else batch
    expected = torch.cat([transcription(model, alone(batch, window)) for window in range(len(batch))])
    assert_close(model(batch), expected, rtol=1e-10, atol=1e-10)


def test_in_single_precision_it_is_the_published_network_to_a_millionth():
    model, batch = network(torch.float32, periods="batch"), batch_of(waves(dtype=torch.float32))
    assert_close(model(batch), transcription(model, batch), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("periods", ["batch", "window"])
def test_its_gradients_are_those_of_the_published_network(periods):
    model, batch = network(periods=periods, top_k=8), batch_of(waves())
    batch.past.requires_grad_()
    parts = [batch] if periods == "batch" else [alone(batch, window) for window in range(len(batch))]
    pull = torch.randn(4, 5, 3, 1, dtype=torch.float64)
    answers = [model(batch), torch.cat([transcription(model, part) for part in parts])]
    wanted = list(model.parameters())
    ours, published = (torch.autograd.grad((y * pull).sum(), wanted) for y in answers)
    for one, other in zip(ours, published, strict=True):
        assert_close(one, other, rtol=1e-9, atol=1e-10)
        assert one.abs().max() > 0


def test_the_comparison_with_the_published_network_sees_one_changed_weight():
    model, batch = network(periods="batch"), batch_of(waves())
    expected = transcription(model, batch)
    with torch.no_grad():
        model.blocks[1].narrow.kernels[5][0, 0, 5, 6] += 1e-3
    assert (model(batch) - expected).abs().max() > 1e-7


@pytest.mark.parametrize(
    ("steps", "period"), [(96, 24), (192, 24), (288, 24), (432, 24), (168, 24), (816, 24), (100, 25)]
)
def test_a_daily_sine_has_the_period_of_a_day(steps, period):
    x = torch.sin(2 * torch.pi * torch.arange(steps) / 24).view(1, steps, 1)
    assert strongest(amplitudes(x), 1).item() == steps // 24
    assert find_periods(x, 1)[0].item() == period
    half = torch.sin(2 * torch.pi * torch.arange(steps) / 12).view(1, steps, 1)
    assert find_periods(half, 1)[0].item() != period  # control: half a day is another


def test_a_daily_and_a_weaker_weekly_sine_have_both_periods():
    time = torch.arange(672) * 2 * torch.pi
    x = torch.sin(time / 24) + 0.5 * torch.sin(time / 168)
    assert find_periods(x.view(1, -1, 1), 2)[0].tolist() == [[24, 168]]


def test_a_constant_added_changes_neither_periods_nor_weights():
    x = waves(steps=48)
    periods, weights = find_periods(x, 5)
    moved_periods, moved_weights = find_periods(x + 100, 5)
    assert torch.equal(moved_periods, periods)
    assert_close(moved_weights, weights)
    wave = torch.sin(torch.arange(48) * 2 * torch.pi / 3)[:, None] * 100
    assert not torch.equal(find_periods(x + wave, 5)[0], periods)  # control: a wave added does


@pytest.mark.parametrize("period", range(1, 18))
def test_unfolding_undoes_folding_and_rows_are_periods(period):
    x = torch.randn(2, 17, 3)
    maps = fold(x, period)
    assert torch.equal(unfold(maps, 17), x)
    for step in range(17):
        assert torch.equal(maps[:, step // period, step % period], x[:, step])
    assert not maps.flatten(1, 2)[:, 17:].any()
    if 1 < period < 17:  # control: a map read column by column is another series
        assert not torch.equal(unfold(maps.transpose(1, 2), 17), x)


def test_blocks_with_zero_kernels_leave_only_the_normalisation():
    model, x = network(), torch.randn(4, 17, 6, dtype=torch.float64)
    with torch.no_grad():
        for block in model.blocks:
            for weight in block.parameters():
                weight.zero_()
    assert_close(model.norm(model.blocks[0](x, 5)), model.norm(x))
    with torch.no_grad():
        model.blocks[0].narrow.biases[0] = torch.arange(6)
    assert (model.norm(model.blocks[0](x, 5)) - model.norm(x)).abs().max() > 1e-3  # control: a bias shows


def test_scaling_one_window_changes_the_weights_of_that_window_only():
    x = waves(steps=48)
    x = x / 10  # amplitudes near 1, where the softmax is not saturated
    louder = x.clone()
    louder[1] *= 3
    (_, before), (_, after) = (find_periods(part, 5, [2, 4, 6, 8, 10]) for part in (x, louder))
    assert_close(before.sum(1), torch.ones(4, dtype=torch.float64))
    assert_close(after.sum(1), torch.ones(4, dtype=torch.float64))
    assert torch.equal(before[[0, 2, 3]], after[[0, 2, 3]])
    assert (before[1] - after[1]).abs().max() > 1e-3


def test_the_forecast_follows_the_scale_and_shift_of_each_channel(monkeypatch):
    model, past = network(), waves() * 50
    scale, shift = torch.tensor([0.5, 2.0, 7.0]).double(), torch.tensor([-80.0, 3.0, 400.0]).double()
    expected = model(batch_of(past)) * scale[:, None] + shift[:, None]
    assert_close(model(batch_of(past * scale + shift)), expected, rtol=1e-5, atol=1e-4)
    monkeypatch.setattr(timesnet, "normalise", lambda x, mask: (x, x[:, :1] * 0, x[:, :1] * 0 + 1))  # planted fault
    assert (model(batch_of(past * scale + shift)) - expected).abs().max() > 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_periods_of_the_window_batch_mates_change_nothing(dtype):
    model = TimesNet(24, 48, 3).to(dtype).eval()
    batch = batch_of(waves(9, 48, dtype=dtype))
    together = model(batch)
    for window in range(9):
        assert_close(model(alone(batch, window)), together[window : window + 1], rtol=0, atol=1e-6)


def test_with_periods_of_the_batch_batch_mates_change_the_forecast_as_published():
    model, batch = TimesNet(24, 48, 3, periods="batch").eval(), batch_of(waves(9, 48, dtype=torch.float32))
    lonely = torch.cat([model(alone(batch, window)) for window in range(9)])
    assert (lonely - model(batch)).abs().max() > 1e-3


def test_nothing_after_the_cutoff_changes_the_forecast():
    model = network(past_covariates=2, future_covariates=4)
    batch = replace(batch_of(waves()), **covariates(), future=torch.randn(4, 5, 3, dtype=torch.float64))
    assert batch.future is not None
    later = batch.future_covariates.clone()
    later[:, 12:] += 10
    assert torch.equal(model(replace(batch, future=batch.future + 10, future_covariates=later)), model(batch))
    earlier = batch.future_covariates.clone()
    earlier[:, :12] += 10
    assert not torch.allclose(model(replace(batch, future_covariates=earlier)), model(batch))  # control


def test_statistics_of_a_window_with_gaps_come_from_its_observed_steps():
    model, batch = network(), batch_of(waves())
    batch.past_mask[:, 3:6] = False
    batch.past[:, 3:6] = batch.past[:, 2:3]
    scale, shift = 3.0, 40.0
    filled = batch.past * scale + shift
    assert_close(model(replace(batch, past=filled)), model(batch) * scale + shift, rtol=1e-3, atol=1e-3)
    complete = replace(batch, past_mask=torch.ones_like(batch.past_mask))
    assert (model(complete) - model(batch)).abs().max() > 1e-3  # control: the mask is read


@pytest.mark.parametrize("periods", ["window", "batch", "fixed"])
def test_a_constant_window_has_a_finite_forecast_and_the_lowest_frequencies(periods):
    model = network(torch.float32, periods=periods)
    assert model(batch_of(torch.full((2, 12, 3), 4.0))).isfinite().all()
    assert strongest(amplitudes(torch.zeros(2, 17, 3)), 3).tolist() == [[1, 2, 3]] * 2


def test_more_periods_than_there_are_become_all_there_are():
    batch = batch_of(waves())
    assert_close(network(top_k=50)(batch), network(top_k=8)(batch))


def test_fixed_periods_are_those_of_the_mean_amplitude_layer_after_layer():
    model, batches = network(periods="fixed", top_k=2), [batch_of(waves(3)), batch_of(waves(5))]
    model.after_fit(batches)
    everything = batch_of(torch.cat([batch.past for batch in batches]))
    x = model._encode(timesnet.normalise(everything.past, everything.past_mask)[0], everything, 0)
    for layer, block in enumerate(model.blocks):
        expected = strongest(amplitudes(x).mean(0), 2)
        assert model.frozen[layer].tolist() == expected.tolist()
        x = model.norm(block(x, 2, expected.tolist()))


def test_fixed_periods_make_the_forecast_independent_of_batch_mates_and_survive_saving():
    model, batch = network(periods="fixed", top_k=2), batch_of(waves())
    before = model(batch)
    assert_close(before, network(periods="batch", top_k=2)(batch))
    assert (model(alone(batch, 0)) - before[:1]).abs().max() > 1e-3  # control: until the fit ends they do matter
    model.after_fit([batch_of(waves(8))])
    assert_close(model(alone(batch, 0)), model(batch)[:1])
    opened = TimesNet(**SIZES, periods="fixed", top_k=2).double().eval()
    opened.load_state_dict(model.state_dict())
    assert torch.equal(opened(batch), model(batch))


def test_fixed_periods_are_not_used_in_training():
    model, batch = network(periods="fixed", dropout=0.0), batch_of(waves())
    free = model.train()(batch)
    model.after_fit([batch_of(waves(8) * 2)])
    assert model.training
    assert torch.equal(model(batch), free)
    assert not torch.equal(model.eval()(batch), free)


def test_after_the_fit_only_fixed_periods_are_frozen():
    for periods in ("window", "batch"):
        model = network(periods=periods)
        model.after_fit([batch_of(waves())])
        assert (model.frozen == -1).all()


def test_windows_that_can_be_gone_through_only_once_are_refused():
    with pytest.raises(ArgumentError, match="list or a loader"):
        network(periods="fixed").after_fit(batch_of(waves()) for _ in range(2))


@pytest.mark.parametrize("features", [0, 4])
@pytest.mark.parametrize("outputs", [1, 3])
def test_it_has_the_parameters_of_its_parts(features, outputs):
    model = TimesNet(96, 48, 7, outputs, future_covariates=features, d_model=16, d_ff=32, e_layers=3)
    embedding = 3 * 7 * 16 + features * 16
    extension = (48 + 1) * (48 + 96)
    blocks = 3 * (2 * 286 * 16 * 32 + 6 * (16 + 32))
    head = (16 + 1) * 7 * outputs
    assert sum(p.numel() for p in model.parameters()) == embedding + extension + blocks + 2 * 16 + head


@pytest.mark.parametrize("argument", [
    {"top_k": 2}, {"periods": "batch"}, {"d_model": 8}, {"d_ff": 5}, {"e_layers": 1}, {"num_kernels": 5},
    {"past_covariates": 2}, {"future_covariates": 4}, {"outputs": 2}, {"h": 6},
], ids=str)
def test_every_argument_changes_parameters_or_forecast(argument):
    plain, other, batch = network(), network(**argument), batch_of(waves())
    sizes = [[p.shape for p in model.parameters()] for model in (plain, other)]
    assert sizes[0] != sizes[1] or not torch.allclose(plain(batch), other(batch))


def test_dropout_acts_in_training_only():
    model, batch = network(dropout=0.5), batch_of(waves())
    assert torch.equal(model(batch), network(dropout=0.0)(batch))
    assert not torch.equal(model.train()(batch), model.eval()(batch))
    assert torch.equal(network(dropout=0.0).train()(batch), network(dropout=0.0)(batch))  # control


@pytest.mark.parametrize("argument", [
    {"d_model": 0}, {"d_ff": -1}, {"e_layers": 0}, {"top_k": 0}, {"num_kernels": 0}, {"dropout": 1.0},
    {"periods": "all"},
], ids=str)
def test_a_value_that_cannot_work_is_named(argument):
    (name, value), = argument.items()
    with pytest.raises(ArgumentError, match=f"{name}={value!r}"):
        TimesNet(**{**SIZES, **argument})


ASKED = {"h": 0, "input_size": 12}


def latent(model, x):
    """The published blocks on a window that is embedded and not extended."""
    ring = torch.cat([x[:, -1:], x, x[:, :1]], 1)
    x = F.conv1d(ring.mT, model.embedding.value.weight).mT + published_position(model)
    for block in model.blocks:
        x = model.norm(published_block(block, x, model.top_k, model.input_size))
    return x


@pytest.mark.parametrize("task", ["imputation", "anomaly"])
def test_it_reconstructs_as_published_with_hidden_cells_at_the_mean_of_the_observed_ones(task):
    model, mask = network(task=task, periods="batch", outputs=2, **ASKED), torch.rand(4, 12, 3) < 0.7
    past = waves() * mask
    observed = past.masked_fill(~mask, torch.nan)
    mean = observed.nanmean(1, keepdim=True)
    deviation = ((observed - mean).square().nanmean(1, keepdim=True) + 1e-5).sqrt()
    y = latent(model, ((past - mean) / deviation).masked_fill(~mask, 0))
    y = F.linear(y, model.head.weight, model.head.bias).reshape(4, 12, 3, 2)
    expected = y * deviation[..., None] + mean[..., None]
    assert_close(model(batch_of(past, mask)), expected, rtol=1e-10, atol=1e-10)
    assert_close(model(batch_of(past + 50 * ~mask, mask)), expected, rtol=1e-10, atol=1e-10)  # whatever stands there
    assert (model(batch_of(past)) - expected).abs().max() > 1e-3  # the zeros taken for observations


def test_it_classifies_as_published_without_normalisation_and_deaf_to_padding():
    model, past = network(task="classification", classes=4, periods="batch", **ASKED), waves()
    mask = torch.ones(4, 12, 3, dtype=torch.bool)
    mask[:, :3] = False
    expected = F.linear((F.gelu(latent(model, past)) * mask[..., :1]).flatten(1), model.head.weight, model.head.bias)
    assert_close(model(batch_of(past, mask)), expected, rtol=1e-10, atol=1e-10)
    assert (model(batch_of(past)) - expected).abs().max() > 1e-3  # padding that speaks
    assert (model(batch_of(past + 1, mask)) - expected).abs().max() > 1e-3  # the level tells classes apart


def test_heads_of_tasks_have_the_parameters_of_their_parts():
    blocks = 3 * 7 * 16 + 3 * (2 * 286 * 16 * 32 + 6 * (16 + 32)) + 2 * 16
    sizes = {"d_model": 16, "d_ff": 32, "e_layers": 3}
    rebuilt = TimesNet(0, 48, 7, 2, task="imputation", **sizes)
    assert sum(p.numel() for p in rebuilt.parameters()) == blocks + (16 + 1) * 7 * 2
    classes = TimesNet(0, 48, 7, task="classification", classes=5, **sizes)
    assert sum(p.numel() for p in classes.parameters()) == blocks + (48 * 16 + 1) * 5
