"""What classifiers and detectors are compared with: nearest neighbours, linear models of features, residuals of PCA.

Shapes    cases: a list of [time, channel], NaN where missing, lengths may differ; classes, told [case]
          of a detector: rows [time, channel] without missing values, values [time]; scores [time], higher is stranger
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from tsforge.errors import ArgumentError
from tsforge.evaluation.metrics.shape import dtw_distances
from tsforge.frame.frame import Frame

FAR = 1e9  # in a channel of its own, more than any step of a path costs


def cases_of(frame: Frame) -> tuple[list[str], list[np.ndarray]]:
    """Ids and values [time, channel] of the series of a frame, in its order."""
    parts = frame.table.select("unique_id", *frame.targets).partition_by("unique_id", maintain_order=True)
    values = [part.select(pl.exclude("unique_id").cast(pl.Float64).fill_null(np.nan)).to_numpy() for part in parts]
    return frame.ids.to_list(), values


def dtw_table(cases: Sequence[np.ndarray], others: Sequence[np.ndarray], *, band: float | int = 1.0) -> np.ndarray:
    """Distances [case, other] after dynamic time warping of all channels together, by the metric `dtw`.

    Args:
        cases: Each [time, channel], of any length.
        others: The same channels.
        band: Most steps that a pair of steps may lie apart, as a share of the longer of the two; at least the steps
            that their lengths differ by. 1 has no bound; 0 of equal lengths is the Euclidean distance.

    Raises:
        ArgumentError: a value is missing, or the band is no share.
    """
    if not 0 <= band <= 1:
        raise ArgumentError(f"band={band}: wanted a share of the length, 0 to 1.")
    if any(np.isnan(case).any() for case in (*cases, *others)):
        raise ArgumentError("A value is missing, for which time warping of two series has no place: fill it first.")
    lengths, widths = (np.array([len(case) for case in group]) for group in (cases, others))
    longest = max(lengths.max(), widths.max()) + 1
    ours, theirs = (np.stack([_ended(case, longest) for case in group]) for group in (cases, others))
    reach = np.floor(band * np.maximum.outer(lengths, widths)).astype(np.int64)
    reach = np.maximum(reach, np.abs(np.subtract.outer(lengths, widths)))
    distances = np.empty(reach.shape)
    for steps in np.unique(reach):
        rows, columns = np.nonzero(reach == steps)
        for part in np.array_split(np.arange(len(rows)), len(rows) // 4096 + 1):
            one, two = rows[part], columns[part]
            distances[one, two] = dtw_distances(ours[one], theirs[two], band=int(steps))
    return distances


def _ended(case: np.ndarray, length: int) -> np.ndarray:
    """[length, channel + 1]: the case, and steps after its end that cost nothing beside such steps and FAR elsewhere.

    So the best path matches the ends of both cases, whatever their lengths, and then goes on for free.
    """
    ended = np.zeros((length, case.shape[1] + 1))
    ended[: len(case), :-1] = case
    ended[len(case) :, -1] = FAR
    return ended


def nearest(cases: Sequence[np.ndarray], classes: Sequence, others: Sequence[np.ndarray], *, band: float | int = 1.0
            ) -> np.ndarray:
    """The class of the nearest case by `dtw_table` for each of the others; of equally near ones the first."""
    return np.asarray(classes)[dtw_table(others, cases, band=band).argmin(axis=1)]


def summaries(cases: Sequence[np.ndarray]) -> np.ndarray:
    """[case, 7 channels]: of each channel mean, sd, last value, smallest, largest, slope per step, share observed.

    Of what was observed; NaN in a channel that never was, of which the share is 0. The slope is that of least squares,
    and 0 of one value alone.
    """
    return np.stack([np.concatenate([_summary(channel) for channel in case.T]) for case in cases])


def _summary(values: np.ndarray) -> np.ndarray:
    step = np.flatnonzero(~np.isnan(values))
    if not len(step):
        return np.array([np.nan] * 6 + [0.0])
    seen, step_apart = values[step], step - step.mean()
    slope = (step_apart @ seen) / max(step_apart @ step_apart, 1e-12)
    return np.array([seen.mean(), seen.std(), seen[-1], seen.min(), seen.max(), slope, len(seen) / len(values)])


def last_and_mean(cases: Sequence[np.ndarray]) -> np.ndarray:
    """[case, 2 channels]: of each channel the last value and the mean of what was observed, NaN where nothing was."""
    width = 7 * np.arange(cases[0].shape[1])
    return summaries(cases)[:, np.stack([width + 2, width], axis=1).ravel()]


def linear(*, c: float | int = 1.0) -> Pipeline:
    """Logistic regression on standardised features; not fitted yet.

    A missing feature becomes its mean over the cases it is fitted on, and a column says that it was missing.

    Args:
        c: Inverse strength of the penalty on squared weights, as in scikit-learn.
    """
    fill = SimpleImputer(strategy="mean", add_indicator=True, keep_empty_features=True)
    return make_pipeline(fill, StandardScaler(), LogisticRegression(C=c, max_iter=2000))


def residuals_of_pca(train: np.ndarray, test: np.ndarray, *, share: float | int = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the rows of both: the mean over channels of the squared error of their reconstruction.

    Channels are standardised by the training rows, constant ones centred only. The components are the fewest that hold
    `share` of the variance of the training rows.

    Raises:
        ArgumentError: the share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ArgumentError(f"share={share}: wanted a share of the variance, between 0 and 1.")
    scaler = StandardScaler().fit(train)
    pca = PCA(n_components=share, svd_solver="full").fit(scaler.transform(train))
    scaled = [scaler.transform(rows) for rows in (train, test)]
    own, other = (((rows - pca.inverse_transform(pca.transform(rows))) ** 2).mean(axis=1) for rows in scaled)
    return own, other


def distances_from_median(values: np.ndarray, *, window: int, season: int = 1) -> np.ndarray:
    """Distance of each value from the median of the `window` values before it, `season` steps apart.

    Args:
        values: One series [time] without missing values.
        window: How many values before.
        season: 1 takes the last ones; the steps of a day take those of the same time of day.

    Returns:
        [time], 0 for a value with none before it; no later value is used.

    Raises:
        ArgumentError: window or season is below 1.
    """
    if window < 1 or season < 1:
        raise ArgumentError(f"window={window}, season={season}: wanted 1 or more of both.")
    before = np.full((window, len(values)), np.nan)
    for k in range(min(window, (len(values) - 1) // season)):
        before[k, (k + 1) * season :] = values[: len(values) - (k + 1) * season]
    scores = np.zeros(len(values))
    scores[season:] = np.abs(values[season:] - np.nanmedian(before[:, season:], axis=0))
    return scores
