"""Analogs: what followed the most similar moments of the past.

Papers    Lorenz (1969), "Atmospheric predictability as revealed by naturally occurring analogues"; simplex projection:
          Sugihara & May (1990), Nature 344; S-map: Sugihara (1994), Phil. Trans. R. Soc. A 348.
Equation  simplex   y_{t+1} - y_t = sum_i w_i (change after neighbour i),   w_i ~ exp(-d_i / d_1), over k neighbours
          S-map     the affine map that fits these changes best under the weights exp(-theta d_i / mean d)
Shapes    x [row, feature] delay vectors -> [row, channel] changes
Units     standardised by the training rows
Differs   Changes are predicted instead of values, and iterated. An S-map looks at `neighbours` vectors, not at all.
          Neighbours at the same distance count by age, the older first.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import numpy as np
from scipy.spatial import KDTree

from tsforge.errors import ArgumentError, ArtifactError
from tsforge.local.base import State
from tsforge.local.delays import DelayModel, whole_numbers
from tsforge.local.scaling import require_finite
from tsforge.space import Choice, Declared

TINY = 1e-9  # singular values below this share of the largest are none: neighbours on a line say nothing across it


class Analogs(DelayModel):
    """Nearest neighbours among the delay vectors of one series.

    Args:
        h: Steps ahead.
        delays: Delays in a vector, or several among which validation chooses.
        stride: Steps between them, or several.
        method: `"smap"` or `"simplex"`.
        neighbours: Neighbours, or several to choose from; an S-map has at least two more than the features of a vector.
        theta: How local the S-map is, 0 (all neighbours count the same) or more, or several to choose from.

    Raises:
        ArgumentError: a word is unknown, `theta` is below 0, or a number is below 1.
    """

    space: ClassVar[Declared] = {"method": Choice("smap", "simplex")}

    def __init__(
        self, h: int, *, delays: int | Sequence[int] = (2, 4, 6), stride: int | Sequence[int] = (1, 3),
        method: str = "smap", neighbours: int | Sequence[int] = (4, 12, 40),
        theta: float | int | Sequence[float | int] = (0.0, 2.0, 6.0),
    ) -> None:
        super().__init__(h, delays=delays, stride=stride)
        if method not in ("smap", "simplex"):
            raise ArgumentError(f"method={method!r}: wanted 'smap' or 'simplex'.")
        self.method, self.neighbours = method, whole_numbers("neighbours", neighbours)
        self.theta = (theta,) if isinstance(theta, float | int) else tuple(theta)
        if not self.theta or not all(0 <= t < np.inf for t in self.theta):
            raise ArgumentError(f"theta={theta!r}: wanted 0, a positive number, or several to choose from.")

    def candidates(self, x: np.ndarray, change: np.ndarray) -> Iterator[State]:
        """Every number of neighbours and, for the S-map, every theta."""
        for k in self.neighbours:
            for theta in self.theta if self.method == "smap" else (0.0,):
                yield {"x": x, "change": change, "k": np.array(k), "theta": np.array(float(theta))}

    def again(self, x: np.ndarray, change: np.ndarray, chosen: State) -> State:
        """The same setting on other rows."""
        return {"x": x, "change": change, "k": chosen["k"], "theta": chosen["theta"]}

    def step(self, learned: State) -> Callable[[np.ndarray], np.ndarray]:
        """[row, feature] -> [row, channel]."""
        vectors, changes, theta = learned["x"], learned["change"], float(learned["theta"])
        tree, smap = KDTree(vectors), self.method == "smap"
        k = min(max(int(learned["k"]), vectors.shape[1] + 2) if smap else int(learned["k"]), len(vectors))

        def step(x: np.ndarray) -> np.ndarray:
            distance, which = nearest(tree, x, k)
            if not smap:
                return _weighted(changes[which], _simplex_weights(distance))
            mean = np.maximum(distance.mean(1, keepdims=True), TINY)
            return _affine(vectors[which] - x[:, None], changes[which], np.exp(-theta * distance / mean))

        return step

    def check_learned(self, learned: State, features: int, channels: int) -> None:
        """See DelayModel."""
        vectors = require_finite(learned, "x", (None, features))
        require_finite(learned, "change", (len(vectors), channels))
        require_finite(learned, "theta", ())
        k = learned.get("k")
        if k is None or k.dtype.kind != "i" or k.ndim or k < 1 or not len(vectors):
            raise ArtifactError("The number of neighbours that was learned is none.")


def nearest(tree: KDTree, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and rows of the k vectors nearest to each x, [row, k]; of equally near ones the earlier first."""
    distance, which = (np.reshape(part, (len(x), k)) for part in tree.query(x, k))
    order = np.lexsort((which, distance), axis=1)
    return np.take_along_axis(distance, order, 1), np.take_along_axis(which, order, 1)


def _simplex_weights(distance: np.ndarray) -> np.ndarray:
    """[row, k]; where a neighbour is the vector itself, only such ones count."""
    first = distance[:, :1]
    return np.where(first > 0, np.exp(-distance / np.where(first > 0, first, 1.0)), distance == 0)


def _weighted(changes: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return (weight[..., None] * changes).sum(1) / weight.sum(1)[:, None]


def _affine(apart: np.ndarray, changes: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """[row, channel]: the value at apart = 0 of the weighted least-squares affine map of [row, k, feature]."""
    design = np.concatenate([np.ones((*apart.shape[:2], 1)), apart], axis=-1) * weight[..., None]
    first = np.linalg.pinv(design, rcond=TINY)[:, :1]  # [row, 1, k]: the row of the constant
    return (first @ (changes * weight[..., None]))[:, 0]
