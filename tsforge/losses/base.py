"""What every loss is: a number for each cell, and a reading of the outputs."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor


class Loss:
    """Judges outputs cell by cell; the mean over observed cells is taken where all devices are known.

    Attributes:
        outputs: Numbers per cell that a network has to give.
        quantiles: Levels of the outputs, ascending; empty for losses with one output.
    """

    outputs: int = 1
    quantiles: tuple[float, ...] = ()
    point: ClassVar[str] = "mean"  # what the point forecast is: "mean" or "median"

    def cells(
        self, output: Float[Tensor, "batch h channel output"], target: Float[Tensor, "batch h channel"],
    ) -> Float[Tensor, "batch h channel"]:
        """The loss of each cell."""
        raise NotImplementedError(f"{type(self).__name__} has no cells.")
