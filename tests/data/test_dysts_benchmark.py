import gzip
import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from tsforge.data.card import read_card
from tsforge.data.dysts_benchmark import DystsBenchmark
from tsforge.data.systems import metadata, systems
from tsforge.errors import ArgumentError, DataNotFoundError, FrameError, UnknownNameError
from tsforge.frame.frame import Frame
from tsforge.frame.split import Split

DELAYS = {"IkedaDelay", "MackeyGlass", "PiecewiseCircuit", "ScrollDelay", "SprottDelay", "VossDelay"}


@pytest.fixture
def benchmark(shared_data):
    def frame(**arguments: Any) -> Frame:
        for file in read_card("dysts_benchmark").files:
            shared_data(file.path)
        return DystsBenchmark(**arguments).frame()

    return frame


def written(path, series: dict[str, Any]):
    path.write_text(json.dumps({name: {"dt": 0.1, "time": [], "values": values} for name, values in series.items()}))
    return path


def wide(frame: Frame, name: str) -> np.ndarray:
    """[time, target] of one series."""
    return frame.table.filter(pl.col("unique_id") == name).select(frame.targets).to_numpy()


@pytest.mark.parametrize(("part", "count"), [("train", 133), ("test", 68)])
@pytest.mark.parametrize(("points", "steps"), [(15, 180), (100, 1_200)])
def test_univariate_files_have_the_published_systems_and_steps(benchmark, part, count, points, steps):
    frame = benchmark(part=part, pts_per_period=points)
    assert (len(frame.ids), frame.targets, frame.freq, frame.season) == (count, ("y",), "1i", points)
    assert set(frame.table.group_by("unique_id").len()["len"]) == {steps}
    assert frame.steps is not None
    assert frame.table["ds"].to_list() == list(range(steps)) * count
    missing = 171 if (part, points) == ("train", 15) else 0
    assert frame.table["y"].null_count() == missing == frame.table.filter(
        pl.col("unique_id") == "PiecewiseCircuit")["y"].null_count()
    assert frame.notices == ()
    assert frame.split == Split(train=steps * 5 // 6, val=0, test=steps // 6)


@pytest.mark.parametrize(("part", "counts"), [
    ("train", {3: 102, 4: 19, 5: 2, 6: 3, 10: 7}), ("test", {3: 52, 4: 11, 5: 1, 6: 2, 10: 2}),
])
def test_multivariate_systems_of_one_dimension_make_a_frame_and_together_they_are_the_part(benchmark, part, counts):
    found = {d: benchmark(part=part, variables="multivariate", dimension=d) for d in counts}
    assert {d: len(frame.ids) for d, frame in found.items()} == counts
    assert sum(counts.values()) == (133 if part == "train" else 68)
    assert all(len(frame.targets) == d for d, frame in found.items())
    assert found[5].targets == ("x", "y", "z", "x3", "x4")
    assert all(metadata(name).dimension == d for d, frame in found.items() for name in frame.ids)


def test_all_systems_of_the_files_are_known_to_dysts_and_two_of_its_flows_are_not_there(benchmark):
    train, test = (set(benchmark(part=part).ids) for part in ("train", "test"))
    flows = {name for name, (module, _) in systems().items() if module == "flows"}
    assert flows - train == {"GlycolyticOscillation", "InteriorSquirmer"}
    assert test < train < flows


def test_train_and_test_start_apart(benchmark):
    train, test = (benchmark(part=part) for part in ("train", "test"))
    names = [name for name in test.ids if name != "PiecewiseCircuit"]
    alike = [np.corrcoef(wide(train, name)[:, 0], wide(test, name)[:, 0])[0, 1] for name in names]
    assert np.mean(np.array(alike) > 0.99) < 0.1
    assert all(not np.array_equal(wide(train, name), wide(test, name)) for name in names)


def test_a_season_is_the_period_of_a_periodic_system(benchmark):
    y = wide(benchmark(system="Rossler", part="train"), "Rossler")[:, 0]
    power = np.abs(np.fft.rfft(y - y.mean())) ** 2
    assert abs(len(y) / power.argmax() - 15) < 1.5


def test_multivariate_delay_systems_are_copies_of_one_coordinate_some_of_them_ahead(benchmark):
    def known_ahead(name: str) -> bool:
        x, y = wide(benchmark(part="train", variables="multivariate", system=name), name).T[:2]
        return max(np.corrcoef(x[lag:], y[:-lag])[0, 1] for lag in range(1, 60)) > 0.999

    tens = benchmark(part="train", variables="multivariate", dimension=10).ids
    assert {name for name in tens if known_ahead(name)} == DELAYS
    assert set(benchmark(variables="multivariate", dimension=10).ids) <= DELAYS
    assert not known_ahead("Lorenz")


def test_one_system_or_several_are_chosen_by_name(benchmark):
    whole = benchmark()
    some = benchmark(system=whole.ids[:2].to_list())
    assert some.table.equals(whole.table.filter(pl.col("unique_id").is_in(whole.ids[:2].implode())))
    assert benchmark(system="+".join(whole.ids[:2])).table.equals(some.table)


def test_another_step_of_time_has_no_published_split(shared_data):
    shared_data("dysts/test_univariate__pts_per_period_15__periods_12.json.gz")
    assert DystsBenchmark().frame(resample="3i", how="mean").split is None


def test_systems_of_different_dimension_are_no_channels_of_one_frame(benchmark):
    with pytest.raises(ArgumentError, match=r"coordinates \(52 of 3, 11 of 4, .*by system= or dimension="):
        benchmark(variables="multivariate")


@pytest.mark.parametrize(("wrong", "said"), [
    ({"part": "val"}, "part='val': wanted 'train' or 'test'"),
    ({"variables": "both"}, "variables='both': wanted 'univariate' or 'multivariate'"),
    ({"pts_per_period": 30}, "pts_per_period=30: wanted 15 or 100"),
    ({"variables": "multivariate", "pts_per_period": 100}, "pts_per_period=100: multivariate series are published"),
    ({"dimension": 3}, "dimension=3"), ({"variables": "multivariate", "dimension": 0}, "dimension=0"),
    ({"system": []}, "system="), ({"system": "Lorenz+Lorenz"}, "system="),
])
def test_arguments_that_choose_nothing_are_refused_before_any_file_is_read(monkeypatch, tmp_path, wrong, said):
    monkeypatch.setenv("TSFORGE_DATA", str(tmp_path))
    with pytest.raises(ArgumentError, match=said.replace("=[", r"=\[")):
        DystsBenchmark(**wrong)


def test_without_its_files_it_says_where_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("TSFORGE_DATA", str(tmp_path))
    with pytest.raises(DataNotFoundError, match=r"williamgilpin/dysts.*Apache-2\.0.*sha256: 7b1e6e00"):
        DystsBenchmark().frame()


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_of_the_users_own_is_read_plain_or_packed(tmp_path, packed):
    path = written(tmp_path / "own.json", {"A": [1.0, 2.0, float("nan")], "B": [4, 5, 6]})
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    frame = DystsBenchmark(path=path).frame()
    assert frame.table["y"].to_list() == [1, 2, None, 4, 5, 6]
    with pytest.raises(UnknownNameError, match=r"no system named 'a'\. Did you mean 'A'"):
        DystsBenchmark(path=path, system="a").frame()


def test_a_multivariate_file_of_the_users_own_may_have_any_number_of_points(tmp_path):
    path = written(tmp_path / "own.json", {"A": [[1.0, 2.0], [3.0, 4.0]], "B": [[1.0], [2.0]]})
    frame = DystsBenchmark(path=path, variables="multivariate", pts_per_period=100, system="A").frame()
    assert (frame.targets, frame.season, wide(frame, "A").tolist()) == (("x", "y"), 100, [[1, 2], [3, 4]])
    with pytest.raises(ArgumentError, match=r"dimension=4: the systems have 1, 2"):
        DystsBenchmark(path=path, variables="multivariate", dimension=4).frame()
    with pytest.raises(FrameError, match="univariate series has one number"):
        DystsBenchmark(path=path, system="A").frame()


@pytest.mark.parametrize("content", [
    b"", b"[1, 2]", b"{}", b'{"A": 3}', b'{"A": {"time": []}}', b'{"A": {"values": []}}', b'{"A": {"values": ["x"]}}',
    b'{"A": {"values": [[1], [2, 3]]}}', b"\x1f\x8b broken", gzip.compress(b'{"A"', mtime=0)[:-4], b"\xff\xfe",
])
def test_a_file_of_another_layout_is_refused(tmp_path, content):
    (tmp_path / "own.json").write_bytes(content)
    with pytest.raises(FrameError, match="is no file of dysts, which is JSON as"):
        DystsBenchmark(path=tmp_path / "own.json").frame()
