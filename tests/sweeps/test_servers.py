"""A sweep in a database server, and one behind optuna's proxy, is a sweep like any other."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import tsforge
from tsforge.sweeps.ledger import DEAD, Ledger, study_of
from tsforge.sweeps.storage import open_storage, rest
from tsforge.sweeps.worker import join

pytestmark = pytest.mark.slow
RECIPE = {
    "frame": {"name": "sunspots"}, "split": {"test": 22},
    "model": {"name": "dlinear", "h": 11, "input_size": 22}, "train": {"max_steps": 20, "accelerator": "cpu"},
    "sweep": {"trials": 8, "space": {
        "kernel_size": [3, 5, 7], "learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}},
}


def program(name: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """The address of a database of a server of its own, which refuses to run as root and so runs as nobody."""
    initdb, server = program("initdb"), program("postgres")
    if initdb is None or server is None:
        pytest.skip("PostgreSQL is not installed")
    pytest.importorskip("psycopg")
    who = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="tsf-pg-", dir="/tmp"))
    folder.chmod(0o777)
    subprocess.run([initdb, "-D", folder / "data", "-U", "tsforge", "--auth=trust", "--no-sync"], check=True,
                   capture_output=True, cwd=folder, **who)
    process = subprocess.Popen([server, "-D", folder / "data", "-k", folder, "-h", "", "-F"], cwd=folder,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **who)
    try:
        while not list(folder.glob(".s.PGSQL.*[0-9]")):
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)
        yield f"postgresql://tsforge@/postgres?host={folder}"
    finally:
        process.send_signal(signal.SIGINT)  # the gentler one waits for all that are connected, as these tests are
        process.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def swept(tmp_path: Path, *words: str) -> subprocess.Popen:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(RECIPE))
    return subprocess.Popen([sys.executable, "-m", "tsforge", "sweep", str(tmp_path / "r.yaml"), "--out",
                             str(tmp_path / "s"), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ledger(address: str) -> Ledger:
    storage = open_storage(address, shared=True)
    return Ledger(storage, study_of(storage, "sweep", True))


def test_a_sweep_in_postgresql_survives_a_kill_and_counts_each_trial_once(postgresql, tmp_path):
    first = swept(tmp_path, "--storage", postgresql, "--workers", "2")
    seen = ledger(postgresql)
    while first.poll() is None and len(seen.standing().done) < 2:
        time.sleep(0.1)
    first.kill()
    first.communicate()
    second = swept(tmp_path, "--storage", postgresql, "--workers", "2", "--resume")
    out, err = second.communicate(timeout=240)
    assert second.returncode == 0, err
    assert "kernel_size" in out
    standing = seen.standing()
    assert sorted(standing.done) == list(range(8))
    assert standing.running == {}
    assert len([trial for trial in seen.study.trials if not trial.user_attrs.get(DEAD)]) == 8
    rest(seen.storage)
    rest(seen.study._storage._backend)


def test_a_server_and_a_journal_propose_the_same(postgresql, tmp_path):
    table = tsforge.load("sunspots").to_polars()
    space = {"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}
    model = tsforge.DLinear(h=11, input_size=22, max_steps=3, accelerator="cpu", threads=1)
    found = [tsforge.sweep(model, table, space, trials=4, study_name="same", storage=place,
                           sampler={"name": "tpe", "n_startup_trials": 2})
             for place in (postgresql, tmp_path / "sweep.journal")]
    assert found[0].trials.drop("seconds").equals(found[1].trials.drop("seconds"))


def test_workers_join_through_the_proxy(tmp_path):
    pytest.importorskip("grpc")
    done = swept(tmp_path, "--trials", "2")
    _, err = done.communicate(timeout=240)
    assert done.returncode == 0, err
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    journal = tmp_path / "s" / "sweep.journal"
    serve = ("from tsforge.sweeps.storage import open_storage; from optuna.storages import run_grpc_proxy_server; "
             f"run_grpc_proxy_server(open_storage({str(journal)!r}), host='127.0.0.1', port={port})")
    server = subprocess.Popen([sys.executable, "-W", "ignore", "-c", serve], stderr=subprocess.DEVNULL)
    try:
        worker = join(f"grpc://127.0.0.1:{port}", "sweep")
        worker.ledger.study.set_user_attr("trials", 4)
        ended = []
        worker.work(told=ended.append)
        worker.ledger.storage.close()
    finally:
        server.terminate()
        server.wait()
    assert [one.index for one in ended] == [2, 3]
    storage = open_storage(journal)
    assert sorted(Ledger(storage, study_of(storage, "sweep", True)).standing().done) == [0, 1, 2, 3]
