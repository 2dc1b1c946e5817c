"""BatchFormer: in training the windows of a batch attend to each other, and one head must serve with and without.

Paper     Hou, Yu & Tao (2022), "BatchFormer: Learning to Explore Sample Relationships for Robust Representation
          Learning", CVPR, arXiv:2203.01522; V2, for tokens, arXiv:2204.01254.
Equation  training    [z; z~],   z = encoder(x),   z~ = T(z), T a transformer layer over the windows of the batch
                      loss = (loss(z) + mix loss(z~)) / (1 + mix)
          afterwards  z
Shapes    x [2 batch, time, channel], every window twice -> [2 batch, d_model] or [2 batch, time, d_model] in training
          x [batch, time, channel] -> [batch, d_model] or [batch, time, d_model] afterwards
Units     none: x is scaled before it comes here.
Differs   The module (post-norm, 4 heads, feed-forward of d_model, dropout 0.5, no positions), concatenation and the
          shared head are read in the authors' code. There targets are doubled after the encoder; here the whole batch
          is doubled before the model, for a model reads more of it than the encoder does, and the encoder reads the
          first half alone. Tokens attend across the batch step by step, as in V2; where a model asks for one vector of
          each window, vectors attend. `mix` and its use in forecasting are ours.
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsforge.encoders.wrapper.base import Encoded, Make, Mask, Window, WrapperEncoder
from tsforge.errors import ArgumentError, ShapeError
from tsforge.space import Choice, Declared, Real


class BatchFormerAdapter(WrapperEncoder):
    """The encoder inside, and 6 d_model**2 + 10 d_model parameters a layer that nothing reads once training is over.

    Windows of one batch may overlap in time; batches are drawn from all series, so the more series, the less they do.

    Args:
        encoder: Makes the encoder inside.
        d_model: Width of what comes out, a multiple of `heads`.
        heads: Of the attention over the batch.
        dropout: Share that is dropped in these layers, in training.
        layers: How many of them.
        mix: Weight of the attended windows in the loss; 0 trains the encoder as if it were alone.

    Raises:
        ArgumentError: a size is below 1, `d_model` is no multiple of `heads`, `dropout` is not in [0, 1), or `mix` is
            below 0.
        CapabilityError: what is inside is no encoder of windows.
    """

    space: ClassVar[Declared] = {"dropout": Real(0.1, 0.6), "mix": Choice(0.3, 1.0)}

    def __init__(
        self, encoder: Make | None = None, d_model: int = 64, *, heads: int = 4, dropout: float | int = 0.5,
        layers: int = 1, mix: float | int = 1.0,
    ) -> None:
        super().__init__(encoder, d_model)
        _check(d_model, heads, layers, dropout, mix)
        self.twice = float(mix)
        self.across = nn.ModuleList(
            nn.TransformerEncoderLayer(d_model, heads, d_model, float(dropout)) for _ in range(layers)
        )

    def forward(self, x: Window, mask: Mask = None) -> Encoded:
        """What the encoder gives; in training of the first half, and after it that of the same in company.

        Raises:
            ShapeError: in training, the rows are not every window twice.
        """
        return self._encoded(self.encoder, x, mask)

    def pooled(self, x: Window, mask: Mask = None) -> Float[Tensor, "batch d_model"]:
        """Likewise of one vector for each window, as the encoder pools it."""
        return self._encoded(self.encoder.pooled, x, mask)

    def _encoded(self, encode: Any, x: Tensor, mask: Tensor | None) -> Tensor:
        if not self.training:
            return encode(x, mask)
        if len(x) % 2:
            raise ShapeError(
                f"{type(self).__name__}: {len(x)} windows in training, where each stands twice, in the same order: "
                "give expand_targets(x), or call eval()."
            )
        half = len(x) // 2
        alone = encode(x[:half], None if mask is None else mask[:half])
        return torch.cat([alone, self.attended(alone)])

    def attended(self, z: Encoded) -> Encoded:
        """The windows after attention to each other; tokens attend to those of their own step."""
        inner = z if z.ndim == 3 else z[:, None]
        for layer in self.across:
            inner = layer(inner)  # torch's layers attend over the first axis
        return inner if z.ndim == 3 else inner[:, 0]

    def expand_targets(self, *parts: Tensor) -> tuple[Tensor, ...]:
        """Each tensor twice, row after row: windows, masks, targets or weights of the rows that training sees."""
        return tuple(torch.cat([part, part]) for part in parts)

    def remove(self) -> Any:
        """The encoder inside, which gives in evaluation what this gave."""
        return self.encoder

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Those of the encoder inside, and one of the attention."""
        own = {"params": list(self.across.parameters()), "lr": learning_rate, "weight_decay": weight_decay}
        return [*self.encoder.parameter_groups(learning_rate, weight_decay), own]


def _check(d_model: int, heads: int, layers: int, dropout: float | int, mix: float | int) -> None:
    for name, size in (("heads", heads), ("layers", layers)):
        if size < 1:
            raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least 1.")
    if d_model % heads:
        raise ArgumentError(f"d_model={d_model} is not a multiple of heads={heads}: choose heads among its divisors.")
    if not 0 <= dropout < 1:
        raise ArgumentError(f"dropout={dropout} is not a share: give a number from 0 to below 1.")
    if mix < 0:
        raise ArgumentError(f"mix={mix}: give 0 or more.")
