"""Which channels belong together, found on training windows: those of one sampling rate, and those that move alike.

Equation  gap_c = sum over windows of (last - first observed time) / sum over windows of (observations - 1)
          groups: the k contiguous classes of log gap with the least squares within, k the largest number, up to the one
          asked for, at which the means of neighbouring classes lie a factor APART or more from each other
          r_ij = correlation over the steps at which both channels i and j were observed
Shapes    past, mask [batch, time, channel]   times [batch, time] -> gaps [channel], correlation [channel, channel]
Units     gaps those of the times; a channel never observed twice in a window has an infinite one
Differs   Singh et al. (2019), arXiv:1905.00125, state the groups of one data set and choose supports by correlation;
          how groups are found is ours. Everything is summed in double precision; a step that lies in several windows
          counts in each.
"""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

APART = 1.5  # a smaller ratio of gaps is no other rate: it comes of what happens to be missing
SAME = 12  # decimals of a correlation that count


class ChannelSums:
    """Sums over windows, from which gaps and correlations follow.

    Args:
        channels: How many.
    """

    def __init__(self, channels: int) -> None:
        self.span = torch.zeros(channels, dtype=torch.float64)
        self.steps = torch.zeros(channels, dtype=torch.float64)
        self.pairs = torch.zeros(4, channels, channels, dtype=torch.float64)  # 1, x_i, x_i^2, x_i x_j where both are

    def add(
        self, past: Float[Tensor, "batch time channel"], mask: Bool[Tensor, "batch time channel"],
        times: Float[Tensor, "batch time"],
    ) -> None:
        """Some more windows; what stands under a false mask is not read."""
        past, mask, times = past.cpu().double(), mask.cpu(), times.cpu().double()[..., None]
        last = torch.where(mask, times, -math.inf).amax(1)
        first = torch.where(mask, times, math.inf).amin(1)
        count = mask.sum(1)
        self.span += torch.where(count > 0, last - first, 0.0).sum(0)
        self.steps += (count - 1).clamp(min=0).sum(0)
        x, seen = torch.where(mask, past, 0.0).flatten(0, 1), mask.flatten(0, 1).double()
        self.pairs += torch.stack([seen.mT @ seen, x.mT @ seen, x.square().mT @ seen, x.mT @ x])

    def gaps(self) -> Float[Tensor, " channel"]:
        """The mean time between observations of each channel."""
        return torch.where(self.steps > 0, self.span / self.steps, math.inf)

    def correlation(self) -> Float[Tensor, "channel channel"]:
        """Of each pair, 0 where either stands still or they never meet."""
        count, total, squares, products = self.pairs
        count = count.clamp(min=1)
        mean = total / count  # [i, j]: of channel i where j was observed too
        variance = squares / count - mean.square()
        moves = variance > 1e-12 * (squares / count)
        scale = (variance * variance.mT).clamp(min=0).sqrt()
        r = (products / count - mean * mean.mT) / torch.where(scale > 0, scale, 1.0)
        return torch.where(moves & moves.mT, r.clamp(-1, 1), 0.0)


def rate_groups(gaps: Float[Tensor, " channel"], n_groups: int) -> Int[Tensor, " channel"]:
    """The group of each channel, 0 the one observed most often; at most `n_groups`.

    Channels of an infinite gap belong to the rarest group.
    """
    known = torch.isfinite(gaps) & (gaps > 0)
    if not known.any():
        return torch.zeros(len(gaps), dtype=torch.long)
    logs = torch.where(known, gaps, gaps[known].max()).double().log().numpy()
    levels, place = np.unique(logs.round(SAME), return_inverse=True)
    weights = np.bincount(place)
    classes = np.zeros(len(levels), dtype=np.int64)
    for k in range(2, n_groups + 1):
        if k > len(levels):
            break
        finer = _classes(levels, weights, k)
        means = np.bincount(finer, weights * levels) / np.bincount(finer, weights)
        if (np.diff(means) >= math.log(APART)).all():
            classes = finer
    return torch.from_numpy(classes[place.ravel()])


def _classes(levels: np.ndarray, weights: np.ndarray, k: int) -> np.ndarray:
    """The class of each of these ascending levels: k contiguous classes with the least weighted squares within."""
    n = len(levels)
    w, s, q = (np.concatenate([[0.0], np.cumsum(weights * levels**power)]) for power in (0, 1, 2))

    def within(start: np.ndarray, end: int) -> np.ndarray:
        """Squares around the mean of the levels from each start up to, not including, the end."""
        return q[end] - q[start] - (s[end] - s[start]) ** 2 / (w[end] - w[start])

    best = np.full((k + 1, n + 1), math.inf)
    cut = np.zeros((k + 1, n + 1), dtype=np.int64)
    best[0, 0] = 0.0
    for many in range(1, k + 1):
        for end in range(many, n + 1):
            starts = np.arange(many - 1, end)
            cost = best[many - 1, starts] + within(starts, end)
            cut[many, end] = starts[cost.argmin()]
            best[many, end] = cost.min()
    classes, end = np.zeros(n, dtype=np.int64), n
    for many in range(k, 0, -1):
        classes[cut[many, end] : end] = many - 1
        end = cut[many, end]
    return classes


def supports_of(
    strength: Float[Tensor, "channel channel"], group: Int[Tensor, " channel"], many: int
) -> Int[Tensor, "channel many"]:
    """The `many` other channels of its group that each goes with most, the strongest first, ties to the lowest.

    Args:
        strength: How much two channels go together, for example |r|.
        group: The group of each channel.
        many: How many; where a group has fewer others, -1 takes the place of the rest.
    """
    strength = strength.double().mul(10**SAME).round()
    others = (group[:, None] == group) & ~torch.eye(len(group), dtype=torch.bool)
    order = torch.where(others, strength, -math.inf).argsort(dim=1, descending=True, stable=True)[:, :many]
    return torch.where(others.gather(1, order), order, -1)
