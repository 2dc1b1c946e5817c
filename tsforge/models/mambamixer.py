"""MambaMixer (TSM2): selective state spaces along time and along variates, each reading all results before it.

Paper     Behrouz, Santacatterina & Zabih (2024), "MambaMixer: Efficient Selective State Space Models with Dual Token
          and Channel Selection", arXiv:2403.19888 (TSM2, its form for time series).
Equation  x^ = x || Z' || S' along time,   Z' = W_Z mixer(Z) + b_Z,   S' = W_S S + b_S   (covariates, static)
          T_0 = C_0 = W_p patches(x^) + b_p,   and for l = 1 .. n_layers
          T_l = token_l(norm(sum_{i<l} alpha_li T_i + sum_{i<l} beta_li C_i))
          C_l = channel_l(norm(sum_{i<=l} theta_li T_i + sum_{i<l} gamma_li C_i)),   y = W C_last + b
          norm: one mean and variance of a window over variates, patches and features, then a scale and shift by feature
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output]; inside [batch, channel, patch, d_model]
Units     those of the scaled targets; each window is normalised by its own mean and deviation, and the forecast back
Differs   The paper prints no sizes and no initial values. Window normalisation, patches and "per_patch" are those of an
          independent replication, so is "softmax"; the weights of "free" start where each mixer reads the mean of the
          last two (token) or their sum (channel), which is ours; norm's axes are reconstructed. Covariates of a Batch
          belong to the series, so they are scanned once and handed to every variate; those known up to the cutoff
          are 0 over the horizon. A look-back shorter than a patch is filled up in front with 0.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.layers.instance_norm import EPSILON, normalise
from tsforge.layers.mamba import SelectiveChannelMixer, SelectiveSSM, SelectiveTokenMixer
from tsforge.layers.patching import check_patches, cut_patches, patch_count
from tsforge.models.base import Model
from tsforge.space import Choice, Declared, Integer, Real

AVERAGING = ("free", "softmax")
CHANNEL_MIXING = ("per_patch", "flat")


class MambaMixer(Model):
    """Blocks of a token mixer and a channel mixer over patches, with one linear head for all variates.

    With N patches: (patch_len + 1) d_model + (N d_model + 1) h outputs parameters around the blocks. In them
    n_layers (2 n_layers + 3) weights of the averages and, in each, 4 d_model of norms, a `SelectiveTokenMixer` of
    d_model and a `SelectiveChannelMixer` of d_model (N d_model if flat). F covariates over time add a
    `SelectiveChannelMixer` of input_size + h and (F (input_size + h) + 1) input_size; static features add
    (numbers + 1) input_size if there are numbers, and input_size for each code. Both lengthen what is cut into patches.

    Args:
        d_model: Width of a patch.
        d_state: State size of each feature inside a mixer.
        expand: Features inside a mixer for each that enters.
        kernel_size: Steps of the causal convolutions inside a mixer.
        n_layers: Blocks.
        patch_len: Steps of a patch.
        stride: Steps from one patch to the next, and how often the last value is repeated at the end.
        averaging: `"free"`: a mixer reads any weighted sum of the results before it. `"softmax"`: a mean of them.
        channel_mixing: `"per_patch"`: variates are mixed at each patch alike. `"flat"`: with all patches of a variate
            as its features, as published; the weights grow with the square of the look-back.
        dropout: Share of the embedding and of each mixer's result that is dropped in training.
        instance_norm: Normalise each window by its own mean and deviation.

    Raises:
        ArgumentError: a size is below 1, the stride jumps over steps, `dropout` is not in [0, 1), or a word is unknown.
    """

    covariates: ClassVar[tuple[str, ...]] = ("past", "future", "static")

    space: ClassVar[Declared] = {
        "d_model": Choice(16, 32, 64), "d_state": Choice(8, 16, 32), "n_layers": Integer(1, 3),
        "patch_len": Choice(8, 16, 24), "dropout": Real(0.0, 0.3),
    }

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (),
        d_model: int = 32, d_state: int = 16, expand: int = 2, kernel_size: int = 4, n_layers: int = 2,
        patch_len: int = 16, stride: int = 8, averaging: str = "free", channel_mixing: str = "per_patch",
        dropout: float = 0.1, instance_norm: bool = True,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        check_patches(patch_len, stride)
        _check(d_model, n_layers, averaging, channel_mixing, dropout)
        self.patch_len, self.stride, self.instance_norm = patch_len, stride, instance_norm
        sizes = {"d_state": d_state, "expand": expand, "kernel_size": kernel_size}
        known = past_covariates + future_covariates
        self.known = CovariateSummary(known, input_size + h, input_size, sizes) if known else None
        self.numbers = nn.Linear(static_numeric, input_size) if static_numeric else None
        self.codes = nn.ModuleList(nn.Embedding(n, input_size, padding_idx=0) for n in static_cardinalities)
        length = input_size * (1 + bool(known) + bool(static_numeric or static_cardinalities))
        patches = patch_count(length, patch_len, stride)
        self.embedding = nn.Linear(patch_len, d_model)
        self.dropout = nn.Dropout(dropout)
        self.blocks = WeightedAverageStack(
            d_model, patches, n_layers, flat=channel_mixing == "flat", averaging=averaging, dropout=dropout, sizes=sizes
        )
        self.head = nn.Linear(patches * d_model, h * outputs)

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window."""
        x, mean, deviation = normalise(batch.past, batch.past_mask)
        x = self.with_covariates(x if self.instance_norm else batch.past, batch)
        x = self.blocks(self.dropout(self.embedding(cut_patches(x, self.patch_len, self.stride))))
        y = self.head(x.flatten(2)).unflatten(2, (self.h, self.outputs)).transpose(1, 2)
        return y * deviation[..., None] + mean[..., None] if self.instance_norm else y

    def with_covariates(
        self, x: Float[Tensor, "batch lookback channel"], batch: Batch
    ) -> Float[Tensor, "batch channel length"]:
        """Each variate, followed by what covariates and static features say, as if it were time."""
        parts = [x.mT]
        if self.known is not None:
            parts.append(self.known(self._over_time(batch))[:, None].expand_as(x.mT))
        told = [] if self.numbers is None else [self.numbers(batch.static_numeric)]
        if batch.static_categorical is not None:
            told += [code(column) for code, column in zip(self.codes, batch.static_categorical.mT, strict=True)]
        if told:
            parts.append(torch.stack(told).sum(0)[:, None].expand_as(x.mT))
        return torch.cat(parts, -1)

    def _over_time(self, batch: Batch) -> Float[Tensor, "batch window known"]:
        """Past covariates, zero over the horizon, and future covariates."""
        parts = []
        if batch.past_covariates is not None:
            parts.append(F.pad(batch.past_covariates, (0, 0, 0, self.h)))
        if batch.future_covariates is not None:
            parts.append(batch.future_covariates)
        return torch.cat(parts, -1)

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """A, D and the bias of delta without weight decay, which would change the memory; the rest as asked."""
        spaces = [module for module in self.modules() if isinstance(module, SelectiveSSM)]
        free = [weight for space in spaces for weight in (space.A_log, space.D, space.delta.bias)]
        known = {id(weight) for weight in free}
        rest = [weight for weight in self.parameters() if id(weight) not in known]
        return [
            {"params": rest, "lr": learning_rate, "weight_decay": weight_decay},
            {"params": free, "lr": learning_rate, "weight_decay": 0.0},
        ]


