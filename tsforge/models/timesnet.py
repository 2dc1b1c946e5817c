"""TimesNet: folds the series by its strongest periods into 2-D maps and convolves those.

Paper     Wu et al. (2023), "TimesNet: Temporal 2D-Variation Modeling for General Time Series Analysis",
          arXiv:2210.02186; embedding and initialisation as in the published code.
Equation  A = mean_channel |rfft(x)|,   f_1..k = arg top-k of A without f = 0,   p_i = T // f_i,   T = input_size + h
          x <- LayerNorm(x + sum_i softmax(A[f])_i unfold(inception(gelu(inception(fold(x, p_i))))))
          imputation, anomaly: T = input_size, the head reads all steps; what is hidden is 0, the mean
          classification: no normalisation;   scores = W flatten(mask gelu(x)) + b
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output]; inside [batch, T, d_model]
Units     those of the scaled targets; each window is normalised by its own mean and deviation, and the forecast back
Differs   The paper takes the periods from the mean amplitude of the batch, so a forecast depends on its batch-mates
          (`periods="batch"`). Here each window has its own (`"window"`), or they are frozen after the fit (`"fixed"`).
"""

from collections.abc import Iterable
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.layers.embedding import CircularEmbedding
from tsforge.layers.folding import Group, amplitudes, find_periods, fold, group, round_up, strongest, unfold
from tsforge.layers.inception import Inception, convolve
from tsforge.layers.instance_norm import normalise
from tsforge.models.base import Model
from tsforge.space import Choice, Declared, Integer, Real

PERIODS = ("window", "batch", "fixed")


