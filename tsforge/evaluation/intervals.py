"""From outputs to columns: the point, intervals, quantiles; in the user's units, nested, holding the point."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from tsforge.errors import ArgumentError, CalibrationError
from tsforge.evaluation.conformal import Scores
from tsforge.evaluation.metrics.arrays import Number

Pair = tuple[float, float]


@dataclass(frozen=True)
class Law:
    """How outputs [window, h, channel, output] are read.

    Args:
        quantiles: Levels of the outputs, ascending; empty where the one output is the point.
        scores: Calibration scores: of the point under `(0.5, 0.5)`, and of each trained pair of quantiles.
    """

    quantiles: tuple[float, ...]
    scores: Mapping[Pair, Scores]

    def columns(
        self, name: str, outputs: np.ndarray, series: np.ndarray, loc: np.ndarray, scale: np.ndarray,
        level: Sequence[Number] = (), quantiles: Sequence[Number] = (),
        paths: Callable[[Sequence[float]], np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """`name`, `name-lo-80`, `name-hi-80`, `name-q-0.1`, each [window, h, channel] in the user's units.

        Args:
            name: The model's column.
            outputs: Scaled outputs.
            series: Row of each window in the training key table, -1 where unseen.
            loc: [window, channel] to go back with.
            scale: [window, channel].
            level: Percents of intervals.
            quantiles: Levels of single quantiles.
            paths: Of models that make sample paths, their quantiles [level, window, h, channel], scaled.

        Raises:
            CalibrationError: too few calibration windows for a level.
        """
        wanted = {f"{name}-{side}-{lv:.12g}": (1 + sign * lv / 100) / 2
                  for lv in sorted(check_levels(level)) for side, sign in (("lo", -1), ("hi", 1))}
        wanted |= {f"{name}-q-{q:.12g}": q for q in check_quantiles(quantiles)}
        point, trained = self.read(outputs.astype(np.float64))
        levels = sorted({_same(q) for q in wanted.values()})
        if paths is None or not levels:
            found = {q: self._quantile(q, point, trained, series) for q in levels}
        else:
            found = dict(zip(levels, paths(levels), strict=True))
        made = _nested(found, point)
        out = {name: point} | {column: made[_same(q)] for column, q in wanted.items()}
        return {key: values * scale[:, None] + loc[:, None] for key, values in out.items()}

    def fit_scores(self, outputs: np.ndarray, truth: np.ndarray, series: np.ndarray, n_series: int) -> "Law":
        """The law with scores of calibration windows: outputs and truth, scaled; NaN where the truth was missing."""
        point, trained = self.read(outputs.astype(np.float64))
        scores = {(0.5, 0.5): Scores.fit(np.abs(truth - point), series, n_series)} if not self.quantiles else {}
        for low, high in trained_pairs(self.quantiles):
            outside = np.maximum(trained[low] - truth, truth - trained[high])
            scores[low, high] = Scores.fit(outside, series, n_series)
        return Law(self.quantiles, scores)

    def read(self, outputs: np.ndarray) -> tuple[np.ndarray, dict[float, np.ndarray]]:
        """The point and the trained quantiles by their level, each [window, h, channel], scaled."""
        if not self.quantiles:
            return outputs[..., 0], {}
        ordered = np.sort(outputs, axis=-1)  # rearranged, so that quantiles never cross
        trained = {q: ordered[..., k] for k, q in enumerate(self.quantiles)}
        return trained[0.5], trained

    def _quantile(
        self, q: float, point: np.ndarray, trained: dict[float, np.ndarray], series: np.ndarray,
    ) -> np.ndarray:
        """The trained quantile, or the end of the interval that is conformal to its level."""
        same = next((level for level in trained if abs(level - q) < 1e-9), None)
        if same is not None:
            return trained[same]
        if abs(q - 0.5) < 1e-9:
            return point
        share, side = abs(2 * q - 1), -1 if q < 0.5 else 1
        if not self.quantiles:
            return point + side * self._score((0.5, 0.5), share, series)
        pairs = trained_pairs(self.quantiles)
        if not pairs:
            raise CalibrationError(
                f"level={100 * share:g}: the loss has no pair of quantiles around the median; train with some."
            )
        near = min(pairs, key=lambda pair: abs(pair[1] - pair[0] - share))
        return trained[near[0] if q < 0.5 else near[1]] + side * self._score(near, share, series)

    def _score(self, pair: Pair, share: float, series: np.ndarray) -> np.ndarray:
        if pair not in self.scores:
            raise CalibrationError(
                f"level={100 * share:g} needs calibration windows, and none were held back. Give val_size= and "
                "calibration_share= room for at least h steps each, or train with loss='quantile' and this level among "
                "its quantiles."
            )
        return self.scores[pair].quantile(share, series)


def _nested(found: Mapping[float, np.ndarray], point: np.ndarray) -> dict[float, np.ndarray]:
    """Each quantile, by ascending level, none nearer to the point than one whose level is nearer to the median."""
    made: dict[float, np.ndarray] = {}
    edge = point
    for q in reversed([q for q in found if q <= 0.5]):
        made[q] = edge = np.minimum(edge, found[q])
    edge = point
    for q in (q for q in found if q > 0.5):
        made[q] = edge = np.maximum(edge, found[q])
    return made


def trained_pairs(quantiles: Sequence[float | int]) -> list[Pair]:
    """The pairs of quantiles that lie evenly around the median."""
    return [(q, p) for q in quantiles if q < 0.5 for p in quantiles if abs(p - (1 - q)) < 1e-9]


def check_levels(level: Sequence[Number] | Number | None) -> tuple[float, ...]:
    """Levels in percent.

    Raises:
        ArgumentError: one is no percent strictly between 0 and 100.
    """
    return _between(level, 100, "level", "percents between 0 and 100, as in level=[80, 95]")


def check_quantiles(quantiles: Sequence[Number] | Number | None) -> tuple[float, ...]:
    """Levels of quantiles.

    Raises:
        ArgumentError: one does not lie strictly between 0 and 1.
    """
    return _between(quantiles, 1, "quantiles", "levels between 0 and 1, as in quantiles=[0.1, 0.9]")


def _between(given: Any, top: int, what: str, wanted: str) -> tuple[float, ...]:
    values = () if given is None else (given,) if isinstance(given, Real | str) else tuple(given)
    for value in values:
        if not isinstance(value, Real) or not 0 < float(value) < top:
            raise ArgumentError(f"{what}={value!r}: wanted {wanted}.")
    return tuple(float(value) for value in values)


def _same(q: float) -> float:
    """One number for the levels that differ by rounding alone, such as (100 - 80) / 200 and 0.1."""
    return round(q, 12)
