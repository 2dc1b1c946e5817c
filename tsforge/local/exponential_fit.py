"""Parameters of exponential smoothing by maximum likelihood, and the form by AICc.

Source    Hyndman, Koehler, Snyder & Grose (2002), "A state space framework for automatic forecasting using exponential
          smoothing methods", Int. J. Forecasting 18; variable projection: Golub & Pereyra (1973).
Equation  Additive forms are linear in their initial states x, with errors e = A(L)/B(L) (y - X x):
          A = (1 - phi L)(1 - L^m)
          B = A + L (alpha (1 - phi L) + phi beta) (1 + ... + L^{m-1}) + gamma L^m (1 - phi L)
          so x is a least-squares solution for each weights, and only the weights are searched: |e|^2 -> min.
          Forms that multiply start from the additive ones and are left to statsmodels' optimiser.
Shapes    y [time], without missing steps
Units     those of y; the search divides by its standard deviation
"""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.signal import lfilter
from statsmodels.tsa.exponential_smoothing.ets import ETSModel

from tsforge.local.exponential import WORDS, Form, Smoother, has_weight

LOW, HIGH = np.array([1e-4, 1e-4, 1e-4, 0.8]), np.array([0.9999, 0.9999, 0.9999, 0.98])
STARTS = ((0.1, 0.1, 0.1, 0.95), (0.5, 0.1, 0.1, 0.95), (0.9, 0.1, 0.5, 0.9))  # alpha, beta/alpha, gamma/(1-alpha), phi
SHORTEST = 10  # steps, or two seasons, from which statsmodels fits forms that multiply
FINALISTS = 3  # forms that multiply, of those that the search fits
EXACT = -30  # of AICc per step: a form meets the series to the last digits, and the likelihood says no more


def fitted(y: np.ndarray, m: int, forms: Sequence[Form]) -> Smoother | None:
    """The smoother of lowest AICc; None where the series is too short for all forms.

    Args:
        y: [time], positive where a form multiplies.
        m: Steps of one season.
        forms: Those to choose from. All additive ones are fitted. Of those that multiply, the three that are best at
            the parameters of the additive form with the same parts.
    """
    forms = [form for form in forms if len(y) > form.parameters(m) + 1]
    scale = float(y.std()) or 1.0
    y = y / scale
    plain = {form: additive(y, m, form) for form in dict.fromkeys(map(_additive, forms))}
    found = [plain[form] for form in forms if form in plain]
    others = [_multiplied(plain[_additive(form)], form) for form in forms if form not in plain]
    if not any(aicc(y, m, each) < EXACT * len(y) for each in plain.values()):
        others.sort(key=lambda each: aicc(y, m, each))
        found += [_polished(y, m, each) for each in others[:FINALISTS]]
    best = min(found or others, key=lambda each: aicc(y, m, each), default=None)
    if best is None:
        return None
    factor = np.ones(len(best.initial))
    factor[0] = scale
    factor[1:2] = 1.0 if "M" in best.form.trend else scale
    factor[2:] = 1.0 if best.form.season == "M" else scale
    return best._replace(initial=best.initial * factor)


