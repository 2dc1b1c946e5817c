"""What an ensemble learns: weights, the width of each series, and the residuals of the combined forecast."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tsforge.data.store import build_store
from tsforge.errors import CalibrationError
from tsforge.estimators.outputs import cutoff_rows
from tsforge.evaluation.combine import median, weighted_mean
from tsforge.evaluation.conformal import Scores, windows_for
from tsforge.evaluation.intervals import Law
from tsforge.frame.frame import Frame
from tsforge.frame.schema import Schema
from tsforge.scaling import fit_scaling


@dataclass(frozen=True)
class Beside:
    """Forecast tables of several models, side by side.

    Args:
        keys: The key columns, rows by window, target and step.
        values: [model, window, h, channel], NaN where missing.
    """

    keys: pl.DataFrame
    values: np.ndarray

    @classmethod
    def of(cls, tables: Sequence[pl.DataFrame], names: Sequence[str], h: int, channels: int) -> "Beside":
        """Of tables that have the same rows, in whatever order those behind the first have them."""
        keys = tables[0].drop(names[0], "y", strict=False)
        aligned = [
            table if table.select(keys.columns).equals(keys)
            else keys.join(table, on=keys.columns, how="left", maintain_order="left")
            for table in tables
        ]
        return cls(keys, np.stack([
            as_windows(table[name], h, channels) for table, name in zip(aligned, names, strict=True)
        ]))

    def ids(self, id_col: str | None) -> pl.Series | None:
        """[window] the series; None where the table names none, because there is one."""
        _, _, h, channels = self.values.shape
        return None if id_col is None else self.keys[id_col].gather_every(h * channels).alias("unique_id")

    def table(self, columns: dict[str, np.ndarray], steps: int) -> pl.DataFrame:
        """The first `steps` of each window of columns [window, h, channel], beside their keys."""
        h = self.values.shape[2]
        made = self.keys.with_columns(
            pl.Series(name, values.swapaxes(1, 2).ravel()) for name, values in columns.items()
        )
        return made if steps == h else made.filter(np.arange(len(made)) % h < steps)


def as_windows(column: pl.Series, h: int, channels: int) -> np.ndarray:
    """[window, h, channel] of a column whose rows go by window, channel and step."""
    values = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return values.reshape(-1, channels, h).swapaxes(1, 2)


@dataclass(frozen=True)
class EnsembleFit:
    """What `fit` learned.

    Args:
        schema: Roles of the frame.
        members: The fitted models.
        combine: How they are combined.
        weights: [model] over all series.
        ids: [series] those of the frame.
        scale: [series, channel] sd of the rows before the validation windows (of all rows without any); 0 counts as 1.
        chosen: [series] the model of each, where each has its own.
        scores: Residuals of the combined forecast in the validation windows, over the scale; None without windows.
    """

    schema: Schema
    members: Sequence[Any]
    combine: str
    weights: np.ndarray
    ids: pl.Series
    scale: np.ndarray
    chosen: np.ndarray | None = None
    scores: Scores | None = None

    @property
    def history(self) -> list[dict[str, Any]]:
        """An ensemble has no training of its own."""
        return []

    def known(self, ids: pl.Series | None, windows: int) -> np.ndarray:
        """[window] the row of each series among those of the fit, -1 where it was not there."""
        if ids is None:
            return np.zeros(windows, dtype=np.int64)
        rows = pl.DataFrame({"unique_id": self.ids, "row": np.arange(len(self.ids))})
        asked = pl.DataFrame({"unique_id": ids.cast(self.ids.dtype, strict=False)})
        found = asked.join(rows, on="unique_id", how="left", maintain_order="left")["row"]
        return found.fill_null(-1).cast(pl.Int64).to_numpy()

    def point(self, values: np.ndarray, known: np.ndarray) -> np.ndarray:
        """[window, h, channel] of forecasts [model, window, h, channel]."""
        if self.combine == "median":
            return median(values)
        if self.combine == "mean":
            return weighted_mean(values, np.ones(len(values)))  # no rounded weight: the sum over the count
        if self.chosen is None:
            return weighted_mean(values, self.weights)
        own = np.where(known >= 0, self.chosen[np.maximum(known, 0)], int(self.weights.argmax()))
        return weighted_mean(values, (np.arange(len(values))[:, None] == own).astype(np.float64))

    def columns(
        self, name: str, point: np.ndarray, known: np.ndarray, scale: np.ndarray, level: Sequence[float | int],
        quantiles: Sequence[float | int],
    ) -> dict[str, np.ndarray]:
        """`name`, `name-lo-80`, ..., each [window, h, channel]; scale is [window, channel].

        Raises:
            CalibrationError: no validation windows, or too few for a level.
        """
        self._check([lv / 100 for lv in level] + [abs(2 * q - 1) for q in quantiles if abs(q - 0.5) > 1e-9])
        law = Law((), {} if self.scores is None else {(0.5, 0.5): self.scores})
        # Ends are laid around 0 and the point is added, so that the point is the same bits with and without a level.
        around = law.columns(name, np.zeros((*point.shape, 1)), known, np.zeros_like(scale), scale, level, quantiles)
        return {column: values + point for column, values in around.items()}

    def _check(self, shares: Sequence[float]) -> None:
        if not shares:
            return
        if self.scores is None:
            raise CalibrationError(
                f"level={100 * shares[0]:g} needs validation windows, and this ensemble (combine={self.combine!r}, "
                "calibrate=False) made none. Make it with calibrate=True: each member is fitted once more then."
            )
        fewest, most = int(self.scores.pooled.counts.min()), max(shares)
        if windows_for(most) > fewest:
            raise CalibrationError(
                f"level={100 * most:g} needs {windows_for(most)} validation windows over all series, and there are "
                f"{fewest}, enough for {int(1e4 * fewest / (fewest + 1)) / 100:g}. Give the ensemble more: val_windows="
            )


def series_scale(frame: Frame, cutoffs: pl.DataFrame | None = None) -> tuple[pl.Series, np.ndarray]:
    """The series, and the sd [series, channel] of their rows up to their first cutoff; of all rows without one."""
    store = build_store(frame.without_covariates())
    ends, schema = store.ends.copy(), store.schema
    if cutoffs is not None:
        series, rows = cutoff_rows(store, cutoffs)
        np.minimum.at(ends, series, rows + 1)
    scale = fit_scaling(store.values, store.starts, ends, "standard").scale
    ids = pl.Series("unique_id", schema.channel_ids) if schema.channels_from else store.ids.alias("unique_id")
    return ids, scale.reshape(len(ids), len(schema.targets))
