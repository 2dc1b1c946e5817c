import pytest
import torch
from batches import batch_of
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.models.lightnet import LightNet

SIZES = {"h": 4, "input_size": 10, "in_channels": 3, "patch_len": 4, "d_model": 7, "n_heads": 2, "d_ff": 5}
PATCHES, CHANNELS, WIDTH, HEAD = 3, 3, 7, 3


def network(dtype=torch.float64, **arguments):
    """A network whose weights follow a fixed, irregular rule, in eval mode."""
    model = LightNet(**{**SIZES, **arguments}).to(dtype)
    with torch.no_grad():
        for rank, weight in enumerate(model.parameters(), start=1):
            angle = torch.arange(weight.numel(), dtype=torch.float64) * 12.9898 + rank * 78.233
            weight.copy_(2 * (angle.sin() * 43758.5453 % 1 - 0.5).view_as(weight))
    return model.eval()


def waves(batch=2, dtype=torch.float64):
    return 5 + 2 * torch.randn(batch, SIZES["input_size"], CHANNELS, dtype=dtype)


def norm(x, weight):
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight


def near(code, x):
    """MD-TPE: for each axis, sums over the pairs of tokens that differ on this axis alone."""
    total = torch.zeros_like(x)
    for axis, tpe in enumerate(code.axes):
        line = x.movedim(1 + axis, 1)
        for i in range(line.shape[1]):
            for j in range(line.shape[1]):
                if j <= i or not tpe.causal:
                    decay = torch.sigmoid(tpe.p) ** abs(i - j) * (tpe.a * tpe.b).sum(1)
                    total.movedim(1 + axis, 1)[:, i] += line[:, j] * decay[[0, 0, 0, 0, 1, 1, 1]]
    return x + norm(total, code.norm.weight) @ code.out.weight.T


def mixed(mixer, x):
    """The mixer, a window, token and channel at a time; of three channels of a head, two turn with time."""
    token = torch.arange(PATCHES * CHANNELS).double()
    row, column = torch.div(token, CHANNELS, rounding_mode="floor"), token % CHANNELS
    angle = torch.stack([row, row * 1e-2, column], 1)
    q, k, v = (x @ w.weight.T for w in (mixer.query, mixer.key, mixer.value))
    q = q * torch.sigmoid(q)
    o = torch.zeros_like(q)
    for b in range(len(x)):
        for t in range(len(token)):
            for head in (slice(0, HEAD), slice(HEAD, 2 * HEAD)):
                past = slice(t + 1 if mixer.causal else len(token))
                weight = k[b, past, head].exp()
                weight = weight / (weight.sum(0) + int(mixer.sink)) * (angle[t] - angle[past]).cos()
                o[b, t, head] = q[b, t, head] @ (weight.T @ v[b, past, head])
    o = norm(o.unflatten(-1, (2, HEAD)), mixer.norm.weight).flatten(-2)
    return (o * torch.sigmoid(x @ mixer.gate[0].weight.T @ mixer.gate[1].weight.T)) @ mixer.out.weight.T


