"""Linear attention whose weights are a softmax over the past, or over all tokens of a grid, in a single scan.

Paper     Qin et al. (2024), "You Only Scan Once: Efficient Multi-dimension Sequential Modeling with LightNet",
          arXiv:2405.21022; gates and recurrence as in public one-dimensional versions.
Equation  q = SiLU(x W_q),   k = x W_k,   v = x W_v,   u = sigmoid(x W_1 W_2)
          o_t = sum_s sum_c q_t[c] cos((t - s) theta_c) exp(k_s[c]) v_s / sum_s exp(k_s[c]),   y = W_o (norm(o) * u)
          s <= t where causal, else all s
          cos(t - s) = cos t cos s + sin t sin s: negative weights, which a softmax has not. So exp(k) cos s is scanned
          as exp(k) (2 + cos s) - 2 exp(k), each part under its own normaliser, and the reader q puts them together.
Shapes    x, y [batch, token, feature]
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsforge.kernels import additive_scan, linear_scan
from tsforge.layers.grid_positions import MDLRPE

LEFT_OUT = -1e4  # a logit of no weight that leaves the normalisers finite


class AdditiveMixer(nn.Module):
    """The token mixer; d (4 i + e) + e (i + 1) parameters, e = d_model // n_heads, i = n_heads e.

    Args:
        d_model: Features.
        n_heads: Heads of d_model // n_heads channels.
        grid: Tokens along each axis; the last runs fastest, and "before" is before in this order.
        causal: A token sees itself and those before, else all.
        sink: One unit of weight lies on a value of zero: what was seen counts for little as long as there is little.
    """

    def __init__(
        self, d_model: int, n_heads: int, grid: tuple[int, ...], *, causal: bool = False, sink: bool = False
    ) -> None:
        super().__init__()
        size, self.causal, self.sink = d_model // n_heads, causal, sink
        inner, self.heads = n_heads * size, (n_heads, size)
        self.query, self.key, self.value = (nn.Linear(d_model, inner, bias=False) for _ in range(3))
        self.gate = nn.Sequential(nn.Linear(d_model, size, bias=False), nn.Linear(size, inner, bias=False))
        self.norm, self.out = nn.RMSNorm(size, eps=1e-5), nn.Linear(inner, d_model, bias=False)
        self.places = MDLRPE(grid, size)
        for weight in (self.query.weight, self.value.weight, self.out.weight, *self.gate.parameters()):
            nn.init.xavier_uniform_(weight)
        nn.init.normal_(self.key.weight, std=0.02)  # near equal weights at the start

    def forward(
        self, x: Float[Tensor, "batch token feature"], mask: Bool[Tensor, "batch token"] | None = None
    ) -> Float[Tensor, "batch token feature"]:
        """The mix of the tokens.

        Args:
            x: Tokens.
            mask: Which tokens are seen by others; all unless given.
        """
        q, k, v = (f(x).unflatten(-1, self.heads) for f in (self.query, self.key, self.value))
        k, v = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (k, v))  # exponentials of halves overflow
        hidden = None if mask is None else ~mask[..., None, None]
        o = self.norm(self.read(F.silu(q), k, v, hidden)).flatten(-2)
        return self.out(o * torch.sigmoid(self.gate(x)))

    def read(
        self, q: Float[Tensor, "batch token head key"], k: Float[Tensor, "batch token head key"],
        v: Float[Tensor, "batch token head value"], hidden: Bool[Tensor, "batch token 1 1"] | None = None,
    ) -> Float[Tensor, "batch token head value"]:
        """o: the values read off the means, `hidden` ones left out."""
        finite = k if hidden is None else k.masked_fill(hidden, LEFT_OUT)
        cosine, sine = (phased := self.places(q)).chunk(2, -1)
        readers = torch.cat([-2 * (cosine + sine), phased], -1) * self._shares(finite)
        logits = finite.repeat(1, 1, 1, 3) + self.places.weights.log()
        logits = logits if hidden is None else logits.masked_fill(hidden, -torch.inf)
        out = additive_scan(readers, logits, v, causal=self.causal)
        assert isinstance(out, Tensor)  # no state was asked for
        return out

    def _shares(self, k: Float[Tensor, "batch token head key"]) -> Float[Tensor, "batch _ head 3*key"]:
        """sum_s w_s exp(k_s) / sum_s exp(k_s) for each of the three weights: from its normaliser to the common one."""
        with torch.no_grad():  # the largest logit cancels out of the ratio
            top = k.cummax(1).values if self.causal else k.amax(1, keepdim=True)
            top = top.clamp(min=0) if self.sink else top
        sums = (k - top).exp().repeat(1, 1, 1, 3) * self.places.weights
        if self.causal:
            kept = (torch.cat([top[:, :1], top[:, :-1]], 1) - top).exp()
            sums = linear_scan(kept.repeat(1, 1, 1, 3), sums)
        else:
            sums = sums.sum(1, keepdim=True)
        own = sums[..., : k.shape[-1]]
        return sums / (own + (-top).exp() if self.sink else own).repeat(1, 1, 1, 3)


class GatedMLP(nn.Module):
    """W_3 (SiLU(x W_1) * x W_2), feature by feature; 3 d_model d_ff parameters."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(d_model, d_ff, bias=False) for _ in range(2))
        self.down = nn.Linear(d_ff, d_model, bias=False)
        for layer in (self.gate, self.up, self.down):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, x: Float[Tensor, "*any feature"]) -> Float[Tensor, "*any feature"]:
        """The features of each token, mixed."""
        return self.down(F.silu(self.gate(x)) * self.up(x))
