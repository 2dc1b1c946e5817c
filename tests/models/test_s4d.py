import pytest
import torch
from batches import batch_of
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.models.s4d import S4D

SIZES = {"h": 4, "input_size": 10, "in_channels": 3, "d_model": 5, "d_state": 6}


def network(dtype=torch.float64, **arguments):
    """A network whose weights follow a fixed, irregular rule, in eval mode."""
    model = S4D(**{**SIZES, **arguments}).to(dtype)
    with torch.no_grad():
        for rank, (name, weight) in enumerate(model.named_parameters(), start=1):
            angle = torch.arange(weight.numel(), dtype=torch.float64) * 12.9898 + rank * 78.233
            drawn = (angle.sin() * 43758.5453 % 1 - 0.5).view_as(weight)
            weight.copy_(drawn - 2 if name.endswith("log_dt") else 2 * drawn)
    return model.eval()


def waves(batch=2, channels=3, dtype=torch.float64):
    return 5 + 2 * torch.randn(batch, SIZES["input_size"], channels, dtype=dtype)


def recurrence(system, x):
    """The equations of the state space, a window, feature and step at a time."""
    y = torch.zeros_like(x)
    for b in range(len(x)):
        for feature in range(x.shape[2]):
            A = torch.complex(-system.log_A_real[feature].exp(), system.A_imag[feature])
            B, C = (torch.view_as_complex(w[feature]) for w in (system.B, system.C))
            dt, state = system.log_dt[feature].exp(), torch.zeros_like(A)
            for t in range(x.shape[1]):
                if system.discretisation == "zoh":
                    state = (dt * A).exp() * state + ((dt * A).exp() - 1) / A * B * x[b, t, feature]
                else:
                    state = ((1 + dt * A / 2) * state + dt * B * x[b, t, feature]) / (1 - dt * A / 2)
                y[b, t, feature] = 2 * (C * state).sum().real + system.D[feature] * x[b, t, feature]
    return y


def latent(model, values, known):
    """Layers over the look-back and a horizon of zeros, of series already normalised."""
    x = torch.cat([values @ model.values.weight.T + model.values.bias, values.new_zeros(len(values), model.h, 5)], 1)
    x = x if known is None else x + known @ model.known.weight.T
    for layer, norm in zip(model.layers, model.norms, strict=True):
        y = F.gelu(recurrence(layer.system, x)) @ layer.mix.weight.T + layer.mix.bias
        x = F.layer_norm(x + y[..., :5] * torch.sigmoid(y[..., 5:]), (5,), norm.weight, norm.bias)
    return (x @ model.head.weight.T + model.head.bias)[:, -model.h :]


