"""Ridge: a linear regression on lags, its penalty chosen by leave-one-out errors.

Source    Hoerl & Kennard (1970), "Ridge Regression", Technometrics 12; the fit is scikit-learn's.
Equation  y = x w + b,   w = argmin |Y - X w - b|^2 + alpha |w|^2
Shapes    x [row, feature] -> [row]
Units     standardised by the training rows of the series
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from sklearn.linear_model import Ridge as PlainRidge
from sklearn.linear_model import RidgeCV

from tsforge.errors import ArgumentError
from tsforge.local.base import State
from tsforge.local.regression import LagRegression
from tsforge.local.scaling import require_finite
from tsforge.space import Choice, Declared

PENALTIES = 10.0 ** np.arange(-6, 5)


class Ridge(LagRegression):
    """A linear forecaster on lags.

    Args:
        h: Steps ahead.
        season: Steps of one season; None takes that of the frame.
        lags: A number of steps, the lags themselves, `"embedding"`, or None: see LagRegression.
        strategy: `"recursive"` or `"direct"`.
        channels: `"independent"` or `"mixed"`.
        alpha: Weight of the penalty; None chooses among 1e-6 ... 1e4 by leave-one-out errors.

    Raises:
        ArgumentError: `alpha` is below 0, or an argument of the lags has a value that cannot work.
    """

    space: ClassVar[Declared] = {"strategy": Choice("recursive", "direct")}

    def __init__(
        self, h: int, *, season: int | None = None, lags: int | Sequence[int] | str | None = None,
        strategy: str = "recursive", channels: str = "independent", alpha: float | int | None = None,
    ) -> None:
        super().__init__(h, season=season, lags=lags, strategy=strategy, channels=channels)
        if alpha is not None and not 0 <= alpha < np.inf:
            raise ArgumentError(f"alpha={alpha!r}: wanted 0, a positive number, or None.")
        self.alpha = alpha

    def learn(self, x: np.ndarray, y: np.ndarray) -> State:
        """weights [feature], bias []."""
        found = RidgeCV(PENALTIES).fit(x, y) if self.alpha is None else PlainRidge(self.alpha).fit(x, y)
        return {"weights": np.asarray(found.coef_), "bias": np.asarray(found.intercept_, dtype=float)}

    def answer(self, x: np.ndarray, learned: State) -> np.ndarray:
        """[row]."""
        return x @ learned["weights"] + learned["bias"]

    def check_learned(self, learned: State, features: int) -> None:
        """See LagRegression."""
        require_finite(learned, "weights", (features,))
        require_finite(learned, "bias", ())
