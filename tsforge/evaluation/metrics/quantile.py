"""Metrics of quantiles, cell by cell.

Shapes    y [...], q_hat [...], q_hats [..., quantile]; the result is one float, of tilted the loss of each cell.
Units     a quantile is a share, between 0 and 1.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from tsforge.errors import ShapeError
from tsforge.evaluation.metrics.arrays import Number, Quantiles, alike, inside, mean_observed, positive


def pinball(y: ArrayLike, q_hat: ArrayLike, quantile: Number) -> float:
    """Pinball loss of one quantile; at 0.5 it is half the mean absolute error.

    Formula   mean(max(quantile (y - q_hat), (quantile - 1) (y - q_hat)))
    Range     0 to inf, 0 is best.   Units  of y.
    Missing   Truth: left out, none left gives NaN. Forecast: NaN.
    Source    Koenker & Bassett (1978), "Regression Quantiles", Econometrica 46(1).
    """
    y, q_hat = alike(y, q_hat)
    inside("quantile", (quantile,), 1)
    return mean_observed(y, tilted(y, q_hat, quantile))


def wql(y: ArrayLike, q_hats: ArrayLike, quantiles: Quantiles) -> float:
    """Weighted quantile loss: pinball losses over the size of the truth, averaged over the quantiles.

    Formula   mean over quantiles of (2 sum(pinball) / sum(|y|))
    Range     0 to inf, 0 is best.   Units  none.
    Missing   Truth: left out, none left gives NaN. Forecast: NaN. Truth that is zero in every cell: NaN.
    Source    Salinas et al. (2020), "DeepAR", IJF 36(3), where it is the rho-risk.
    """
    size = np.abs(np.asarray(y, dtype=float))
    return _over_quantiles(y, q_hats, quantiles, equal_weights) / positive(mean_observed(size, size))


def crps(y: ArrayLike, q_hats: ArrayLike, quantiles: Quantiles) -> float:
    """Continuous ranked probability score, approximated from quantiles.

    Formula   mean(2 ∫ pinball(y, q(u), u) du) over u from 0 to 1, as sum_k w_k 2 pinball(y, q_k, u_k)
    Rule      w_k is the length of the levels u that are nearest to u_k, so the w_k sum to 1 and the sum tends to the
              integral as the levels grow dense. Below the lowest and above the highest level the loss of that level
              is held, which overstates thin tails a little. All w_k are positive, so the score stays proper; with
              the median alone it is the mean absolute error.
    Range     0 to inf, 0 is best.   Units  of y.
    Missing   Truth: left out, none left gives NaN. Forecast: NaN.
    Source    Matheson & Winkler (1976), Management Science 22(10); as an integral of pinball losses in
              Laio & Tamea (2007), HESS 11(4).
    """
    return _over_quantiles(y, q_hats, quantiles, nearest_weights)


def scaled_crps(y: ArrayLike, q_hats: ArrayLike, quantiles: Quantiles) -> float:
    """Continuous ranked probability score over the size of the truth; with the median alone, sum|y - q| / sum|y|.

    Formula   crps(y, q_hats, quantiles) / mean(|y|)
    Range     0 to inf, 0 is best.   Units  none.
    Missing   Truth: left out, none left gives NaN. Forecast: NaN. Truth that is zero in every cell: NaN.
    Source    As `crps`; Rangapuram et al. (2018), "Deep State Space Models", NeurIPS, for the division. With the levels
              (k - 1/2) / n it equals `wql`, which is what utilsforecast calls scaled_crps.
    """
    size = np.abs(np.asarray(y, dtype=float))
    return crps(y, q_hats, quantiles) / positive(mean_observed(size, size))


def tilted(y: np.ndarray, q_hat: np.ndarray, quantile: Number) -> np.ndarray:
    """Loss of `pinball`."""
    return np.maximum(quantile * (y - q_hat), (quantile - 1) * (y - q_hat))


def equal_weights(quantiles: Quantiles) -> np.ndarray:
    """Weights [quantile] of the pinball losses in `wql`; they sum to 2."""
    return np.full(len(quantiles), 2 / len(quantiles))


def nearest_weights(quantiles: Quantiles) -> np.ndarray:
    """Weights [quantile] of the pinball losses in `crps`; they sum to 2."""
    order = np.argsort(quantiles)
    levels = np.asarray(quantiles, dtype=float)[order]
    weights = np.empty(len(levels))
    weights[order] = 2 * np.diff((levels[1:] + levels[:-1]) / 2, prepend=0, append=1)
    return weights


def _over_quantiles(y: ArrayLike, q_hats: ArrayLike, quantiles: Quantiles, weigh: Callable) -> float:
    q_hats = np.asarray(q_hats, dtype=float)
    if not len(quantiles) or q_hats.shape[-1:] != (len(quantiles),):
        raise ShapeError(f"q_hats {q_hats.shape} does not end in the {len(quantiles)} quantiles: give [..., quantile].")
    inside("quantile", quantiles, 1)
    y, *columns = alike(y, *np.moveaxis(q_hats, -1, 0))
    terms = zip(weigh(quantiles), columns, quantiles, strict=True)
    return mean_observed(y, sum((weight * tilted(y, q_hat, q) for weight, q_hat, q in terms), np.zeros_like(y)))
