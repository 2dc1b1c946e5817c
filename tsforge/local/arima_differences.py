"""How often an ARIMA is differenced: by a test of its level and by the strength of its season.

Source    Kwiatkowski, Phillips, Schmidt & Shin (1992), J. Econometrics 54; Wang, Smith & Hyndman (2006), Data Mining
          and Knowledge Discovery 13; both as in Hyndman & Khandakar (2008).
Equation  kpss = sum S_t^2 / (n^2 v),   S the sums of y less its mean, v its long-run variance
          strength = 1 - var(rest) / var(season + rest), by STL
Shapes    y [time], without missing steps
"""

import numpy as np
from statsmodels.tsa.seasonal import STL

from tsforge.local.arima_search import Order, differenced

KPSS_5_PERCENT = 0.463
STRONG = 0.64  # of a season, from which on it is differenced


def differences(y: np.ndarray, m: int, given: int | None = None) -> tuple[int, int]:
    """d by the KPSS test at 5 percent, 2 - D at most, and D, 1 where the season is strong.

    Args:
        y: [time], less its regression on covariates.
        m: Steps of one season; 1 is none.
        given: D, where it is no question.
    """
    seasonal = given or 0
    if given is None and m > 1 and y.std() > 1e-9:
        parts = STL(y, period=m).fit()
        both = float(np.var(parts.seasonal + parts.resid))
        seasonal = int(both > 1e-18 and 1 - float(np.var(parts.resid)) / both > STRONG)
    if m > 1:
        y = differenced(y[:, None], Order(0, 0, 0, D=seasonal), m)[:, 0]
    d = 0
    while d < 2 - seasonal and len(y) > 10 and y.std() > 1e-9 and kpss(y) > KPSS_5_PERCENT:
        y, d = np.diff(y), d + 1
    return d, seasonal


def kpss(y: np.ndarray) -> float:
    """The statistic, its variance with a Bartlett window."""
    n, lags, e = len(y), int(3 * len(y) ** 0.5 / 13), y - y.mean()
    variance = e @ e + 2 * sum((1 - i / (lags + 1)) * (e[i:] @ e[:-i]) for i in range(1, lags + 1))
    return float((np.cumsum(e) ** 2).sum() / n / variance)
