"""ARIMA: a linear recursion on past values and past errors of a differenced series, with seasonal terms.

Source    Box & Jenkins (1970), "Time Series Analysis"; the automatic order: Hyndman & Khandakar (2008), J. Statistical
          Software 27. Likelihood and filter are those of statsmodels' SARIMAX.
Equation  phi(L) Phi(L^m) (1 - L)^d (1 - L^m)^D (y_t - x_t b) = theta(L) Theta(L^m) e_t
Shapes    values [time, channel] -> [window, h, channel], each channel by itself
Units     y and covariates are standardised by the training rows
Differs   The search (arima_search.py) ranks orders by conditional least squares, missing steps carried forward. It
          tries all p, q <= 2 and P, Q <= 1, more than the four starts of the paper. The best are compared by exact
          likelihood, three with a season and eight without, and those with a root near the unit circle refused. A
          series of more than 2000 steps keeps the estimates of conditional least squares. In the filter and in the
          exact likelihood missing steps are missing. Autoregressive roots on the unit circle are drawn off it. A third
          of the time of AutoARIMA of statsforecast or less (bench/local.py), and still seconds for a series.
"""

import warnings
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from statsmodels.tsa.statespace.kalman_filter import MEMORY_CONSERVE, MEMORY_NO_PREDICTED_MEAN

from tsforge.errors import ArgumentError, ArtifactError, FrameError
from tsforge.local.arima_differences import differences
from tsforge.local.arima_exact import AR, exact, sarimax, stationary
from tsforge.local.arima_search import Candidate, Order, Search, is_far, regressors
from tsforge.local.base import NONE, NOTHING, Covariates, LocalModel, State, last_observed
from tsforge.local.regression import WHOLE_PAST
from tsforge.local.scaling import loc_and_scale, require_finite

FINALISTS, FINALISTS_PLAIN = 3, 8  # orders compared by exact likelihood, with a season and without
ROUGH, FINE = 15, 50  # iterations for each of them, and for the best
LONG = 2000  # steps above which the exact likelihood is left out
LONGEST_SEASON = 48  # that the search gives seasonal orders
LEAST = 5  # observed steps beyond those that differences take
MOST_DIFFERENCES = 2


