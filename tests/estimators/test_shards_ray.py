"""Shards on a Ray cluster of two nodes are those of one process, and nothing of Ray is left."""

import json
import os
import threading
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import tsforge
from tsforge.errors import CalibrationError
from tsforge.estimators.shards.contract import Shard
from tsforge.estimators.shards.crew import Crew
from tsforge.estimators.shards.folder import WorkFolder
from tsforge.estimators.shards.predict import predict_in_shards
from tsforge.estimators.shards.ray_engine import Actor
from tsforge.estimators.shards.worker import Worker

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'tsforge[ray]'")
pytestmark = pytest.mark.slow
ASKED = {"n_windows": 3, "refit": 2, "freq": "1i", "season": 4}
STORE = 80 << 20  # bytes


@pytest.fixture(scope="module")
def cluster():
    """Two raylets on this machine, a core each, and a connection."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        node = {"num_cpus": 1, "object_store_memory": STORE}
        made = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
        try:
            made.add_node(**node)
            ray.init(made.address, log_to_driver=False, logging_level="error")
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


def table() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.concat([
        pl.DataFrame({"unique_id": f"s{k:02d}", "ds": np.arange(70), "y": rng.normal(size=70).cumsum()})
        for k in range(60)
    ])


def dlinear() -> tsforge.DLinear:  # pyright: ignore[reportInvalidTypeForm]
    return tsforge.DLinear(h=3, input_size=8, max_steps=3, accelerator="cpu", loss="quantile")


def test_two_nodes_give_the_bits_of_one_process(cluster, tmp_path):
    assert [node["Resources"]["CPU"] for node in ray.nodes() if node["Alive"]] == [1.0, 1.0]
    models = [dlinear(), tsforge.SeasonalNaive(h=3, season=4)]
    asked = ASKED | {"quantiles": [0.1, 0.9]}
    models[1].set_params(val_size=0.5)
    made = tsforge.backtest(models, table(), engine="ray", folder=tmp_path / "ray", **asked)
    alone = tsforge.backtest(models, table(), engine="local", workers=1, folder=tmp_path / "local", **asked)
    assert made.equals(alone)
    assert_frame_equal(made, tsforge.backtest(models, table(), **asked), rel_tol=1e-5)
    parts = sorted(path.name for path in tmp_path.glob("ray/parts/*"))
    assert parts == sorted(path.name for path in tmp_path.glob("local/parts/*"))
    assert all((tmp_path / "ray/parts" / name).read_bytes() == (tmp_path / "local/parts" / name).read_bytes()
               for name in parts)
    told = [json.loads(line)["by"] for line in (tmp_path / "ray" / "manifest.jsonl").read_text().splitlines()]
    assert len(told) == len(parts)
    assert not [by for by in told if by.endswith(f":{os.getpid()}")]
    assert ray.is_initialized()  # a connection that was there stays


def test_predict_takes_the_same_actors(cluster, tmp_path):
    run = dlinear().fit(table(), freq="1i", season=4).save(tmp_path / "run")
    made = predict_in_shards(run, None, WorkFolder(tmp_path / "work"), "ray", 2, quantiles=[0.1])
    assert_frame_equal(made, tsforge.open(run).predict(quantiles=[0.1]), rel_tol=1e-5)


def test_the_error_of_a_shard_comes_as_what_it_is(cluster):
    with pytest.raises(CalibrationError, match="level=50 needs calibration windows"):
        tsforge.backtest(tsforge.Drift(h=3, val_size=None), table(), engine="ray", level=[50], n_windows=2, freq="1i")


def test_actors_for_which_there_is_no_room_hold_no_shard(cluster, tmp_path):
    work = tmp_path / "work"
    tsforge.backtest(tsforge.Drift(h=3), table(), engine="local", workers=1, folder=work, n_windows=2, freq="1i")
    jobs = [asdict(Shard(f"00-0000-9{k:04d}", "models/00-0000", (k, k + 1), (0, 2))) for k in range(8)]
    made = ray.remote(num_cpus=1)(Worker)
    crew = Crew(jobs, lambda: Actor(ray, made.remote(str(work))), 4)  # on two cores
    assert sorted(answer["shard"] for answer in crew.run()) == [job["key"] for job in jobs]
    actor, over = Actor(ray, ray.remote(num_cpus=9)(Worker).remote(str(work))), threading.Event()
    threading.Timer(1, over.set).start()
    assert not actor.wait(over)
    actor.kill()


def test_a_cluster_of_our_own_is_gone_afterwards(cluster):
    ray.shutdown()
    before = ray_processes()
    assert len(before) >= 3  # those of the other cluster, so that the search is seen to find some
    made = tsforge.backtest(tsforge.Drift(h=3), table(), engine="ray", workers=2, n_windows=2, freq="1i")
    assert made.equals(tsforge.backtest(tsforge.Drift(h=3), table(), n_windows=2, freq="1i"))
    assert not ray.is_initialized()
    assert ray_processes() <= before


def ray_processes() -> set[str]:
    """Raylets and stores of clusters on this machine."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if b"/raylet/raylet" in words or b"gcs_server" in words:
            found.add(path.parent.name)
    return found
