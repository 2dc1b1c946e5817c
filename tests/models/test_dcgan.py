from dataclasses import replace

import pytest
import torch
from batches import batch_of
from torch import nn
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.layers.signature import signature_size
from tsforge.models.dcgan import DCGAN, SIGNATURE

H, LOOKBACK, CHANNELS = 3, 5, 2
SIZES = {"h": H, "input_size": LOOKBACK, "in_channels": CHANNELS, "hidden": 6, "d_model": 4, "noise": 2, "bank": 5}


def network(**arguments) -> DCGAN:
    """A network in double precision with the bank of a training."""
    model = DCGAN(**{**SIZES, **arguments}).double().eval()
    with torch.no_grad():
        model.before_fit(batches())
    return model


def batches(count: int = 12) -> list:
    draw = torch.Generator().manual_seed(3)
    values = torch.randn(count, LOOKBACK + H, CHANNELS, generator=draw, dtype=torch.float64).cumsum(1)
    return [with_future(part) for part in values.split(5)]


def with_future(values: torch.Tensor):
    future = values[:, LOOKBACK:]
    return batch_of(values[:, :LOOKBACK], future=future, future_mask=torch.ones_like(future, dtype=torch.bool))


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def swish(x):
    return 0.909 * x * torch.sigmoid(x)


def perceptron(parts, z):
    *hidden, last = (m for m in parts if isinstance(m, nn.Linear))
    for layer in hidden:
        z = swish(z @ layer.weight.T + layer.bias)
    return z @ last.weight.T + last.bias


