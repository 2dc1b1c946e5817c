"""KernelAR: kernel ridge regression, the mean of a Gaussian process, on delay vectors, iterated.

Source    Rasmussen & Williams (2006), "Gaussian Processes for Machine Learning", section 2.2, for the regression.
Equation  f(x) = k(x)^T (K + n r I)^{-1} (y_{t+1} - y_t),   with u = |x - x'| / (w m):
          rbf       k(x, x') = exp(-u^2 / 2)
          matern    k(x, x') = (1 + sqrt(5) u + 5 u^2 / 3) exp(-sqrt(5) u), twice differentiable
          m the median distance of delay vectors; K is made once for a width w. A Cholesky factor for each penalty r
          costs 1/18 of the eigenvectors of K, so these pay from some twenty penalties on, or where K + n r I is not
          positive in floating point
Shapes    support [row, feature], weights [row, channel]
Units     w in median distances, r relative to the variance of the function
"""

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigh
from scipy.spatial.distance import cdist

from tsforge.errors import ArgumentError, ArtifactError
from tsforge.local.base import State
from tsforge.local.delays import DelayModel
from tsforge.local.scaling import require_finite
from tsforge.space import Choice, Declared


class KernelAR(DelayModel):
    """Kernel autoregression of all channels together.

    Args:
        h: Steps ahead.
        delays: Delays in a vector, or several among which validation chooses.
        stride: Steps between them, or several.
        width: Width of the kernel in median distances of delay vectors, or several.
        penalty: Ridge relative to the variance of the function, or several; larger ones for noisier series.
        kernel: `"rbf"`, of a function that is smooth throughout, or `"matern"`, of one that may bend.
        max_rows: Rows learned from, the last ones: time grows with their cube, memory with their square.

    Raises:
        ArgumentError: a width or a penalty is not positive, a number of steps is below 1, or the kernel is unknown.
    """

    space: ClassVar[Declared] = {"kernel": Choice("rbf", "matern")}

    def __init__(
        self, h: int, *, delays: int | Sequence[int] = (2, 4, 8), stride: int | Sequence[int] = 1,
        width: float | int | Sequence[float | int] = (0.5, 1.0, 2.0, 4.0),
        penalty: float | int | Sequence[float | int] = (1e-12, 1e-9, 1e-6, 1e-4, 1e-2, 1e-1),
        kernel: str = "rbf", max_rows: int = 1000,
    ) -> None:
        super().__init__(h, delays=delays, stride=stride)
        if kernel not in KERNELS:
            raise ArgumentError(f"kernel={kernel!r}: wanted {' or '.join(map(repr, KERNELS))}.")
        self.kernel = kernel
        self.width, self.penalty = positive("width", width), positive("penalty", penalty)
        if isinstance(max_rows, bool) or max_rows < 8:
            raise ArgumentError(f"max_rows={max_rows!r}: wanted a number of rows, 8 or more.")
        self.max_rows = max_rows

    def candidates(self, x: np.ndarray, change: np.ndarray) -> Iterator[State]:
        """A factorisation for each width, and weights for each penalty."""
        for width in self.width:
            yield from self._learned(x, change, width, self.penalty)

    def again(self, x: np.ndarray, change: np.ndarray, chosen: State) -> State:
        """The same width, in medians, and the same penalty."""
        return next(self._learned(x, change, float(chosen["width"]), (float(chosen["penalty"]),)))

    def step(self, learned: State) -> Callable[[np.ndarray], np.ndarray]:
        """[row, feature] -> [row, channel]."""
        support, weights, length = learned["support"], learned["weights"], float(learned["length"])
        return lambda x: self._between(x, support, length) @ weights

    def check_learned(self, learned: State, features: int, channels: int) -> None:
        """See DelayModel."""
        support = require_finite(learned, "support", (None, features))
        require_finite(learned, "weights", (len(support), channels))
        if not all(require_finite(learned, name, ()) > 0 for name in ("width", "penalty", "length")):
            raise ArtifactError("A width or penalty that was learned is not positive.")

    def _learned(
        self, x: np.ndarray, change: np.ndarray, width: float, penalties: Sequence[float]
    ) -> Iterator[State]:
        x, change = x[-self.max_rows :], change[-self.max_rows :]
        sample = x[:: max(1, len(x) // 300)]
        median = float(np.median(cdist(sample, sample)))
        length = width * (median if median > 0 else 1.0)
        kernel = self._between(x, x, length)
        for penalty, weights in zip(penalties, _solved(kernel, change, [len(x) * p for p in penalties]), strict=True):
            yield {"support": x, "weights": weights, "length": np.array(length),
                   "width": np.array(float(width)), "penalty": np.array(float(penalty))}

    def _between(self, x: np.ndarray, y: np.ndarray, length: float) -> np.ndarray:
        return KERNELS[self.kernel](cdist(x, y, "sqeuclidean") / length**2)


def _gaussian(squared: np.ndarray) -> np.ndarray:
    return np.exp(squared / -2)


def _matern(squared: np.ndarray) -> np.ndarray:
    far = np.sqrt(5 * squared)
    return (1 + far + far**2 / 3) * np.exp(-far)


KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"rbf": _gaussian, "matern": _matern}
MANY = 20  # penalties from which on eigenvectors are cheaper


def _solved(kernel: np.ndarray, change: np.ndarray, ridges: Sequence[float]) -> Iterator[np.ndarray]:
    """(K + ridge I)^{-1} change for each ridge."""
    if len(ridges) < MANY:
        try:
            yield from [_by_cholesky(kernel, change, ridge) for ridge in ridges]
            return
        except LinAlgError:
            pass
    values, vectors = eigh(kernel, driver="evd", check_finite=False)
    turned = vectors.T @ change
    yield from (vectors @ (turned / (np.maximum(values, 0.0) + ridge)[:, None]) for ridge in ridges)


def _by_cholesky(kernel: np.ndarray, change: np.ndarray, ridge: float) -> np.ndarray:
    lower = kernel.copy()
    lower[np.diag_indices(len(lower))] += ridge
    factor = cho_factor(lower, lower=True, overwrite_a=True, check_finite=False)
    return np.ascontiguousarray(cho_solve(factor, change, check_finite=False))  # as it is read back from a run


def positive(name: str, given: float | int | Sequence[float | int]) -> tuple[float, ...]:
    """One number or several, as a tuple.

    Raises:
        ArgumentError: one is not positive.
    """
    numbers = (given,) if isinstance(given, float | int) else tuple(given)
    if not numbers or not all(0 < number < np.inf for number in numbers):
        raise ArgumentError(f"{name}={given!r}: wanted a positive number, or several to choose from.")
    return tuple(float(number) for number in numbers)
