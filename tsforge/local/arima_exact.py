"""The exact likelihood of an ARIMA, by the Kalman filter of statsmodels.

Source    Harvey & Phillips (1979), "Maximum likelihood estimation of regression models with autoregressive-moving
          average disturbances", Biometrika 66; SARIMAX of statsmodels.
Equation  AICc = -2 log L + 2 k + 2 k (k + 1) / (n - k - 1),   k the parameters and the variance, n the observed steps
          less those that differences take
Shapes    y [time], NaN where missing, covariates [time, feature]
Units     those of y
"""

import warnings

import numpy as np
from statsmodels.tsa.statespace.sarimax import SARIMAX

from tsforge.local.arima_search import Candidate, Order, is_far, polynomials, regressors

AR = slice(0, None, 2)  # the autoregressive ones of the four polynomials
EXACT = -30  # of the score per step: a perfect fit, whose likelihood says no more
NEAREST = 1.0001  # to the unit circle that a root of the autoregression is kept


def sarimax(y: np.ndarray, known: np.ndarray, order: Order, m: int, *, estimated: bool) -> SARIMAX:
    """statsmodels' model; constant and drift stand among the regressors, so that a history may begin anywhere.

    Where it is `estimated` the variance is concentrated out, and a complete series is differenced first.
    """
    x = regressors(known, order, len(y))
    seasonal = (order.P, order.D, order.Q, m) if order.P + order.D + order.Q else (0, 0, 0, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SARIMAX(y, exog=x if x.shape[1] else None, order=order[:3], seasonal_order=seasonal,
                       simple_differencing=estimated and not np.isnan(y).any(), concentrate_scale=estimated)


def exact(y: np.ndarray, known: np.ndarray, m: int, start: Candidate, iterations: int) -> Candidate:
    """The maximum of the exact likelihood near a candidate, and its AICc.

    Args:
        y: [time], NaN where missing.
        known: [time, feature].
        m: Steps of one season.
        start: The candidate by conditional least squares.
        iterations: Of the optimiser, at most.
    """
    order = start.order
    if start.score < EXACT * len(y):
        return start
    model = sarimax(y, known, order, m, estimated=True)
    first = np.concatenate([start.slopes, start.coefficients])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if not is_far(start.coefficients, order, 1.0):
            first = model.start_params
        try:
            found = first
            if len(first):
                found = np.asarray(model.fit(first, maxiter=iterations, disp=False, return_params=True))
            likelihood = float(model.loglike(found))
        except np.linalg.LinAlgError:
            return start._replace(score=np.inf)
        if not (np.isfinite(likelihood) and np.isfinite(found).all()):
            return start._replace(score=np.inf)
    slopes, coefficients = found[: len(start.slopes)], found[len(start.slopes) :]
    if not is_far(coefficients, order, NEAREST, AR):  # no constant is known beside a root there
        slopes = start.slopes
    n, k = int((~np.isnan(y)).sum()) - order.d - order.D * m, len(found) + 1
    score = -2 * likelihood + 2 * k + 2 * k * (k + 1) / max(n - k - 1, 1e-9)
    return Candidate(score if is_far(coefficients, order) else np.inf, order, coefficients, slopes)


def stationary(found: Candidate) -> Candidate:
    """The candidate itself, or with the roots of its autoregressions drawn off the unit circle.

    A series that explodes, or repeats without noise, has its maximum on the circle, where the filter has no start.
    """
    while not is_far(found.coefficients, found.order, NEAREST, AR):  # again where a multiple root is found roughly
        parts = np.split(found.coefficients.copy(), np.cumsum(found.order.sizes)[:3])
        for part, polynomial in zip(parts[AR], polynomials(found.coefficients, found.order, 1)[AR], strict=True):
            largest = np.abs(np.roots(polynomial)).max(initial=0.0) * NEAREST**2
            part *= max(largest, 1.0) ** -np.arange(1.0, len(part) + 1)
        found = found._replace(coefficients=np.concatenate(parts))
    return found
