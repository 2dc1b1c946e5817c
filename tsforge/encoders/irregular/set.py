"""Order matters: a set of observations is read several times over, each reading asked for by the ones before.

Paper     Vinyals, Bengio & Kudlur (2016), "Order Matters: Sequence to Sequence for Sets", ICLR, arXiv:1511.06391.
Equation  m_i = MLP(age_i, waves of age_i, E[channel_i], value_i, log gap_i)
          q_t = LSTM(q*_{t-1}),   a_t = softmax over i of m_i' q_t,   r_t = sum_i a_ti m_i,   q*_t = [q_t r_t]
          y = W q*_n_steps + b,   q*_0 = 0
Shapes    a set of n observations -> [batch, d_model];   m [batch, n, hidden]   q* [batch, 2 hidden]
Units     ages and gaps are shares of the greatest age in training, `input_size` before `fit`; values are scaled.
Differs   Reading and processing are the paper's, recalled from it. What an observation is, the waves and the gap are
          ours: the gap is the time since the observation before of the same channel, the same for those of one moment,
          so it is a function of the set. There is no writing of a sequence; `matched_loss`, for targets that are sets,
          takes the best order exactly where the paper searches for one.
"""

from math import pi
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tsforge.encoders.irregular.base import IrregularEncoder, Observations
from tsforge.errors import ArgumentError
from tsforge.space import Choice, Declared, Integer

SHORT = 1e-3  # share of the span that is added to a gap before its logarithm


class SetEncoder(IrregularEncoder):
    """Parameters, with h = hidden and f = 2 time_freqs + channel_dim + 3 numbers of an observation:

    channels * channel_dim of the table, (f + 1) h + (h + 1) h of the perceptron, 12 h^2 + 8 h of the LSTM and
    (2 h + 1) * d_model of the map out.

    Args:
        hidden: Width of what is read of an observation.
        n_steps: Readings of the set.
        time_freqs: Waves of the age, the first half a turn over the span and each twice as fast as the one before.
        channel_dim: Numbers that say which channel it is.

    Raises:
        ArgumentError: a size is below 1; `time_freqs` may be 0.
    """

    span: Tensor

    space: ClassVar[Declared] = {"hidden": Choice(32, 64, 128), "n_steps": Integer(1, 8), "time_freqs": Integer(2, 8)}

    def __init__(
        self, in_channels: int, input_size: int, d_model: int = 64, *, hidden: int = 64, n_steps: int = 4,
        time_freqs: int = 6, channel_dim: int = 8,
    ) -> None:
        super().__init__(in_channels, input_size, d_model)
        sizes = {"hidden": (hidden, 1), "n_steps": (n_steps, 1), "time_freqs": (time_freqs, 0),
                 "channel_dim": (channel_dim, 1)}
        for name, (size, least) in sizes.items():
            if size < least:
                raise ArgumentError(f"{name}={size} leaves nothing to read: give at least {least}.")
        self.n_steps, self.time_freqs = n_steps, time_freqs
        self.channels = nn.Embedding(in_channels, channel_dim)
        self.element = nn.Sequential(
            nn.Linear(2 * time_freqs + channel_dim + 3, hidden), nn.ReLU(), nn.Linear(hidden, hidden)
        )
        self.process = nn.LSTMCell(2 * hidden, hidden)
        self.out = nn.Linear(2 * hidden, d_model)
        self.register_buffer("span", torch.tensor(float(input_size), dtype=torch.float64))

    def fit(self, *inputs: Tensor | None) -> None:
        """What ages are measured by: the greatest of an observation in training.

        Args:
            inputs: Windows, their mask and their times, as `forward` is given them.
        """
        x, mask, times = (*inputs, None, None)[:3]
        assert x is not None
        seen = Observations.of_window(x, mask, times)
        oldest = torch.where(seen.there, seen.age, 0.0).max()
        self.span.fill_(float(oldest) or 1.0)

    def encode(self, observations: Observations) -> Float[Tensor, "batch d_model"]:
        """The vector of each set."""
        return self.out(self.readings(observations)[:, -1])

    def readings(self, observations: Observations) -> Float[Tensor, "batch n_steps width"]:
        """Query and answer of each reading, side by side."""
        memory, there = self.memory(observations), observations.there
        q = c = memory.new_zeros(len(memory), memory.shape[-1])
        asked, found = memory.new_zeros(len(memory), 2 * memory.shape[-1]), []
        for _ in range(self.n_steps):
            q, c = self.process(asked, (q, c))
            asked = torch.cat([q, attended(memory, q, there)], -1)
            found.append(asked)
        return torch.stack(found, 1)

    def memory(self, observations: Observations) -> Float[Tensor, "batch n hidden"]:
        """What is read of each observation by itself, and of when its channel was observed before."""
        there = observations.there
        age = torch.where(there, observations.age, 0.0) / self.span.to(observations.age.dtype)
        value = torch.where(there, observations.value, 0.0)
        channel = torch.where(there, observations.channel, 0)
        turns = pi * age[..., None] * 2.0 ** torch.arange(self.time_freqs, device=age.device)
        gap = (gaps(age, channel, there) + SHORT).log()
        parts = [age[..., None], value[..., None], gap[..., None], turns.sin(), turns.cos(), self.channels(channel)]
        return self.element(torch.cat(parts, -1))


