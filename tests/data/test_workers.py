import io
import logging
import os
import re
import sys

import pytest

from tsforge.data.workers import cores, counting, share_out

NOTE = """
import json, os, sys, time
for line in sys.stdin:
    job = json.loads(line)
    if job["name"] == "deadly":
        sys.exit(3)
    with open(os.path.join(job["folder"], job["name"]), "x") as file:
        file.write(str(os.getpid()))
    time.sleep(0.05)
    print("done", flush=True)
"""


def share(folder, names, workers) -> int:
    """Jobs that were called done; each job leaves a file that holds the number of its process."""
    told = []
    share_out(NOTE, [{"folder": str(folder), "name": name} for name in names], workers, lambda: told.append(1))
    return len(told)


@pytest.mark.parametrize("workers", [1, 3])
def test_every_job_is_done_once_by_some_process_beside_this_one(tmp_path, workers):
    names = [f"job{i}" for i in range(12)]
    assert share(tmp_path, names, workers) == 12
    pids = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert sorted(pids) == sorted(names)
    assert 1 <= len(set(pids.values())) <= workers
    assert str(os.getpid()) not in pids.values()


def test_a_worker_that_dies_leaves_its_job_undone_and_the_others_go_on(tmp_path):
    assert share(tmp_path, ["a", "deadly", "b", "c"], 2) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]
    assert share(tmp_path, ["deadly", "d"], 1) == 0


def test_an_interrupted_call_stops_its_workers(tmp_path):
    def interrupt() -> None:
        raise KeyboardInterrupt

    jobs = [{"folder": str(tmp_path), "name": f"job{i}"} for i in range(100)]
    with pytest.raises(KeyboardInterrupt):
        share_out(NOTE, jobs, 2, interrupt)
    assert len(list(tmp_path.iterdir())) < 10


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "level", "total", "shown"), [
    (Terminal(), logging.INFO, 3, True), (Terminal(), logging.WARNING, 3, False),
    (io.StringIO(), logging.INFO, 3, False), (Terminal(), logging.INFO, 1, False),
], ids=["terminal", "quiet", "no terminal", "one thing"])
def test_a_bar_counts_on_a_terminal_that_notices_go_to(monkeypatch, caplog, stream, level, total, shown):
    monkeypatch.setattr(sys, "stderr", stream)
    caplog.set_level(level, logger="tsforge")
    with counting("systems", total) as done:
        for _ in range(total):
            done()
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert ("3/3 systems" in plain) == shown
    assert bool(stream.getvalue()) == shown


def test_there_is_a_core():
    assert 1 <= cores() <= (os.cpu_count() or 1)
