import dataclasses
import json
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tsforge.data.places import find_bundled
from tsforge.data.systems import ESTIMATES, FLOWS, MAPS, chosen, coordinates, metadata, split_names, systems
from tsforge.errors import ArgumentError, UnknownNameError

FLOW_NAMES = [name for name, (module, _) in systems().items() if module == "flows"]


def stated(file: str) -> dict[str, Any]:
    return json.loads(find_bundled("dysts", file).read_text(encoding="utf-8"))


def exponents(kind: str) -> dict[str, float]:
    """An estimate of the largest exponent as dysts lists it beside its metadata."""
    lines = find_bundled("dysts", f"data/lyapunov_exponents_{kind}.txt").read_text().splitlines()
    return {name: float(value) for name, value in (line.split(":") for line in lines if line.strip())}


def value(system: str, name: str) -> float | None:
    estimate = getattr(metadata(system), name)
    return None if estimate is None else estimate.value


def apart(a: dict[str, Any], b: dict[str, Any]) -> tuple[int, int]:
    """How many systems two estimates differ in by more than a factor of two, and how many have both."""
    both = [name for name in a if name in b and a[name] is not None and b[name] is not None]
    return sum(not 0.5 <= a[name] / b[name] <= 2 if b[name] else a[name] != b[name] for name in both), len(both)


def test_every_system_has_a_record_with_its_kind():
    records = {name: metadata(name) for name in systems()}
    kinds = [record.kind for record in records.values()]
    assert {kind: kinds.count(kind) for kind in kinds} == {"flow": 129, "delay": 6, "map": 23}
    assert all(record.name == name for name, record in records.items())
    assert all(len(record.start) == record.dimension for record in records.values())
    assert all(record.coordinates == ("x",) for record in records.values() if record.kind == "delay")
    theirs = {"flows": stated(FLOWS), "maps": stated(MAPS)}
    assert all(records[name].parameters == theirs[module][there]["parameters"]
               for name, (module, there) in systems().items())


def test_the_record_of_lorenz_is_that_of_the_package():
    theirs, lorenz = stated(FLOWS)["Lorenz"], metadata("Lorenz")
    assert lorenz.period is not None
    assert (lorenz.period.value, lorenz.period.unit) == (1.5008, "time")
    for ours, (field, unit, _) in ESTIMATES.items():
        estimate = getattr(lorenz, ours)
        assert estimate.unit == unit
        assert estimate.source.startswith(f"chaotic_attractors.json, {field}: ")
        expected = max(theirs[field]) if ours == "lyapunov_qr" else theirs[field]
        assert np.array_equal(estimate.value, expected)
    assert lorenz.parameters == {"beta": 2.667, "rho": 28, "sigma": 10}
    assert (lorenz.dimension, lorenz.coordinates) == (3, ("x", "y", "z"))
    assert (lorenz.kind, lorenz.hamiltonian, lorenz.nonautonomous) == ("flow", False, False)
    assert lorenz.citation.startswith("Lorenz, Edward N (1963)")


def test_every_estimate_names_its_source_and_is_finite():
    for name in systems():
        for estimate in metadata(name).estimates().values():
            assert np.isfinite(estimate.value).all()
            assert ".json, " in estimate.source


def test_flows_have_every_estimate_but_for_these_and_maps_have_none():
    lacking = {
        ours: {name for name in FLOW_NAMES if ours not in metadata(name).estimates()} for ours in ESTIMATES
    }
    delays = {name for name in FLOW_NAMES if metadata(name).kind == "delay"}
    assert {ours: names for ours, names in lacking.items() if names} == {
        "lyapunov_qr": {"AtmosphericRegime"}, "lyapunov_spectrum": {"AtmosphericRegime"},
        "multiscale_entropy": delays | {"SwingingAtwood"},
    }
    assert all(metadata(name).estimates() == {} for name in systems() if name not in FLOW_NAMES)


