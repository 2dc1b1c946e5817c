import json
import subprocess
import sys

import numpy as np
import pytest

from tsforge.data.weather2k import CURRENT, FIRST_RELEASE

WATCHED = """
import json, sys, threading, time
from pathlib import Path

def private():  # bytes that belong to this process alone; pages of the mapped file are not among them
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

def watch():
    while True:
        peak[0] = max(peak[0], private())
        time.sleep(0.02)

peak = [0]
threading.Thread(target=watch, daemon=True).start()
path, targets = sys.argv[1], json.loads(sys.argv[2])
"""

EPOCH = WATCHED + """
import numpy as np
from tsforge.data.prepare import Preparation, prepare
from tsforge.data.store import build_store
from tsforge.data.weather2k import Weather2K
from tsforge.data.windows import Cutoffs, Windows
from tsforge.training.loader import TrainLoader

begin = time.time()
frame = Weather2K(path=path, targets=targets).frame()
opened = time.time()
store = build_store(frame)
prepared = prepare(store, Preparation.fit(store, store.ends, "standard", "series"))
scaled = time.time()
ends = np.arange(71, frame.block.lengths[0], 96)  # windows of 72 + 24 steps that do not overlap: each row once
index = Cutoffs(np.repeat(np.arange(len(store.ids)), len(ends)), (store.starts[:, None] + ends).ravel())
windows, rows = Windows(prepared, index, 72, 24), 0
for batch in TrainLoader(windows, 256, seed=0, start=0, stop=-(-len(windows) // 256)):
    rows += batch.past.shape[0] * (batch.past.shape[1] + batch.future.shape[1])
print(json.dumps({"peak": peak[0], "rows": rows, "open": opened - begin, "scale": scaled - opened,
                  "epoch": time.time() - scaled, "loc": prepared.loc[7].tolist()}))
"""

COPY = WATCHED + """
import numpy as np
copied = np.load(path, mmap_mode="r")[:, 4:6].copy()
time.sleep(0.1)
print(json.dumps({"peak": peak[0]}))
"""


def run(script: str, *arguments: str) -> dict:
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize(("release", "dtype", "targets"), [
    (CURRENT, "float64", CURRENT.variables[3:]),  # 2.6 GB
    (FIRST_RELEASE, "float32", ("t", "rh")),  # 7.0 GB; two of twenty variables, so that two cores are done in a minute
])
def test_an_epoch_over_a_whole_file_needs_far_less_than_4_gb_of_its_own(tmp_path, release, dtype, targets):
    path = tmp_path / "weather2k.npy"  # sparse: only the blocks that are written take space on disk
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=release.shape)
    array[7, release.variables.index("t")] = 12.5
    del array
    found = run(EPOCH, str(path), json.dumps(list(targets)))
    print({name: round(value, 1) for name, value in found.items() if name in ("open", "scale", "epoch")},
          f"{found['peak'] / 1e9:.2f} GB")
    assert found["rows"] == release.shape[0] * release.shape[2]
    assert found["loc"][list(targets).index("t")] == 12.5
    assert found["peak"] < 1e9  # 4 GB are allowed


@pytest.mark.slow
def test_a_copy_of_two_variables_is_seen_by_the_same_measure(tmp_path):
    path = tmp_path / "weather2k.npy"
    np.lib.format.open_memmap(path, mode="w+", dtype="float64", shape=CURRENT.shape)
    size = CURRENT.shape[0] * CURRENT.shape[2] * 2 * 8
    assert run(COPY, str(path), "null")["peak"] > size
