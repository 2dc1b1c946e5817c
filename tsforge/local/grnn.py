"""GRNN: the general regression network, a mean of the training targets weighted by nearness.

Source    Specht (1991), "A General Regression Neural Network", IEEE Transactions on Neural Networks 2; the same as
          Nadaraya (1964) and Watson (1964).
Equation  f(x) = sum_i w_i y_i / sum_i w_i,   w_i = exp(-|x - x_i|^2 / (2 s^2))
Choice    s by leave-one-out. f without row i, asked at x_i, is the same quotient of sums with w_i struck out of both,
          so one matrix of distances gives the errors of all rows:
              y_i - f_{-i}(x_i) = (y_i - f(x_i)) / (1 - w_i(x_i) / sum_j w_j(x_i))
          Struck out rather than subtracted, it holds for any s: s -> 0 is the nearest row, s -> infinity the mean.
Shapes    x [row, feature] -> [row]
Units     standardised by the training rows of the series
Differs   Sarveswararao & Ravi (2020), arXiv:2008.10365, use it and state no settings. One width for all features;
          where there are more than 1024 training rows, 1024 of them, evenly spread, are left out in turn.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from scipy.spatial.distance import cdist

from tsforge.errors import ArgumentError, ArtifactError
from tsforge.local.base import State
from tsforge.local.regression import LagRegression
from tsforge.local.scaling import require_finite
from tsforge.space import Choice, Declared

BANDWIDTHS = 32  # to choose from
LEFT_OUT = 1024  # rows, at most
AT_ONCE = 1 << 20  # distances


class GRNN(LagRegression):
    """Kernel regression on lags. Its answers stay within the range of the training rows, all of which it keeps.

    Args:
        h: Steps ahead.
        season: Steps of one season; None takes that of the frame.
        lags: A number of steps, the lags themselves, `"embedding"`, or None: see LagRegression.
        strategy: `"recursive"` or `"direct"`.
        channels: `"independent"` or `"mixed"`.
        bandwidth: s, in sd of the features; None chooses by leave-one-out errors among 32 from a quarter of the
            distance of neighbours to four times the largest distance.

    Raises:
        ArgumentError: `bandwidth` is not positive, or an argument of the lags has a value that cannot work.
    """

    slow: ClassVar[bool] = True

    space: ClassVar[Declared] = {"strategy": Choice("recursive", "direct")}

    def __init__(
        self, h: int, *, season: int | None = None, lags: int | Sequence[int] | str | None = None,
        strategy: str = "recursive", channels: str = "independent", bandwidth: float | int | None = None,
    ) -> None:
        super().__init__(h, season=season, lags=lags, strategy=strategy, channels=channels)
        if bandwidth is not None and not 0 < bandwidth < np.inf:
            raise ArgumentError(f"bandwidth={bandwidth!r}: wanted a positive number, or None.")
        self.bandwidth = bandwidth

    def learn(self, x: np.ndarray, y: np.ndarray) -> State:
        """rows [row, feature], targets [row], bandwidth []."""
        bandwidth = self.bandwidth
        if bandwidth is None:
            choices = bandwidths(x)
            bandwidth = choices[int(np.argmin(leave_one_out(x, y, choices)))]
        return {"rows": x, "targets": y, "bandwidth": np.array(float(bandwidth))}

    def answer(self, x: np.ndarray, learned: State) -> np.ndarray:
        """[row]."""
        return np.concatenate([np.empty(0), *(
            _weighted_mean(squares, learned["targets"], float(learned["bandwidth"]))
            for _, squares in _squares(x, learned["rows"])
        )])

    def check_learned(self, learned: State, features: int) -> None:
        """See LagRegression."""
        rows = require_finite(learned, "rows", (None, features))
        require_finite(learned, "targets", (len(rows),))
        if not len(rows) or require_finite(learned, "bandwidth", ()) <= 0:
            raise ArtifactError("There are no rows to weigh, or their bandwidth is not positive.")


def bandwidths(x: np.ndarray) -> np.ndarray:
    """Those to choose from, ascending, for rows [row, feature]."""
    left = _left_out(len(x))
    nearest, largest = [], 0.0
    for rows, squares in _squares(x[left], x):
        largest = max(largest, float(squares.max()))
        squares[np.arange(len(rows)), left[rows]] = np.inf
        nearest.append(squares.min(axis=1))
    largest = largest**0.5
    if largest == 0:
        return np.ones(1)
    usual = float(np.median(np.concatenate(nearest))) ** 0.5
    return np.geomspace(max(usual, 1e-3 * largest) / 4, 4 * largest, BANDWIDTHS)


def leave_one_out(x: np.ndarray, y: np.ndarray, choices: np.ndarray) -> np.ndarray:
    """The mean squared error of each bandwidth, each row being foretold from the others.

    Args:
        x: [row, feature].
        y: [row].
        choices: [bandwidth].

    Returns:
        [bandwidth].
    """
    left, errors = _left_out(len(x)), np.zeros(len(choices))
    for rows, squares in _squares(x[left], x):
        squares[np.arange(len(rows)), left[rows]] = np.inf
        for number, bandwidth in enumerate(choices):
            errors[number] += ((_weighted_mean(squares, y, float(bandwidth)) - y[left[rows]]) ** 2).sum()
    return errors / len(left)


def _left_out(rows: int) -> np.ndarray:
    return np.unique(np.linspace(0, rows - 1, min(rows, LEFT_OUT)).astype(int))


def _squares(x: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Numbers of some rows of x, and their squared distances to all `rows`, a block at a time."""
    block = max(1, AT_ONCE // len(rows))
    for i in range(0, len(x), block):
        part = x[i : i + block]
        yield np.arange(i, i + len(part)), cdist(part, rows, "sqeuclidean")


def _weighted_mean(squares: np.ndarray, y: np.ndarray, bandwidth: float) -> np.ndarray:
    """[row] from squared distances [row, neighbour]; the nearest neighbour counts 1, so that there is always one."""
    with np.errstate(over="ignore"):  # of a tiny bandwidth, whose square may be 0: divided by twice
        weights = np.exp((squares.min(axis=1, keepdims=True) - squares) / bandwidth / bandwidth / 2)
    return weights @ y / weights.sum(axis=1)
