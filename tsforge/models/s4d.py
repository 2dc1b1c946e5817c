"""S4D forecaster: diagonal state-space layers over the look-back and the horizon, all steps read off at once.

Paper     Gu, Gupta, Goel & Re (2022), "On the Parameterization and Initialization of Diagonal State Space Models",
          arXiv:2206.11893. It forecasts nothing; horizon steps as zero inputs are how its parent S4 forecast.
Equation  x = [W past + b, 0] + V covariates,   x <- LayerNorm(x + GLU(mix(GELU(S4D(x)))))   in each layer
          y = head(x at the horizon)
          streaming: the same from the first step of a series on; the states of the layers are kept, and the horizon
          is h zero inputs that start from them; each state fades by exp(-3 / input_size) a step besides
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output]; inside [batch, lookback + h, d_model]
Units     those of the scaled targets; each window is normalised by its own mean and deviation, and the forecast back;
          where it streams, each step by the running ones, and the forecast by those of the last step
Differs   The forecaster is ours, reconstructed from the parent's configuration. The bias b is on in the look-back only:
          it tells observed steps from steps to be forecast, which a zero alone would not.
"""

from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.layers.embedding import StepEmbedding
from tsforge.layers.instance_norm import normalise
from tsforge.layers.last_observed import carried_on
from tsforge.layers.running_norm import running_norm, undone
from tsforge.layers.s4d import DiagonalSSM, S4DLayer, slow_parameters
from tsforge.models.base import Model, State
from tsforge.space import Choice, Declared, Integer, Real

CHANNELS = ("mixed", "independent")
SLOW_LEARNING_RATE = 1e-3  # the most that A, dt and B are given


