"""The contract of the family: what is written about each series in, one vector out.

Records are an argument: plain mappings, lists, words and numbers, as JSON has them, by the `unique_id` of the series.
They are read once, when the encoder is made. A series that training has not seen is known by its record, if it is among
them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tsforge.batch import Batch
from tsforge.encoders.base import Encoder
from tsforge.errors import ArgumentError
from tsforge.layers.stable_hash import stable_hash


class SymbolicEncoder(Encoder):
    """An encoder of records, each read into a code once, and a learned map of the code.

    The order of the names in a mapping changes nothing, nor does a name with None or NaN. A series without a record has
    a code of zeros. The map has (code_dim + 1) * d_model parameters.

    Args:
        records: By the unique_id of the series; text that is a whole number is the series of that number, too.
        d_model: Width of the vector.
        code_dim: Width of a code.

    Raises:
        ArgumentError: there is no record, or a size is below 1.
    """

    keys: Tensor
    rows: Tensor
    codes: Tensor

    reads: ClassVar[Literal["window", "static"]] = "static"
    output: ClassVar[Literal["tokens", "vector"]] = "vector"
    given: ClassVar[tuple[str, ...]] = ()

    def __init__(self, records: Mapping[str, Any] | None, d_model: int, code_dim: int) -> None:
        super().__init__(d_model)
        if not records:
            raise ArgumentError(
                f'{type(self).__name__} has nothing to read: give records={{"unique_id": {{"name": value}}}}, one for '
                "each series."
            )
        hashes = sorted((key, row) for row, name in enumerate(records) for key in _hashes(name))
        self.register_buffer("keys", torch.tensor([key for key, _ in hashes]), persistent=False)
        self.register_buffer("rows", torch.tensor([row for _, row in hashes]), persistent=False)
        self.register_buffer("codes", torch.zeros(len(records), code_dim))
        self.out = nn.Linear(code_dim, d_model)

    @classmethod
    def given_by(cls, sizes: Mapping[str, Any]) -> dict[str, int]:
        """Nothing: all there is to read is in the records."""
        return {}

    def transform(self, records: Sequence[Any]) -> Float[Tensor, "record code_dim"]:
        """The codes of records, before the learned map."""
        raise NotImplementedError(f"{type(self).__name__} does not say how a record is read.")

    def forward(self, ids: Int[Tensor, "batch n_ids"]) -> Float[Tensor, "batch d_model"]:
        """The vector of each series, whose name is the first of its ids."""
        names = ids[:, 0].contiguous()
        at = torch.searchsorted(self.keys, names).clamp(max=len(self.keys) - 1)
        known = (self.keys[at] == names)[:, None]
        return self.out(torch.where(known, self.codes[self.rows[at]], 0.0))

    def of_batch(self, batch: Batch) -> Float[Tensor, "batch d_model"]:
        """The records of each window's series."""
        assert batch.static_ids is not None
        return self(batch.static_ids)


def _hashes(name: str) -> set[int]:
    """Those that a series of this name may have: of text, and of a whole number that is written so."""
    whole = name.removeprefix("-").isdecimal() and str(int(name)) == name
    return {stable_hash(name)} | ({stable_hash(int(name))} if whole else set())
