"""JSON as a vector: records with much in common are near each other, and what stands in a field can be read back.

Paper     Gallant (2022), "Orthogonal Matrices for MBAT Vector Symbolic Architectures, and a 'Soft' VSA Representation
          for JSON", arXiv:2202.04771.
Equation  code({k: v, ...}) = norm(sum_k w_k M_k code(v)),   code([x_1, x_2, ...]) = norm(sum_i M_next^i code(x_i))
          code(number) = norm(sum_j exp(-(u (n - 1) - j)^2 / 2) a_j),   u its place in the range of its path, 0 to 1
          code(word), code(true) = atoms;   y = W code + b
Shapes    a record -> [code_dim] -> [d_model]
Units     of no matter: each number is placed in the range that its path has in the records
Differs   The abstract of the paper was read; the rules for mappings, lists, numbers and words are reconstructed. Ranges
          go from the 5th to the 95th percent, of the logarithm where all are above 0 and half of them crowd in the
          lowest quarter; what lies beyond counts as the end. A number where the records have none is placed by asinh.
          Weights of names, by how much their values differ, are ours.
"""

from collections.abc import Mapping, Sequence
from math import asinh, exp, log
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from tsforge.encoders.symbolic.base import SymbolicEncoder
from tsforge.encoders.symbolic.records import (
    ITEM,
    Path,
    check_value,
    leaves_of,
    missing,
    ranges_of,
    weights_of,
)
from tsforge.encoders.symbolic.vsa import VectorAlgebra
from tsforge.errors import ArgumentError
from tsforge.space import Choice, Declared

FAR = asinh(1e6)  # where the scale of numbers without a range ends


class JsonVSAEncoder(SymbolicEncoder):
    """(code_dim + 1) * d_model parameters; the codes are not learned.

    Args:
        records: What is written about each series, by its unique_id.
        code_dim: Width of a code, a power of two; about code_dim / 20 things can be told apart in it.
        arrays: "ordered", or "set": lists are read without their order.
        anchors: Atoms along the range of a number; with more of them near numbers are told apart, and are less alike.
        ngram: Letters of the pieces of a word, so that words are alike that share some; 0 for whole words.
        weigh: Whether names weigh more whose values differ more between records.
        seed: Of atoms and roles.

    Raises:
        ArgumentError: there is no record, `code_dim` is no power of two, another argument cannot be, or a record is no
            JSON: names the path.
    """

    space: ClassVar[Declared] = {"anchors": Choice(4, 8, 16), "ngram": Choice(0, 2, 3), "weigh": Choice(False, True)}

    def __init__(
        self, d_model: int = 64, *, records: Mapping[str, Any] | None = None, code_dim: int = 1024,
        arrays: str = "ordered", anchors: int = 8, ngram: int = 0, weigh: bool = False, seed: int = 0,
    ) -> None:
        _check(arrays, anchors, ngram)
        algebra = VectorAlgebra(code_dim, seed)
        super().__init__(records, d_model, code_dim)
        assert records is not None
        self.algebra = algebra
        self.arrays, self.anchors, self.ngram = arrays, anchors, ngram
        leaves = [dict(leaves_of(record)) for record in records.values()]
        self.ranges = ranges_of(leaves)
        self.weights = weights_of(leaves) if weigh else {}
        self.codes.copy_(self.transform(list(records.values())))

    def transform(self, records: Sequence[Any]) -> Float[Tensor, "record code_dim"]:
        """The codes of records, in float64."""
        return torch.stack([self.code(record) for record in records])

    def code(self, value: Any, path: Path = ()) -> Float[Tensor, " code_dim"]:
        """The code of a value that stands at a path."""
        check_value(value, path)
        if isinstance(value, Mapping):
            return self._mapping(value, path)
        if isinstance(value, list | tuple):
            return self._list(value, path)
        if isinstance(value, bool) or value is None:
            return self.algebra.atom(f"constant {value}")
        return self._word(value) if isinstance(value, str) else self._number(value, path)

    def unbind(self, code: Float[Tensor, " code_dim"], path: Sequence[str | int]) -> Float[Tensor, " code_dim"]:
        """What a code holds at a path, among the noise of all else; a whole number is a place in a list, from 0."""
        code = code.double()
        for step in path:
            if isinstance(step, int):
                for _ in range(step + 1):
                    code = self.algebra.unbind("next", code)
            else:
                code = self.algebra.unbind(f"key {step}", code)
        return code

    def query(
        self, code: Float[Tensor, " code_dim"], path: Sequence[str | int], candidates: Sequence[Any]
    ) -> Float[Tensor, " candidate"]:
        """How alike what a code holds at a path and each of some values are: their cosines."""
        found = self.unbind(code, path)
        at = tuple(ITEM if isinstance(step, int) else step for step in path)
        codes = torch.stack([self.code(candidate, at) for candidate in candidates])
        return codes @ found / found.norm()

    def similarity(self, first: Any, second: Any) -> float:
        """The cosine of two records."""
        return float(self.code(first) @ self.code(second))

    def _mapping(self, value: Mapping[str, Any], path: Path) -> Tensor:
        parts = []
        for key in sorted(key for key, inner in value.items() if not missing(inner)):
            at = (*path, key)
            parts.append(self.weights.get(at, 1.0) * self.algebra.bind(f"key {key}", self.code(value[key], at)))
        return self.algebra.bundle(parts) if parts else self.algebra.atom("empty mapping")

    def _list(self, value: Sequence[Any], path: Path) -> Tensor:
        """What is missing keeps its place."""
        items = [None if missing(inner) else self.code(inner, (*path, ITEM)) for inner in value]
        there = [item for item in items if item is not None]
        if not there:
            return self.algebra.atom("empty list")
        if self.arrays == "set":
            return self.algebra.bundle(there)
        total = torch.zeros_like(there[0])
        for item in reversed(items):
            total = self.algebra.bind("next", total if item is None else total + item)
        return self.algebra.bundle([total])

    def _word(self, word: str) -> Tensor:
        if not self.ngram:
            return self.algebra.atom(f"word {word}")
        framed = f"\x02{word}\x03"
        pieces = [framed[at : at + self.ngram] for at in range(max(1, len(framed) - self.ngram + 1))]
        return self.algebra.bundle([self.algebra.atom(f"piece {piece}") for piece in pieces])

    def _number(self, value: float | int, path: Path) -> Tensor:
        if path in self.ranges:
            low, high, logarithmic = self.ranges[path]
            scaled = (log(value) if value > 0 else low) if logarithmic else float(value)
            share = (scaled - low) / (high - low)
        else:
            share = (asinh(value) / FAR + 1) / 2
        place = min(max(share, 0.0), 1.0) * (self.anchors - 1)
        return self.algebra.bundle([exp(-0.5 * (place - anchor) ** 2) * self.algebra.atom(f"anchor {anchor}")
                                    for anchor in range(self.anchors)])


def _check(arrays: str, anchors: int, ngram: int) -> None:
    if arrays not in ("ordered", "set"):
        raise ArgumentError(f'arrays={arrays!r}: wanted "ordered" or "set".')
    if anchors < 2 or ngram < 0:
        raise ArgumentError(f"anchors={anchors}, ngram={ngram}: give at least 2 and at least 0.")
