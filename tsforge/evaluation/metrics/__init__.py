"""Metrics: pure functions of arrays, and the table that names them.

Shapes    y, y_hat, lo, hi, q_hat [...], all the same;   q_hats [..., quantile];   the result is one float
          of windows y, y_hat [h] or [h, channel];   of sample paths samples [sample, h] or [sample, h, channel]
Units     levels are percents (80), quantiles are shares (0.1).
Missing   A cell without truth (NaN) is left out, and with no cell left the result is NaN. A forecast that is missing
          where the truth is observed makes the result NaN: a forecast that is not there must not look good.
Errors    ShapeError where the arrays differ in shape; ArgumentError for a level, a quantile, a season or a power that
          cannot be.
"""

from tsforge.evaluation.metrics.arrays import Number
from tsforge.evaluation.metrics.attractor import attractor_kl, attractor_mmd, discrepancies, kl_divergences
from tsforge.evaluation.metrics.interval import coverage, covered, interval_score, msis, outside
from tsforge.evaluation.metrics.invariants import (
    correlation_dimension_error,
    dimension_errors,
    lyapunov_error,
    lyapunov_errors,
    spectrum_distances,
    spectrum_hellinger,
)
from tsforge.evaluation.metrics.metric import AnyMetric, Metric, WindowMetric
from tsforge.evaluation.metrics.paths import (
    crps_of_samples,
    energy_score,
    energy_scores,
    sample_crps,
    variogram_score,
    variogram_scores,
)
from tsforge.evaluation.metrics.pit import pit_bounds, pit_histogram
from tsforge.evaluation.metrics.point import (
    absolute,
    mae,
    mase,
    mse,
    rmse,
    rmsse,
    seasonal_scale,
    smape,
    squared,
    symmetric,
)
from tsforge.evaluation.metrics.quantile import (
    crps,
    equal_weights,
    nearest_weights,
    pinball,
    scaled_crps,
    tilted,
    wql,
)
from tsforge.evaluation.metrics.shape import directional_accuracy, directions, dtw, dtw_distances
from tsforge.evaluation.metrics.valid_time import needs_sd, stated, valid_prediction_time, valid_times

__all__ = [
    "METRICS", "AnyMetric", "Metric", "Number", "WindowMetric", "attractor_kl", "attractor_mmd",
    "correlation_dimension_error", "coverage", "crps", "crps_of_samples", "directional_accuracy", "dtw", "energy_score",
    "interval_score", "lyapunov_error", "mae", "mase", "mse", "msis", "pinball", "pit_bounds", "pit_histogram", "rmse",
    "rmsse", "scaled_crps", "seasonal_scale", "smape", "spectrum_hellinger", "valid_prediction_time", "variogram_score",
    "wql",
]


def _table(*rows: AnyMetric) -> dict[str, AnyMetric]:
    return {row.name: row for row in rows}


METRICS = _table(
    Metric("mse", mse, "point", squared, "mean squared error", "0 to inf, in y squared"),
    Metric("mae", mae, "point", absolute, "mean absolute error", "0 to inf, in y"),
    Metric("rmse", rmse, "point", squared, "root of the mean squared error", "0 to inf, in y", "root"),
    Metric("smape", smape, "point", symmetric, "symmetric mean absolute percentage error", "0 to 200 percent"),
    Metric("mase", mase, "point", absolute, "mean absolute error over seasonal differences in training",
           "0 to inf, 1 is seasonal naive", needs_scale=1),
    Metric("rmsse", rmsse, "point", squared, "root of squared error over squared seasonal differences in training",
           "0 to inf, 1 is seasonal naive", "root", needs_scale=2),
    Metric("coverage", coverage, "interval", covered, "share of the truth in the interval",
           "0 to 1, best at the level", direction="level"),
    Metric("interval_score", interval_score, "interval", outside,
           "width of the interval and penalty outside it: the Winkler score", "0 to inf, in y"),
    Metric("msis", msis, "interval", outside, "interval score over seasonal differences in training", "0 to inf",
           needs_scale=1),
    Metric("pinball", pinball, "quantiles", tilted, "pinball loss, one row per quantile", "0 to inf, in y"),
    Metric("wql", wql, "quantiles", tilted, "pinball losses over the size of the truth", "0 to inf", "ratio",
           weights=equal_weights),
    Metric("crps", crps, "quantiles", tilted, "distance of the law from the truth, from quantiles or sample paths",
           "0 to inf, in y", weights=nearest_weights, path_loss=sample_crps),
    Metric("scaled_crps", scaled_crps, "quantiles", tilted, "crps over the size of the truth", "0 to inf", "ratio",
           weights=nearest_weights, path_loss=sample_crps),
    WindowMetric("energy_score", energy_score, "paths", energy_scores,
                 "distance of the law of whole paths from the truth", "0 to inf, in y", together=True),
    WindowMetric("variogram_score", variogram_score, "paths", variogram_scores,
                 "differences between the steps of a path against those of the truth", "0 to inf, in y", together=True),
    WindowMetric("dtw", dtw, "window", dtw_distances, "distance after dynamic time warping", "0 to inf, in y"),
    WindowMetric("directional_accuracy", directional_accuracy, "window", directions,
                 "share of moves whose direction was forecast", "0 to 1, best at 1", direction="max"),
    WindowMetric("valid_prediction_time", valid_prediction_time, "window", valid_times,
                 "time before the error exceeds a threshold", "0 to h, in steps or Lyapunov times, most is best",
                 together=True, needs_sd=needs_sd, stated=stated, direction="max"),
    WindowMetric("attractor_kl", attractor_kl, "window", kl_divergences,
                 "divergence of histograms of delay vectors", "0 to inf, in nats", together=True),
    WindowMetric("attractor_mmd", attractor_mmd, "window", discrepancies,
                 "maximum mean discrepancy of delay vectors", "0 to 1.42", together=True),
    WindowMetric("spectrum_hellinger", spectrum_hellinger, "window", spectrum_distances,
                 "Hellinger distance of power spectra", "0 to 1"),
    WindowMetric("lyapunov_error", lyapunov_error, "window", lyapunov_errors,
                 "error of the largest Lyapunov exponent of the forecast", "0 to inf, per step", together=True),
    WindowMetric("correlation_dimension_error", correlation_dimension_error, "window", dimension_errors,
                 "error of the correlation dimension of the forecast", "0 to inf", together=True),
)