def test_the_two_largest_exponents_differ_by_more_than_twice_for_a_third_of_the_flows():
    separation = {name: value(name, "lyapunov_separation") for name in FLOW_NAMES}
    qr = {name: value(name, "lyapunov_qr") for name in FLOW_NAMES}
    different, both = apart(separation, qr)
    assert both == 134
    assert 0.30 < different / both < 0.37
    assert apart(separation, {name: 1.3 * value for name, value in separation.items() if value})[0] == 0  # the control


def test_the_two_sources_are_those_that_dysts_lists_beside_its_metadata():
    separation = {name: value(name, "lyapunov_separation") for name in FLOW_NAMES}
    listed = exponents("naive_mean")
    assert {name: separation[name] for name in listed} == listed
    qr = {name: value(name, "lyapunov_qr") for name in FLOW_NAMES}
    assert apart(qr, exponents("qr"))[0] <= 2
    assert apart(qr, listed)[0] > 40  # the control: the other list


def test_the_spectrum_of_lorenz_adds_up_to_the_trace_of_its_jacobian_and_is_ordered():
    spectrum = value("Lorenz", "lyapunov_spectrum")
    parameters = metadata("Lorenz").parameters
    trace = -(parameters["sigma"] + 1 + parameters["beta"])
    assert math.isclose(sum(spectrum), trace, rel_tol=0.02)
    for name in FLOW_NAMES:
        found = value(name, "lyapunov_spectrum") or ()
        assert list(found) == sorted(found, reverse=True), name


def test_the_entropy_is_the_sum_of_the_positive_exponents_of_the_spectrum():
    spectra = {name: value(name, "lyapunov_spectrum") for name in FLOW_NAMES if name != "AtmosphericRegime"}
    sums = np.array([sum(max(exponent, 0) for exponent in spectrum) for spectrum in spectra.values()])
    entropy = np.array([value(name, "ks_entropy") for name in spectra])
    assert np.mean(np.isclose(sums, entropy, rtol=0.03, atol=1e-9)) > 0.98


def test_a_record_cannot_be_changed():
    lorenz = metadata("Lorenz")
    with pytest.raises(dataclasses.FrozenInstanceError):
        lorenz.name = "Rossler"  # type: ignore[misc]
    with pytest.raises(TypeError):
        lorenz.parameters["rho"] = 14  # type: ignore[index]


def test_a_map_that_shares_its_name_with_a_flow_has_its_own_record():
    assert (metadata("Duffing").kind, metadata("DuffingMap").kind) == ("flow", "map")
    assert metadata("DuffingMap").parameters == stated(MAPS)["Duffing"]["parameters"]


def test_what_dysts_says_is_read_without_importing_it():
    code = "import sys; from tsforge.data.systems import metadata; metadata('Lorenz'); print('dysts' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_systems_are_named_singly_together_or_in_groups():
    assert chosen("Lorenz") == ("Lorenz",)
    assert chosen("Lorenz+Henon") == chosen(["Lorenz", "Henon"]) == ("Lorenz", "Henon")
    assert (len(chosen("flows")), len(chosen("maps"))) == (135, 23)
    assert chosen("all") == (*chosen("flows"), *chosen("maps")) == tuple(systems())
    assert not any("+" in name or name in ("all", "flows", "maps") for name in systems())


@pytest.mark.parametrize("wrong", ["", [], ["Lorenz", "Lorenz"], "Lorenz+", [""]])
def test_a_choice_of_nothing_or_of_one_system_twice_is_refused(wrong):
    with pytest.raises(ArgumentError, match="system="):
        split_names(wrong)


@pytest.mark.parametrize("wrong", ["lorenz", ["Rossler", "lorenz"]])
def test_an_unknown_system_names_the_nearest(wrong):
    with pytest.raises(UnknownNameError, match=r"no system named 'lorenz'\. Did you mean 'Lorenz'\?"):
        chosen(wrong)
    with pytest.raises(UnknownNameError, match="no system named 'all'"):
        metadata("all")


def test_coordinates_are_x_y_z_and_then_numbered():
    assert coordinates(2) == ["x", "y"]
    assert coordinates(5) == ["x", "y", "z", "x3", "x4"]
