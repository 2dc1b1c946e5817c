from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from batches import batch_of, random_batch
from torch.testing import assert_close

import tsforge
from tsforge.errors import ArgumentError
from tsforge.models.mambamixer import JointNorm, MambaMixer

SIZES = {"h": 3, "input_size": 10, "in_channels": 3, "d_model": 4, "d_state": 3, "kernel_size": 3, "patch_len": 4,
         "stride": 3}
STATIC = {"static_numeric": 2, "static_cardinalities": (3, 4)}
COVARIATES = {"past_covariates": 1, "future_covariates": 2}


def windows(count=2, lookback=10, **sizes):
    return random_batch(count, 3, lookback, 3, **sizes)


def network(**arguments):
    """A network whose weights follow a fixed, irregular rule, in eval mode."""
    model = MambaMixer(**{**SIZES, **arguments}).double()
    with torch.no_grad():
        for rank, weight in enumerate(model.parameters(), start=1):
            angle = torch.arange(weight.numel(), dtype=torch.float64) * 12.9898 + rank * 78.233
            weight.copy_((2 * (angle.sin() * 43758.5453 % 1) - 1).view_as(weight))
        for code in model.codes:
            code.weight[0] = 0
    return model.eval()


def blocks(stack, x):
    """The averages and norms of one window [variate, patch, d_model]; the mixers have tests of their own."""
    T, C = [x], [x]

    def averaged(weights, norm):
        weights = weights.exp() / weights.exp().sum() if stack.softmax else weights
        mixed = sum(w * part for w, part in zip(weights, T + C, strict=True))
        return (mixed - mixed.mean()) / (mixed.var(correction=0) + 1e-5).sqrt() * norm.weight + norm.bias

    for layer in range(len(stack.token)):
        mixed = averaged(stack.token_weights[layer], stack.token_norm[layer])
        T.append(torch.stack([stack.token[layer](mixed[None, [m]])[0, 0] for m in range(len(x))]))
        mixed = averaged(stack.channel_weights[layer], stack.channel_norm[layer])
        if stack.flat:
            C.append(stack.channel[layer](mixed.reshape(1, len(x), -1)).reshape(x.shape))
        else:
            C.append(torch.stack([stack.channel[layer](mixed[None, :, p])[0] for p in range(x.shape[1])], 1))
    return C[-1]


def transcription(model, batch):
    """Equations of the docstring, a window, variate and patch at a time."""
    y, zero = [], torch.zeros(1, dtype=torch.float64)
    for b in range(len(batch)):
        past, told = batch.past[b], []
        mean, deviation = past.mean(0), (past.var(0, correction=0) + 1e-5).sqrt()
        if not model.instance_norm:
            mean, deviation = 0 * mean, 1 + 0 * deviation
        over_time = [] if batch.past_covariates is None else [
            torch.cat([column, zero.expand(model.h)]) for column in batch.past_covariates[b].T
        ]
        over_time += [] if batch.future_covariates is None else list(batch.future_covariates[b].T)
        if over_time:
            mixed = model.known.mixer(torch.stack(over_time)[None])[0]
            told.append(model.known.out.weight @ mixed.reshape(-1) + model.known.out.bias)
        if batch.static_numeric is not None or batch.static_categorical is not None:
            static = torch.zeros(model.input_size, dtype=torch.float64)
            if batch.static_numeric is not None:
                static = static + model.numbers.weight @ batch.static_numeric[b] + model.numbers.bias
            if batch.static_categorical is not None:
                for k, code in enumerate(batch.static_categorical[b]):
                    static = static + model.codes[k].weight[code]
            told.append(static)
        tokens = []
        for m in range(model.in_channels):
            x = torch.cat([(past[:, m] - mean[m]) / deviation[m], *told])
            x = torch.cat([zero.expand(max(model.patch_len - len(x), 0)), x, x[-1:].expand(model.stride)])
            starts = range(0, len(x) - model.patch_len + 1, model.stride)
            patches = torch.stack([x[s : s + model.patch_len] for s in starts])
            tokens.append(patches @ model.embedding.weight.T + model.embedding.bias)
        z = blocks(model.blocks, torch.stack(tokens))
        each = [(model.head.weight @ row.reshape(-1) + model.head.bias).view(model.h, model.outputs) for row in z]
        y.append(torch.stack([w * deviation[m] + mean[m] for m, w in enumerate(each)], 1))
    return torch.stack(y)


@pytest.mark.parametrize("sizes", [
    {}, COVARIATES, {"past_covariates": 1}, {"future_covariates": 2}, STATIC, {"static_cardinalities": (3,)},
    COVARIATES | STATIC,
], ids=str)
@pytest.mark.parametrize("more", [
    {"outputs": 2}, {"averaging": "softmax"}, {"channel_mixing": "flat"}, {"n_layers": 3}, {"instance_norm": False},
], ids=str)
def test_it_equals_its_equations(sizes, more):
    model, batch = network(**sizes, **more), windows(**sizes)
    assert_close(model(batch), transcription(model, batch), rtol=1e-10, atol=1e-10)


