"""Many tokens to one vector."""

from jaxtyping import Bool, Float
from torch import Tensor


def masked_mean(
    tokens: Float[Tensor, "batch time d_model"], mask: Bool[Tensor, "batch time channel"] | None = None
) -> Float[Tensor, "batch d_model"]:
    """The mean of the tokens of steps at which a channel was observed; 0 where nothing was."""
    if mask is None:
        return tokens.mean(1)
    seen = mask.any(-1, keepdim=True).to(tokens.dtype)
    return (tokens * seen).sum(1) / seen.sum(1).clamp(min=1)
