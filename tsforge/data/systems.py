"""Systems: what dysts states of its flows and maps, each estimate with its source.

Source    Gilpin (2021), "Chaos as an interpretable benchmark for forecasting and data-driven modelling",
          arXiv:2110.05266; files in the folder data of the package dysts, which is slow to import and is not imported.
Units     time: the system's own, dimensionless; exponents and entropies are nats in this time.
Differs   dysts carries two estimates of the largest Lyapunov exponent that differ by more than a factor of two for a
          third of the flows. Both are here, under names of their own; none is called the exponent.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from tsforge.data.places import find_bundled
from tsforge.errors import ArgumentError, UnknownNameError, suggest

FLOWS, MAPS = "data/chaotic_attractors.json", "data/discrete_maps.json"
UNDEFINED = ("EndCap", "Zaslavskii", "ZeraouliaSprott")  # maps that dysts describes and has no equations for
GROUPS = ("all", "flows", "maps")
SEPARATION = "growth of the distance between neighbouring trajectories, mean over many starts"
QR = "QR decomposition of the tangent flow along one trajectory"
ESTIMATES = {  # name here: (field in dysts, unit, how dysts had it)
    "period": ("period", "time", "largest peak of the spectrum that stands out against phase-randomised surrogates"),
    "dt": ("dt", "time", "step for the integrator, finer than the fastest significant peak of the spectrum"),
    "lyapunov_separation": ("maximum_lyapunov_estimated", "1/time", SEPARATION),
    "lyapunov_qr": ("lyapunov_spectrum_estimated", "1/time", f"the largest by {QR}"),
    "lyapunov_spectrum": ("lyapunov_spectrum_estimated", "1/time", QR),
    "kaplan_yorke_dimension": ("kaplan_yorke_dimension", "", "of an estimated Lyapunov spectrum"),
    "correlation_dimension": ("correlation_dimension", "", "Grassberger-Procaccia"),
    "ks_entropy": ("pesin_entropy", "1/time", "Pesin: sum of the positive exponents of an estimated spectrum"),
    "multiscale_entropy": ("multiscale_entropy", "", "sample entropy over scales"),
    "mean": ("mean", "", "of each coordinate along a trajectory"),
    "sd": ("std", "", "of each coordinate along a trajectory"),
}


@dataclass(frozen=True)
class Estimate:
    """A number, or one for each coordinate or exponent, that dysts states of a system.

    Args:
        value: As dysts has it.
        unit: "time", "1/time", or "" where there is none.
        source: File and field in dysts, and how it was had.
    """

    value: float | tuple[float, ...]
    unit: str
    source: str


@dataclass(frozen=True)
class System:
    """What dysts states of one system. An estimate is None where dysts has none, as for every map.

    Args:
        name: Its name here; "DuffingMap" is the map that shares its name with a flow.
        kind: "flow", "delay" (a flow with a delay) or "map".
        description: One line.
        citation: Who described it.
        dimension: Coordinates in dysts; for a delay, the delayed copies of its one coordinate.
        coordinates: Names of the coordinates that `Chaos` returns; one for a delay.
        start: A point near the attractor.
        parameters: Of the equations, by name.
        hamiltonian: Whether energy is kept.
        nonautonomous: Whether time stands in the equations.
        unbounded: Coordinates that grow, as angles do; trajectories return a bounded function of them.
        period: Dominant period.
        dt: Step of the integrator in dysts.
        lyapunov_separation: Largest Lyapunov exponent, by separation of neighbours.
        lyapunov_qr: Largest Lyapunov exponent, by QR along one trajectory.
        lyapunov_spectrum: All exponents, largest first.
        kaplan_yorke_dimension: Of an estimated spectrum.
        correlation_dimension: Of the attractor.
        ks_entropy: Kolmogorov-Sinai entropy by Pesin's formula.
        multiscale_entropy: Of a trajectory.
        mean: Of each coordinate.
        sd: Of each coordinate.
    """

    name: str
    kind: str
    description: str
    citation: str
    dimension: int
    coordinates: tuple[str, ...]
    start: tuple[float, ...]
    parameters: Mapping[str, Any]
    hamiltonian: bool
    nonautonomous: bool
    unbounded: tuple[int, ...]
    period: Estimate | None = None
    dt: Estimate | None = None
    lyapunov_separation: Estimate | None = None
    lyapunov_qr: Estimate | None = None
    lyapunov_spectrum: Estimate | None = None
    kaplan_yorke_dimension: Estimate | None = None
    correlation_dimension: Estimate | None = None
    ks_entropy: Estimate | None = None
    multiscale_entropy: Estimate | None = None
    mean: Estimate | None = None
    sd: Estimate | None = None

    def estimates(self) -> dict[str, Estimate]:
        """The estimates that dysts has, by name."""
        found = {name: getattr(self, name) for name in ESTIMATES}
        return {name: estimate for name, estimate in found.items() if estimate is not None}


@cache
def systems() -> dict[str, tuple[str, str]]:
    """The name of every system -> its module and class in dysts."""
    flows, maps = _described()
    named = {name if name not in flows else f"{name}Map": ("maps", name) for name in maps if name not in UNDEFINED}
    return {name: ("flows", name) for name in flows} | named


@cache
def metadata(system: str) -> System:
    """What dysts states of a system.

    Raises:
        UnknownNameError: dysts has no such system.
    """
    (name,) = chosen([system])
    module, there = systems()[name]
    flows, maps = _described()
    stated = flows[there] if module == "flows" else maps[there]
    dimension = stated.get("embedding_dimension", len(stated["initial_conditions"]))
    delay = stated.get("delay", False)
    file = FLOWS if module == "flows" else MAPS
    estimates = {ours: _estimate(stated, file, ours) for ours in ESTIMATES}
    return System(
        name, "map" if module == "maps" else "delay" if delay else "flow", stated.get("description", ""),
        stated["citation"].strip(" ."), dimension, tuple(coordinates(1 if delay else dimension)),
        tuple(map(float, stated["initial_conditions"])), MappingProxyType(stated["parameters"]),
        stated.get("hamiltonian", False), stated.get("nonautonomous", False),
        tuple(stated.get("unbounded_indices", ())), **estimates,
    )


def chosen(system: str | Sequence[str]) -> tuple[str, ...]:
    """The systems that an argument names: one, several (`["Lorenz", "Rossler"]`, `"Lorenz+Rossler"`), or a group.

    Raises:
        UnknownNameError: dysts has no such system.
        ArgumentError: none is named, or one twice.
    """
    if isinstance(system, str) and system in GROUPS:
        return tuple(name for name, (module, _) in systems().items() if system in ("all", module))
    names = split_names(system)
    for name in names:
        if name not in systems():
            raise UnknownNameError(
                f"dysts has no system named {name!r}.{suggest(name, systems())} Groups are {', '.join(GROUPS)}."
            )
    return names


def split_names(system: str | Sequence[str]) -> tuple[str, ...]:
    """`"Lorenz+Rossler"` or a sequence of names, as a tuple.

    Raises:
        ArgumentError: there is none, one is no text, or one stands twice.
    """
    names = tuple(system.split("+") if isinstance(system, str) else system)
    if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise ArgumentError(
            f"system={system!r}: wanted a name, or several different ones as ['Lorenz', 'Rossler'] or 'Lorenz+Rossler'."
        )
    return names


def coordinates(count: int) -> list[str]:
    """x, y, z, then x3, x4, ..."""
    return [*"xyz", *(f"x{i}" for i in range(3, count))][:count]


@cache
def _described() -> tuple[dict[str, Any], dict[str, Any]]:
    flows, maps = (json.loads(find_bundled("dysts", file).read_text(encoding="utf-8")) for file in (FLOWS, MAPS))
    return flows, maps


def _estimate(stated: dict[str, Any], file: str, ours: str) -> Estimate | None:
    theirs, unit, how = ESTIMATES[ours]
    value = stated.get(theirs)
    if value is None:
        return None
    if isinstance(value, list):
        value = tuple(map(float, value))
        value = max(value) if ours == "lyapunov_qr" else value
    return Estimate(value, unit, f"{file.removeprefix('data/')}, {theirs}: {how}")
