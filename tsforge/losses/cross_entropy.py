"""Cross entropy: minimised by the probabilities of the classes. It judges whole windows: no row of the catalog."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from tsforge.losses.base import Loss


class CrossEntropyLoss(Loss):
    """`-w_y log softmax(scores)_y`.

    Args:
        codes: The classes of the training windows; None weighs all classes alike.
        classes: How many there are.

    With codes w_c is count / (classes * count of c), so that rare classes weigh as much as frequent ones, and the mean
    weight of a training window is 1. A class without a window has weight 0.
    """

    def __init__(self, codes: Int[Tensor, " window"] | None = None, classes: int = 0) -> None:
        self.weights: Tensor | None = None
        if codes is not None:
            counts = torch.bincount(codes, minlength=classes)
            self.weights = torch.where(counts > 0, len(codes) / ((counts > 0).sum() * counts.clamp(min=1)), 0)

    def cells(
        self, output: Float[Tensor, "batch class"], target: Float[Tensor, "batch 1 1"],
    ) -> Float[Tensor, "batch 1 1"]:
        """The loss of each window, whose one cell holds the number of its class."""
        codes = target.flatten().long()
        loss = F.cross_entropy(output, codes, reduction="none")
        if self.weights is not None:
            loss = loss * self.weights.to(output)[codes]
        return loss[:, None, None]