def test_a_path_is_the_chain_from_the_last_value_beside_its_neighbour():
    model, batch = network(), batches()[0]
    made = model.sample(batch, 2, generators(*range(len(batch))))
    for row in range(len(batch)):
        draw = torch.Generator().manual_seed(row)
        drawn, noise = torch.randint(5, (2,), generator=draw), torch.randn(2, H, 2, generator=draw).double()
        told = perceptron(model.told, batch.past[row].flatten()[None]).view(H, 4)
        for path in range(2):
            x, neighbour = batch.past[row, -1], model.neighbours[drawn[path]]
            for i in range(H):
                z = torch.cat([x, torch.tensor([i / H]).double(), neighbour[i], told[i]])[None]
                step = perceptron(model.chain.drift, z)[0] / H
                x = x + step + perceptron(model.chain.diffusion, z).view(CHANNELS, 2) @ noise[path, i] / H**0.5
                assert_close(made[row, path, i], x, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("outputs", [1, 5])
def test_it_has_as_many_parameters_as_the_formula_says(outputs):
    model, w, d, e, c = DCGAN(**SIZES, outputs=outputs, critic=7), 6, 4, 2, CHANNELS
    i = 1 + 2 * c + d
    told = (LOOKBACK * c + 1) * w + (w + 1) * H * d
    chain = 2 * (i + 1) * w + (w + 1) * (2 * w + c + c * e)
    critic = 7 * (2 + c) + 8 * (7 * (3 + c) + 1)
    reading = 8 * outputs if outputs > 1 else 0
    assert sum(p.numel() for p in model.parameters()) == told + chain + critic + reading


def test_the_forecast_is_the_mean_of_paths_and_with_more_outputs_reads_them_in_order():
    batch = batches()[0]
    model = network()
    few = torch.linspace(0, 4, 8).round().long()
    noise = torch.cat([model.noise, -model.noise]).expand(len(batch), -1, -1, -1)
    paths = model._made(batch.past, model.neighbours[few].expand(len(batch), -1, -1, -1), noise)
    assert_close(model(batch)[..., 0], paths.mean(1))
    several = network(outputs=3)(batch)
    assert bool((several.diff(dim=-1) >= 0).all())
    assert bool((several.diff(dim=-1) > 0).any())


def test_paths_of_a_window_do_not_depend_on_those_beside_it_or_on_its_future():
    model, batch = network(), batches()[0]
    together = model.sample(batch, 4, generators(*range(len(batch))))
    row = replace(batch, past=batch.past[2:3], past_mask=batch.past_mask[2:3], series=batch.series[2:3], future=None,
                  future_mask=None)
    assert_close(model.sample(row, 4, generators(2)), together[2:3])
    assert not torch.allclose(model.sample(row, 4, generators(3)), together[2:3])


def test_neighbours_in_training_are_futures_of_other_windows():
    model, batch = network(bank=12), batches()[1]
    real = model._real(batch)
    drawn = torch.arange(12).expand(len(batch), -1)
    own = (model.neighbours[drawn] == real[:, None]).flatten(2).all(2)
    assert own.sum() == len(batch)  # without the care each window would now and then have itself
    assert not (model._others(drawn, real) == real[:, None]).flatten(2).all(2).any()


def test_a_missing_value_of_the_horizon_is_the_one_before_it():
    batch = batches()[0]
    mask = torch.ones_like(batch.future, dtype=torch.bool)
    mask[0, 0], mask[1, 2, 1] = False, False
    real = network()._real(replace(batch, future=batch.future * mask, future_mask=mask))
    assert_close(real[0, 1], batch.past[0, -1])
    assert_close(real[1, 3, 1], batch.future[1, 1, 1])
    assert_close(real[2:, 1:], batch.future[2:])


def test_the_walk_takes_neighbours_away_from_the_futures_they_began_as():
    torch.manual_seed(0)
    sizes = {"h": 5, "input_size": 2, "in_channels": 1, "bank": 2000, "d_model": 2, "hidden": 8}
    path = torch.randn(2000, 7, 1).cumsum(1)
    batch = batch_of(path[:, :2], future=path[:, 2:], future_mask=torch.ones(2000, 5, 1, dtype=torch.bool))

    class Copy(nn.Module):
        def forward(self, z):
            return 8 * (z[:, 2:3] - z[:, :1])  # runs after its neighbour

    correlations = []
    for walk in (0, 1, 10):
        model = DCGAN(**sizes, walk=walk).eval()
        model.chain.drift = Copy()
        with torch.no_grad():
            model.after_fit([batch])
            ends = torch.stack([batch.future[:, -1, 0], model.neighbours[:, -1, 0]])
        correlations.append(abs(float(torch.corrcoef(ends)[0, 1])))
    assert correlations[0] == pytest.approx(1)
    assert correlations[1] > 0.5
    assert correlations[2] < 0.07


def test_a_walk_is_the_same_after_the_same_training_whatever_was_drawn_before():
    made = []
    for _ in range(2):
        torch.manual_seed(0)
        model = network()
        torch.rand(7)
        with torch.no_grad():
            model.after_fit(batches())
        made.append(model.neighbours)
    assert torch.equal(*made)


def test_series_of_its_own_go_on_from_themselves_and_depend_on_their_generator_alone():
    model = network()
    paths, series = model.generate(8, generators(1, 2))
    assert paths.shape == (2, 8, CHANNELS)
    assert series.shape == (2,)
    assert_close(model.generate(8, generators(2))[0], paths[1:])
    assert_close(model.generate(2, generators(1, 2))[0], paths[:, :2])


def test_a_signature_that_would_be_too_long_is_cut_in_depth():
    assert DCGAN(**SIZES, depth=4).depth == 4
    wide = DCGAN(**{**SIZES, "in_channels": 20}, depth=4)
    assert wide.depth == 2
    assert signature_size(21, 2) <= SIGNATURE < signature_size(21, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"paths": 7}, "paths=7: wanted an even"), ({"paths": 2}, "paths=2"), ({"bank": 2}, "bank=2"),
     ({"hidden": 0}, "hidden=0"), ({"walk": -1}, "walk=-1: wanted 0"), ({"energy": -0.5}, "energy=-0.5")],
    ids=str,
)
def test_what_cannot_be_is_refused(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        DCGAN(**{**SIZES, **arguments})
