"""Directed-chain SDE: the drift and the noise of a path depend on its state and on a neighbour with the same law.

Paper     Min, Hu & Ichiba (2023), "Directed Chain Generative Adversarial Networks", ICML, arXiv:2304.13131.
Equation  dX = V0(t, X, Xn) dt + V1(t, X, Xn) dB,   Law(Xn) = Law(X),   X_0 and B independent of Xn
          X^(q+1) = G(fresh X_0, fresh B; neighbour X^(q))                                   (a walk along the chain)
Shapes    start [batch, dim]   neighbour [batch, time + 1, dim]   noise [batch, time, e]   context [batch, time, c]
          -> [batch, time + 1, dim];   V0, V1 read [X, t, Xn, context]
Units     those of the paths; noise is standard normal and is multiplied by the root of the time step here
Differs   Written with Stratonovich's sign in the paper, computed as Ito by the Euler steps of its code, as here. The
          context is ours: what a forecaster knows of the past. The time is not put in front of the path that comes out.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class LipSwish(nn.Module):
    """0.909 x sigmoid(x), whose slope is at most 1."""

    def forward(self, x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        return 0.909 * F.silu(x)


def perceptron(inputs: int, hidden: int, outputs: int, *, layers: int = 2) -> nn.Sequential:
    """Hidden layers of one width with LipSwish, and a linear map without squashing."""
    widths = [inputs, *[hidden] * layers]
    parts = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), LipSwish())]
    return nn.Sequential(*parts, nn.Linear(widths[-1], outputs))


class DirectedChainSDE(nn.Module):
    """One step along the chain: a path from its start, its noise and its neighbour.

    With i = 1 + 2 dim + context, both maps have (i + 1) hidden + (hidden + 1) (hidden + dim) and
    (i + 1) hidden + (hidden + 1) (hidden + dim e) parameters.

    Args:
        dim: Coordinates of a path.
        noise: Brownian motions e.
        hidden: Width of the two hidden layers of V0 and of V1.
        context: Numbers that both are told at each step beside time, state and neighbour.
    """

    def __init__(self, dim: int, noise: int = 3, hidden: int = 128, context: int = 0) -> None:
        super().__init__()
        self.dim, self.noise = dim, noise
        inputs = 1 + 2 * dim + context
        self.drift: nn.Module = perceptron(inputs, hidden, dim)
        self.diffusion: nn.Module = perceptron(inputs, hidden, dim * noise)

    def forward(
        self, start: Float[Tensor, "batch dim"], neighbour: Float[Tensor, "batch points dim"],
        noise: Float[Tensor, "batch time e"], times: Float[Tensor, " points"],
        context: Float[Tensor, "batch time c"] | None = None,
    ) -> Float[Tensor, "batch points dim"]:
        """The path on the grid `times`, by Euler-Maruyama."""
        x, path = start, [start]
        for i, dt in enumerate(times.diff()):
            seen = [x, times[i].expand(len(x), 1), neighbour[:, i]]
            z = torch.cat(seen if context is None else [*seen, context[:, i]], dim=1)
            spread = self.diffusion(z).unflatten(1, (self.dim, self.noise))
            x = x + self.drift(z) * dt + (spread @ noise[:, i, :, None]).squeeze(-1) * dt.sqrt()
            path.append(x)
        return torch.stack(path, dim=1)


def walk_chain(step: Callable[[Tensor], Tensor], path: Tensor, steps: int) -> list[Tensor]:
    """The paths X^(1), X^(2), ..., X^(steps + 1) along the chain, X^(1) being the given one.

    Args:
        step: Makes the next path of its neighbour, with a start and a noise of its own. It may branch: make several
            paths of each.
        path: [batch, time + 1, dim].
        steps: Steps of the walk; what paths share with the first falls like a factorial.
    """
    paths = [path]
    for _ in range(steps):
        paths.append(step(paths[-1]))
    return paths
