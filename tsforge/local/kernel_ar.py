"""KernelAR: kernel ridge regression, the mean of a Gaussian process, on delay vectors, iterated.

Source    Rasmussen & Williams (2006), "Gaussian Processes for Machine Learning", section 2.2, for the regression.
Equation  f(x) = k(x)^T (K + n r I)^{-1} (y_{t+1} - y_t),   k(x, x') = exp(-|x - x'|^2 / (2 w^2 m^2))
          m the median distance of delay vectors; K = V diag(e) V^T once for a width w, then every penalty r costs
          a product of matrices
Shapes    support [row, feature], weights [row, channel]
Units     w in median distances, r relative to the variance of the function
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.linalg import eigh
from scipy.spatial.distance import cdist

from tsforge.errors import ArgumentError, ArtifactError
from tsforge.local.base import State
from tsforge.local.delays import DelayModel
from tsforge.local.scaling import require_finite


class KernelAR(DelayModel):
    """Kernel autoregression of all channels together.

    Args:
        h: Steps ahead.
        delays: Delays in a vector, or several among which validation chooses.
        stride: Steps between them, or several.
        width: Width of the kernel in median distances of delay vectors, or several.
        penalty: Ridge relative to the variance of the function, or several; larger ones for noisier series.
        max_rows: Rows learned from, the last ones: time grows with their cube, memory with their square.

    Raises:
        ArgumentError: a width or a penalty is not positive, or a number of steps is below 1.
    """

    def __init__(
        self, h: int, *, delays: int | Sequence[int] = (2, 4, 8), stride: int | Sequence[int] = 1,
        width: float | int | Sequence[float | int] = (0.5, 1.0, 2.0, 4.0),
        penalty: float | int | Sequence[float | int] = (1e-12, 1e-9, 1e-6, 1e-4, 1e-2, 1e-1),
        max_rows: int = 1000,
    ) -> None:
        super().__init__(h, delays=delays, stride=stride)
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
        return lambda x: _kernel(x, support, length) @ weights

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
        values, vectors = eigh(_kernel(x, x, length), driver="evd", check_finite=False, overwrite_a=True)
        turned = vectors.T @ change
        for penalty in penalties:
            weights = vectors @ (turned / (np.maximum(values, 0.0) + len(x) * penalty)[:, None])
            yield {"support": x, "weights": weights, "length": np.array(length),
                   "width": np.array(float(width)), "penalty": np.array(float(penalty))}


def positive(name: str, given: float | int | Sequence[float | int]) -> tuple[float, ...]:
    """One number or several, as a tuple.

    Raises:
        ArgumentError: one is not positive.
    """
    numbers = (given,) if isinstance(given, float | int) else tuple(given)
    if not numbers or not all(0 < number < np.inf for number in numbers):
        raise ArgumentError(f"{name}={given!r}: wanted a positive number, or several to choose from.")
    return tuple(float(number) for number in numbers)


def _kernel(x: np.ndarray, y: np.ndarray, length: float) -> np.ndarray:
    return np.exp(cdist(x, y, "sqeuclidean") / (-2 * length**2))