class ARIMA(LocalModel):
    """An ARIMA of each channel; covariates known ahead are regressors.

    Args:
        h: Steps ahead.
        season: Steps of one season; None takes that of the frame.
        order: p, d, q. None chooses them by AICc and d by the KPSS test, with a constant or drift where that is better.
            A given order has a constant where nothing is differenced, as in statsmodels.
        seasonal_order: P, D, Q. None chooses them where `order` is None too and the season is 2 to 48 steps and comes
            three times, else there are none.

    Raises:
        ArgumentError: an order is not three whole numbers that can work.
    """

    covariates: ClassVar[tuple[str, ...]] = ("future",)
    learns: ClassVar[bool] = True
    slow: ClassVar[bool] = True

    def __init__(
        self, h: int, *, season: int | None = None, order: Sequence[int] | None = None,
        seasonal_order: Sequence[int] | None = None,
    ) -> None:
        super().__init__(h, season=1 if season is None else season)
        self.order, self.seasonal_order = _three("order", order), _three("seasonal_order", seasonal_order)
        if self.season == 1 and self.seasonal_order and any(self.seasonal_order):
            raise ArgumentError(f"seasonal_order={seasonal_order!r} needs a season of 2 steps or more.")
        pairs = zip(self.order or (), self.seasonal_order or (), strict=False)
        if any(low >= self.season and seasonal for low, seasonal in list(pairs)[::2]):
            raise ArgumentError(f"order={order!r} reaches the season of {self.season} steps, whose lag "
                                f"seasonal_order={seasonal_order!r} has already: give a lower order.")

    @property
    def lookback(self) -> int:
        """All that there is."""
        return WHOLE_PAST

    def fit(self, values: np.ndarray, covariates: Covariates = NONE) -> State:
        """For each channel `order` [7] and `coefficients`: regression, ar, ma, seasonal ar and ma.

        Raises:
            FrameError: too few steps are observed.
        """
        known = covariates.known if covariates.known is not None else np.zeros((len(values), 0))
        state = _scaling("known", known[: len(values)]) | _scaling("y", values)
        known, y = _standard(known, state, "known"), (values - state["y/loc"]) / state["y/scale"]
        for c in range(values.shape[1]):
            found = self._fitted(y[:, c], known[: len(values)])
            state |= {f"{c}/order": np.array(found.order),
                      f"{c}/coefficients": np.concatenate([found.slopes, found.coefficients])}
        return state

    def forecast(
        self, values: np.ndarray, cutoffs: np.ndarray, state: State = NOTHING, covariates: Covariates = NONE,
    ) -> np.ndarray:
        """[window, h, channel]."""
        known = covariates.known if covariates.known is not None else np.zeros((len(values), 0))
        known = _standard(known, state, "known")
        answer = np.empty((len(cutoffs), self.h, values.shape[1]))
        for c, column in enumerate(values.T):
            order = Order(*state[f"{c}/order"].tolist())
            loc = state["y/loc"][c]
            if order.d + order.D and not np.isnan(column).all():  # a level that differences take away
                loc = column[~np.isnan(column)][0]
            y = (column[: cutoffs.max() + 1] - loc) / state["y/scale"][c]
            ahead = self._ahead(y, cutoffs, order, state[f"{c}/coefficients"], known)
            answer[:, :, c] = ahead * state["y/scale"][c] + loc
        return np.where(~np.isnan(last_observed(values)[cutoffs])[:, None], answer, np.nan)

    def check(self, state: State, channels: int) -> None:
        """See LocalModel."""
        for name in ("loc", "scale"):
            require_finite(state, f"y/{name}", (channels,))
            require_finite(state, f"known/{name}", state.get("known/loc", np.zeros(0)).shape[:1])
        for c in range(channels):
            found = state.get(f"{c}/order")
            if found is None or found.shape != (7,) or found.dtype.kind != "i" or found.min() < 0:
                raise ArtifactError(f"The order of channel {c} is not seven whole numbers.")
            order, features = Order(*found.tolist()), len(state["known/loc"])
            require_finite(state, f"{c}/coefficients", (order.constant + features + sum(order.sizes),))
            ours = state[f"{c}/coefficients"][order.constant + features :]
            if max(order.d, order.D) > MOST_DIFFERENCES or order.constant > 1 or not is_far(ours, order, 1.0, AR):
                raise ArtifactError(f"The ARIMA of channel {c} is not stationary after its differences.")

    def _fitted(self, y: np.ndarray, known: np.ndarray) -> Candidate:
        there = np.flatnonzero(~np.isnan(y))
        if len(there):  # steps before the first observation say nothing
            y, known = y[there[0] :], known[there[0] :]
        filled = np.nan_to_num(last_observed(y[:, None])[:, 0])
        like, free, m = self._like(filled, known)
        if len(there) < LEAST + like.d + like.D * m:
            raise FrameError(f"{len(there)} observed training steps are too few for ARIMA with {like.d} differences "
                             f"and {like.D} over a season of {m}: give a lower order, or take Naive.")
        if np.ptp(filled) == 0:
            return Candidate(0.0, Order(0, 1, 0), np.zeros(0), np.zeros(known.shape[1]))
        return stationary(self._best(y, filled, known, like, free, m))

    def _best(
        self, y: np.ndarray, filled: np.ndarray, known: np.ndarray, like: Order, free: tuple[bool, bool], m: int
    ) -> Candidate:
        search = Search(filled, known, m)
        if self.order is None:
            tried = [each for each in search.best(like, free) if np.isfinite(each.score)]
            tried = tried or [search.candidate(like._replace(p=0, q=0, P=0, Q=0, constant=0))]
        else:
            tried = [search.candidate(like._replace(constant=int(like.d + like.D == 0)))]
        if len(y) > LONG and is_far(tried[0].coefficients, tried[0].order):
            return tried[0]
        if len(tried) > 1:
            some = tried[: FINALISTS if m > 1 else FINALISTS_PLAIN]
            tried = sorted((exact(y, known, m, each, ROUGH) for each in some), key=lambda each: each.score)
        return exact(y, known, m, tried[0], FINE)

    def _like(self, y: np.ndarray, known: np.ndarray) -> tuple[Order, tuple[bool, bool], int]:
        """The differences and given orders, which orders are free, and the season."""
        m, given = self.season, self.seasonal_order
        if self.order is None and given is None and not (1 < m <= LONGEST_SEASON and len(y) >= 3 * m):
            m = 1
        large_p, large_d, large_q = given or (0, None if self.order is None else 0, 0)
        if self.order is None:
            x = np.column_stack([np.ones(len(y)), known])
            left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
            d, large_d = differences(left, m if len(y) > 2 * m else 1, large_d)
            return Order(0, d, 0, large_p, large_d, large_q), (True, given is None and m > 1), m
        p, d, q = self.order
        return Order(p, d, q, large_p, large_d or 0, large_q), (False, False), m

    def _ahead(
        self, y: np.ndarray, cutoffs: np.ndarray, order: Order, coefficients: np.ndarray, known: np.ndarray
    ) -> np.ndarray:
        """[window, h] by one pass of the filter and the powers of its transition."""
        model = sarimax(y, known, order, self.season, estimated=False)
        model.ssm.set_conserve_memory(MEMORY_CONSERVE & ~MEMORY_NO_PREDICTED_MEAN)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            filtered = model.filter(np.append(coefficients, 1.0), transformed=True, return_ssm=True)
        row, rows = model["design"][:1], []
        for _ in range(self.h):
            rows.append(row[0])
            row = row @ model["transition"]
        ahead = filtered.predicted_state[:, cutoffs + 1].T @ np.array(rows).T
        steps = regressors(known, order, int(cutoffs.max()) + 1 + self.h) @ coefficients[: -sum(order.sizes) or None]
        return ahead + steps[cutoffs[:, None] + 1 + np.arange(self.h)]


def _three(name: str, given: Sequence[int] | None) -> tuple[int, int, int] | None:
    if given is None:
        return None
    whole = isinstance(given, Sequence) and all(isinstance(n, int) and not isinstance(n, bool) for n in given)
    if not whole or len(given) != 3 or min(given) < 0 or given[1] > MOST_DIFFERENCES:
        raise ArgumentError(f"{name}={given!r}: wanted three whole numbers such as (2, 1, 1), or None; "
                            f"at most {MOST_DIFFERENCES} differences.")
    return given[0], given[1], given[2]


def _scaling(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    loc, scale = loc_and_scale(values)
    return {f"{name}/loc": loc, f"{name}/scale": scale}


def _standard(values: np.ndarray, state: State, name: str) -> np.ndarray:
    return np.nan_to_num((values - state[f"{name}/loc"]) / state[f"{name}/scale"])