def aicc(y: np.ndarray, m: int, smoother: Smoother) -> float:
    """Infinite where the likelihood is none, as where a form that multiplies comes below 0."""
    k, n = smoother.form.parameters(m), len(y)
    model, given = smoother.model(y)
    with np.errstate(all="ignore"):
        likelihood = float(model.loglike(given))
    if np.isnan(likelihood):
        return np.inf
    return -2 * min(likelihood, 20 * n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def additive(y: np.ndarray, m: int, form: Form) -> Smoother:
    """The maximum-likelihood smoother of a form whose parts are all additive."""
    has = has_weight(form)

    def weights(free: np.ndarray) -> np.ndarray:
        full = np.array([0.0, 0.0, 0.0, 1.0])
        full[has] = free
        return full * [1, full[0], 1 - full[0], 1]

    def cost(free: np.ndarray) -> float:
        return float(np.log(np.mean(_projected(y, m, form, weights(free))[0] ** 2) + 1e-20))

    starts = sorted((np.array(start)[has] for start in STARTS), key=cost)
    bounds = list(zip(LOW[has], HIGH[has], strict=True))
    best = weights(minimize(cost, starts[0], method="L-BFGS-B", bounds=bounds).x)
    return Smoother(form, best, _projected(y, m, form, best)[1])


def _projected(y: np.ndarray, m: int, form: Form, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Errors [time] and the initial states that make their squares least."""
    t, phi = np.arange(len(y)), weights[3]
    paths = [np.ones(len(y))]
    paths += [np.cumsum(phi ** (t + 1.0))] if form.trend != "N" else []
    paths += [1.0 * (t % m == phase) for phase in range(m - 1)] if form.season != "N" else []
    above, below = _polynomials(m, form, *weights)
    filtered = np.asarray(lfilter(above, below, np.column_stack([y, *paths]), axis=0))
    e, x = filtered[:, 0], filtered[:, 1:]
    size = np.sqrt((x**2).sum(axis=0)) + 1e-300
    x = x / size
    states = np.linalg.lstsq(x.T @ x, x.T @ e, rcond=1e-13)[0]
    e = e - x @ states
    level, *rest = states / size
    trend = rest.pop(0) if form.trend != "N" else 0.0
    seasonal = np.array([*rest, 0.0]) if form.season != "N" else np.zeros(1)
    return e, np.concatenate([[level + seasonal.mean(), trend], seasonal - seasonal.mean()])


def _polynomials(m: int, form: Form, alpha: float, beta: float, gamma: float, phi: float) -> tuple[np.ndarray, ...]:
    """A and B in powers of the lag."""
    damp = np.array([1.0, -phi]) if form.trend != "N" else np.array([1.0])
    period = m if form.season != "N" else 1
    season = np.zeros(period + 1)
    season[[0, period]] = 1.0, -1.0
    above = np.convolve(damp, season)
    level = alpha * damp
    level[0] += phi * beta
    below = above.copy()
    below[1 : len(level) + period] += np.convolve(level, np.ones(period))
    below[period : period + len(damp)] += gamma * damp
    return above, below


def _additive(form: Form) -> Form:
    return Form(*(part.replace("M", "A") for part in form))


def _multiplied(plain: Smoother, form: Form) -> Smoother:
    """A form that multiplies, near its additive one."""
    level, trend, seasonal = plain.initial[0], plain.initial[1], plain.initial[2:]
    level = max(level, 1e-3)
    if "M" in form.trend:
        trend = max(1 + trend / level, 0.1)
    if form.season == "M":
        seasonal = np.maximum(1 + seasonal / level, 0.05)
    return Smoother(form, plain.weights, np.concatenate([[level, trend], seasonal]))


def _polished(y: np.ndarray, m: int, start: Smoother) -> Smoother:
    """The maximum of the likelihood near a start, by statsmodels; the start where that is no better or y short."""
    form, has = start.form, has_weight(start.form)
    if len(y) < max(SHORTEST, 2 * m * (form.season != "N")):
        return start
    words = {"error": WORDS[form.error], "trend": WORDS[form.trend[0]], "damped_trend": "d" in form.trend}
    words |= {"seasonal": WORDS[form.season], "seasonal_periods": m} if form.season != "N" else {}
    states = np.concatenate([start.initial[: 2 if form.trend != "N" else 1],
                             start.initial[:1:-1] if form.season != "N" else []])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        model = ETSModel(y, initialization_method="estimated", **words)
        found = np.asarray(model.fit(np.concatenate([start.weights[has], states]), maxiter=100, disp=False,
                                     return_params=True))
    weights = np.array([0.0, 0.0, 0.0, 1.0])
    weights[has] = found[: has.sum()]
    level, *rest = found[has.sum() :]
    trend = rest.pop(0) if form.trend != "N" else form.neutral()[0]
    seasonal = rest[::-1] if form.season != "N" else [form.neutral()[1]]
    end = Smoother(form, weights, np.array([level, trend, *seasonal]))
    usable = np.isfinite(end.weights).all() and np.isfinite(end.initial).all()
    return end if usable and aicc(y, m, end) <= aicc(y, m, start) else start
