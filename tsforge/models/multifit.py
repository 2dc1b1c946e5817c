"""Multi-FIT: what is known of each channel at each time, missing or not, read by one network for each sampling rate.

Paper     Singh et al. (2019), "Multi-resolution Networks For Flexible Irregular Time Series Modeling (Multi-FIT)",
          arXiv:1905.00125; the equations as recorded of the authors' published program, whose text is not to hand.
Equation  f_jk = [v, mu, m, d] of channel j at time k of its group's grid                   (layers/missingness.py)
          e_jk = W_j [f_jk; f_rk for its supports r] + b_j,   z_k = [e_jk for j in the group]
          o_k = BiLSTM(z)_k,   a = softmax_k(w' o_k),   c_g = sum_k a_k o_k,   0 of a group without observations
          y = last + head([c_1; ..; c_R]),   or of classes, as in the paper: scores = head([c_1; ..; c_R]) of raw values
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output];   f [batch, lookback, channel, 4]
          W [channel, d_model, 4 (s + 1)]   o [batch, lookback, group, 2 hidden]   c [batch, group * 2 hidden]
Units     those of the scaled targets, from the last observation of each channel on; d and the clock are log(1 + grid
          units), or steps of the group's grid
Differs   The paper classifies; to forecast, its head is replaced by one for all steps, and each window is read from
          its last observations on (`anchor`). The grid of a group is the times of the window at which any of its
          channels was observed, and its clock starts there. `clock` tells the network how long before the cutoff each
          time was: f alone says nothing of time where nothing is missing. Groups are found from the gaps in training.
          In the published program of FIT and FIT-V the maps W_j were never registered, so they kept their first, random
          values; here they learn. Its softmax runs over padding too and is renormalised, which is the same.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.layers.channel_groups import ChannelSums, rate_groups, supports_of
from tsforge.layers.direct import DirectHead
from tsforge.layers.masked_lstm import MaskedLSTM
from tsforge.layers.missingness import VIEWS, flexible_inputs, signed_log
from tsforge.models.base import Model
from tsforge.space import Choice, Declared, Integer, Real


class MultiFIT(Model):
    """Flexible inputs, a recurrent network with attention for each sampling rate, and a direct head.

    With C channels, s = min(supports, C - 1) (0 for "fit"), R groups (1 unless "multifit"), D directions, H = hidden:
    C d_model (4 (s + 1) + 1) of the maps, D 4 H (C d_model + R (H + 1)) of the LSTMs, D 4 H R more with `clock`, D H R
    of the attention, and (D H R + 1) h C outputs of the head.

    Args:
        variant: "multifit" reads each group of channels on its own grid; "fitv" all of them on one; "fit" without
            supports too.
        supports: Other channels of its group that each channel is read with: those of the greatest |correlation| in
            training.
        groups: The channels of each group, by number; None finds them by the mean time between observations.
        n_groups: Groups that are looked for, at most: rates less than half as high again are one.
        d_model: Numbers that a channel becomes at each time.
        hidden: Width of each state.
        bidirectional: Read backwards as well.
        delta: Time since the last observation by the clock, or ("count", as in FIT) in steps of the group's grid.
        delta_scale: Times as log(1 + time), or "raw" as in the paper.
        mean: Of the whole window, or of what came up to each step.
        anchor: What is subtracted from the window and added to the forecast: the last observation of each channel, its
            mean, or "none" as in the paper. With "mean" the mean of the whole window is always 0.
        clock: Tell how long before the cutoff each time was; the paper does not.
        dropout: Share of what the groups say that is dropped in training.

    Raises:
        ArgumentError: a size or a word is out of range, or `groups` does not hold every channel once.
    """

    irregular: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("forecast", "classification")
    missing: ClassVar[Literal["filled", "mask"]] = "mask"

    space: ClassVar[Declared] = {
        "supports": Integer(0, 5), "d_model": Choice(8, 16, 32), "hidden": Choice(32, 64, 128),
        "dropout": Real(0.0, 0.3),
    }

    group: Tensor
    support: Tensor

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (), task: str = "forecast", classes: int = 0,
        variant: str = "multifit", supports: int = 3,
        groups: Sequence[Sequence[int]] | None = None, n_groups: int = 2, d_model: int = 16, hidden: int = 64,
        bidirectional: bool = True, delta: str = "time", delta_scale: str = "log", mean: str = "sequence",
        anchor: str = "last", clock: bool = True, dropout: float | int = 0.1,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        _check_words(variant=variant, delta=delta, delta_scale=delta_scale, mean=mean, anchor=anchor)
        _check_sizes(dropout, supports=supports, n_groups=n_groups, d_model=d_model, hidden=hidden)
        of_group = _group_of(groups, in_channels, variant)
        self.delta, self.delta_scale, self.mean, self.anchor = delta, delta_scale, mean, anchor
        self.found = groups is None and variant == "multifit"  # whether training says what the groups are
        self.supports = 0 if variant == "fit" else min(supports, in_channels - 1)
        self.n_groups = 1 if variant != "multifit" else n_groups if groups is None else len(groups)
        self.register_buffer("group", of_group)
        self.register_buffer("support", supports_of(torch.zeros(in_channels, in_channels), of_group, self.supports))
        read, gates = VIEWS * (self.supports + 1), (2 if bidirectional else 1) * 4 * hidden
        self.maps = _uniform(read, in_channels, d_model, read)
        self.offsets = _uniform(read, in_channels, d_model)
        self.inputs = _uniform(hidden, in_channels, d_model, gates)
        self.bias = _uniform(hidden, self.n_groups, gates)
        self.clock = _uniform(hidden, self.n_groups, gates) if clock else None
        self.lstm = MaskedLSTM(self.n_groups, hidden, bidirectional=bidirectional)
        self.attention = _uniform(gates // 4, self.n_groups, gates // 4)
        self.dropout = nn.Dropout(dropout)
        width, self.task = self.n_groups * gates // 4, task
        self.head = DirectHead(width, h, in_channels, outputs) if h else nn.Linear(width, classes)

    def forward(self, batch: Batch) -> Float[Tensor, "batch ..."]:
        """The forecast, or the scores of the classes, of each window; covariates and statics are not read."""
        context, level = self.context(batch)
        answer = self.head(self.dropout(context.flatten(1)))
        return answer if self.task == "classification" else answer + level[..., None]

    def context(self, batch: Batch) -> tuple[Float[Tensor, "batch group state"], Float[Tensor, "batch 1 channel"]]:
        """What each group says of each window, and the levels that the forecasts start from."""
        past, level = self._anchored(batch.past, batch.past_mask)
        states, rows = self.states(past, batch.past_mask, _times(batch))
        scores = (states * self.attention[: states.shape[2]]).sum(-1)
        weights = scores.masked_fill(~rows, torch.finfo(scores.dtype).min).softmax(1) * rows
        context = torch.einsum("btg,btgs->bgs", weights, states)
        return F.pad(context, (0, 0, 0, self.n_groups - context.shape[1])), level  # groups without a channel say 0

    def states(
        self, past: Float[Tensor, "batch lookback channel"], mask: Bool[Tensor, "batch lookback channel"],
        times: Float[Tensor, "batch lookback"],
    ) -> tuple[Float[Tensor, "batch lookback group state"], Bool[Tensor, "batch lookback group"]]:
        """The states of each group that has channels, and which steps are on its grid; other steps mean nothing."""
        member = F.one_hot(self.group, int(self.group.max()) + 1)  # groups without channels come last
        rows = mask.to(past.dtype) @ member.to(past.dtype) > 0
        views = self.views(past, mask, times, rows.index_select(2, self.group))
        embedded = torch.einsum("btcf,cdf->btcd", views, self.maps) + self.offsets
        inputs = self.inputs[:, :, None] * member.to(past.dtype)[:, None, :, None]  # [channel, d_model, group, gate]
        drive = embedded.flatten(2) @ inputs.flatten(0, 1).flatten(1)
        drive = drive.unflatten(-1, inputs.shape[2:]) + self.bias[: inputs.shape[2]]
        if self.clock is not None:
            drive = drive + self._scaled(-times)[..., None, None] * self.clock[: inputs.shape[2]]
        return self.lstm(drive, rows), rows

    def views(
        self, past: Float[Tensor, "batch lookback channel"], mask: Bool[Tensor, "batch lookback channel"],
        times: Float[Tensor, "batch lookback"], grid: Bool[Tensor, "batch lookback channel"],
    ) -> Float[Tensor, "batch lookback channel view"]:
        """f of each channel and of its supports; 0 in the place of a support that there is not."""
        f = flexible_inputs(past, mask, times, grid, delta=self.delta, mean=self.mean)
        f = torch.cat([f[..., :-1], self._scaled(f[..., -1:])], -1)
        beside = f.index_select(2, self.support.clamp(min=0).flatten()).unflatten(2, self.support.shape)
        beside = beside * (self.support >= 0)[..., None].to(f.dtype)
        return torch.cat([f, beside.flatten(3)], -1)

    @torch.no_grad()
    def before_fit(self, batches: Iterable[Batch]) -> None:
        """Finds the groups, unless they are given, and the supports of each channel.

        Args:
            batches: All training windows, gone through once.
        """
        if not (self.found or self.supports):
            return
        sums = ChannelSums(self.in_channels)
        for batch in batches:
            sums.add(batch.past, batch.past_mask, _times(batch))
        group = rate_groups(sums.gaps(), self.n_groups) if self.found else self.group.cpu()
        self.group.copy_(group)
        self.support.copy_(supports_of(sums.correlation().abs(), group, self.supports))

    def _anchored(self, past: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Values from their level on, and the level; a channel of which nothing was observed has level 0."""
        if self.anchor == "none" or self.task == "classification":  # a level may tell classes apart
            return past, torch.zeros_like(past[:, :1])
        if self.anchor == "mean":
            level = (past * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
        else:
            steps = torch.arange(1, mask.shape[1] + 1, device=mask.device)[None, :, None]
            latest = (steps * mask).argmax(1, keepdim=True)
            level = past.gather(1, latest) * mask.gather(1, latest)
        return past - level, level

    def _scaled(self, time: Tensor) -> Tensor:
        return signed_log(time) if self.delta_scale == "log" else time


def _times(batch: Batch) -> Float[Tensor, "batch lookback"]:
    """When each step was, in grid units since the cutoff: a regular frame has one step in each."""
    if batch.times is not None:
        return batch.times
    steps = batch.past.shape[1]
    return torch.arange(1 - steps, 1, device=batch.past.device).to(batch.past.dtype).expand(len(batch), steps)


def _uniform(fan_in: int, *shape: int) -> nn.Parameter:
    """Weights as torch starts those of linear and recurrent layers."""
    return nn.Parameter(torch.empty(*shape).uniform_(-(fan_in**-0.5), fan_in**-0.5))


def _group_of(groups: Sequence[Sequence[int]] | None, channels: int, variant: str) -> Tensor:
    """The group of each channel, 0 where training has yet to say."""
    if groups is None:
        return torch.zeros(channels, dtype=torch.long)
    if variant != "multifit":
        raise ArgumentError(f"groups={groups!r} with variant={variant!r}, which has one group. Leave one of them out.")
    named = [channel for group in groups for channel in group]
    if sorted(named) != list(range(channels)) or not all(len(group) for group in groups):
        raise ArgumentError(
            f"groups={groups!r} does not hold each of {channels} channels once. Give lists of the numbers 0 to "
            f"{channels - 1}, none of them empty."
        )
    return torch.tensor([next(g for g, group in enumerate(groups) if c in group) for c in range(channels)])


WORDS = {"variant": ("multifit", "fitv", "fit"), "delta": ("time", "count"), "delta_scale": ("log", "raw"),
         "mean": ("sequence", "running"), "anchor": ("last", "mean", "none")}


def _check_words(**given: str) -> None:
    for name, word in given.items():
        if word not in WORDS[name]:
            raise ArgumentError(f"{name}={word!r} is not known: give one of {', '.join(map(repr, WORDS[name]))}.")


def _check_sizes(dropout: float | int, **sizes: int) -> None:
    for name, size in sizes.items():
        least = 0 if name == "supports" else 1
        if size < least:
            raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least {least}.")
    if not 0 <= dropout < 1:
        raise ArgumentError(f"dropout={dropout} is not a share: give a number from 0 to below 1.")