def attended(
    memory: Float[Tensor, "batch n hidden"], query: Float[Tensor, "batch hidden"], there: Bool[Tensor, "batch n"]
) -> Float[Tensor, "batch hidden"]:
    """The mean of a memory by softmax of its inner products with a query; 0 of a memory with nothing in it."""
    scores = torch.where(there, (memory * query[:, None]).sum(-1), torch.finfo(memory.dtype).min)
    weights = torch.where(there, scores.softmax(-1), 0.0)
    return (weights[..., None] * memory).sum(1)


def gaps(
    age: Float[Tensor, "batch n"], channel: Tensor, there: Bool[Tensor, "batch n"]
) -> Float[Tensor, "batch n"]:
    """How much older the next older observation of the same channel is; 1 where there is none."""
    if not age.shape[1]:
        return age
    order = age.argsort(dim=-1, descending=True, stable=True)
    group = torch.where(there, channel, -1)
    order = order.gather(1, group.gather(1, order).argsort(dim=-1, stable=True))  # by channel, the oldest first
    a, g = age.gather(1, order), group.gather(1, order)
    same = torch.zeros_like(there)
    same[:, 1:] = g[:, 1:] == g[:, :-1]
    before = a.roll(1, 1)
    tied = same & (a == before)
    gap = torch.where(same, before - a, 1.0)
    place = torch.arange(a.shape[1], device=a.device).expand_as(order)
    first = torch.where(tied, 0, place).cummax(-1).values  # those of one moment have the gap of the first of them
    return torch.zeros_like(age).scatter(1, order, gap.gather(1, first))


def matched_loss(
    found: Float[Tensor, "batch k width"], target: Float[Tensor, "batch k width"],
    there: Bool[Tensor, "batch k"] | None = None,
) -> Float[Tensor, " batch"]:
    """The mean squared error of two sets in the order of the targets that makes it least.

    Args:
        found: What a network says.
        target: Targets, in any order.
        there: Which targets there are; what is said beyond their number is not judged.
    """
    from scipy.optimize import linear_sum_assignment

    there = torch.ones_like(target[..., 0], dtype=torch.bool) if there is None else there
    costs = (found[:, :, None] - target[:, None]).square().mean(-1)  # [batch, found, target]
    losses = []
    for cost, those in zip(costs, there, strict=True):
        kept = cost[:, those]
        rows, columns = linear_sum_assignment(kept.detach().double().cpu().numpy())
        losses.append(kept[rows, columns].mean() if len(rows) else cost.sum() * 0)
    return torch.stack(losses)
