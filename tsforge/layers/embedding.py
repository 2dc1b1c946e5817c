"""The embeddings of models that take an encoder: what an encoder is put in the place of.

Shapes    input, mask [batch, time, channel] -> [batch, time, d_model] of steps, [batch, channel, d_model] of channels
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

Window = Float[Tensor, "batch time channel"]
Mask = Bool[Tensor, "batch time channel"]


class Embedding(nn.Module):
    """An embedding that knows what an encoder in its place must read and give: `in_channels`, `d_model`."""

    in_channels: int
    d_model: int


class StepEmbedding(Embedding, nn.Linear):
    """Each step by itself, linear in its channels; the mask is not read."""

    def __init__(self, in_channels: int, d_model: int) -> None:
        super().__init__(in_channels, d_model)
        self.in_channels, self.d_model = in_channels, d_model

    def forward(self, input: Window, mask: Mask | None = None) -> Float[Tensor, "batch time d_model"]:
        return super().forward(input)


class CircularEmbedding(Embedding, nn.Conv1d):
    """Each step with its two neighbours, the last step before the first; the mask is not read."""

    def __init__(self, in_channels: int, d_model: int) -> None:
        super().__init__(in_channels, d_model, 3, padding=1, padding_mode="circular", bias=False)
        nn.init.kaiming_normal_(self.weight, mode="fan_in", nonlinearity="leaky_relu")
        self.d_model = d_model

    def forward(self, input: Window, mask: Mask | None = None) -> Float[Tensor, "batch time d_model"]:
        return super().forward(input.mT).mT


class WindowEmbedding(Embedding, nn.Linear):
    """The whole window of each channel, linear in its steps; the mask is not read."""

    def __init__(self, input_size: int, d_model: int) -> None:
        super().__init__(input_size, d_model)
        self.in_channels, self.d_model = 1, d_model

    def forward(self, input: Window, mask: Mask | None = None) -> Float[Tensor, "batch channel d_model"]:
        return super().forward(input.mT)


class ChannelWindows(nn.Module):
    """An encoder of one channel, run on each channel of a window and pooled.

    Args:
        encoder: Its `pooled` gives [batch, d_model] of a window [batch, time, 1].
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Window, mask: Mask | None = None) -> Float[Tensor, "batch channel d_model"]:
        alone = x.mT.flatten(0, 1)[..., None]  # [batch * channel, time, 1]
        seen = None if mask is None else mask.mT.flatten(0, 1)[..., None]
        pooled: Tensor = self.encoder.pooled(alone, seen)  # pyright: ignore[reportCallIssue]
        return pooled.unflatten(0, torch.Size((x.shape[0], x.shape[2])))
