"""Missing steps take the last observation, however long ago it was: a state of one step."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def carried_on(
    values: Float[Tensor, "batch time channel"], mask: Bool[Tensor, "batch time channel"],
    last: Float[Tensor, "batch channel"],
) -> tuple[Float[Tensor, "batch time channel"], Float[Tensor, "batch channel"]]:
    """The values with each missing step replaced by the last observed one, and that of the last step.

    Args:
        values: Some steps in a row; what stands under a false mask is not read.
        mask: Where they were observed.
        last: What the steps before them left; 0 where nothing was observed yet.
    """
    steps = torch.arange(values.shape[1], device=values.device)[None, :, None].expand(values.shape)
    seen = torch.where(mask, steps, -1).cummax(dim=1).values
    filled = torch.where(seen >= 0, torch.gather(values, 1, seen.clamp(min=0)), last[:, None])
    return filled, filled[:, -1]
