"""What evaluation knows of a model: it fits, it forecasts after cutoffs, it is copied by its parameters."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import polars as pl

Levels = Sequence[float | int] | float | int

@runtime_checkable
class Forecaster(Protocol):
    """A function from the past of series to the law of their next `h` steps."""

    h: int

    @property
    def name(self) -> str:
        """The column of its forecasts."""
        ...

    def trained_until(self) -> pl.DataFrame:
        """`unique_id, ds`: the last time of each series that fitting looked at."""
        ...

    def fit(self, X: Any, y: Any = None) -> "Forecaster":
        """Learns from a frame."""
        ...

    def predict(self, X: Any = None) -> Any:
        """Forecasts after the end of what it was fitted on, or of what it is given."""
        ...

    def predict_at(
        self,
        X: Any,
        cutoffs: pl.DataFrame,
        *,
        level: Levels = (),
        quantiles: Levels = (),
    ) -> pl.DataFrame:
        """Forecasts after each of `cutoffs` (`unique_id, cutoff`), beside the truth `y`; sees nothing later."""
        ...

    def save(self, path: Any) -> Any:
        """Writes a run folder."""
        ...

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Its arguments."""
        ...

    def set_params(self, **params: Any) -> Any:
        """Changes its arguments."""
        ...
