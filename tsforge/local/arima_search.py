"""The order of an ARIMA, beyond its differences: by AICc over a grid and steps from its best.

Source    Hyndman & Khandakar (2008), "Automatic time series forecasting: the forecast package for R", J. Statistical
          Software 27.
Equation  e = phi(L) Phi(L^m) / (theta(L) Theta(L^m)) w,   w the differenced series less its regression on covariates;
          |e|^2 -> min after the first p + P m steps, by Levenberg-Marquardt with de/dphi_i = -L^i Phi / (theta Theta) w
          and the like;   n log(mean e^2) + 2 k + 2 k (k + 1) / (n - k - 1),   k the parameters and the variance, the
          mean over steps that all orders have, as errors begin at 0 and are too large at first
Shapes    y [time], covariates [time, feature], without missing steps
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

MOST, MOST_SEASONAL = 5, 2
FAR = 1.01  # roots nearer to 1 are refused
ITERATIONS = 30  # of a fit
GRID, SEASONAL_GRID = 3, 2  # orders from 0 that are all tried


class Order(NamedTuple):
    """p, d, q, the seasonal P, D, Q, and whether there is a constant or, after one difference, a drift."""

    p: int
    d: int
    q: int
    P: int = 0
    D: int = 0
    Q: int = 0
    constant: int = 0

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Numbers of coefficients in the order of statsmodels: ar, ma, seasonal ar, seasonal ma."""
        return self.p, self.q, self.P, self.Q


class Candidate(NamedTuple):
    """An order, its AICc, coefficients and those of the regression."""

    score: float
    order: Order
    coefficients: np.ndarray
    slopes: np.ndarray


