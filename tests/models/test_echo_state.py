from dataclasses import replace

import pytest
import torch
from batches import batch_of
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.models.echo_state import EchoState, draw_reservoir

SIZES = {"h": 3, "input_size": 7, "in_channels": 2, "reservoir_size": 12, "density": 0.3}


def network(**arguments):
    return EchoState(**{**SIZES, **arguments}).double().eval()


def windows(count=6, seed=1, missing=0.0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, 10, 2, dtype=torch.float64, generator=generator).cumsum(1)
    seen = torch.rand(count, 3, 2, generator=generator) >= missing
    return batch_of(values[:, :7], future=values[:, 7:], future_mask=seen)


def state_of(model, window):
    """Lukoševičius (2012), eqs. 2 and 3, one step at a time: [1; u_T; s_T], and the mean."""
    mean = window.mean(0) * model.centred
    state = window.new_zeros(len(model.reservoir))
    for u in window - mean:
        fresh = torch.tanh(model.inputs @ torch.cat([u.new_ones(1), u]) + model.reservoir @ state)
        state = (1 - model.leak) * state + model.leak * fresh
    return torch.cat([state.new_ones(1), window[-1] - mean, state]), mean


@pytest.mark.parametrize("leak", [0.3, 1.0])
@pytest.mark.parametrize(("outputs", "centred"), [(1, True), (3, True), (1, False)])
def test_it_equals_its_equations(leak, outputs, centred):
    model, batch = network(leak=leak, outputs=outputs, ridge=None, centred=centred), windows()
    expected = []
    for window in batch.past:
        z, mean = state_of(model, window)
        expected.append((model.readout.weight @ z).view(3, 2, outputs) + mean[:, None])
    assert_close(model(batch), torch.stack(expected), rtol=1e-10, atol=1e-10)


def test_the_equations_see_another_leak():
    model, batch = network(), windows()
    before = state_of(model, batch.past[0])[0]
    model.leak = 0.49
    assert (model.features(batch)[0][0] - before).abs().max() > 1e-4


@pytest.mark.parametrize(("missing", "centred"), [(0.0, True), (0.3, True), (0.3, False)])
def test_after_the_fit_its_readout_is_the_ridge_solution_over_all_training_windows(missing, centred):
    model, batches = network(ridge=0.01, centred=centred), [windows(9, seed, missing) for seed in range(5)]
    model.after_fit(batches)
    pairs = [state_of(model, window) for batch in batches for window in batch.past]
    z = torch.stack([features for features, _ in pairs])
    future = torch.cat([batch.future for batch in batches]) - torch.stack([mean for _, mean in pairs])[:, None]
    y, seen = future.flatten(1), torch.cat([batch.future_mask for batch in batches]).flatten(1)
    for column in range(6):
        own = z[seen[:, column]]
        gram = own.T @ own / len(own) + 0.01 * torch.eye(15, dtype=z.dtype)
        expected = torch.linalg.solve(gram, own.T @ y[seen[:, column], column] / len(own))
        assert_close(model.readout.weight[column], expected, rtol=1e-9, atol=1e-9)


def test_no_readout_has_a_lower_penalised_error_than_the_one_after_the_fit():
    model, batch = network(ridge=0.01), windows(40)

    def objective():
        error = (model(batch)[..., 0] - batch.future).square().mean(0).sum()
        return (error + 0.01 * model.readout.weight.square().sum()).item()

    start = objective()
    model.after_fit([batch])
    best = objective()
    assert best < start
    with torch.no_grad():
        for _ in range(5):
            move = 1e-2 * torch.randn_like(model.readout.weight)
            for sign in (1, -2):
                model.readout.weight += sign * move
                assert objective() > best
            model.readout.weight += move


def test_without_ridge_the_readout_stays_as_the_gradient_left_it():
    for ridge, stays in ((None, True), (0.1, False)):
        model = network(ridge=ridge)
        before = model.readout.weight.clone()
        model.after_fit([windows()])
        assert torch.equal(model.readout.weight, before) == stays


@pytest.mark.parametrize("size", [1, 2, 5, 60])
@pytest.mark.parametrize("density", [0.01, 0.3, 1.0])
def test_the_reservoir_has_its_spectral_radius_and_its_density(size, density):
    reservoir = draw_reservoir(size, density, 0.7)
    assert_close(torch.linalg.eigvals(reservoir.double()).abs().max().item(), 0.7, rtol=1e-3, atol=0)
    assert (reservoir != 0).sum(1).tolist() == [max(1, round(density * size))] * size


def test_a_small_spectral_radius_forgets_what_a_large_one_remembers():
    def influence(radius):
        torch.manual_seed(3)
        model = network(spectral_radius=radius, input_scaling=0.01, leak=1.0, in_channels=1)
        past = torch.zeros(1, 7, 1, dtype=torch.float64)
        kicked = past.clone()
        kicked[0, :2, 0] = torch.tensor([1.0, -1.0])  # the mean stays 0
        return (model.features(batch_of(kicked))[0] - model.features(batch_of(past))[0])[:, 2:].norm()

    assert influence(0.2) < 0.01 * influence(0.95)


def test_the_reservoir_comes_from_the_seed_is_saved_and_learns_nothing():
    torch.manual_seed(5)
    one, other = network(), network()
    torch.manual_seed(5)
    again = network()
    assert torch.equal(one.reservoir, again.reservoir)
    assert not torch.equal(one.reservoir, other.reservoir)
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(windows()), one(windows()))
    assert [name for name, _ in one.named_parameters()] == ["readout.weight"]
    assert one.readout.weight.numel() == (1 + 2 + 12) * 3 * 2


def test_a_window_raised_is_forecast_as_much_higher():
    model, batch = network(), windows()
    raised = replace(batch, past=batch.past + 5)
    assert_close(model(raised), model(batch) + 5)
    level = network(centred=False)
    assert (level(raised) - level(batch) - 5).abs().max() > 1e-3
    assert (model(replace(batch, past=batch.past * 2)) - model(batch) * 2).abs().max() > 1e-3  # it is not linear


def test_gradients_reach_the_window():
    model, batch = network(), windows()
    past = batch.past.requires_grad_()
    (gradient,) = torch.autograd.grad(model(replace(batch, past=past)).sum(), past)
    assert (gradient.abs().amax((0, 2)) > 0).all()


@pytest.mark.parametrize(
    "arguments",
    [{"reservoir_size": 0}, {"leak": 0.0}, {"leak": 1.1}, {"density": 0.0}, {"density": 1.5}, {"spectral_radius": 0.0},
     {"input_scaling": -1.0}],
    ids=str,
)
def test_what_cannot_work_is_refused_with_what_to_give(arguments):
    (name, value), = arguments.items()
    with pytest.raises(ArgumentError, match=f"{name}={value} .*: give"):
        network(**arguments)


@pytest.mark.parametrize(("ridge", "outputs"), [(0.0, 1), (-1.0, 1), (0.1, 3)])
def test_a_closed_form_that_does_not_exist_is_refused_with_the_way_out(ridge, outputs):
    with pytest.raises(ArgumentError, match=f"ridge={ridge} with {outputs} outputs.*ridge=None"):
        network(ridge=ridge, outputs=outputs)
