"""Dice: a unit that bends where its inputs lie, and not at 0.

Paper     Zhou et al. (2018), "Deep Interest Network for Click-Through Rate Prediction", KDD, arXiv:1706.06978.
Equation  p = sigmoid((s - E s) / sqrt(Var s + eps)),   y = p s + (1 - p) alpha s
Shapes    [..., width] -> the same;   alpha [width]
Differs   Mean and variance are over all axes but the last: those of the batch in training, the running ones after it.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class Dice(nn.Module):
    """`width` parameters, which start at 0.

    Args:
        width: Units.
        eps: Added to their variance.
    """

    def __init__(self, width: int, eps: float = 1e-8) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(width))
        self.norm = nn.BatchNorm1d(width, eps=eps, affine=False)

    def forward(self, s: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """The bent inputs."""
        rows = s.reshape(-1, s.shape[-1])
        if self.training and len(rows) == 1:  # it has no variance: the running one is taken
            norm = F.batch_norm(rows, self.norm.running_mean, self.norm.running_var, eps=self.norm.eps)
        else:
            norm = self.norm(rows)
        p = norm.sigmoid().view_as(s)
        return p * s + (1 - p) * self.alpha * s
