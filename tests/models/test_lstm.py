import pytest
import torch
from batches import batch_of
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.models.lstm import LSTM

SIZES = {"h": 3, "input_size": 6, "in_channels": 2, "d_model": 5}


def network(**arguments):
    return LSTM(**{**SIZES, **arguments}).double().eval()


def windows(windows=4, p=0, f=0):
    past = torch.randn(windows, 6, 2, dtype=torch.float64) * 3 + 1
    known = {"past_covariates": torch.randn(windows, 6, p, dtype=torch.float64)} if p else {}
    ahead = {"future_covariates": torch.randn(windows, 9, f, dtype=torch.float64)} if f else {}
    return batch_of(past, **known, **ahead)


def transcription(model, batch):
    """Hochreiter & Schmidhuber (1997) with forget gates, one window and step at a time."""
    y = batch.past.new_zeros(len(batch), model.h, model.in_channels, model.outputs)
    mean, deviation = batch.past.mean(1), (batch.past.var(1, correction=0) + 1e-5).sqrt()
    if not model.instance_norm:
        mean, deviation = torch.zeros_like(mean), torch.ones_like(deviation)
    for n in range(len(batch)):
        parts = [(batch.past[n] - mean[n]) / deviation[n]]
        parts += [part[n, :6] for part in (batch.past_covariates, batch.future_covariates) if part is not None]
        inputs = torch.cat(parts, 1)
        for layer in range(model.lstm.num_layers):
            inputs = run_layer(model.lstm, layer, inputs)
        cells = (model.head.state.weight @ inputs[-1] + model.head.state.bias).view(y.shape[1:])
        if model.head.known is not None:
            for t in range(model.h):
                cells[t] += (model.head.known.weight @ batch.future_covariates[n, 6 + t]).view(cells.shape[1:])
        y[n] = cells * deviation[n][:, None] + mean[n][:, None]
    return y


def run_layer(lstm, layer, inputs):
    w, u, b, b2 = (getattr(lstm, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    state = cell = inputs.new_zeros(lstm.hidden_size)
    states = []
    for x in inputs:
        i, f, g, o = (w @ x + u @ state + b + b2).chunk(4)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        state = o.sigmoid() * cell.tanh()
        states.append(state)
    return torch.stack(states)


@pytest.mark.parametrize(("p", "f"), [(0, 0), (2, 0), (0, 3), (2, 3)])
@pytest.mark.parametrize("n_layers", [1, 3])
@pytest.mark.parametrize(("outputs", "norm"), [(1, True), (3, True), (1, False)])
def test_it_equals_its_equations(p, f, n_layers, outputs, norm):
    model = network(outputs=outputs, n_layers=n_layers, instance_norm=norm, past_covariates=p, future_covariates=f)
    batch = windows(p=p, f=f)
    assert_close(model(batch), transcription(model, batch), rtol=1e-10, atol=1e-10)


def test_the_equations_see_one_changed_weight():
    model, batch = network(), windows()
    expected = transcription(model, batch)
    with torch.no_grad():
        model.lstm.weight_hh_l1[0, 0] += 1e-3
    assert (model(batch) - expected).abs().max() > 1e-8


@pytest.mark.parametrize(("p", "f", "n_layers", "outputs"), [(0, 0, 1, 1), (2, 3, 3, 4)])
def test_it_has_the_parameters_of_its_formula(p, f, n_layers, outputs):
    model = network(outputs=outputs, n_layers=n_layers, past_covariates=p, future_covariates=f)
    layers = 4 * 5 * (2 + p + f + 5 + 2) + (n_layers - 1) * 4 * 5 * (5 + 5 + 2)
    assert sum(q.numel() for q in model.parameters()) == layers + 6 * 3 * 2 * outputs + f * 2 * outputs


def test_the_channels_inform_each_other():
    model, batch = network(), windows()
    other = batch.past.clone()
    other[..., 1] = other[..., 1].flip(1)
    moved = (model(batch_of(other)) - model(batch)).abs().amax((0, 1, 3))
    assert moved[0] > 1e-4


def test_what_is_known_of_a_step_ahead_changes_that_step_alone_and_of_the_look_back_all():
    model, batch = network(future_covariates=1), windows(f=1)
    for place, expected in ((7, [False, True, False]), (5, [True, True, True])):
        ahead = batch.future_covariates.clone()
        ahead[:, place] += 1
        moved = (model(batch_of(batch.past, future_covariates=ahead)) - model(batch)).abs().amax((0, 2, 3))
        assert (moved > 1e-6).tolist() == expected


@pytest.mark.parametrize("n_layers", [1, 2])
def test_dropout_acts_in_training_and_never_after(n_layers):
    model, batch = network(n_layers=n_layers, dropout=0.5), windows()
    assert_close(model(batch), model(batch))
    model.train()
    assert (model(batch) - model(batch)).abs().max() > 1e-3


@pytest.mark.parametrize("arguments", [{"d_model": 0}, {"n_layers": 0}, {"dropout": 1.0}, {"dropout": -0.1}], ids=str)
def test_what_cannot_work_is_refused_with_what_to_give(arguments):
    (name, value), = arguments.items()
    with pytest.raises(ArgumentError, match=f"{name}={value} .*: give"):
        network(**arguments)
