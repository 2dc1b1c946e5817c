"""The contract of the family: ids and numbers of a series in, one vector out."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from tsforge.batch import Batch
from tsforge.encoders.base import Encoder
from tsforge.errors import ArgumentError


class TabularEncoder(Encoder):
    """An encoder of what is known of a series besides its values.

    Ids are stable hashes (`tsforge.layers.stable_hash`), so a series that was not there in training has them, too. The
    first id is that of the series, the others are those of its static categories.

    Args:
        n_ids: Ids of a row.
        n_numbers: Numbers of a row, standardised.
        d_model: Width of the vector.

    Raises:
        ArgumentError: there is neither an id nor a number, or `d_model` is below 1.
    """

    reads: ClassVar[Literal["window", "static"]] = "static"
    output: ClassVar[Literal["tokens", "vector"]] = "vector"
    given: ClassVar[tuple[str, ...]] = ("n_ids", "n_numbers")

    def __init__(self, n_ids: int, n_numbers: int, d_model: int) -> None:
        super().__init__(d_model)
        if min(n_ids, n_numbers) < 0 or n_ids + n_numbers < 1:
            raise ArgumentError(f"n_ids={n_ids} and n_numbers={n_numbers} leave nothing to read: give at least one.")
        self.n_ids, self.n_numbers = n_ids, n_numbers

    @classmethod
    def given_by(cls, sizes: Mapping[str, Any]) -> dict[str, int]:
        """The name of the series and its static categories; its static numbers."""
        return {"n_ids": 1 + len(sizes["static_cardinalities"]), "n_numbers": sizes["static_numeric"]}

    def forward(
        self, ids: Int[Tensor, "batch n_ids"] | None = None, numbers: Float[Tensor, "batch n_numbers"] | None = None
    ) -> Float[Tensor, "batch d_model"]:
        """The vector of each row; what the encoder was made without may be left out."""
        raise NotImplementedError(f"{type(self).__name__} has no forward.")

    def of_batch(self, batch: Batch) -> Float[Tensor, "batch d_model"]:
        """The ids and static numbers of each window's series."""
        return self(batch.static_ids, batch.static_numeric)


def spared(
    encoder: nn.Module, table: nn.Parameter | None, learning_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Groups for the optimiser in which weight decay leaves a table of ids alone; one group where there is none."""
    rest = [weight for weight in encoder.parameters() if weight is not table]
    groups = [{"params": rest, "lr": learning_rate, "weight_decay": weight_decay}]
    return groups if table is None else [{"params": [table], "lr": learning_rate, "weight_decay": 0.0}, *groups]
