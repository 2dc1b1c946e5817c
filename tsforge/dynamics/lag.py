"""The lag of a delay embedding: where a series has forgotten enough of itself, but not all.

Paper     Fraser & Swinney (1986), "Independent coordinates for strange attractors from mutual information",
          Phys. Rev. A 33; for the autocorrelation rules Kantz & Schreiber (2004), "Nonlinear Time Series Analysis".
Equation  rho[k] = sum_t (x[t] - m)(x[t+k] - m) / sum_t (x[t] - m)^2
          I[k]   = sum_ij p_ij(k) log(p_ij(k) / (p_i p_j)),   p from a histogram of (x[t], x[t+k])
Shapes    x [time] -> [max_lag + 1], from lag 0 on
Units     lags in steps;   rho has none;   I in nats.
Differs   The histogram has one fixed grid of equal counts per margin, where the paper refines its grid locally.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from tsforge.dynamics.checks import at_least, series
from tsforge.errors import ArgumentError


def autocorrelation(x: ArrayLike, max_lag: int | None = None) -> Float[np.ndarray, " lag"]:
    """Autocorrelation at lags 0 to `max_lag` (all, unless told), by FFT.

    Every lag is divided by the same sum, the biased estimate, as `statsmodels.tsa.stattools.acf` does by default.

    Raises:
        ShapeError, ArgumentError: not one finite series that changes; `max_lag` outside 0 .. time - 1.
    """
    values = series(x)
    last = _last_lag(len(values), max_lag, len(values) - 1, first=0)
    centred = values - values.mean()
    centred /= np.abs(centred).max()  # so that squares of very small or large values neither vanish nor overflow
    size = 1 << (2 * len(values) - 1).bit_length()
    products = np.fft.irfft(np.abs(np.fft.rfft(centred, size)) ** 2, size)[: last + 1]
    return products / products[0]


def lag_by_acf(x: ArrayLike, rule: Literal["zero", "1/e"] = "zero", *, max_lag: int | None = None) -> int:
    """The first lag whose autocorrelation is at most 0 (`"zero"`) or at most 1/e (`"1/e"`).

    Without `max_lag` there always is one: the autocorrelations of all lags from 1 on sum to -1/2.

    Raises:
        ShapeError, ArgumentError: as `autocorrelation`; an unknown rule; no such lag up to `max_lag`.
    """
    if rule not in ("zero", "1/e"):
        raise ArgumentError(f"rule={rule!r}: wanted 'zero' or '1/e'.")
    rho = autocorrelation(x, max_lag)
    below = np.flatnonzero(rho <= (0.0 if rule == "zero" else np.exp(-1)))
    if not len(below):
        raise ArgumentError(
            f"The autocorrelation stays above {rule} up to max_lag={max_lag} (it ends at {rho[-1]:.2f}): "
            "raise max_lag, or remove a trend first."
        )
    return int(below[0])


def mutual_information(x: ArrayLike, max_lag: int, *, bins: int | None = None) -> Float[np.ndarray, " lag"]:
    """Average mutual information of `x[t]` and `x[t + k]` at lags 0 to `max_lag`, in nats; lag 0 is the entropy.

    Args:
        bins: Cells of each margin, of equal counts of ranks, so that any rising function of `x` has the same
            information. Equal values share a cell. None is sqrt(time / 5), between 2 and 64: five pairs a cell if they
            were independent.

    The estimate is too high by about (bins - 1)^2 / (2 time), at every lag alike.

    Raises:
        ShapeError, ArgumentError: not one finite series that changes; `max_lag` outside 0 .. time - 2; bins below 2.
    """
    values = series(x)
    last = _last_lag(len(values), max_lag, len(values) - 2, first=0)
    return np.fromiter(_information(values, last, bins), np.float64, last + 1)


def lag_by_mutual_information(x: ArrayLike, *, max_lag: int | None = None, bins: int | None = None) -> int:
    """The first local minimum of the mutual information: the smallest k >= 1 with I[k-1] > I[k] <= I[k+1].

    Args:
        max_lag: Longest lag looked at, a quarter of the series unless told.
        bins: As in `mutual_information`.

    Noise and most maps have no minimum that means something: their information falls to the floor and wavers there.
    Use lag 1 for a map, and `lag_by_acf` for noise.

    Raises:
        ShapeError, ArgumentError: as `mutual_information`; no minimum up to `max_lag`.
    """
    values = series(x, least=8)
    last = _last_lag(len(values), max_lag, len(values) - 3, first=1, otherwise=len(values) // 4)
    before, here = np.inf, np.inf
    for k, after in enumerate(_information(values, last + 1, bins)):
        if k >= 2 and before > here <= after:
            return k - 1
        before, here = here, after
    raise ArgumentError(
        f"The mutual information has no local minimum up to max_lag={last}: raise max_lag, or use lag_by_acf."
    )


def _last_lag(n: int, max_lag: int | None, longest: int, *, first: int, otherwise: int | None = None) -> int:
    if max_lag is None:
        return longest if otherwise is None else min(otherwise, longest)
    if not first <= max_lag <= longest:
        raise ArgumentError(f"max_lag={max_lag}: wanted {first} to {longest} for a series of {n} steps.")
    return max_lag


def _information(values: np.ndarray, last: int, bins: int | None) -> Iterator[float]:
    """I at lags 0, 1, ..., last, one at a time: who looks for a minimum stops there."""
    bins = int(np.clip(np.sqrt(len(values) / 5), 2, 64)) if bins is None else bins
    at_least("bins", bins, 2)
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    middle = (np.cumsum(count) - count / 2) / len(values)  # by the middle of its ranks even a rare value keeps its cell
    cells = (middle * bins).astype(np.int64)[which]
    for k in range(last + 1):
        pairs = cells[: len(cells) - k] * bins + cells[k:]
        joint = np.bincount(pairs, minlength=bins * bins).reshape(bins, bins) / len(pairs)
        yield _entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1)) - _entropy(joint.ravel())


def _entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())