def transcription(model, past):
    mean = past.mean(1, keepdim=True)
    deviation = (past.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
    x = (past - mean) / deviation
    x = torch.cat([x[:, :1], x[:, :1], x], 1)  # ten steps are two short of three patches
    x = torch.stack([x[:, 4 * n : 4 * n + 4].transpose(1, 2) for n in range(PATCHES)], 1)
    x = near(model.places, x @ model.embedding.weight.T + model.embedding.bias).reshape(len(x), -1, WIDTH)
    for block in model.blocks:
        x = x + mixed(block.mixer, norm(x, block.norms[0].weight))
        y, glu = norm(x, block.norms[1].weight), block.glu
        x = x + (F.silu(y @ glu.gate.weight.T) * (y @ glu.up.weight.T)) @ glu.down.weight.T
    x = norm(x, model.norm.weight).reshape(len(x), PATCHES, CHANNELS, WIDTH)
    y = [x[:, :, c].reshape(len(x), -1) @ model.head.weight.T + model.head.bias for c in range(CHANNELS)]
    y = torch.stack([each.reshape(len(x), model.h, model.outputs) for each in y], 2)
    return y * deviation[..., None] + mean[..., None]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("sink", [False, True])
@pytest.mark.parametrize("outputs", [1, 3])
def test_it_equals_its_equations(causal, sink, outputs):
    torch.set_default_dtype(torch.float64)  # the phases are made in it
    try:
        model, past = network(causal=causal, sink=sink, outputs=outputs), waves()
    finally:
        torch.set_default_dtype(torch.float32)
    expected = transcription(model, past)
    assert_close(model(batch_of(past)), expected, rtol=0, atol=1e-10)
    single = network(torch.float32, causal=causal, sink=sink, outputs=outputs)
    assert_close(single(batch_of(past.float())).double(), expected, rtol=1e-5, atol=2e-5)
    for block in model.blocks:
        block.mixer.causal = not causal
    assert (model(batch_of(past)) - expected).abs().max() > 1e-3  # the control


@pytest.mark.parametrize(("input_size", "patches", "patch_len"), [(10, 3, 4), (3, 1, 3), (8, 2, 4)])
def test_it_has_as_many_parameters_as_it_says(input_size, patches, patch_len):
    model = LightNet(**{**SIZES, "input_size": input_size}, outputs=2, n_layers=3)
    d, e, i, f, n_heads = 7, 3, 6, 5, 2
    expected = d * (patch_len + 1) + 2 * n_heads * (2 * e + 1) + d + d * d
    expected += 3 * (d * (4 * i + e + 3 * f + 2) + e * (i + 1)) + d + (d * patches + 1) * 4 * 2
    assert sum(p.numel() for p in model.parameters()) == expected


def latent_of(model, past, mask=None):
    """The tokens that the head reads, [batch, channel, patch, d_model]."""
    seen = []
    handle = model.head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model(batch_of(past, mask))
    handle.remove()
    return seen[0].unflatten(-1, (-1, model.embedding.out_features))


@pytest.mark.parametrize(("causal", "blind"), [(True, True), (False, False)])
def test_causal_no_patch_sees_later_ones_of_any_variate(causal, blind):
    model, past = network(causal=causal), waves()
    past[:, -4:] = torch.tensor([1.0, -1.0, 1.0, -1.0]).double()[:, None] + past[:, :6].mean(1, keepdim=True)
    changed = past.clone()
    changed[:, -4:] = past[:, -4:].flip(1)  # the same mean and deviation
    difference = (latent_of(model, changed) - latent_of(model, past))[:, :, :-1].abs().max()
    assert (difference < 1e-10) if blind else (difference > 1e-3)


def test_variates_see_each_other_and_patches_never_observed_are_not_seen():
    model, past = network(), waves()
    changed = past.clone()
    changed[:, :, 0] = past[:, :, 0].flip(1)
    assert (model(batch_of(changed)) - model(batch_of(past)))[:, :, 1:].abs().max() > 1e-3
    mask = torch.ones_like(past, dtype=torch.bool)
    mask[:, :6, 0] = False  # the first two patches
    tokens = []
    model.blocks[0].mixer.register_forward_pre_hook(lambda module, inputs: tokens.append(inputs[1]))
    model(batch_of(past, mask))
    model(batch_of(past))
    expected = torch.ones(2, 3, 3, dtype=torch.bool)
    expected[:, :2, 0] = False
    assert (tokens[0] == expected.flatten(1)).all()
    assert tokens[1].all()


def test_a_window_with_nothing_observed_has_a_forecast_and_gradients():
    model, past = LightNet(**SIZES), torch.zeros(2, 10, 3)
    y = model(batch_of(past, torch.zeros_like(past, dtype=torch.bool)))
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("causal", [False, True])
def test_in_half_precision_it_says_nothing_and_forecasts_nearly_the_same(causal):
    model = LightNet(**(SIZES | {"d_model": 64, "n_heads": 4}), causal=causal).eval()
    batch = batch_of(waves(dtype=torch.float32))
    with torch.autocast("cpu", torch.bfloat16):
        y = model(batch)
    assert y.dtype == torch.float32
    assert 0 < (y - model(batch)).abs().max() < 0.1 * batch.past.std()


def test_every_weight_is_trained():
    model = LightNet(**SIZES).train()
    model(batch_of(waves(dtype=torch.float32))).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_covariates_and_statics_change_nothing():
    past = waves(dtype=torch.float32)
    torch.manual_seed(1)
    plain = LightNet(**SIZES).eval()
    torch.manual_seed(1)
    model = LightNet(**SIZES, past_covariates=2, future_covariates=1).eval()
    more = {"past_covariates": torch.randn(2, 10, 2), "future_covariates": torch.randn(2, 14, 1)}
    assert_close(model(batch_of(past, **more)), plain(batch_of(past)))


@pytest.mark.parametrize(("arguments", "said"), [
    ({"patch_len": 0}, "patch_len=0"), ({"n_heads": 4}, "d_model=7 gives n_heads=4 fewer than 2 channels"),
    ({"dropout": -0.1}, "dropout=-0.1 is not a share"), ({"n_layers": 0}, "n_layers=0"),
])
def test_what_cannot_work_is_refused_with_what_to_give(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        LightNet(**{**SIZES, **arguments})