class Search:
    """Candidates of one series.

    Args:
        y: [time].
        known: [time, feature] covariates.
        m: Steps of one season.
    """

    def __init__(self, y: np.ndarray, known: np.ndarray, m: int) -> None:
        self.y, self.known, self.m = y, known, m
        self.found: dict[Order, Candidate] = {}

    def best(self, like: Order, free: tuple[bool, bool]) -> list[Candidate]:
        """All that were tried, the best first: a grid of low orders, and steps from its best while they help.

        Args:
            like: The differences, and the orders that are not free.
            free: Whether p and q are free, and P and Q.
        """
        low = range(GRID) if free[0] else ()
        seasonal = range(SEASONAL_GRID) if free[1] else ()
        for p, q, P, Q in product(low or (like.p,), low or (like.q,), seasonal or (like.P,), seasonal or (like.Q,)):
            self.candidate(like._replace(p=p, q=q, P=P, Q=Q, constant=int(like.d + like.D < 2)))
        while True:
            tried = sorted(self.found.values(), key=lambda each: each.score)
            steps = [order for order in self.around(tried[0].order, free) if order not in self.found]
            if not steps:
                return tried
            for order in steps:
                self.candidate(order)

    def around(self, at: Order, free: tuple[bool, bool]) -> list[Order]:
        """Orders one step away: one of p, q, P, Q, both of a pair, or the constant."""
        pairs = [(a, b) for a, b in product((-1, 0, 1), repeat=2) if (a, b) != (0, 0)]
        steps = [at._replace(p=at.p + a, q=at.q + b) for a, b in pairs] if free[0] else []
        steps += [at._replace(P=at.P + a, Q=at.Q + b) for a, b in pairs] if free[1] else []
        steps += [at._replace(constant=1 - at.constant)] if at.d + at.D < 2 else []
        most = MOST_SEASONAL if self.m <= 12 else 1
        return [o for o in steps if min(o.sizes) >= 0 and max(o.p, o.q) <= MOST and max(o.P, o.Q) <= most]

    def candidate(self, order: Order) -> Candidate:
        """Fitted by conditional least squares; the score is infinite where it cannot be used."""
        if order not in self.found:
            twice = (order.P and order.p >= self.m) or (order.Q and order.q >= self.m)  # a lag in both parts
            self.found[order] = self._useless(order) if twice else self._fitted(order)
        return self.found[order]

    def _useless(self, order: Order) -> Candidate:
        features = order.constant + self.known.shape[1]
        return Candidate(np.inf, order, np.zeros(sum(order.sizes)), np.zeros(features))

    def _fitted(self, order: Order) -> Candidate:
        x = differenced(regressors(self.known, order, len(self.y)), order, self.m)
        w = differenced(self.y[:, None], order, self.m)[:, 0]
        slopes = np.linalg.lstsq(x, w, rcond=None)[0]
        w, k, burn = w - x @ slopes, sum(order.sizes) + x.shape[1] + 1, order.p + order.P * self.m
        useless = Candidate(np.inf, order, np.zeros(sum(order.sizes)), slopes)
        if len(w) - k - 1 < 1 or len(w) - burn <= max(k, len(w) // 2):
            return useless
        coefficients, e = conditional_fit(w, order, self.m)
        if not is_far(coefficients, order):
            return useless._replace(coefficients=coefficients)
        e = e[max(0, min(GRID + MOST_SEASONAL * self.m, len(w) // 3) - burn) :]
        score = len(w) * np.log(np.mean(e**2) + 1e-20) + 2 * k + 2 * k * (k + 1) / (len(w) - k - 1)
        return Candidate(float(score), order, coefficients, slopes)


def conditional_fit(w: np.ndarray, order: Order, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and errors after the first p + P m steps, from zeros on."""
    burn, at = order.p + order.P * m, np.zeros(sum(order.sizes))
    if not len(at):
        return at, w
    with np.errstate(all="ignore"):
        e, slopes = (part[burn:] for part in _errors(w, at, order, m))
        damping = 1e-3
        for _ in range(ITERATIONS):
            square = slopes.T @ slopes
            step = np.linalg.solve(square + damping * np.diag(np.diag(square)) + 1e-12 * np.eye(len(at)), slopes.T @ e)
            new_e, new_slopes = (part[burn:] for part in _errors(w, at - step, order, m))
            gain = e @ e - new_e @ new_e
            if gain > 0 and np.isfinite(new_slopes).all():  # a step to where errors explode is NaN, or no gain
                at, e, slopes, damping = at - step, new_e, new_slopes, damping / 10
                if gain < 1e-5 * (e @ e):
                    break
            else:
                damping *= 10
    return at, e


def _errors(w: np.ndarray, coefficients: np.ndarray, order: Order, m: int) -> tuple[np.ndarray, np.ndarray]:
    """[time], and their derivatives [time, coefficient]."""
    ar, ma, seasonal_ar, seasonal_ma = polynomials(coefficients, order, m)
    inner = undone(ma, undone(seasonal_ma, w))
    without_ar, without_seasonal = through(seasonal_ar, inner), through(ar, inner)
    e = through(ar, without_ar)
    parts = (without_ar, 1), (undone(ma, e), 1), (without_seasonal, m), (undone(seasonal_ma, e), m)
    slopes = np.zeros((len(w), len(coefficients)))
    column = 0
    for (part, lag), size in zip(parts, order.sizes, strict=True):
        for i in range(1, size + 1):
            slopes[i * lag :, column] = -part[: max(0, len(w) - i * lag)]
            column += 1
    return e, slopes


def through(above: np.ndarray, x: np.ndarray) -> np.ndarray:
    """[time] through a filter of past values, from zeros on."""
    return np.convolve(above, x)[: len(x)] if len(above) > 1 else x


def undone(below: np.ndarray, x: np.ndarray) -> np.ndarray:
    """[time] through the inverse of such a filter."""
    return np.asarray(lfilter([1.0], below, x)) if len(below) > 1 else x


def polynomials(coefficients: np.ndarray, order: Order, m: int) -> list[np.ndarray]:
    """ar, ma, seasonal ar, seasonal ma in powers of the lag."""
    made = []
    for part, sign, lag in zip(np.split(coefficients, np.cumsum(order.sizes)[:3]), (-1, 1, -1, 1), (1, 1, m, m),
                               strict=True):
        polynomial = np.zeros(len(part) * lag + 1)
        polynomial[0], polynomial[lag::lag] = 1.0, sign * part
        made.append(polynomial)
    return made


def is_far(coefficients: np.ndarray, order: Order, distance: float = FAR, which: slice = slice(None)) -> bool:
    """Whether roots lie outside a circle of this radius, the seasonal ones in powers of the season.

    Args:
        coefficients: ar, ma, seasonal ar, seasonal ma.
        order: Their numbers.
        distance: The radius.
        which: Of the four polynomials.
    """
    made = polynomials(coefficients, order, 1)[which]
    return all(bool(np.all(np.abs(np.roots(polynomial)) * distance < 1)) for polynomial in made)


def regressors(known: np.ndarray, order: Order, steps: int) -> np.ndarray:
    """[steps, feature]: the constant, or the drift in units of 100 steps, and covariates."""
    rows = np.arange(steps)
    column = rows[:, None] / 100 if order.d + order.D else np.ones((steps, 1))
    covariates = known[np.minimum(rows, len(known) - 1)] if known.shape[1] else np.zeros((steps, 0))
    return np.concatenate([column, covariates], axis=1) if order.constant else covariates


def differenced(x: np.ndarray, order: Order, m: int) -> np.ndarray:
    """[time - d - D m, column]."""
    for _ in range(order.D):
        x = x[m:] - x[:-m]
    return np.diff(x, order.d, axis=0)
