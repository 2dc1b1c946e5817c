"""Relative positions on a grid: decaying sums along each axis (MD-TPE), phases of keys and queries (MD-LRPE).

Paper     Qin et al. (2024), "You Only Scan Once: Efficient Multi-dimension Sequential Modeling with LightNet",
          arXiv:2405.21022.
Equation  TPE     t_i = (a . b) sum_{j <= i} lam^(i-j) x_j,   lam = sigmoid(p); both ways: sum_j lam^|i-j| x_j
          MD-TPE  x + W norm(sum over axes of their TPE)
          LRPE    x -> [x cos(i theta), x sin(i theta)],   so q . k = sum_c q_c k_c cos((i - j) theta_c)
Shapes    on a grid [batch, *grid, feature]; in a row of tokens [batch, token, head, key], last axis fastest
Differs   Reconstructed from the abstract and public one-dimensional versions: that each axis has decays and vectors of
          its own, that their sum is normalised and projected once, and that the axes share the key channels out.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsforge.errors import ArgumentError
from tsforge.kernels import linear_scan


class TPE(nn.Module):
    """A decaying sum along one axis, one decay and one weight for each head; n_heads (2 size + 1) parameters.

    Args:
        d_model: Features; the heads share them out evenly.
        n_heads: Heads.
        size: Length of the vectors a and b, whose product is the weight.
        causal: Sees what comes before, else both sides.
    """

    def __init__(self, d_model: int, n_heads: int, size: int, *, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.a, self.b = (nn.Parameter(torch.randn(n_heads, size) * size**-0.25) for _ in range(2))
        self.p = nn.Parameter(torch.linspace(0, 3, n_heads))  # decays from 0.5 to 0.95
        self.head: Tensor
        self.register_buffer("head", torch.arange(d_model) * n_heads // d_model, persistent=False)

    def forward(self, x: Float[Tensor, "batch *grid feature"], axis: int) -> Float[Tensor, "batch *grid feature"]:
        """The sums along `axis` of `x`."""
        x = x.movedim(axis, 1)
        decay = torch.sigmoid(self.p)[self.head]
        y = linear_scan(decay, x)
        if not self.causal:
            y = y + linear_scan(decay, x, reverse=True) - x
        return (y * (self.a * self.b).sum(-1)[self.head]).movedim(1, axis)


class MDTPE(nn.Module):
    """Adds to each token what lies near it along each axis.

    Args:
        d_model: Features.
        n_heads: Heads of each axis.
        size: Length of the vectors of a head.
        causal: Of each axis, whether only what comes before is seen.
    """

    def __init__(self, d_model: int, n_heads: int, size: int, *, causal: tuple[bool, ...]) -> None:
        super().__init__()
        self.axes = nn.ModuleList(TPE(d_model, n_heads, size, causal=one) for one in causal)
        self.norm = nn.RMSNorm(d_model, eps=1e-5)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Float[Tensor, "batch *grid feature"]) -> Float[Tensor, "batch *grid feature"]:
        """The tokens with their places."""
        near = torch.stack([axis(x, number) for number, axis in enumerate(self.axes, start=1)]).sum(0)
        return x + self.out(self.norm(near))


class MDLRPE(nn.Module):
    """Phases of the tokens of a grid; no parameters.

    The cosine form is used because it treats each key channel alone, as the decays of the additive scan do. Turning
    pairs of channels would mix their normalisers, and the product would no longer depend on the distance alone.

    Args:
        grid: Tokens along each axis.
        key: Key channels, shared out evenly: each axis turns its own.
        base: Wavelengths go from 2 pi to 2 pi base tokens.

    Raises:
        ArgumentError: there are fewer channels than axes.
    """

    def __init__(self, grid: tuple[int, ...], key: int, base: float = 1e4) -> None:
        super().__init__()
        if key < len(grid):
            raise ArgumentError(f"{key} key channels are too few for {len(grid)} axes: give one for each or more.")
        angles = []
        for axis, channels in enumerate(torch.arange(key).tensor_split(len(grid))):
            rate = base ** (-torch.arange(len(channels), dtype=torch.float64) / len(channels))
            place = torch.arange(math.prod(grid)) // math.prod(grid[axis + 1 :]) % grid[axis]
            angles.append(place[:, None] * rate)
        angle = torch.cat(angles, 1)[:, None]  # [token, 1, key]
        self.phases: Tensor
        phases = torch.cat([angle.cos(), angle.sin()], -1)
        self.register_buffer("phases", phases.to(torch.get_default_dtype()), persistent=False)

    def forward(self, x: Float[Tensor, "batch token head key"]) -> Float[Tensor, "batch token head 2*key"]:
        """[x cos, x sin]."""
        return x.repeat(1, 1, 1, 2) * self.phases

    @property
    def weights(self) -> Float[Tensor, "token 1 thrice"]:
        """[1, 2 + cos, 2 + sin]: positive, so that a softmax can have them; twice the first is taken off afterwards."""
        plain = self.phases[..., : self.phases.shape[-1] // 2]
        return torch.cat([torch.ones_like(plain), 2 + self.phases], -1)
