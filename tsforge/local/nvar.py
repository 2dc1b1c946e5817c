"""NVAR: a vector autoregression on products of delayed values, the next-generation reservoir.

Paper     Gauthier, Bollt, Griffith & Barbosa (2021), "Next generation reservoir computing", arXiv:2106.07688.
Equation  y_{t+1} - y_t = W O(x_t),   O = 1, the delayed values, and their products of up to `degree` factors
          W = C O^T (O O^T + r I)^{-1}: one singular value decomposition, then every penalty costs a product
Shapes    x [row, feature] -> O [row, monomial]
Units     standardised by the training rows
Differs   The penalty is relative to the largest squared singular value.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import combinations_with_replacement
from math import comb
from typing import ClassVar

import numpy as np
from scipy.linalg import svd

from tsforge.errors import ArgumentError
from tsforge.local.base import State
from tsforge.local.delays import DelayModel
from tsforge.local.kernel_ar import positive
from tsforge.local.scaling import require_finite
from tsforge.space import Declared, Integer

MOST_MONOMIALS = 3000


class NVAR(DelayModel):
    """Polynomial autoregression of all channels together.

    Args:
        h: Steps ahead.
        delays: Delays in a vector, or several among which validation chooses.
        stride: Steps between them, or several.
        degree: Most factors of a product, 1 (linear) to 4.
        penalty: Ridge relative to the largest squared singular value, or several.

    Raises:
        ArgumentError: `degree` is not 1 to 4, a penalty is not positive, or a number of steps is below 1.
    """

    space: ClassVar[Declared] = {"degree": Integer(1, 3)}

    def __init__(
        self, h: int, *, delays: int | Sequence[int] = (2, 4, 6), stride: int | Sequence[int] = (1, 3),
        degree: int = 2,
        penalty: float | int | Sequence[float | int] = (1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2),
    ) -> None:
        super().__init__(h, delays=delays, stride=stride)
        if degree not in (1, 2, 3, 4):
            raise ArgumentError(f"degree={degree!r}: wanted 1 to 4 factors.")
        self.degree, self.penalty = degree, positive("penalty", penalty)

    def products(self, features: int) -> int:
        """Monomials of so many features."""
        return comb(features + self.degree, self.degree)

    def candidates(self, x: np.ndarray, change: np.ndarray) -> Iterator[State]:
        """Weights for each penalty."""
        yield from self._learned(x, change, self.penalty)

    def again(self, x: np.ndarray, change: np.ndarray, chosen: State) -> State:
        """The same penalty."""
        return next(self._learned(x, change, (float(chosen["penalty"]),)))

    def step(self, learned: State) -> Callable[[np.ndarray], np.ndarray]:
        """[row, feature] -> [row, channel]."""
        return lambda x: monomials(x, self.degree) @ learned["weights"]

    def check_learned(self, learned: State, features: int, channels: int) -> None:
        """See DelayModel."""
        require_finite(learned, "weights", (monomials(np.zeros((1, features)), self.degree).shape[1], channels))
        require_finite(learned, "penalty", ())

    def _learned(self, x: np.ndarray, change: np.ndarray, penalties: Sequence[float]) -> Iterator[State]:
        u, s, vt = svd(monomials(x, self.degree), full_matrices=False, check_finite=False)
        turned = u.T @ change
        for penalty in penalties:
            weights = vt.T @ (turned * (s / (s**2 + penalty * s[0] ** 2))[:, None])
            yield {"weights": weights, "penalty": np.array(float(penalty))}


def monomials(x: np.ndarray, degree: int) -> np.ndarray:
    """[row, monomial]: 1, and every product of up to `degree` columns.

    Raises:
        ArgumentError: there are more than 3000.
    """
    factors = _factors(x.shape[1], degree)
    return np.append(x, np.ones((len(x), 1)), axis=1)[:, factors].prod(axis=-1)


@cache
def _factors(columns: int, degree: int) -> np.ndarray:
    """[monomial, degree] columns; one after the last is a factor of 1."""
    found = list(combinations_with_replacement(range(columns + 1), degree))
    if len(found) > MOST_MONOMIALS:
        raise ArgumentError(
            f"{columns} delayed values have {len(found)} products of up to {degree} factors: take fewer delays, fewer "
            "channels or a smaller degree."
        )
    return np.array(found)
