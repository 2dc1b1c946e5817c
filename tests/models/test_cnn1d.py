import pytest
import torch
from batches import batch_of
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.models.cnn1d import CNN1D, covering

SIZES = {"h": 3, "input_size": 9, "in_channels": 2, "d_model": 5}


def network(**arguments):
    return CNN1D(**{**SIZES, **arguments}).double().eval()


def windows(windows=4, p=0, f=0):
    past = torch.randn(windows, 9, 2, dtype=torch.float64) * 3 + 1
    known = {"past_covariates": torch.randn(windows, 9, p, dtype=torch.float64)} if p else {}
    ahead = {"future_covariates": torch.randn(windows, 12, f, dtype=torch.float64)} if f else {}
    return batch_of(past, **known, **ahead)


def causal(convolution, x, dilation):
    """A sum over the steps that a convolution reaches back to; what lies before the first is 0."""
    size, rows = convolution.weight.shape[-1], []
    for t in range(len(x)):
        y = convolution.bias
        for k in range(size):
            back = t - (size - 1 - k) * dilation
            if back >= 0:
                y = y + convolution.weight[:, :, k] @ x[back]
        rows.append(y)
    return torch.stack(rows)


def transcription(model, batch):
    """Bai et al. (2018) without weight normalisation, one window, layer and step at a time."""
    y = batch.past.new_zeros(len(batch), model.h, model.in_channels, model.outputs)
    mean, deviation = batch.past.mean(1), (batch.past.var(1, correction=0) + 1e-5).sqrt()
    if not model.instance_norm:
        mean, deviation = torch.zeros_like(mean), torch.ones_like(deviation)
    for n in range(len(batch)):
        parts = [(batch.past[n] - mean[n]) / deviation[n]]
        parts += [part[n, :9] for part in (batch.past_covariates, batch.future_covariates) if part is not None]
        x = torch.cat(parts, 1)
        for number, layer in enumerate(model.layers):
            hidden = causal(layer.convolutions[0], x, 2**number).clamp(min=0)
            hidden = causal(layer.convolutions[1], hidden, 2**number).clamp(min=0)
            straight = x if x.shape == hidden.shape else x @ layer.shortcut.weight[..., 0].T + layer.shortcut.bias
            x = (hidden + straight).clamp(min=0)
        cells = (model.head.state.weight @ x[-1] + model.head.state.bias).view(y.shape[1:])
        if model.head.known is not None:
            for t in range(model.h):
                cells[t] += (model.head.known.weight @ batch.future_covariates[n, 9 + t]).view(cells.shape[1:])
        y[n] = cells * deviation[n][:, None] + mean[n][:, None]
    return y


@pytest.mark.parametrize(("p", "f"), [(0, 0), (2, 1)])
@pytest.mark.parametrize(("n_layers", "kernel_size"), [(None, 3), (1, 2), (4, 3)])
@pytest.mark.parametrize(("outputs", "norm"), [(1, True), (3, True), (1, False)])
def test_it_equals_its_equations(p, f, n_layers, kernel_size, outputs, norm):
    sizes = {"n_layers": n_layers, "kernel_size": kernel_size, "outputs": outputs, "instance_norm": norm}
    model, batch = network(**sizes, past_covariates=p, future_covariates=f), windows(p=p, f=f)
    assert_close(model(batch), transcription(model, batch), rtol=1e-10, atol=1e-10)


def test_the_equations_see_another_dilation():
    model, batch = network(n_layers=2), windows()
    expected = transcription(model, batch)
    for convolution in model.layers[1].convolutions:
        convolution.dilation = (1,)
    model.layers[1].reach = 2
    assert (model(batch) - expected).abs().max() > 1e-4


def test_no_step_of_a_layer_has_seen_a_later_one():
    layers, x = network(n_layers=3).layers, torch.randn(2, 2, 20, dtype=torch.float64)
    changed = x.clone()
    changed[..., 11:] += 1
    moved = (layers(changed) - layers(x)).abs().amax((0, 1))
    assert moved[:11].max() == 0
    assert moved[11] > 1e-6


@pytest.mark.parametrize("kernel_size", [2, 3, 7])
@pytest.mark.parametrize("steps", [1, 8, 16, 96])
def test_by_default_it_has_the_fewest_layers_that_see_all_steps(kernel_size, steps):
    n = covering(steps, kernel_size)
    assert 1 + 2 * (kernel_size - 1) * (2**n - 1) >= steps
    assert n == 1 or 1 + 2 * (kernel_size - 1) * (2 ** (n - 1) - 1) < steps


def test_the_last_step_sees_exactly_as_many_steps_as_the_formula_says():
    layers, x = network(n_layers=2).layers, torch.zeros(1, 2, 20, dtype=torch.float64)
    with torch.no_grad():
        for weight in layers.parameters():
            weight.fill_(0.1)  # nothing cancels, and no ReLU is shut
    seen = torch.autograd.functional.jacobian(lambda z: layers(z)[..., -1].sum(), x)[0, 0] != 0
    assert seen.tolist() == [False] * 7 + [True] * (1 + 2 * 2 * 3)


@pytest.mark.parametrize(("p", "f", "n_layers", "outputs"), [(0, 0, 1, 1), (2, 3, 3, 4), (3, 0, 2, 1)])
def test_it_has_the_parameters_of_its_formula(p, f, n_layers, outputs):
    model, c = network(outputs=outputs, n_layers=n_layers, past_covariates=p, future_covariates=f), 2 + p + f
    layers = (c + 5) * 5 * 3 + 10 + (n_layers - 1) * (10 * 5 * 3 + 10) + ((c + 1) * 5 if c != 5 else 0)
    assert sum(q.numel() for q in model.parameters()) == layers + 6 * 3 * 2 * outputs + f * 2 * outputs


def test_the_channels_inform_each_other():
    model, batch = network(), windows()
    other = batch.past.clone()
    other[..., 1] = other[..., 1].flip(1)
    assert (model(batch_of(other)) - model(batch)).abs().amax((0, 1, 3))[0] > 1e-4


def test_dropout_acts_in_training_and_never_after():
    model, batch = network(dropout=0.5), windows()
    assert_close(model(batch), model(batch))
    model.train()
    assert (model(batch) - model(batch)).abs().max() > 1e-3


@pytest.mark.parametrize(
    "arguments", [{"d_model": 0}, {"n_layers": 0}, {"kernel_size": 1}, {"dropout": 1.0}], ids=str
)
def test_what_cannot_work_is_refused_with_what_to_give(arguments):
    (name, value), = arguments.items()
    with pytest.raises(ArgumentError, match=f"{name}={value} .*: give"):
        network(**arguments)
