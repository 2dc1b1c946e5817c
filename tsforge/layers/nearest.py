"""Exact search among many stored vectors, in bounded memory: the k with the largest scores.

Equation  inner   score = <q, s>,          l2   score = -|q - s|^2
Rules     Scores are chosen by in float64; of equal ones the lowest index counts. A score depends on its two vectors
          alone, not on what else is searched. A product of matrices finds those that can be among the k: its rounding
          is at most gamma |q| |s|, gamma = d u / (1 - d u), and all within twice that of the k-th are computed anew.
Shapes    queries [query, d], stored [row, d] in blocks -> scores and indices [query, k]
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsforge.errors import ArgumentError

BLOCK = 1 << 16  # rows of the store in a block
SCORES = 1 << 22  # scores held at a time
CELLS = 1 << 22  # numbers of vectors compared at a time
MEASURES = ("inner", "l2")

Found = tuple[Float[Tensor, "query k"], Int[Tensor, "query k"]]


def blocks(stored: Float[Tensor, "row d"], size: int = BLOCK) -> Iterator[Tensor]:
    """The rows, so many at a time."""
    yield from stored.split(size)


def top_k(
    queries: Float[Tensor, "query d"], stored: Callable[[], Iterable[Tensor]], k: int, measure: str = "inner"
) -> Found:
    """Scores (float64) and indices of the k best rows of each query, the best first; all rows where there are fewer.

    Args:
        queries: What is searched for.
        stored: Gives blocks of rows [row, d] in order, anew at each call; none may have more rows than `SCORES`.
        k: How many.
        measure: "inner" or "l2".

    Raises:
        ArgumentError: the measure is unknown, or k is below 1.
    """
    if measure not in MEASURES or k < 1:
        words = " or ".join(map(repr, MEASURES))
        raise ArgumentError(f"measure={measure!r}, k={k}: wanted {words} and k of 1 or more.")
    best = queries.new_empty((len(queries), 0), dtype=torch.float64), queries.new_empty((len(queries), 0)).long()
    first = 0
    for block in stored():
        rows = max(1, SCORES // max(len(block), 1))
        found = [_of_block(part, block, min(k, len(block)), measure) for part in queries.split(rows)]
        score, index = (torch.cat(parts) for parts in zip(*found, strict=True))
        best = best_of(torch.cat([best[0], score], 1), torch.cat([best[1], index + first], 1), k)
        first += len(block)
    return best


def best_of(score: Float[Tensor, "query c"], index: Int[Tensor, "query c"], k: int) -> Found:
    """The k best of some candidates, the best first, of equal ones the lowest index first."""
    index, order = index.sort(dim=1, stable=True)
    score, order = score.gather(1, order).sort(dim=1, descending=True, stable=True)
    return score[:, :k], index.gather(1, order)[:, :k]


def scores(queries: Float[Tensor, "*#n d"], rows: Float[Tensor, "*#n d"], measure: str) -> Float[Tensor, "*n"]:
    """The score of each pair in float64; each is a sum of its own, in one order."""
    q, s = queries.double(), rows.double()
    return (q * s).sum(-1) if measure == "inner" else -(q - s).square().sum(-1)


def _of_block(queries: Tensor, block: Tensor, k: int, measure: str) -> Found:
    """As `top_k`, of one block."""
    block = block.to(queries.dtype)
    rough = queries @ block.mT
    size, most = queries.norm(dim=1), block.norm(dim=1).amax()
    unit = torch.finfo(queries.dtype).eps
    slack = unit * (queries.shape[1] + 2) * size * most
    if measure == "l2":
        rough = 2 * rough - block.square().sum(1)
        slack = 2 * slack + unit * (queries.shape[1] + 2) * most.square()
    least = rough.topk(k, dim=1).values[:, -1] - 4 * slack
    query, row = (rough >= least[:, None]).nonzero(as_tuple=True)
    step = max(1, CELLS // max(1, queries.shape[1]))
    pairs = [scores(queries[q], block[r], measure) for q, r in zip(query.split(step), row.split(step), strict=True)]
    return _ranked(query, row, torch.cat(pairs), len(queries), k)


def _ranked(query: Tensor, row: Tensor, score: Tensor, count: int, k: int) -> Found:
    """The k best of each query out of a list of pairs, which lie in the order of queries and rows."""
    order = score.argsort(descending=True, stable=True)
    order = order[query[order].argsort(stable=True)]
    many = torch.bincount(query, minlength=count)
    at = (many.cumsum(0) - many)[:, None] + torch.arange(k, device=query.device)
    chosen = order[at]
    return score[chosen], row[chosen]


def funnel(
    queries: Float[Tensor, "query d"], stored: Float[Tensor, "row d"], sizes: Sequence[int], keep: Sequence[int]
) -> Found:
    """The last of `keep` rows by cosine, found by ever longer prefixes: of all by the first size, then of those kept.

    It takes row * sizes[0] + keep[0] * sizes[1] + ... multiplications for a query. Every prefix is brought to length 1.
    """
    def short(rows: Tensor, size: int) -> Tensor:
        return torch.nn.functional.normalize(rows[..., :size], dim=-1)

    first = short(stored, sizes[0])
    score, index = top_k(short(queries, sizes[0]), lambda: blocks(first), keep[0])
    for size, count in zip(sizes[1:], keep[1:], strict=True):
        score = scores(short(queries, size)[:, None], short(stored[index], size), "inner")
        score, index = best_of(score, index, count)
    return score, index
