"""Critic of paths: a neural controlled differential equation that is driven by the path, and a linear score of its end.

Paper     Kidger et al. (2021), "Neural SDEs as Infinite-Dimensional GANs", arXiv:2102.03657, and "Efficient and
          Accurate Gradients for Neural SDEs", arXiv:2105.13493 (the step); the critic of Min, Hu & Ichiba (2023).
Equation  h_0 = M(Y_0, c),   dh = F(h) dY,   score = w h_T + b;   Y = (t, x) is linear between its points
          z' = 2 h - z + F(z) dY,   h' = h + (F(z) + F(z')) dY / 2                       (reversible Heun, z_0 = h_0)
Shapes    path [batch, points, dim], context [batch, c] -> [batch]
Units     the score has none; a greater one is given to real paths
Differs   One step between two points of the path. F ends in tanh, as in Kidger's; the context c is ours.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsforge.layers.chain_sde import perceptron
from tsforge.layers.signature import augmented


class NeuralCDEDiscriminator(nn.Module):
    """The critic; with w = hidden, w (2 + dim + context) + (w + 1) (w (3 + dim) + 1) parameters.

    Args:
        dim: Coordinates of a path, without the time.
        hidden: Width of the state and of the hidden layers.
        context: Numbers that the initial state is told beside the first point.
    """

    def __init__(self, dim: int, hidden: int = 16, context: int = 0) -> None:
        super().__init__()
        self.hidden, self.width = hidden, 1 + dim
        self.initial = perceptron(self.width + context, hidden, hidden, layers=1)
        self.field = nn.Sequential(perceptron(hidden, hidden, hidden * self.width, layers=1), nn.Tanh())
        self.score = nn.Linear(hidden, 1)

    def forward(
        self, path: Float[Tensor, "batch points dim"], context: Float[Tensor, "batch c"] | None = None
    ) -> Float[Tensor, " batch"]:
        """The score of each path."""
        y = augmented(path, origin=False)
        h = z = self.initial(y[:, 0] if context is None else torch.cat([y[:, 0], context], 1))
        field = self._field(z)
        for step in y.diff(dim=1).unbind(1):
            z = 2 * h - z + (field @ step[:, :, None]).squeeze(-1)
            after = self._field(z)
            h, field = h + ((field + after) @ step[:, :, None]).squeeze(-1) / 2, after
        return self.score(h).squeeze(-1)

    def _field(self, z: Tensor) -> Tensor:
        return self.field(z).unflatten(1, (self.hidden, self.width))

    @torch.no_grad()
    def clip(self) -> None:
        """Brings each weight of a linear map into +- 1 / its outputs, which bounds the slope of the score."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.weight.clamp_(-1 / module.out_features, 1 / module.out_features)
