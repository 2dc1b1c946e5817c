"""Conditioned: any neural forecaster, told by encoders what its window or its series is like. No row of the catalog.

Equation  c = [encoder_1(batch) ... encoder_m(batch)],   (g, b) = W c,   r = R c            W and R start at 0
          x' = x + s (g n + b),   n = (x - m) / s the normalised window    (FiLM of n: Perez et al. 2018, 1709.07871)
          y = model(x') + s r
Shapes    c [batch, width]   g, b [batch, 1, channel]   r [batch, h, channel, output]
Units     those of the scaled targets; m, s the mean and the deviation of each window over its observed steps
Differs   The paper modulates hidden features. Here the input alone is, so that every model can be told: of one that
          normalises each window by itself, g stretches the forecast around m and b shifts it by multiples of s. Of one
          that does not, they change what it sees.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tsforge.batch import Batch
from tsforge.errors import CapabilityError
from tsforge.layers.instance_norm import normalise
from tsforge.models.base import Model


class Conditioned(Model):
    """A model between two linear maps of its context that start at 0: before training its forecasts are the model's.

    They have (width + 1) * channels * (2 + h * outputs) parameters, width being that of all encoders together.

    Args:
        model: The forecaster; its card, optimiser groups, `before_fit` and `after_fit` are kept.
        context: Encoders, each with what it `reads`, `d_model` and `of_batch(batch)` -> [batch, d_model].

    Raises:
        CapabilityError: the model streams: a context is of whole windows.
    """

    def __init__(self, model: Model, context: Sequence[nn.Module]) -> None:
        super().__init__(
            model.h, model.input_size, model.in_channels, model.outputs,
            past_covariates=model.past_covariates, future_covariates=model.future_covariates,
            static_numeric=model.static_numeric, static_cardinalities=model.static_cardinalities,
        )
        if model.streaming:
            raise CapabilityError(
                f"{type(model).__name__}(streaming=True) reads a series step by step, and context= reads whole "
                "windows. Leave one of them out."
            )
        for name in Model.__annotations__:
            setattr(self, name, getattr(model, name))
        encoders: list[Any] = list(context)
        self.reads_ids = model.reads_ids or any(encoder.reads == "static" for encoder in encoders)
        self.context, self.model = nn.ModuleList(context), model
        width = sum(encoder.d_model for encoder in encoders)
        self.film = _zero(width, 2 * model.in_channels)
        self.residual = _zero(width, model.h * model.in_channels * model.outputs)

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window."""
        told, residual = self.told(batch)
        return self.model(told) + residual

    def told(self, batch: Batch) -> tuple[Batch, Float[Tensor, "batch h channel output"]]:
        """The batch as the model sees it, and what is added to its forecast."""
        encoders: list[Any] = list(self.context)
        context = torch.cat([encoder.of_batch(batch) for encoder in encoders], -1)
        normalised, _, deviation = normalise(batch.past, batch.past_mask)
        stretch, shift = self.film(context)[:, None].chunk(2, dim=-1)  # [batch, 1, channel] each
        past = batch.past + deviation * (stretch * normalised + shift)
        residual = self.residual(context).unflatten(-1, (self.h, self.in_channels, self.outputs))
        return replace(batch, past=past), deviation[..., None] * residual

    def sample(
        self, batch: Batch, n: int, generators: Sequence[torch.Generator]
    ) -> Float[Tensor, "batch n h channel"]:
        """Those of the model, shifted by the residual of the point."""
        told, residual = self.told(batch)
        return self.model.sample(told, n, generators) + residual[:, None, ..., 0]

    def generate(
        self, length: int, generators: Sequence[torch.Generator]
    ) -> tuple[Float[Tensor, "path length channel"], Int[Tensor, " path"]]:
        """Those of the model alone: what is generated has no context."""
        return self.model.generate(length, generators)

    def critic_parameters(self) -> list[nn.Parameter]:
        """Those of the model."""
        return self.model.critic_parameters()

    def learn(self, batch: Batch) -> tuple[Float[Tensor, "batch h channel output"], Float[Tensor, ""]]:
        """The forecast with its residual, and what the model adds to the loss of its own part."""
        told, residual = self.as_trained(batch)
        outputs, added = self.model.learn(told)
        return outputs + residual, added

    def critic_loss(self, batch: Batch) -> Float[Tensor, ""]:
        """That of the model."""
        return self.model.critic_loss(self.as_trained(batch)[0])

    def after_step(self) -> None:
        """Hands on."""
        self.model.after_step()

    def as_trained(self, batch: Batch) -> tuple[Batch, Float[Tensor, "batch h channel output"]]:
        """The batch as the model sees it in training, of the horizon what the residual leaves."""
        told, residual = self.told(batch)
        future = told.future
        return told if future is None else replace(told, future=future - residual[..., 0]), residual

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Those of the model, and one of encoders and maps."""
        own = [weight for part in (self.context, self.film, self.residual) for weight in part.parameters()]
        group = {"params": own, "lr": learning_rate, "weight_decay": weight_decay}
        return [*self.model.parameter_groups(learning_rate, weight_decay), group]

    def before_fit(self, batches: Iterable[Batch]) -> None:
        """Hands on the windows as the model sees them before training: as they are, and of the horizon all of it."""
        self.model.before_fit(_Told(self, batches))

    def after_fit(self, batches: Iterable[Batch]) -> None:
        """Hands on the windows as the model sees them, and of the horizon what the residual leaves."""
        self.model.after_fit(_Told(self, batches))


class _Told:
    """Batches of a training as the model inside sees them; may be gone through several times, as `batches` may."""

    def __init__(self, network: Conditioned, batches: Iterable[Batch]) -> None:
        self.network, self.batches = network, batches

    def __iter__(self) -> Iterator[Batch]:
        device = self.network.film.weight.device
        for batch in self.batches:
            yield self.network.as_trained(batch.to(device))[0]


def _zero(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
