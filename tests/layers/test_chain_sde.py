from math import factorial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tsforge.layers.chain_sde import DirectedChainSDE, walk_chain


class Linear(nn.Module):
    """V0 = -a x + u xn, out of [x, t, xn]."""

    def __init__(self, a: float, u: float) -> None:
        super().__init__()
        self.a, self.u = a, u

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return -self.a * z[:, :1] + self.u * z[:, 2:]


class Constant(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.full_like(z[:, :1], self.value)


def chain(drift: nn.Module, spread: float) -> DirectedChainSDE:
    sde = DirectedChainSDE(dim=1, noise=1)
    sde.drift, sde.diffusion = drift, Constant(spread)
    return sde


TIMES = torch.linspace(0, 1, 51, dtype=torch.float64)


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def walked(sde: DirectedChainSDE, n: int, steps: int, *, fresh: bool = True) -> list[torch.Tensor]:
    """The chain from a path without neighbour (Brownian motion from N(0, 1)); a start is fresh or its neighbour's."""
    first = normal(n, 1, 1, seed=99) + torch.cat(
        [torch.zeros(n, 1, 1, dtype=torch.float64), normal(n, 50, 1, seed=98).cumsum(1) / 50**0.5], 1
    )
    count = iter(range(1000))

    def step(neighbour: torch.Tensor) -> torch.Tensor:
        seed = next(count)
        start = normal(n, 1, seed=2 * seed) if fresh else neighbour[:, 0]
        return sde(start, neighbour, normal(n, 50, 1, seed=2 * seed + 1), TIMES)

    return walk_chain(step, first, steps)


def covariance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    a, b = (x.squeeze(-1) - x.squeeze(-1).mean(0) for x in (a, b))
    return a.T @ b / len(a)


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    sd = [x.squeeze(-1).std(0) for x in (a, b)]
    return float((covariance(a, b) / (sd[0][:, None] * sd[1])).abs().max())


def test_what_the_linear_chain_shares_with_its_first_path_falls_like_a_factorial():
    n = 8000
    paths = walked(chain(Linear(1.0, 1.0), 1.0), n, steps=5)
    top = float(covariance(paths[0], paths[0]).abs().max())
    for q in range(1, 6):
        error = 3 * float((paths[q].var(0).max() * paths[0].var(0).max() / n).sqrt())
        assert float(covariance(paths[q], paths[0]).abs().max()) < top / factorial(q) + error
    assert correlation(paths[1], paths[0]) > 0.4  # one step alone is a near copy
    assert correlation(paths[5], paths[0]) < 0.05


def test_a_start_that_is_the_neighbours_is_never_forgotten():
    paths = walked(chain(Linear(1.0, 1.0), 1.0), 4000, steps=5, fresh=False)
    assert correlation(paths[5], paths[0]) > 0.5


def test_the_mean_of_the_linear_chain_follows_its_equation():
    n = 8000
    neighbour = (1 + TIMES)[None, :, None] + normal(n, 1, 1, seed=5)
    path = chain(Linear(1.0, 1.0), 1.0)(normal(n, 1, seed=6), neighbour, normal(n, 50, 1, seed=7), TIMES)
    mean = torch.zeros((), dtype=torch.float64)
    for i in range(50):
        mean = mean + (-mean + 1 + TIMES[i]) / 50
        error = 3 * float(path[:, i + 1].std()) / n**0.5
        assert abs(float(path[:, i + 1].mean() - mean)) < error


def test_a_drift_that_ignores_the_neighbour_makes_a_path_that_does():
    n = 4000
    path = walked(chain(Linear(1.0, 0.0), 1.0), n, steps=1)
    ends = torch.corrcoef(torch.stack([x[:, -1, 0] for x in path]))[0, 1]
    assert abs(float(ends)) < 3 / n**0.5
    ends = torch.corrcoef(torch.stack([x[:, -1, 0] for x in walked(chain(Linear(1.0, 1.0), 1.0), n, steps=1)]))[0, 1]
    assert abs(float(ends)) > 3 / n**0.5  # the control


def test_without_drift_and_noise_it_stays_and_with_a_drift_of_minus_x_it_shrinks():
    start, neighbour, noise = normal(4, 1, seed=1), normal(4, 51, 1, seed=2), normal(4, 50, 1, seed=3)
    still = chain(Constant(0.0), 0.0)(start, neighbour, noise, TIMES)
    assert_close(still, start[:, None].expand(-1, 51, -1))
    assert_close(chain(Linear(1.0, 0.0), 0.0)(start, neighbour, noise, TIMES)[:, -1], start * (1 - 1 / 50) ** 50)


def test_it_is_the_euler_sum_of_its_two_perceptrons():
    torch.manual_seed(0)
    sde, times = DirectedChainSDE(dim=2, noise=3, hidden=5, context=4).double(), torch.tensor([0.0, 0.2, 1.0]).double()
    start, neighbour = normal(3, 2, seed=1), normal(3, 3, 2, seed=2)
    noise, context = normal(3, 2, 3, seed=3), normal(3, 2, 4, seed=4)

    def swish(x):
        return 0.909 * x * torch.sigmoid(x)

    def network(parts, z):
        a, b, c = (m for m in parts if isinstance(m, nn.Linear))
        return swish(swish(z @ a.weight.T + a.bias) @ b.weight.T + b.bias) @ c.weight.T + c.bias

    x, path = start, [start]
    for i, dt in enumerate((0.2, 0.8)):
        z = torch.cat([x, times[i].repeat(3, 1), neighbour[:, i], context[:, i]], 1)
        v1 = network(sde.diffusion, z).view(3, 2, 3)
        x = x + network(sde.drift, z) * dt + torch.einsum("nde,ne->nd", v1, noise[:, i] * dt**0.5)
        path.append(x)
    assert_close(sde(start, neighbour, noise, times, context), torch.stack(path, 1), atol=1e-6, rtol=1e-6)
    i, w, d, e = 1 + 4 + 4, 5, 2, 3
    formula = (i + 1) * w + (w + 1) * (w + d) + (i + 1) * w + (w + 1) * (w + d * e)
    assert sum(p.numel() for p in sde.parameters()) == formula


@pytest.mark.parametrize("seed", [1, 2])
def test_one_seed_is_one_path_and_another_seed_another(seed):
    torch.manual_seed(0)
    sde, start, neighbour = DirectedChainSDE(dim=1, hidden=8).double(), normal(2, 1, seed=7), normal(2, 51, 1, seed=8)
    path = sde(start, neighbour, normal(2, 50, 3, seed=seed), TIMES)
    assert torch.equal(path, sde(start, neighbour, normal(2, 50, 3, seed=seed), TIMES))
    assert not torch.equal(path, sde(start, neighbour, normal(2, 50, 3, seed=seed + 10), TIMES))
