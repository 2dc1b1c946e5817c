"""Lyapunov exponents by name: what a metric is told of the chaotic systems of a frame.

Units     1 / step: an estimate of dysts in 1 / time, times the period in time, over the steps of a period, which are
          the season of the frame (`pts_per_period` of `chaos` and `dysts_benchmark`).
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from tsforge.data.systems import metadata, systems
from tsforge.errors import ArgumentError
from tsforge.evaluation.asked import Spec, name_and_arguments
from tsforge.frame.frame import Frame

ESTIMATES = ("lyapunov_separation", "lyapunov_qr")
TRAJECTORY = re.compile(r"(.+)-\d+")  # "Lorenz-0", "Lorenz-1" are trajectories of Lorenz


def with_exponents(metrics: Sequence[Spec], frame: Frame) -> list[Spec]:
    """The metrics, with numbers where `exponent` names an estimate of dysts, and the name as their `source`.

    Raises:
        ArgumentError: there is no such estimate, or a series of the frame is no system that has it.
    """
    return [_with_numbers(spec, frame) for spec in metrics]


def exponent_per_step(series: str, estimate: str, steps: int) -> float:
    """The largest Lyapunov exponent of a system, in 1 / step, with so many steps in a period.

    Raises:
        ArgumentError: the series is no system, or dysts states no such number of it.
    """
    trajectory = TRAJECTORY.fullmatch(series)
    system = series if series in systems() or trajectory is None else trajectory[1]
    stated = metadata(system).estimates() if system in systems() else {}
    if not {estimate, "period"} <= stated.keys():
        what = f"dysts states no {estimate} of it" if stated else "dysts states nothing of it, as of every map"
        raise ArgumentError(f"exponent={estimate!r}: series {series!r} has none, for {what}. Give exponent= a number "
                            "in 1 / step, or one of each series.")
    rate, period = (np.asarray(stated[name].value, dtype=float) for name in (estimate, "period"))
    return float(rate * period / steps)


def _with_numbers(spec: Spec, frame: Frame) -> Spec:
    name, given = name_and_arguments(spec)
    estimate: Any = given.get("exponent")
    if not isinstance(estimate, str):
        return spec
    if estimate not in ESTIMATES:
        raise ArgumentError(f"{name}: exponent={estimate!r}: wanted a number in 1 / step, or {' or '.join(ESTIMATES)}, "
                            "the two estimates that dysts states of a flow (docs/chaos.md).")
    numbers = {series: exponent_per_step(str(series), estimate, frame.season) for series in frame.ids}
    exponent = next(iter(numbers.values())) if len(numbers) == 1 else numbers
    return {"name": name, "source": estimate} | given | {"exponent": exponent}
