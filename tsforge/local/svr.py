"""SVR: support vector regression on lags.

Source    Smola & Schölkopf (2004), "A Tutorial on Support Vector Regression", Statistics and Computing 14; the fit is
          scikit-learn's, of libsvm.
Equation  f(x) = sum_i a_i k(x_i, x) + b;  f minimises |f|^2 / 2 + C sum max(|y - f(x)| - epsilon, 0)
          rbf  k(u, v) = exp(-gamma |u - v|^2)        linear  k(u, v) = u v, so that f(x) = x w + b
Shapes    rbf  support [vector, feature], dual [vector]        linear  weights [feature]        both  bias []
Units     standardised by the training rows of the series
Differs   Sarveswararao & Ravi (2020), arXiv:2008.10365, use it and state no settings.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.svm import SVR as PlainSVR

from tsforge.errors import ArgumentError, ArtifactError
from tsforge.local.base import State
from tsforge.local.regression import LagRegression
from tsforge.local.scaling import require_finite
from tsforge.space import Choice, Declared, Real

AT_ONCE = 1 << 20  # kernel values


class SVR(LagRegression):
    """A support vector machine on lags. Time grows faster than the square of the training rows.

    Args:
        h: Steps ahead.
        season: Steps of one season; None takes that of the frame.
        lags: A number of steps, the lags themselves, `"embedding"`, or None: see LagRegression.
        strategy: `"recursive"` or `"direct"`.
        channels: `"independent"` or `"mixed"`.
        kernel: `"rbf"` or `"linear"`.
        C: Weight of the errors against the smoothness.
        epsilon: Errors up to this many sd of the series cost nothing.
        gamma: Of the rbf kernel, 1 / (2 width^2); None is 1 / (features x their variance), scikit-learn's "scale".
            Not read by the linear one.

    Raises:
        ArgumentError: a number is out of its range, a kernel is unknown, or an argument of the lags has a value that
            cannot work.
    """

    slow: ClassVar[bool] = True

    space: ClassVar[Declared] = {
        "strategy": Choice("recursive", "direct"), "C": Real(0.1, 100.0, log=True),
        "epsilon": Real(0.001, 0.3, log=True),
    }

    def __init__(
        self, h: int, *, season: int | None = None, lags: int | Sequence[int] | str | None = None,
        strategy: str = "recursive", channels: str = "independent", kernel: str = "rbf", C: float | int = 1.0,
        epsilon: float | int = 0.1, gamma: float | int | None = None,
    ) -> None:
        super().__init__(h, season=season, lags=lags, strategy=strategy, channels=channels)
        if kernel not in ("rbf", "linear"):
            raise ArgumentError(f"kernel={kernel!r}: wanted 'rbf' or 'linear'.")
        if not 0 < C < np.inf or not 0 <= epsilon < np.inf:
            raise ArgumentError(f"C={C!r}, epsilon={epsilon!r}: wanted a positive number, and 0 or a positive one.")
        if gamma is not None and not 0 < gamma < np.inf:
            raise ArgumentError(f"gamma={gamma!r}: wanted a positive number, or None.")
        self.kernel, self.C, self.epsilon, self.gamma = kernel, float(C), float(epsilon), gamma

    def learn(self, x: np.ndarray, y: np.ndarray) -> State:
        """rbf: support [vector, feature], dual [vector], gamma [], bias []; linear: weights [feature], bias []."""
        if self.gamma is None:
            variance = float(x.var())
            gamma: Any = 1 / (x.shape[1] * variance) if variance > 0 else 1.0
        else:
            gamma = float(self.gamma)
        found = PlainSVR(kernel=self.kernel, C=self.C, epsilon=self.epsilon, gamma=gamma).fit(x, y)
        bias = {"bias": np.array(float(found.intercept_[0]))}
        if self.kernel == "linear":
            return {"weights": found.coef_[0]} | bias
        return {"support": found.support_vectors_, "dual": found.dual_coef_[0], "gamma": np.array(gamma)} | bias

    def answer(self, x: np.ndarray, learned: State) -> np.ndarray:
        """[row]."""
        if self.kernel == "linear":
            return x @ learned["weights"] + learned["bias"]
        rows = max(1, AT_ONCE // max(1, len(learned["dual"])))
        blocks = (x[i : i + rows] for i in range(0, len(x), rows))
        sums = [_rbf(block, learned["support"], learned["gamma"]) @ learned["dual"] for block in blocks]
        return np.concatenate([*sums, np.empty(0)]) + learned["bias"]

    def check_learned(self, learned: State, features: int) -> None:
        """See LagRegression."""
        require_finite(learned, "bias", ())
        if self.kernel == "linear":
            require_finite(learned, "weights", (features,))
            return
        support = require_finite(learned, "support", (None, features))
        require_finite(learned, "dual", (len(support),))
        if require_finite(learned, "gamma", ()) <= 0:
            raise ArtifactError("The gamma of the kernel is not positive.")


def _rbf(x: np.ndarray, support: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    return np.exp(-gamma * cdist(x, support, "sqeuclidean"))
