import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tsforge.data import chaos
from tsforge.data.chaos import Chaos, integrate, quiet
from tsforge.data.places import cache_folder
from tsforge.data.systems import UNDEFINED, metadata, systems
from tsforge.errors import ArgumentError, UnknownNameError


def path(**arguments) -> np.ndarray:
    """[n, coordinate] of the first trajectory."""
    table = Chaos(**arguments).table()
    return table.filter(pl.col("unique_id") == table[0, "unique_id"]).drop("unique_id", "ds").to_numpy()


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TSFORGE_CACHE", str(tmp_path))
    return tmp_path


def files() -> list:
    return sorted((cache_folder() / "chaos").glob("*"))


@pytest.mark.parametrize(("system", "columns", "season"), [
    ("Lorenz", ["x", "y", "z"], 100), ("Hopfield", ["x", "y", "z", "x3", "x4", "x5"], 100), ("MackeyGlass", ["x"], 100),
    ("Henon", ["x", "y"], 1), ("Logistic", ["x"], 1), ("DuffingMap", ["x", "y"], 1), ("Duffing", ["x", "y", "z"], 100),
])
def test_flows_delays_and_maps_are_series_of_their_coordinates(system, columns, season):
    frame = Chaos(system=system, n=120).frame()
    assert (list(frame.targets), frame.season, frame.freq) == (columns, season, "1i")
    assert frame.ids.to_list() == [system]
    assert frame.table["ds"].to_list() == list(range(120))
    assert frame.table.null_count().sum_horizontal().item() == 0


def test_the_same_arguments_give_the_same_bits_and_another_seed_another_series(empty_cache):
    first = path(n=100)
    for file in files():
        file.unlink()
    assert np.array_equal(path(n=100), first)
    assert np.abs(path(n=100, seed=1) - first).max() > 1


def test_every_argument_changes_the_series():
    plain = Chaos(n=100).table()
    changes = {"n": 90, "pts_per_period": 50, "trajectories": 2, "noise": 0.1, "seed": 1, "system": "Rossler",
               "coordinate": "x"}
    for name, value in changes.items():
        arguments: dict[str, Any] = {"n": 100} | {name: value}
        assert not Chaos(**arguments).table().equals(plain), name


def test_a_flow_follows_its_equations():
    x, y, z = path(n=400, pts_per_period=1000).T
    step = 1.5008 / 1000  # dysts states the period of its Lorenz
    beta, rho, sigma = 8 / 3, 28, 10
    slopes = [sigma * (y - x), x * (rho - z) - y, x * y - 2.667 * z]
    for values, slope in zip((x, y, z), slopes, strict=True):
        centred = (values[2:] - values[:-2]) / (2 * step)
        assert np.abs(centred - slope[1:-1]).max() < 2e-3 * np.abs(slope).max()
    assert abs(beta - 2.667) < 1e-3
    wrong = sigma * (y - 2 * x)
    assert np.abs((x[2:] - x[:-2]) / (2 * step) - wrong[1:-1]).max() > 0.1 * np.abs(wrong).max()


def test_a_map_follows_its_equation():
    x, y = path(system="Henon", n=50).T
    assert np.allclose(x[1:], 1 - 1.4 * x[:-1] ** 2 + y[:-1], atol=1e-12)
    assert np.allclose(y[1:], 0.3 * x[:-1], atol=1e-12)


def test_a_longer_trajectory_begins_like_a_shorter_one():
    for system in ("Lorenz", "Henon"):
        assert np.allclose(path(system=system, n=150)[:100], path(system=system, n=100), atol=1e-6)


def test_finer_sampling_shows_the_same_trajectory():
    rng = [np.random.default_rng(5) for _ in range(2)]
    coarse, fine = integrate("Lorenz", 20, 50, rng[0]), integrate("Lorenz", 40, 100, rng[1])
    assert coarse is not None
    assert fine is not None
    assert np.allclose(fine[::2], coarse, atol=1e-2)


def test_the_quick_solver_agrees_with_that_of_dysts(monkeypatch):
    quick = integrate("Rossler", 30, 15, np.random.default_rng(0))
    monkeypatch.setattr(chaos, "SOLVER", {"method": "Radau", "rtol": 1e-9, "atol": 1e-9})
    slow = integrate("Rossler", 30, 15, np.random.default_rng(0))
    assert quick is not None
    assert slow is not None
    assert np.allclose(slow, quick, atol=1e-4)