class CovariateSummary(nn.Module):
    """Covariates of look-back and horizon as one series: scanned as variates, then one linear map of all steps."""

    def __init__(self, covariates: int, window: int, length: int, sizes: dict[str, int]) -> None:
        super().__init__()
        self.mixer = SelectiveChannelMixer(window, **sizes)
        self.out = nn.Linear(covariates * window, length)

    def forward(self, known: Float[Tensor, "batch window covariate"]) -> Float[Tensor, "batch length"]:
        return self.out(self.mixer(known.mT).flatten(1))


class JointNorm(nn.Module):
    """One mean and variance of a window over all its axes, so that variates keep their relative scale."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(d_model)), nn.Parameter(torch.zeros(d_model))

    def forward(self, x: Float[Tensor, "batch variate patch d_model"]) -> Float[Tensor, "batch variate patch d_model"]:
        return F.layer_norm(x, x.shape[1:], eps=EPSILON) * self.weight + self.bias


class WeightedAverageStack(nn.Module):
    """Token and channel mixers in turn, each reading a weighted sum of the input and of all results before it."""

    def __init__(
        self, d_model: int, patches: int, n_layers: int, *,
        flat: bool, averaging: str, dropout: float, sizes: dict[str, int],
    ) -> None:
        super().__init__()
        self.flat, self.softmax, layers = flat, averaging == "softmax", range(n_layers)
        width = patches * d_model if flat else d_model
        self.token = nn.ModuleList(SelectiveTokenMixer(d_model, **sizes) for _ in layers)
        self.channel = nn.ModuleList(SelectiveChannelMixer(width, **sizes) for _ in layers)
        self.token_norm = nn.ModuleList(JointNorm(d_model) for _ in layers)
        self.channel_norm = nn.ModuleList(JointNorm(d_model) for _ in layers)
        half, one = (0.0, 0.0) if self.softmax else (0.5, 1.0)
        self.token_weights = nn.ParameterList(_last(layer + 1, layer + 1, half) for layer in layers)
        self.channel_weights = nn.ParameterList(_last(layer + 2, layer + 1, one) for layer in layers)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch variate patch d_model"]) -> Float[Tensor, "batch variate patch d_model"]:
        tokens, channels = [x], [x]
        for layer, (token, channel) in enumerate(zip(self.token, self.channel, strict=True)):
            mixed = self._average(self.token_weights[layer], tokens + channels)
            tokens.append(self.dropout(token(self.token_norm[layer](mixed))))
            mixed = self._average(self.channel_weights[layer], tokens + channels)
            channels.append(self.dropout(self._along_variates(channel, self.channel_norm[layer](mixed))))
        return channels[-1]

    def _average(self, weights: Tensor, parts: Sequence[Tensor]) -> Tensor:
        shares = weights.softmax(0) if self.softmax else weights
        return torch.stack([share * part for share, part in zip(shares, parts, strict=True)]).sum(0)

    def _along_variates(self, mixer: nn.Module, x: Tensor) -> Tensor:
        if self.flat:
            return mixer(x.flatten(2)).view_as(x)
        return mixer(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(x), -1)).transpose(1, 2)


def _last(tokens: int, channels: int, value: float) -> nn.Parameter:
    """Weights of so many results of either kind: of the last of each `value`, of those before it 0."""
    weights = torch.zeros(tokens + channels)
    weights[[tokens - 1, -1]] = value
    return nn.Parameter(weights)


def _check(d_model: int, n_layers: int, averaging: str, channel_mixing: str, dropout: float) -> None:
    for name, size in (("d_model", d_model), ("n_layers", n_layers)):
        if size < 1:
            raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least 1.")
    for name, word, known in (("averaging", averaging, AVERAGING), ("channel_mixing", channel_mixing, CHANNEL_MIXING)):
        if word not in known:
            raise ArgumentError(f"{name}={word!r} is not known: give one of {', '.join(map(repr, known))}.")
    if not 0 <= dropout < 1:
        raise ArgumentError(f"dropout={dropout} is not a share: give a number from 0 to below 1.")