class TimesNet(Model):
    """Stacked blocks that convolve the series folded by its strongest periods.

    Covariates enter the embedding over the look-back only, as in the paper: what is known of the horizon is not read.

    Args:
        d_model: Width of the latent series.
        d_ff: Channels between the two inceptions of a block.
        e_layers: Blocks.
        top_k: Periods of a block; there are at most (input_size + h) // 2.
        num_kernels: Kernels of an inception: 1, 3, 5, ... wide.
        dropout: Share of the embedding that is dropped in training.
        periods: Where the periods come from: each `"window"`, the whole `"batch"` as published, or the mean over all
            training windows, `"fixed"` after the fit (`"batch"` until then).

    Raises:
        ArgumentError: a size is below 1, `dropout` is not in [0, 1), or `periods` is none of the three.
    """

    covariates: ClassVar[tuple[str, ...]] = ("past", "future")
    tasks: ClassVar[tuple[str, ...]] = ("forecast", "imputation", "anomaly", "classification")
    encoder_takes: ClassVar[Literal["steps", "channel", "window"] | None] = "steps"
    embedding_at: ClassVar[str] = "embedding.value"

    space: ClassVar[Declared] = {
        "d_model": Choice(16, 32, 64), "d_ff": Choice(16, 32, 64), "e_layers": Integer(1, 3), "top_k": Integer(1, 5),
        "num_kernels": Integer(2, 6), "dropout": Real(0.0, 0.3),
    }

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (), task: str = "forecast", classes: int = 0,
        d_model: int = 16, d_ff: int = 32, e_layers: int = 2, top_k: int = 5, num_kernels: int = 6,
        dropout: float = 0.1, periods: str = "window",
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        _check(dropout, periods, d_model=d_model, d_ff=d_ff, e_layers=e_layers, top_k=top_k, num_kernels=num_kernels)
        self.task, self.periods, self.top_k = task, periods, max(min(top_k, (input_size + h) // 2), 1)
        self.embedding = Embedding(in_channels, past_covariates + future_covariates, input_size, d_model, dropout)
        self.extend = nn.Linear(input_size, input_size + h) if h else None  # over time
        self.blocks = nn.ModuleList(TimesBlock(d_model, d_ff, num_kernels) for _ in range(e_layers))
        self.norm = nn.LayerNorm(d_model)  # one for all layers, as published
        self.dropout = nn.Dropout(dropout)
        classifies = task == "classification"
        self.head = nn.Linear(*((input_size * d_model, classes) if classifies else (d_model, in_channels * outputs)))
        self.frozen: Tensor
        self.register_buffer("frozen", torch.full((e_layers, self.top_k), -1))  # frequencies; -1: not frozen yet

    def forward(self, batch: Batch) -> Float[Tensor, "batch ..."]:
        """What its task asks of each window: the last h steps, or, without a horizon, all of them."""
        if self.task == "classification":
            return self._classify(batch)
        x, mean, deviation = self._normalised(batch)
        x = self._encode(x, batch, len(self.blocks))
        y = self.head(x[:, -self.h :]).unflatten(-1, (self.in_channels, self.outputs))
        return y * deviation[..., None] + mean[..., None]

    def _normalised(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The look-back with its mean and deviation; without a horizon, what is missing is the mean."""
        x, mean, deviation = normalise(batch.past, batch.past_mask)
        return (x, mean, deviation) if self.task == "forecast" else (x * batch.past_mask, mean, deviation)

    def _classify(self, batch: Batch) -> Float[Tensor, "batch class"]:
        """Scores of the classes; steps of which nothing was observed say nothing."""
        x = F.gelu(self._encode(batch.past, batch, len(self.blocks)))
        return self.head((self.dropout(x) * batch.past_mask.any(-1, keepdim=True)).flatten(1))

    def _encode(self, x: Tensor, batch: Batch, layers: int) -> Float[Tensor, "batch T d_model"]:
        """The latent series after the first `layers` blocks."""
        x = self.embedding(x, batch.past_mask, batch.past_covariates, batch.future_covariates)
        if self.extend is not None:
            x = self.extend.weight @ x + self.extend.bias[:, None]
        frozen = self.frozen.tolist() if self.periods == "fixed" and not self.training else ()
        for layer, block in enumerate(self.blocks[:layers]):
            own = frozen[layer] if frozen and frozen[layer][0] > 0 else None
            x = self.norm(block(x, self.top_k, own, shared=self.periods != "window"))
        return x

    @torch.no_grad()
    def after_fit(self, batches: Iterable[Batch]) -> None:
        """Freezes the periods if they are `"fixed"`, layer after layer: the next one's input depends on them.

        Args:
            batches: All training windows, gone through once for each layer: a list or a loader, not a generator.
        """
        if self.periods != "fixed":
            return
        training = self.training
        self.eval()
        self.frozen.fill_(-1)
        for layer in range(len(self.blocks)):
            total = torch.zeros((), dtype=torch.float64, device=self.frozen.device)
            for batch in batches:
                batch = batch.to(self.frozen.device)
                x = batch.past if self.task == "classification" else self._normalised(batch)[0]
                total = total + amplitudes(self._encode(x, batch, layer)).sum(0)
            if not total.ndim:
                raise ArgumentError("after_fit found no windows: give a list or a loader, which is gone through again.")
            self.frozen[layer] = strongest(total, self.top_k)
        self.train(training)


def _check(dropout: float, periods: str, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least 1.")
    if not 0 <= dropout < 1:
        raise ArgumentError(f"dropout={dropout} is not a share: give a number from 0 to below 1.")
    if periods not in PERIODS:
        raise ArgumentError(f"periods={periods!r} is not known: give one of {', '.join(map(repr, PERIODS))}.")


class Embedding(nn.Module):
    """Values (circular convolution of 3 steps, or an encoder), place (sinusoid) and time features, added up."""

    def __init__(self, in_channels: int, features: int, input_size: int, d_model: int, dropout: float) -> None:
        super().__init__()
        self.value = CircularEmbedding(in_channels, d_model)
        self.time = nn.Linear(features, d_model, bias=False) if features else None
        self.dropout = nn.Dropout(dropout)
        self.position: Tensor
        self.register_buffer("position", sinusoid(input_size, d_model), persistent=False)

    def forward(
        self, x: Float[Tensor, "batch lookback channel"], mask: Bool[Tensor, "batch lookback channel"],
        past: Float[Tensor, "batch lookback p"] | None, future: Float[Tensor, "batch window f"] | None,
    ) -> Float[Tensor, "batch lookback d_model"]:
        y = self.value(x, mask) + self.position
        if self.time is not None:
            known = [part[:, : x.shape[1]] for part in (past, future) if part is not None]
            y = y + self.time(torch.cat(known, -1))
        return self.dropout(y)


def sinusoid(steps: int, width: int) -> Float[Tensor, "steps width"]:
    """Sines at even, cosines at odd places, of wavelengths from 2 pi to 2 pi * 1e4 steps."""
    rate = 1e4 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.arange(steps, dtype=torch.float64)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :width].to(torch.get_default_dtype())


class TimesBlock(nn.Module):
    """Folds by each period, runs two inceptions on the map, mixes by the softmax of the amplitudes, adds the input."""

    def __init__(self, d_model: int, d_ff: int, num_kernels: int) -> None:
        super().__init__()
        self.widen = Inception(d_model, d_ff, num_kernels)
        self.narrow = Inception(d_ff, d_model, num_kernels)

    def forward(
        self, x: Float[Tensor, "batch T d_model"], top_k: int, frozen: list[int] | None = None, *, shared: bool = False
    ) -> Float[Tensor, "batch T d_model"]:
        """The block's output; the arguments are those of `find_periods`."""
        periods, weights = find_periods(x, top_k, frozen, shared=shared)
        windows, groups, places = group(periods)
        share = weights.new_zeros(len(windows)).index_add(0, places.flatten(), weights.flatten())
        maps = self._convolve(x.index_select(0, windows), groups, len(x))
        return x.index_add(0, windows, maps * share[:, None, None])

    def _convolve(
        self, x: Float[Tensor, "pair T d_model"], groups: list[Group], batch: int
    ) -> Float[Tensor, "pair T d_model"]:
        """Each pair folded by its period, convolved, and unfolded."""
        widen, narrow, results = self.widen.merged(), self.narrow.merged(), []
        for part, (period, count) in zip(x.split([count for _, count in groups]), groups, strict=True):
            hidden = F.gelu(convolve(fold(part, period, round_up(count, batch)), *widen))
            results.append(unfold(convolve(hidden, *narrow)[:count], x.shape[1]))
        return torch.cat(results)