def test_trajectories_are_series_with_starts_of_their_own():
    frame = Chaos(n=200, trajectories=3).frame()
    assert frame.ids.to_list() == ["Lorenz-0", "Lorenz-1", "Lorenz-2"]
    first, second, third = (part.select("x").to_numpy()[:, 0] for part in frame.table.partition_by("unique_id"))
    assert np.array_equal(first, path(n=200)[:, 0])
    for a, b in ((first, second), (first, third), (second, third)):
        assert np.abs(a - b).max() > 1
        shifted = [np.abs(a[k:] - b[: 200 - k]).max() for k in range(150)]
        assert min(shifted) > 0.1, "no series is a later part of another"


def test_a_start_at_zero_is_moved_too():
    assert np.abs(path(system="Circle", n=50) - path(system="Circle", n=50, seed=1)).max() > 1e-3


def test_noise_is_observed_on_the_same_trajectory_relative_to_each_coordinate():
    clean, noisy = path(n=2000, system="Lorenz"), path(n=2000, system="Lorenz", noise=0.1)
    share = (noisy - clean).std(axis=0) / clean.std(axis=0)
    assert np.allclose(share, 0.1, rtol=0.1)
    assert abs(np.corrcoef((noisy - clean)[1:, 0], (noisy - clean)[:-1, 0])[0, 1]) < 0.1


def test_an_unknown_system_names_the_nearest():
    with pytest.raises(UnknownNameError, match=r"no system named 'Lorentz'\. Did you mean 'Lorenz'"):
        Chaos(system="Lorentz")


@pytest.mark.parametrize("wrong", [
    {"n": 1}, {"n": True}, {"pts_per_period": 0}, {"trajectories": 0}, {"seed": -1}, {"noise": -0.1},
    {"noise": float("nan")}, {"workers": 0}, {"system": []}, {"coordinate": "w"},
])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ArgumentError, match=f"{next(iter(wrong))}="):
        Chaos(**wrong)


def several(**arguments: Any) -> pl.DataFrame:
    return Chaos(system=["Lorenz", "Henon", "MackeyGlass", "Logistic"], n=60, **arguments).table()


def test_several_systems_are_series_of_their_first_coordinate():
    frame = Chaos(system="Lorenz+Henon+MackeyGlass", n=60, trajectories=2).frame()
    assert (frame.targets, frame.season) == (("y",), 100)
    assert frame.ids.to_list() == [f"{name}-{i}" for name in ("Henon", "Lorenz", "MackeyGlass") for i in (0, 1)]
    for system in ("Lorenz", "Henon"):
        alone = Chaos(system=system, n=60, trajectories=2).table()
        together = frame.table.filter(pl.col("unique_id").str.starts_with(system))
        assert together["y"].equals(alone["x"])
        assert not together["y"].equals(alone["y"])


def test_only_maps_have_no_season():
    assert Chaos(system="Henon+Logistic", n=60).frame().season == 1


def test_one_coordinate_is_chosen_by_its_name():
    assert Chaos(system=["Lorenz", "Rossler"], n=60, coordinate="z").table()["y"].equals(
        pl.concat([Chaos(system=system, n=60).table()["z"] for system in ("Lorenz", "Rossler")])
    )
    assert Chaos(n=60, coordinate="y").table().columns == ["unique_id", "ds", "y"]


def test_a_coordinate_that_a_system_lacks_is_refused_with_those_it_has():
    with pytest.raises(ArgumentError, match=r"coordinate='z': Henon has x, y\. Choose one that every system has"):
        Chaos(system=["Lorenz", "Henon"], coordinate="z")


def test_processes_make_the_same_numbers_and_need_no_guard_in_a_script(monkeypatch, tmp_path):
    made_here = several(workers=1)
    script = tmp_path / "script.py"
    script.write_text(
        "from tsforge.data.chaos import Chaos\n"
        "made = Chaos(system=['Lorenz', 'Henon', 'MackeyGlass', 'Logistic'], n=60, workers=2).table()\nprint(len(made))"
    )
    monkeypatch.setenv("TSFORGE_CACHE", str(tmp_path / "cache"))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("240\n", "")
    monkeypatch.setattr(chaos, "integrate", None)
    assert several().equals(made_here)
    with pytest.raises(TypeError):
        several(seed=1)


def test_only_systems_that_are_not_in_the_cache_are_made(monkeypatch, empty_cache):
    Chaos(system="Henon", n=60).table()
    shared = []
    monkeypatch.setattr(chaos, "share_out", lambda program, jobs, workers, done: shared.extend(jobs))
    several(workers=2)
    assert [job["system"] for job in shared] == ["Lorenz", "MackeyGlass", "Logistic"]
    several(workers=2)
    assert len(shared) == 3


