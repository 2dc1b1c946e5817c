"""Many states as a few arrays, as a run folder keeps them: under each name, values of all series one after another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tsforge.errors import ArtifactError
from tsforge.local.base import LocalModel, State


@dataclass(frozen=True)
class LocalFit:
    """A local model and what it learned of each series; None where that failed.

    Args:
        model: The model.
        states: [series].
    """

    model: LocalModel
    states: tuple[State | None, ...]


def packed(states: Sequence[State | None]) -> dict[str, np.ndarray]:
    """`failed`, [series], and for each name of a state `NAME/values`, flat, and `NAME/shapes`, [series, axis].

    A series without the name has the shape -1 in its first axis.
    """
    arrays: dict[str, np.ndarray] = {}
    for name in dict.fromkeys(name for state in states if state is not None for name in state):
        parts = [None if state is None else state.get(name) for state in states]
        there = [np.asarray(part) for part in parts if part is not None]
        axes = max(part.ndim for part in there)
        shapes = np.full((len(states), axes + 1), -1)
        for row, part in zip(shapes, parts, strict=True):
            if part is not None:
                row[0], row[1 : 1 + np.ndim(part)] = np.ndim(part), np.shape(part)
        arrays |= {f"{name}/values": np.concatenate([part.ravel() for part in there]), f"{name}/shapes": shapes}
    return arrays | {"failed": np.array([state is None for state in states])}


def unpacked(arrays: Mapping[str, np.ndarray]) -> tuple[State | None, ...]:
    """The inverse of `packed`.

    Raises:
        ArtifactError: shapes and values do not fit together.
    """
    failed = arrays["failed"]
    if failed.dtype != bool or failed.ndim != 1:
        raise ArtifactError("The list of series that failed is no list of yes and no.")
    states: list[dict[str, np.ndarray]] = [{} for _ in failed]
    names = [key.removesuffix("/values") for key in arrays if key.endswith("/values")]
    if {*arrays} != {"failed", *(f"{name}/{part}" for name in names for part in ("values", "shapes"))}:
        raise ArtifactError("The arrays of what was learned are not values with their shapes.")
    for name in names:
        for state, part in zip(states, _parts(name, arrays, len(failed)), strict=True):
            if part is not None:
                state[name] = part
    return tuple(None if fail else state for fail, state in zip(failed, states, strict=True))


def _parts(name: str, arrays: Mapping[str, np.ndarray], count: int) -> list[np.ndarray | None]:
    values, shapes = arrays[f"{name}/values"], arrays[f"{name}/shapes"]
    whole = values.ndim == 1 and shapes.ndim == 2 and len(shapes) == count and shapes.dtype.kind == "i"
    if not whole or not ((shapes[:, 0] >= -1) & (shapes[:, 0] < shapes.shape[1])).all():
        raise ArtifactError(f"{name!r}: the shapes of what was learned are none.")
    made: list[np.ndarray | None] = []
    begin = 0
    for axes, *sizes in shapes.tolist():
        if axes < 0:
            made.append(None)
            continue
        size = 1
        for length in sizes[:axes]:
            if not 0 <= length <= len(values):
                raise ArtifactError(f"{name!r}: a shape of what was learned is larger than its values.")
            size *= length
        if begin + size > len(values):
            raise ArtifactError(f"{name!r}: there are fewer values than their shapes say.")
        made.append(values[begin : begin + size].reshape(sizes[:axes]))
        begin += size
    if begin != len(values):
        raise ArtifactError(f"{name!r}: there are more values than their shapes say.")
    return made