NAMES = [
    name for name, _ in MambaMixer(**SIZES, **COVARIATES, **STATIC).named_parameters()
    if "branch" not in name and "ward." not in name  # the mixers' own have their test
    and name != "blocks.token_weights.0"  # of x and x again: the norm undoes it
]


@pytest.mark.parametrize("name", NAMES)
def test_the_equations_see_one_changed_weight(name):
    model, batch = network(**COVARIATES, **STATIC), windows(**COVARIATES, **STATIC)
    expected = transcription(model, batch)
    with torch.no_grad():
        weight = model.get_parameter(name)
        weight[1 if name.startswith("codes") else 0] += 1e-3
    assert (model(batch) - expected).abs().max() > 1e-7


@pytest.mark.parametrize(("length", "patches"), [(2, 2), (4, 2), (6, 2), (7, 3), (10, 4)])
def test_any_look_back_is_cut_into_patches(length, patches):
    model, batch = network(input_size=length), windows(lookback=length)
    assert model.head.in_features == patches * 4
    assert_close(model(batch), transcription(model, batch), rtol=1e-10, atol=1e-10)


def mixer(kind, d, inner_of=2, n=3, k=3):
    inner, rank = inner_of * d, -(-d // 16)
    branches = 1 if kind == "token" else 2
    return branches * inner * (2 * d + k + 2 * rank + 3 * n + 3) + inner * d


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("covered", [False, True])
def test_it_has_the_parameters_it_says(flat, covered):
    mixing = "flat" if flat else "per_patch"
    model = network(n_layers=3, outputs=2, channel_mixing=mixing, **(COVARIATES | STATIC if covered else {}))
    patches = ((30 if covered else 10) - 4) // 3 + 2
    count = (4 + 1) * 4 + (patches * 4 + 1) * 3 * 2 + 3 * (2 * 3 + 3) + 3 * 4 * 4
    count += 3 * (mixer("token", 4) + mixer("channel", patches * 4 if flat else 4))
    count += (mixer("channel", 13) + (3 * 13 + 1) * 10 + (2 + 1) * 10 + (3 + 4) * 10) if covered else 0
    assert sum(weight.numel() for weight in model.parameters()) == count


@pytest.mark.parametrize("averaging", ["free", "softmax"])
@pytest.mark.parametrize(("n_layers", "count"), [(1, 5), (2, 14), (3, 27), (4, 44)])
def test_every_weight_of_the_averages_is_there_and_learns(n_layers, count, averaging):
    model = MambaMixer(**SIZES, n_layers=n_layers, averaging=averaging).double()
    weights = [*model.blocks.token_weights, *model.blocks.channel_weights]
    assert sum(weight.numel() for weight in weights) == count
    torch.randn(3, dtype=torch.float64).dot(model(windows())[0, 0, :, 0]).backward()
    for rank, weight in enumerate(weights):
        assert weight.grad is not None
        assert weight.grad.isfinite().all()
        first = rank == 0  # of x and x again: the norm undoes any common factor
        assert (weight.grad.abs().max() < 1e-4) if first else (weight.grad != 0).all()


def test_free_averages_start_as_a_chain_with_residuals_and_softmax_as_means():
    free, soft = (MambaMixer(**SIZES, averaging=word).blocks for word in ("free", "softmax"))
    assert [w.tolist() for w in free.token_weights] == [[0.5, 0.5], [0, 0.5, 0, 0.5]]
    assert [w.tolist() for w in free.channel_weights] == [[0, 1, 1], [0, 0, 1, 0, 1]]
    assert not any(w.any() for w in [*soft.token_weights, *soft.channel_weights])


def sequential(stack, x):
    for layer in range(len(stack.token)):
        x = stack.token[layer](stack.token_norm[layer](x))
        y = stack.channel_norm[layer](x)
        x = torch.stack([stack.channel[layer](y[:, :, p]) for p in range(x.shape[2])], 2)
    return x


def test_with_each_mixer_reading_the_one_before_it_the_stack_is_sequential():
    stack, x = network(n_layers=3).blocks, torch.randn(2, 3, 5, 4, dtype=torch.float64)
    assert (stack(x) - sequential(stack, x)).abs().max() > 1e-3  # the control: with other weights it is not
    with torch.no_grad():
        for layer in range(3):
            stack.token_weights[layer].zero_()[-1] = 1  # beta of the last channel mixer
            stack.channel_weights[layer].zero_()[layer + 1] = 1  # theta of this layer's token mixer
    assert_close(stack(x), sequential(stack, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mixing", ["per_patch", "flat"])
def test_channels_are_mixed_at_each_patch_alone_unless_flat(mixing):
    stack, x = network(channel_mixing=mixing).blocks, torch.randn(2, 3, 4, 4, dtype=torch.float64)
    changed = x.clone()
    changed[:, 0, 2] += 1
    moved = stack._along_variates(stack.channel[0], changed) - stack._along_variates(stack.channel[0], x)
    patches = moved.abs().amax((0, 3)) > 1e-9  # [variate, patch]
    alone = torch.tensor([False, False, True, False]).expand(3, 4)
    assert patches.equal(alone if mixing == "per_patch" else torch.ones_like(alone))


def test_the_norm_has_one_mean_and_variance_for_all_variates_of_a_window():
    norm, x = JointNorm(4).double(), torch.randn(3, 5, 6, 4, dtype=torch.float64) * torch.arange(1, 6)[:, None, None]
    y = norm(x)
    assert_close(y.mean((1, 2, 3)), torch.zeros(3).double(), atol=1e-12, rtol=0)
    assert_close(y.var((1, 2, 3), correction=0), torch.ones(3).double(), atol=1e-5, rtol=0)
    assert_close(norm(3 * x + 7), y, atol=1e-5, rtol=0)
    assert_close(y[:, 4].std() / y[:, 0].std(), x[:, 4].std() / x[:, 0].std(), rtol=0.1, atol=0)
    each = torch.nn.functional.layer_norm(x, x.shape[2:])
    assert (each.std((0, 2, 3)) - 1).abs().max() < 0.01  # the control: by variate the relative scale is lost
    assert (norm(x * torch.arange(1, 6)[:, None, None]) - y).abs().max() > 0.1


def test_covariates_lengthen_the_window_to_three_look_backs():
    model, batch = network(**COVARIATES, **STATIC), windows(**COVARIATES, **STATIC)
    x = torch.randn(2, 10, 3, dtype=torch.float64)
    long = model.with_covariates(x, batch)
    assert long.shape == (2, 3, 30)
    assert long[:, :, :10].equal(x.mT)
    assert network().with_covariates(x, windows()).equal(x.mT)


def test_covariates_that_are_zero_with_zero_bias_pad_the_window_with_zeros():
    model, batch = network(**COVARIATES, **STATIC), windows(**COVARIATES, **STATIC)
    empty = replace(batch, **{
        name: torch.zeros_like(getattr(batch, name))  # for a category the code of what was not seen in training
        for name in ("past_covariates", "future_covariates", "static_numeric", "static_categorical")
    })
    biases = [model.known.out.bias, model.numbers.bias, *(
        weight for name, weight in model.known.named_parameters() if name.endswith("conv.bias")
    )]
    x = batch.past
    assert model.with_covariates(x, empty)[:, :, 10:].abs().min(-1).values.max() > 1e-3  # the control: with biases
    for bias in biases:
        torch.nn.init.zeros_(bias)
    assert model.with_covariates(x, empty).equal(torch.nn.functional.pad(x.mT, (0, 20)))
    assert model.with_covariates(x, batch)[:, :, 10:].abs().min() > 1e-9


@pytest.mark.parametrize("role", ["past_covariates", "future_covariates", "static_numeric", "static_categorical"])
def test_what_a_covariate_says_changes_the_forecast_after_a_step_of_training(role):
    model, batch = MambaMixer(**SIZES, **COVARIATES, **STATIC).double(), windows(**COVARIATES, **STATIC)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    model(batch).square().mean().backward()
    optimiser.step()
    model.eval()
    part = getattr(batch, role)
    other = replace(batch, **{role: 3 - part if role == "static_categorical" else part + 1})
    assert (model(other) - model(batch)).abs().max() > 1e-4
    if role == "future_covariates":
        later = part.clone()
        later[:, 10:] += 1
        assert (model(replace(batch, future_covariates=later)) - model(batch)).abs().max() > 1e-6
    for code in model.codes:
        assert not code.weight[0].any()  # what was not seen in training says nothing


def test_the_forecast_follows_the_scale_and_shift_of_each_channel_if_windows_are_normalised():
    batch, scale, shift = windows(), torch.tensor([0.5, 2.0, 7.0]).double(), torch.tensor([-80.0, 3.0, 400.0]).double()
    moved = replace(batch, past=batch.past * scale + shift)
    for instance_norm in (True, False):
        model = network(instance_norm=instance_norm)
        error = (model(moved) - model(batch) * scale[:, None] - shift[:, None]).abs().max()
        assert error < 1e-3 if instance_norm else error > 1


def test_each_channel_reads_the_others_in_either_direction():
    model, batch = network(), windows()
    for channel in range(3):
        changed = batch.past.clone()
        changed[:, :4, channel] += torch.arange(4)
        moved = (model(replace(batch, past=changed)) - model(batch)).abs().amax((0, 1, 3))
        assert (moved > 1e-6).all()


def test_batch_mates_change_nothing():
    model, batch = network(**COVARIATES, **STATIC), windows(4, **COVARIATES, **STATIC)
    alone = replace(batch, **{name: part[:1] for name, part in vars(batch).items() if part is not None})
    assert_close(model(alone), model(batch)[:1], rtol=1e-12, atol=1e-12)


def test_statistics_of_a_window_with_gaps_come_from_its_observed_steps():
    model, batch = network(), windows()
    batch.past_mask[:, :3] = False
    other = batch.past.clone()
    other[:, :3] = 77.0
    assert_close(model(replace(batch, past=other)), model(batch))
    complete = torch.ones_like(batch.past_mask)
    assert (model(replace(batch, past=other, past_mask=complete)) - model(batch)).abs().max() > 1  # control


def test_dropout_acts_in_training_only():
    model, batch = network(dropout=0.5), windows()
    assert_close(model(batch), transcription(model, batch))
    assert (model.train()(batch) - transcription(model, batch)).abs().max() > 1e-3


def test_what_sets_the_memory_is_not_pulled_to_zero():
    model = MambaMixer(**SIZES, **COVARIATES, n_layers=2)
    rest, memory = model.parameter_groups(1e-3, 0.1)
    names = {id(weight): name for name, weight in model.named_parameters()}
    kept = [names[id(weight)] for weight in memory["params"]]
    assert all(name.endswith(("A_log", ".D", "delta.bias")) for name in kept)
    assert len(kept) == 3 * (2 * 3 + 2)  # of each branch: one a token mixer, two a channel mixer
    assert (rest["lr"], rest["weight_decay"], memory["lr"], memory["weight_decay"]) == (1e-3, 0.1, 1e-3, 0)
    assert len(rest["params"]) + len(kept) == len(names)


def test_it_learns_eight_windows_of_etth1_by_heart(shared_data):
    values = pl.read_csv(shared_data("ett/ETTh1.csv")).drop("date").to_numpy()[:8640]
    values = torch.tensor((values - values.mean(0)) / values.std(0), dtype=torch.float32)
    windows = torch.stack([values[start : start + 608] for start in range(0, 4000, 500)])
    past, future = windows[:, :512], windows[:, 512:]
    batch = batch_of(past)
    model = MambaMixer(96, 512, 7, dropout=0.0)
    optimiser, errors = torch.optim.Adam(model.parameters(), lr=3e-3), []
    while len(errors) < 500 and (not errors or errors[-1] >= 0.05):
        error = (model(batch)[..., 0] - future).square().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(error.item())
    assert errors[0] > 0.3
    assert errors[-1] < 0.05


def test_static_columns_of_a_frame_reach_the_forecast_also_with_values_unseen_in_training():
    rng, n = np.random.default_rng(0), 60
    noise = pl.DataFrame({"unique_id": np.repeat(["a", "b"], n), "ds": [*range(n)] * 2, "y": rng.normal(size=2 * n)})
    told = pl.DataFrame({"unique_id": ["a", "b"], "height": [100.0, 900.0], "kind": ["coast", "hill"]})
    model = tsforge.MambaMixer(h=2, input_size=8, max_steps=3, accelerator="cpu")
    model.fit(tsforge.Frame(noise, static=told))
    before = model.predict()
    swapped = told.with_columns(pl.col("height").reverse())
    after = model.predict(tsforge.Frame(noise, static=swapped))
    assert not after["MambaMixer"].equals(before["MambaMixer"])
    assert model.predict(tsforge.Frame(noise, static=told))["MambaMixer"].equals(before["MambaMixer"])
    for kind in (["hill", "coast"], ["cave", "cave"]):  # a kind unseen in training is forecast too
        other = model.predict(tsforge.Frame(noise, static=told.with_columns(kind=pl.Series(kind))))
        assert other["MambaMixer"].is_finite().all()
        assert not other["MambaMixer"].equals(before["MambaMixer"])


@pytest.mark.parametrize("argument", [
    {"d_model": 0}, {"d_state": 0}, {"expand": 0}, {"kernel_size": 0}, {"n_layers": 0}, {"patch_len": 0}, {"stride": 0},
    {"stride": 5}, {"averaging": "mean"}, {"channel_mixing": "none"}, {"dropout": 1.0},
], ids=str)
def test_a_value_that_cannot_work_is_named(argument):
    (name, value), = argument.items()
    with pytest.raises(ArgumentError, match=f"{name}={value!r} .*give "):
        network(**argument)