@pytest.mark.parametrize("program", ["raise SystemExit", "raise ValueError"])
def test_a_system_whose_worker_dies_is_made_here(monkeypatch, empty_cache, program):
    expected = several(workers=1)
    for file in files():
        file.unlink()
    monkeypatch.setattr(chaos, "WORKER", program)
    assert several(workers=2).equals(expected)


def test_of_several_systems_the_one_that_leaves_every_bound_is_named(monkeypatch, empty_cache):
    whole = chaos.integrate
    monkeypatch.setattr(chaos, "integrate", lambda system, *rest: None if system == "Henon" else whole(system, *rest))
    with pytest.raises(ArgumentError, match="system='Henon', seed=0"):
        several(workers=1)


def test_every_name_is_a_class_of_dysts():
    with quiet():
        from dysts import flows, maps
    modules = {"flows": flows, "maps": maps}
    assert all(hasattr(modules[module], name) for module, name in systems().values())
    assert len(systems()) == 158
    assert not any(hasattr(maps, name) for name in UNDEFINED)


def test_the_page_names_the_systems_that_cannot_be_made():
    page = (Path(__file__).parents[2] / "docs" / "chaos.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\w+) \| map \|", page, re.MULTILINE) == list(UNDEFINED)


@pytest.mark.parametrize("broken", [None, np.full((100, 3), np.nan)])
def test_a_trajectory_that_leaves_every_bound_names_the_system_and_is_not_kept(monkeypatch, empty_cache, broken):
    monkeypatch.setattr(chaos, "integrate", lambda *_: broken)
    with pytest.raises(ArgumentError, match="system='Lorenz', seed=0: trajectory 0 leaves every bound within 100"):
        Chaos(n=100).table()
    assert files() == []


def test_a_map_that_escapes_is_found_out(monkeypatch, empty_cache):
    monkeypatch.setattr(chaos, "SPREAD", 30.0)
    with pytest.raises(ArgumentError, match="system='Henon'"):
        Chaos(system="Henon", n=50).table()


def test_a_made_series_is_read_from_the_cache(monkeypatch, empty_cache):
    made = Chaos(n=60).table()
    assert len(files()) == 1
    monkeypatch.setattr(chaos, "integrate", None)
    assert Chaos(n=60).table().equals(made)
    with pytest.raises(TypeError):
        Chaos(n=61).table()


@pytest.mark.parametrize("damage", [
    lambda content: b"", lambda content: content[:200], lambda content: b"garbage",
    lambda content: content[:700] + bytes([content[700] ^ 1]) + content[701:],
])
def test_a_damaged_cache_file_is_made_again(empty_cache, damage):
    made = Chaos(n=60).table()
    (file,) = files()
    content = file.read_bytes()
    file.write_bytes(damage(content))
    assert Chaos(n=60).table().equals(made)
    (again,) = files()
    assert again.read_bytes() == content


def test_the_version_of_dysts_is_part_of_the_key(monkeypatch, empty_cache):
    Chaos(n=60).table()
    monkeypatch.setattr(chaos, "version", lambda _: "0.99")
    Chaos(n=60).table()
    assert len(files()) == 2


def test_a_cache_that_cannot_be_written_does_not_stop_the_series(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TSFORGE_CACHE", str(tmp_path / "file"))
    assert len(Chaos(n=60).table()) == 60


def test_making_a_series_leaves_numpy_the_warnings_and_the_terminal_alone(empty_cache, capfd):
    before, filters = np.random.get_state(legacy=False), list(warnings.filters)  # noqa: NPY002
    Chaos(system="DoublePendulum", n=60).table()  # dysts warns of its unbounded variables
    after = np.random.get_state(legacy=False)  # noqa: NPY002
    assert repr(before) == repr(after)
    assert warnings.filters == filters
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("system", list(systems()))
def test_every_system_of_dysts_gives_two_trajectories_that_differ(system):
    table = Chaos(system=system, n=300, trajectories=2).frame().table
    first, second = table.partition_by("unique_id")
    assert not first.drop("unique_id").equals(second.drop("unique_id"))
    assert tuple(table.columns[2:]) == metadata(system).coordinates


@pytest.mark.slow
def test_all_systems_make_one_frame():
    frame = Chaos(system="all", n=300).frame()
    assert set(frame.ids) == set(systems())
    assert len(frame) == 158 * 300
    assert frame.notices == ()


def test_numbers_do_not_depend_on_whether_numba_is_there():
    code = (
        "import sys; from tsforge.data.chaos import Chaos; Chaos(system='StickSlipOscillator', n=60).table();"
        "from dysts.flows import Lorenz; print(type(Lorenz._rhs).__name__, sys.modules.get('numba', 'gone'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["function", "gone"]
