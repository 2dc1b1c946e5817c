"""The contract of the family: an encoder of windows in, an encoder of windows of the same output out.

In a recipe `encoder:` inside the wrapper's own arguments names the one inside; the wrapper is handed a function that
makes it, once or several times.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from jaxtyping import Bool, Float
from torch import Tensor

from tsforge.batch import Batch
from tsforge.encoders.base import Encoder
from tsforge.errors import ArgumentError, CapabilityError
from tsforge.layers.pooling import masked_mean

Make = Callable[[], Any]
Window = Float[Tensor, "batch time channel"]
Mask = Bool[Tensor, "batch time channel"] | None
Encoded = Float[Tensor, "batch *time d_model"]
INSIDE = "encoder"  # the argument of every wrapper that says what is inside


class WrapperEncoder(Encoder):
    """An encoder of windows around another: tokens where those inside are tokens, else a vector.

    What a masked cell holds changes nothing, and no window depends on its batch-mates once training is over. From
    Python `encoder` is a function that makes an encoder; as a spec it is one (`{"name": ..., "encoder": "phnn"}`),
    "phnn" unless named.

    Args:
        encoder: Makes the encoder inside, with the weights that torch draws then.
        d_model: Width of what comes out, which is that of the encoder inside.

    Raises:
        ArgumentError: nothing makes the encoder inside, or its width is another.
        CapabilityError: what is inside is no encoder of windows, or is a wrapper.
    """

    reads: ClassVar[Literal["window", "static"]] = "window"
    output: ClassVar[Literal["tokens", "vector"]] = "vector"  # once it is made, that of the inside
    given: ClassVar[tuple[str, ...]] = ()
    inside_default: ClassVar[str] = "phnn"

    def __init__(self, encoder: Make | None, d_model: int) -> None:
        super().__init__(d_model)
        if encoder is None:
            raise ArgumentError(
                f"{type(self).__name__} has nothing inside: give encoder=, a function that makes an encoder of "
                "windows, as lambda: PHCEncoder(in_channels, d_model)."
            )
        first = encoder()
        check_inside(type(self), type(first))
        if first.d_model != d_model:
            raise ArgumentError(
                f"{type(self).__name__}(d_model={d_model}): the encoder inside gives {first.d_model}. Give both the "
                "same width."
            )
        self.encoder, self.makes_tokens = first, type(first).output == "tokens"

    @classmethod
    def given_by(cls, sizes: Mapping[str, Any]) -> dict[str, int]:
        """Nothing: what the data give goes to the encoder inside."""
        return {}

    def forward(self, x: Window, mask: Mask = None) -> Encoded:
        """Tokens [batch, time, d_model] or a vector [batch, d_model] of each window, as the encoder inside gives."""
        raise NotImplementedError(f"{type(self).__name__} has no forward.")

    def pooled(self, x: Window, mask: Mask = None) -> Float[Tensor, "batch d_model"]:
        """One vector for each window: the mean of the tokens of observed steps, or the vector itself."""
        encoded = self(x, mask)
        return masked_mean(encoded, mask) if self.makes_tokens else encoded

    def of_batch(self, batch: Batch) -> Float[Tensor, "batch d_model"]:
        """The look-back of the targets, pooled."""
        return self.pooled(batch.past, batch.past_mask)


def check_inside(outer: type[Encoder], inner: type) -> None:
    """Whether a class may stand inside a wrapper.

    Raises:
        CapabilityError: it is no encoder of windows that can be pooled, or it is a wrapper itself.
    """
    windows = issubclass(inner, Encoder) and inner.reads == "window" and hasattr(inner, "pooled")
    if not windows or issubclass(inner, WrapperEncoder):
        raise CapabilityError(
            f"{outer.__name__} is made around an encoder of windows that reads nothing else, and {inner.__name__} is "
            "none, or a wrapper itself: name one of the families sequence, retrieval or irregular."
        )


def refuse_fitted(outer: Encoder, inner: Encoder, why: str) -> None:
    """Refuses an encoder that is fitted by itself, or that adds to the loss.

    Raises:
        CapabilityError: it is one.
    """
    stated = [name for name in ("fit", "aux_loss") if getattr(type(inner), name) is not getattr(Encoder, name)]
    if stated:
        raise CapabilityError(
            f"{type(outer).__name__}: {type(inner).__name__} states `{stated[0]}`, and {why}. Name an encoder that "
            "learns by gradients alone, such as phnn."
        )