def transcription(model, batch):
    mean = batch.past.mean(1, keepdim=True)
    deviation = (batch.past.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
    x = (batch.past - mean) / deviation
    known = None
    if batch.past_covariates is not None:
        unknown = torch.zeros(len(x), model.h, batch.past_covariates.shape[2], dtype=x.dtype)
        known = torch.cat([torch.cat([batch.past_covariates, unknown], 1), batch.future_covariates], 2)
    if model.channels == "mixed":
        y = latent(model, x, known).reshape(len(x), model.h, model.in_channels, model.outputs)
    else:
        each = [latent(model, x[:, :, c : c + 1], known) for c in range(model.in_channels)]
        y = torch.stack(each, 2)
    return y * deviation[..., None] + mean[..., None]


@pytest.mark.parametrize("channels", ["mixed", "independent"])
@pytest.mark.parametrize("discretisation", ["zoh", "bilinear"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_it_equals_its_equations(channels, discretisation, outputs):
    arguments = {"channels": channels, "discretisation": discretisation, "outputs": outputs}
    model = network(**arguments)
    batch = batch_of(waves())
    expected = transcription(model, batch)
    assert_close(model(batch), expected, rtol=0, atol=1e-10)
    single = network(torch.float32, **arguments)(batch_of(batch.past.float()))
    assert_close(single.double(), expected, rtol=1e-5, atol=1e-5)
    model.layers[1].system.discretisation = "bilinear" if discretisation == "zoh" else "zoh"
    assert (model(batch) - expected).abs().max() > 1e-4  # the control


@pytest.mark.parametrize("channels", ["mixed", "independent"])
def test_it_equals_its_equations_with_covariates(channels):
    model = network(channels=channels, past_covariates=2, future_covariates=1)
    more = {"past_covariates": torch.randn(2, 10, 2).double(), "future_covariates": torch.randn(2, 14, 1).double()}
    batch = batch_of(waves(), **more)
    assert_close(model(batch), transcription(model, batch), rtol=0, atol=1e-10)
    last = more["future_covariates"].clone()
    last[:, -1] += 1
    changed = model(batch_of(batch.past, **(more | {"future_covariates": last})))
    assert_close(changed[:, :-1], model(batch)[:, :-1], rtol=0, atol=1e-10)  # it is causal
    assert (changed[:, -1] - model(batch)[:, -1]).abs().max() > 1e-3


@pytest.mark.parametrize(("channels", "width"), [("mixed", 3), ("independent", 1)])
def test_it_has_as_many_parameters_as_it_says(channels, width):
    model = S4D(**SIZES, outputs=2, channels=channels, n_layers=3, past_covariates=2, future_covariates=1)
    d, n = SIZES["d_model"], SIZES["d_state"]
    expected = 3 * d * (3 * n + 2 * d + 6) + d * (width + 1 + 3) + (d + 1) * width * 2
    assert sum(p.numel() for p in model.parameters()) == expected


def test_independent_channels_do_not_see_each_other_and_mixed_ones_do():
    past = waves()
    changed = past.clone()
    changed[:, :, 0] = changed[:, :, 0].flip(1)
    for channels, blind in (("independent", True), ("mixed", False)):
        model = network(channels=channels)
        difference = (model(batch_of(changed)) - model(batch_of(past)))[:, :, 1:].abs().max()
        assert (difference < 1e-12) if blind else (difference > 1e-3)


def test_the_horizon_differs_from_observed_steps_at_their_mean():
    past = waves()
    normalised_zero = past.mean(1, keepdim=True).expand(-1, 10, -1)
    model = network()
    value = model.values(torch.zeros_like(normalised_zero))
    assert value.abs().max() > 0.1  # what an observed mean gives; steps of the horizon give zero


def groups_of(model):
    names = {id(p): name for name, p in model.named_parameters()}
    first, second = model.parameter_groups(learning_rate=0.01, weight_decay=0.1)
    return [{names[id(p)] for p in group["params"]} for group in (first, second)], first, second


def test_eigenvalues_steps_and_inputs_are_trained_slowly_and_without_decay():
    (rest, slow), first, second = groups_of(S4D(**SIZES))
    assert slow == {
        f"layers.{layer}.system.{name}" for layer in (0, 1) for name in ("log_dt", "log_A_real", "A_imag", "B")
    }
    assert rest | slow == {name for name, _ in S4D(**SIZES).named_parameters()}
    assert not rest & slow
    assert (first["lr"], first["weight_decay"]) == (0.01, 0.1)
    assert (second["lr"], second["weight_decay"]) == (1e-3, 0.0)
    assert S4D(**SIZES).parameter_groups(learning_rate=1e-4, weight_decay=0.0)[1]["lr"] == 1e-4


def test_an_optimiser_with_these_groups_decays_the_rest_only():
    model = S4D(**SIZES)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameter_groups(learning_rate=0.01, weight_decay=0.5))
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    assert_close(model.layers[0].system.A_imag, before["layers.0.system.A_imag"], rtol=0, atol=0)
    assert (model.head.weight - before["head.weight"]).abs().max() > 0


def test_in_half_precision_it_says_nothing_and_forecasts_nearly_the_same():
    model, batch = S4D(**SIZES).eval(), batch_of(waves(dtype=torch.float32))
    with torch.autocast("cpu", torch.bfloat16):
        y = model(batch)
    assert y.dtype == torch.float32
    assert 0 < (y - model(batch)).abs().max() < 0.1 * batch.past.std()


def test_every_weight_is_trained():
    model = S4D(**SIZES, past_covariates=1, future_covariates=1).train()
    more = {"past_covariates": torch.randn(2, 10, 1), "future_covariates": torch.randn(2, 14, 1)}
    model(batch_of(waves(dtype=torch.float32), **more)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


@pytest.mark.parametrize(("arguments", "said"), [
    ({"n_layers": 0}, "n_layers=0"), ({"dropout": 1.0}, "dropout=1.0 is not a share"),
    ({"channels": "all"}, "channels='all' .* 'mixed'"), ({"d_state": 5}, "d_state=5"),
])
def test_what_cannot_work_is_refused_with_what_to_give(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        S4D(**{**SIZES, **arguments})
