"""The additive scan as a loop over time."""

import torch
from torch import Tensor


def forward(q: Tensor, k: Tensor, v: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """o, and the state after the last step."""
    outputs = []
    for t in range(k.shape[1]):
        never = (z == float("-inf")) & (k[:, t] == float("-inf"))  # nothing was seen yet
        after = torch.logaddexp(z.masked_fill(never, 0.0), k[:, t]).masked_fill(never, float("-inf"))
        kept, taken = (torch.where(never, 0.0, torch.exp(x - after.masked_fill(never, 0.0))) for x in (z, k[:, t]))
        h = kept[..., None] * h + taken[..., None] * v[:, t, :, None]
        z = after
        outputs.append(torch.einsum("bhi,bhij->bhj", q[:, t], h))
    return torch.stack(outputs, 1) if outputs else v * 1.0, z, h
