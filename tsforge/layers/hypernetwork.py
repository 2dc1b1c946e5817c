"""A perceptron that gives weights: one layer out for each tensor. Without its biases it grows with its input.

Paper     Gonzalez Ortiz, Guttag & Dalca (2024), "Magnitude Invariant Parametrizations Improve Hypernetwork Learning",
          ICLR, arXiv:2304.07645; the start is that of the authors' library.
Equation  a_0 = x,   a_l = leaky(W_l a_{l-1} + b_l),   out_j = gain V_j a_L          b_l = 0 at the start
Shapes    x [batch, inputs] -> [batch, size_j] for each tensor j
"""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class Hypernetwork(nn.Module):
    """(inputs + 1) * hidden_1 + (hidden_1 + 1) * hidden_2 + ... + hidden_last * (size_1 + size_2 + ...) parameters.

    Args:
        inputs: Numbers in.
        hidden: Widths of the hidden layers.
        sizes: Numbers out, for each tensor.
        gain: Factor of the layers out at the start.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], sizes: Sequence[int], *, gain: float = 1.0) -> None:
        super().__init__()
        widths = [inputs, *hidden]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.heads = nn.ModuleList(nn.Linear(widths[-1], size, bias=False) for size in sizes)
        for layer in (*self.layers, *self.heads):
            assert isinstance(layer, nn.Linear)
            nn.init.kaiming_normal_(layer.weight, a=0.01, mode="fan_out", nonlinearity="leaky_relu")
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.bias)
        for head in self.heads:
            assert isinstance(head, nn.Linear)
            head.weight.data.mul_(gain)

    def forward(self, x: Float[Tensor, "batch inputs"]) -> list[Float[Tensor, "batch _"]]:
        """The numbers of each tensor."""
        for layer in self.layers:
            x = F.leaky_relu(layer(x))
        return [head(x) for head in self.heads]
