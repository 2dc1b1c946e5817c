import torch
from torch import nn
from torch.testing import assert_close

from tsforge.layers.chain_sde import DirectedChainSDE
from tsforge.layers.neural_cde import NeuralCDEDiscriminator


def swish(x: torch.Tensor) -> torch.Tensor:
    return 0.909 * x * torch.sigmoid(x)


def two(parts: nn.Module, z: torch.Tensor) -> torch.Tensor:
    a, b = (m for m in parts.modules() if isinstance(m, nn.Linear))
    return swish(z @ a.weight.T + a.bias) @ b.weight.T + b.bias


def test_it_is_the_reversible_heun_step_of_its_equation():
    torch.manual_seed(0)
    critic, y = NeuralCDEDiscriminator(dim=2, hidden=4, context=3).double(), torch.randn(5, 6, 2).double()
    context, time = torch.randn(5, 3).double(), torch.linspace(0, 1, 6).double()

    def field(z):
        return two(critic.field, z).tanh().view(-1, 4, 3)

    driven = torch.cat([time.repeat(5, 1)[..., None], y], -1)
    h = two(critic.initial, torch.cat([driven[:, 0], context], 1))
    z = h
    for k in range(5):
        step = driven[:, k + 1] - driven[:, k]
        ahead = 2 * h - z + torch.einsum("nwd,nd->nw", field(z), step)
        h = h + torch.einsum("nwd,nd->nw", (field(z) + field(ahead)) / 2, step)
        z = ahead
    score = h @ critic.score.weight[0] + critic.score.bias
    assert_close(critic(y, context), score, atol=1e-6, rtol=1e-6)
    w, dim, c = 4, 2, 3
    assert sum(p.numel() for p in critic.parameters()) == w * (2 + dim + c) + (w + 1) * (w * (3 + dim) + 1)


def test_after_clipping_each_weight_lies_inside_its_bound():
    torch.manual_seed(0)
    critic = NeuralCDEDiscriminator(dim=1)
    maps = [m for m in critic.modules() if isinstance(m, nn.Linear)]
    optimizer = torch.optim.Adam(critic.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        (critic(torch.randn(8, 5, 1)) - critic(torch.randn(8, 5, 1) + 1)).mean().backward()
        optimizer.step()
        assert any(m.weight.abs().max() > 1 / m.out_features for m in maps)  # the step alone leaves it
        critic.clip()
        assert all(m.weight.abs().max() <= 1 / m.out_features for m in maps)


def test_one_step_of_a_generator_down_its_gradient_is_scored_higher_and_one_up_lower():
    torch.manual_seed(0)
    critic, start, neighbour = NeuralCDEDiscriminator(dim=1), torch.randn(64, 1), torch.randn(64, 9, 1)
    noise, times = torch.randn(64, 8, 3), torch.linspace(0, 1, 9)
    for sign in (1, -1):
        sde = DirectedChainSDE(dim=1, hidden=8)
        before = -critic(sde(start, neighbour, noise, times)).mean()
        before.backward()
        with torch.no_grad():
            for weight in sde.parameters():
                assert weight.grad is not None
                weight -= sign * 1e-2 * weight.grad
        after = -critic(sde(start, neighbour, noise, times)).mean()
        assert (after < before) == (sign == 1)