class S4D(Model):
    """Stacked S4D layers between a linear embedding and a linear head.

    n_layers d_model (3 d_state + 2 d_model + 6) + d_model (c + 1 + covariates) + (d_model + 1) c outputs parameters,
    c = in_channels where they are mixed and 1 where not. Past covariates enter over the look-back, future covariates
    over look-back and horizon.

    Args:
        d_model: Width of the latent series.
        d_state: State size of each of its features, even.
        n_layers: Layers.
        dropout: Share of features dropped in each layer in training, at all steps alike.
        channels: `"mixed"`: one latent series of all channels. `"independent"`: one for each, with the same weights.
        init: Where the eigenvalues start: `"legs"`, `"inv"`, `"lin"` or `"real"`.
        discretisation: `"zoh"` or `"bilinear"`.
        dt_min: Shortest step at the start; the layer remembers about 1 / dt_min steps.
        dt_max: Longest step at the start.
        streaming: A context that grows from the start of the series: `update` then reads new rows at a constant
            cost per step. It trains on windows of `input_size` all the same, and therefore normalisation and states
            look back over about `input_size` steps: what is older would come at a strength never trained.

    Raises:
        ArgumentError: a size is below 1 or `d_state` odd, `dropout` is not in [0, 1), a word is not known, or
            not 0 < dt_min <= dt_max.
    """

    covariates: ClassVar[tuple[str, ...]] = ("past", "future")
    streams: ClassVar[bool] = True
    encoder_takes: ClassVar[Literal["steps", "channel", "window"] | None] = "steps"
    embedding_at: ClassVar[str] = "values"

    space: ClassVar[Declared] = {
        "d_model": Choice(32, 64, 128), "d_state": Choice(32, 64), "n_layers": Integer(1, 4), "dropout": Real(0.0, 0.3),
        "channels": Choice("mixed", "independent"),
    }

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (),
        d_model: int = 64, d_state: int = 64, n_layers: int = 2, dropout: float = 0.1, channels: str = "mixed",
        init: str = "legs", discretisation: str = "zoh", dt_min: float = 1e-3, dt_max: float = 0.1,
        streaming: bool = False,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        _check(n_layers, dropout, channels)
        self.channels, self.streaming = channels, streaming
        width, known = in_channels if channels == "mixed" else 1, past_covariates + future_covariates
        self.values = StepEmbedding(width, d_model)
        self.known = nn.Linear(known, d_model, bias=False) if known else None
        self.layers = nn.ModuleList(
            S4DLayer(
                d_model, d_state, dropout=dropout, init=init, discretisation=discretisation,
                dt_min=dt_min, dt_max=dt_max, memory=input_size if streaming else None,
            )
            for _ in range(n_layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(n_layers))
        self.head = nn.Linear(d_model, width * outputs)
        self.kept = (in_channels // width, d_model, d_state // 2, 2)  # what a layer keeps: [latent, feature, mode, 2]

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window."""
        if self.streaming:
            moments = self.start(len(batch))["moments"]
            x, moments = running_norm(batch.past, batch.past_mask, moments, self.input_size)
            return undone(self._forecast(x, batch), moments)
        x, mean, deviation = normalise(batch.past, batch.past_mask)
        return self._forecast(x, batch) * deviation[..., None] + mean[..., None]

    def start(self, batch_size: int) -> State:
        """Nothing was seen, and all states are 0."""
        zeros = self.head.weight.new_zeros
        layers = {f"layer_{number}": zeros(batch_size, *self.kept) for number in range(len(self.layers))}
        moments = zeros(batch_size, 3, self.in_channels, dtype=torch.float64)
        return {"last": zeros(batch_size, self.in_channels), "moments": moments, **layers}

    def advance(self, batch: Batch, state: State) -> State:
        """The state of each layer after these steps."""
        past, last = carried_on(batch.past, batch.past_mask, state["last"])
        past, moments = running_norm(past, batch.past_mask, state["moments"], self.input_size)
        x = self._with_known(self._embedded(past, batch.past_mask), batch.past_covariates, batch.future_covariates)
        after = {"last": last, "moments": moments}
        systems = [module for module in self.modules() if isinstance(module, DiagonalSSM)]
        for number, (system, layer, norm) in enumerate(zip(systems, self.layers, self.norms, strict=True)):
            before = _complex(state[f"layer_{number}"])
            end = system.advance(x, before)
            after[f"layer_{number}"] = torch.view_as_real(end).unflatten(0, (-1, self.kept[0]))
            x = norm(x + layer(x, before))
        return after

    def ahead(
        self, state: State, future_covariates: Float[Tensor, "batch h f"] | None = None
    ) -> Float[Tensor, "batch h channel output"]:
        """The forecast: h steps of zeros, from these states on."""
        latents, width = len(state["last"]) * self.kept[0], self.kept[1]
        x = self._with_known(state["last"].new_zeros(latents, self.h, width), None, future_covariates)
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            x = norm(x + layer(x, _complex(state[f"layer_{number}"])))
        return undone(self._read(x), state["moments"])

    def _forecast(self, past: Tensor, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        x = F.pad(self._embedded(past, batch.past_mask), (0, 0, 0, self.h))
        x = self._with_known(x, batch.past_covariates, batch.future_covariates)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = norm(x + layer(x))
        return self._read(x[:, -self.h :])

    def _embedded(
        self, past: Float[Tensor, "batch time channel"], mask: Bool[Tensor, "batch time channel"]
    ) -> Float[Tensor, "latent time d_model"]:
        """One latent series for each window, or for each channel of each."""
        if self.channels == "independent":
            past, mask = (part.mT.flatten(0, 1)[..., None] for part in (past, mask))
        return self.values(past, mask)

    def _with_known(
        self, x: Float[Tensor, "latent time d_model"], past: Float[Tensor, "batch lookback p"] | None,
        future: Float[Tensor, "batch time f"] | None,
    ) -> Float[Tensor, "latent time d_model"]:
        """With past covariates, zero after their end, and future covariates."""
        given = past if future is None else future
        if self.known is None or given is None:
            return x
        if past is None:
            past = given.new_zeros(len(given), 0, self.past_covariates)
        past = F.pad(past, (0, 0, 0, x.shape[1] - past.shape[1]))
        known = self.known(past if future is None else torch.cat([past, future], -1))
        return x + known.repeat_interleave(len(x) // len(known), 0)

    def _read(self, x: Float[Tensor, "latent h d_model"]) -> Float[Tensor, "batch h channel output"]:
        y = self.head(x)
        if self.channels == "independent":
            return y.unflatten(0, (-1, self.in_channels)).transpose(1, 2)
        return y.unflatten(-1, (self.in_channels, self.outputs))

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """A, dt and B at a rate of at most 1e-3 and without weight decay; the rest as asked."""
        slow = slow_parameters(self.modules())
        known = {id(parameter) for parameter in slow}
        rest = [parameter for parameter in self.parameters() if id(parameter) not in known]
        return [
            {"params": rest, "lr": learning_rate, "weight_decay": weight_decay},
            {"params": slow, "lr": min(learning_rate, SLOW_LEARNING_RATE), "weight_decay": 0.0},
        ]


def _complex(state: Float[Tensor, "batch latent feature mode 2"]) -> Tensor:
    """[batch * latent, feature, mode]."""
    return torch.view_as_complex(state.flatten(0, 1).contiguous())


def _check(n_layers: int, dropout: float, channels: str) -> None:
    if n_layers < 1:
        raise ArgumentError(f"n_layers={n_layers} leaves nothing to compute: give at least 1.")
    if not 0 <= dropout < 1:
        raise ArgumentError(f"dropout={dropout} is not a share: give a number from 0 to below 1.")
    if channels not in CHANNELS:
        raise ArgumentError(f"channels={channels!r} is not known: give one of {', '.join(map(repr, CHANNELS))}.")
