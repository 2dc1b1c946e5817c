"""What local models standardise by, and the check of arrays that a run folder brings back."""

import numpy as np

from tsforge.errors import ArtifactError
from tsforge.local.base import State


def loc_and_scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[column] each: mean and sd of the observed cells of [row, column]; an sd of 0 counts as 1."""
    columns = [column[~np.isnan(column)] for column in values.T]
    loc = np.array([column.mean() if len(column) else 0.0 for column in columns])
    scale = np.array([column.std() if len(column) else 0.0 for column in columns])
    return loc, np.where(scale > 1e-12 * np.abs(loc), scale, 1.0)


def require_finite(state: State, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """An array of finite numbers of this shape, None where any size will do.

    Raises:
        ArtifactError: it is missing, has another shape, or holds what is no number.
    """
    array = state.get(name)
    fits = array is not None and array.ndim == len(shape) and array.dtype.kind == "f"
    if array is None or not fits or any(s not in (None, n) for s, n in zip(shape, array.shape, strict=True)):
        raise ArtifactError(f"{name!r} of what was learned is not an array of numbers of the shape {shape}.")
    if not np.isfinite(array).all():
        raise ArtifactError(f"{name!r} of what was learned holds what is no finite number.")
    return array
