"""The contract of the family: the coordinates of a series in, one vector out, fitted on values at known places."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from tsforge.batch import Batch
from tsforge.encoders.base import Encoder
from tsforge.errors import ArgumentError

Coordinates = Float[Tensor, "batch p"]
Values = Float[Tensor, " batch"] | None


class FieldEncoder(Encoder):
    """An encoder of places, which never sees a window.

    In a network the coordinates are the static numbers of a series, all of them, and the value at its place is the mean
    of the look-back of its targets, as they are scaled: with `scaler_scope="series"` it is near 0 for each, and says
    only how a window differs from the whole. Of many windows at a place, fitting takes the mean.

    Args:
        n_coordinates: Numbers that say where a place is.
        d_model: Width of the vector.

    Raises:
        ArgumentError: a size is below 1.
    """

    reads: ClassVar[Literal["window", "static"]] = "static"
    output: ClassVar[Literal["tokens", "vector"]] = "vector"
    given: ClassVar[tuple[str, ...]] = ("n_coordinates",)

    def __init__(self, n_coordinates: int, d_model: int) -> None:
        super().__init__(d_model)
        if n_coordinates < 1:
            raise ArgumentError(
                f"{type(self).__name__} reads where a series is, and n_coordinates={n_coordinates}: give at least 1, "
                "in a table as static columns of numbers, such as latitude and longitude."
            )
        self.n_coordinates = n_coordinates

    @classmethod
    def given_by(cls, sizes: Mapping[str, Any]) -> dict[str, int]:
        """The static numbers of a series."""
        return {"n_coordinates": sizes["static_numeric"]}

    def forward(self, coordinates: Coordinates, values: Values = None) -> Float[Tensor, "batch d_model"]:
        """The vector of each place.

        Args:
            coordinates: Where it is.
            values: What is observed there now; NaN where nothing is.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward.")

    def predicted(self, coordinates: Coordinates) -> Float[Tensor, " batch"]:
        """The value at each place, in float64, by what `fit` was given."""
        raise NotImplementedError(f"{type(self).__name__} does not say what the value is.")

    def of_batch(self, batch: Batch) -> Float[Tensor, "batch d_model"]:
        """The place of each window's series, and the mean of the look-back of its targets."""
        assert batch.static_numeric is not None
        seen = torch.where(batch.past_mask, batch.past, 0.0).sum((1, 2))
        return self(batch.static_numeric, seen / batch.past_mask.sum((1, 2)))
