"""DIN: what is known of the days ahead picks the days of the past that are of interest, and how much of each.

Paper     Zhou et al. (2018), "Deep Interest Network for Click-Through Rate Prediction", KDD, arXiv:1706.06978.
Equation  e_j = W_x x_j + W_c c_j + a of a past segment,   v_s = W_c c_s + a of a segment ahead
          w_sj = MLP([v_s, e_j, v_s - e_j, v_s e_j]),   u_s = sum_j m_j w_sj e_j / sqrt(n)
          y = W [u_1 v_1 ... u_S v_S] + b
Shapes    x [batch, input_size, channel], c [batch, input_size + h, n_covariates] -> [batch, d_model]
          n segments of the past and S of the horizon, [batch, n, d_item] and [batch, S, d_item]
Units     targets and covariates are scaled.
Differs   The unit that weighs, sums that are not normalised and Dice are read in a public implementation. The paper's
          items are things a user has seen and the candidate is an advertisement; here they are segments of the window
          and of the horizon, of `segment_len` steps, the last past one ending at the cutoff and the last one ahead at
          the horizon. What is known ahead are numbers: there is no table of ids, and so no penalty by how rare an id
          is. n is the number of segments there are in a window, not of those observed.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tsforge.encoders.ahead.base import AheadEncoder, Covariates, Mask, Window
from tsforge.errors import ArgumentError
from tsforge.layers.dice import Dice
from tsforge.space import Choice, Declared

Items = Float[Tensor, "batch n d_item"]
Candidates = Float[Tensor, "batch s d_item"]


class DINEncoder(AheadEncoder):
    """With l the steps and D the width of a segment, these are the parameters:

    l * channels * D and (l * n_covariates + 1) * D of the two maps in, a perceptron of widths 4 D, `att_hidden`, 1 with
    as many more as hidden units for "dice", and (2 D S + 1) * d_model of the map out.

    Args:
        segment_len: Steps of a segment, as a day; at most the look-back and the horizon.
        d_item: Width of a segment.
        att_hidden: Widths of the hidden layers that weigh.
        activation: "dice" or "relu", of these.
        normalize: Whether weights go through a softmax: then how much there is of interest is lost.

    Raises:
        ArgumentError: a size is below 1, or `activation` is unknown.
    """

    space: ClassVar[Declared] = {"d_item": Choice(8, 16, 32), "normalize": Choice(False, True)}

    def __init__(
        self, in_channels: int, input_size: int, h: int, n_covariates: int, d_model: int = 64, *, segment_len: int = 24,
        d_item: int = 16, att_hidden: Sequence[int] = (64, 16), activation: str = "dice", normalize: bool = False,
    ) -> None:
        super().__init__(in_channels, input_size, h, n_covariates, d_model)
        _check(segment_len, d_item, att_hidden, activation)
        self.normalize, self.steps = normalize, min(segment_len, input_size, h)
        self.past, self.ahead = input_size // self.steps, -(-h // self.steps)
        self.of_values = nn.Linear(self.steps * in_channels, d_item, bias=False)
        self.of_covariates = nn.Linear(self.steps * n_covariates, d_item)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([4 * d_item, *att_hidden]):
            layers += [nn.Linear(inputs, outputs), Dice(outputs) if activation == "dice" else nn.ReLU()]
        self.weigh = nn.Sequential(*layers, nn.Linear(att_hidden[-1] if att_hidden else 4 * d_item, 1))
        self.out = nn.Linear(2 * d_item * self.ahead, d_model)

    def segments(
        self, x: Window, covariates: Covariates, mask: Mask | None = None
    ) -> tuple[Items, Bool[Tensor, "batch n"], Candidates]:
        """The past segments, whether anything was observed in each, and the segments ahead."""
        seen = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
        first = self.input_size - self.past * self.steps
        starts = [first + self.steps * at for at in range(self.past)]
        ends = [self.input_size + min(self.steps * (at + 1), self.h) for at in range(self.ahead)]
        past, known = _cut(torch.where(seen, x, 0.0), starts, self.steps), _cut(covariates, starts, self.steps)
        ahead = _cut(covariates, [end - self.steps for end in ends], self.steps)
        items = self.of_values(past.flatten(2)) + self.of_covariates(known.flatten(2))
        return items, _cut(seen, starts, self.steps).flatten(2).any(2), self.of_covariates(ahead.flatten(2))

    def weights(
        self, candidates: Candidates, items: Items, there: Bool[Tensor, "batch n"]
    ) -> Float[Tensor, "batch s n"]:
        """How much of each item each candidate takes; 0 of one that is not there."""
        v, e = torch.broadcast_tensors(candidates[:, :, None], items[:, None])
        scores = self.weigh(torch.cat([v, e, v - e, v * e], -1))[..., 0]
        if self.normalize:
            scores = scores.masked_fill(~there[:, None], torch.finfo(scores.dtype).min).softmax(-1)
        return torch.where(there[:, None], scores, 0.0)

    def attention(self, x: Window, covariates: Covariates, mask: Mask | None = None) -> Float[Tensor, "batch s n"]:
        """How much of each past segment each segment ahead takes."""
        items, there, candidates = self.segments(x, covariates, mask)
        return self.weights(candidates, items, there)

    def interest(
        self, candidates: Candidates, items: Items, there: Bool[Tensor, "batch n"]
    ) -> Candidates:
        """The sum of the items by these weights."""
        return self.weights(candidates, items, there) @ items

    def forward(self, x: Window, covariates: Covariates, mask: Mask | None = None) -> Float[Tensor, "batch d_model"]:
        """The vector of each window."""
        items, there, candidates = self.segments(x, covariates, mask)
        found = self.interest(candidates, items, there)
        found = found if self.normalize else found * self.past**-0.5
        return self.out(torch.cat([found, candidates], -1).flatten(1))


def _cut(x: Tensor, starts: Sequence[int], steps: int) -> Tensor:
    """[batch, segment, step, column] of [batch, time, column]."""
    return torch.stack([x[:, start : start + steps] for start in starts], 1)


def _check(segment_len: int, d_item: int, att_hidden: Sequence[int], activation: str) -> None:
    sizes = {"segment_len": segment_len, "d_item": d_item, "att_hidden": min(att_hidden, default=1)}
    for name, size in sizes.items():
        if size < 1:
            raise ArgumentError(f"{name}={size} leaves nothing to read: give at least 1.")
    if activation not in ("dice", "relu"):
        raise ArgumentError(f'activation={activation!r}: wanted "dice" or "relu".')
