"""Seconds of a DLinear fit on ETTh1: tsforge, neuralforecast and darts, in turn, each in an environment of its own.

The first run makes the environments of the two peers beside this file, which needs the package index. Any Python 3.11
runs this file; tsforge is run by the project's own `.venv`.

    python bench/peers/run.py [--rounds 3] [--threads 1]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from setting import BATCH, INPUT_SIZE, PARAMETERS, STEPS, H, find_etth1

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PEERS = {"neuralforecast": "neuralforecast==3.3.0", "darts": "u8darts[torch]==0.41.0"}
OURS = {"tsforge, channels": [], "tsforge, series": ["--series"]}  # options of fit_tsforge.py


def python_of(name: str) -> Path:
    folder = ROOT / ".venv" if name == "tsforge" else HERE / f".venv-{name}"
    return folder / "bin" / "python"


def install(name: str) -> None:
    """Makes the environment of a peer, or finishes one whose installation was cut off."""
    python = python_of(name)
    ready = python.parents[1] / "ready"
    if ready.exists() and ready.read_text() == PEERS[name]:
        return
    print(f"installing {PEERS[name]}: some minutes the first time", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-input"]
    torch = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    subprocess.run([*pip, torch], check=True)
    subprocess.run([*pip, torch, PEERS[name]], check=True)
    ready.write_text(PEERS[name])


def fit(row: str, threads: int) -> dict:
    """What the script of this row of the table measured."""
    name = "tsforge" if row in OURS else row
    command = [python_of(name), HERE / f"fit_{name}.py", "--threads", str(threads), *OURS.get(row, [])]
    count = str(threads)
    environment = {**os.environ, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count,
                   "TSFORGE_DATA": str(find_etth1().parents[1])}
    with tempfile.TemporaryDirectory() as folder:  # what a library writes where it runs goes with it
        done = subprocess.run(command, env=environment, cwd=folder, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"{done.stderr}\nfit_{name}.py failed with exit code {done.returncode}.")
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["parameters"] == PARAMETERS, f"{row} has {result['parameters']} parameters, wanted {PARAMETERS}"
    assert result["threads"] == threads, f"{row} ran with {result['threads']} threads, wanted {threads}"
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds of a DLinear fit, beside two other libraries.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if not find_etth1().exists():
        sys.exit(f"{find_etth1()} is not there: set TSFORGE_DATA to the folder that holds ett/ETTh1.csv.")
    for name in PEERS:
        install(name)
    rows = [*OURS, *PEERS]
    results: dict[str, list[dict]] = {row: [] for row in rows}
    for _ in range(options.rounds):
        for row in rows:
            results[row].append(fit(row, options.threads))
    assert len({made[0]["versions"]["torch"] for made in results.values()}) == 1, "all have one version of torch"
    print(f"DLinear {INPUT_SIZE} -> {H} on ETTh1, {STEPS} steps of {BATCH} windows, {PARAMETERS} parameters; "
          f"threads: {options.threads}; rounds: {options.rounds}")
    print(f"{'':18}  {'median s':>8}  {'cpu s':>6}", *(f"{'/ ' + row:>18}" for row in OURS),
          f"{'loss':>6}  versions", sep="  ")
    for row in rows:
        seconds = [result["seconds"] for result in results[row]]
        spans = [ratios(seconds, [result["seconds"] for result in results[ours]]) for ours in OURS]
        last = results[row][-1]
        versions = ", ".join(" ".join(pair) for pair in last["versions"].items())
        cpu = statistics.median(result["cpu"] for result in results[row])
        print(f"{row:18}  {statistics.median(seconds):8.2f}  {cpu:6.2f}", *(f"{span:>18}" for span in spans),
              f"{last['loss']:6.4f}  {versions}", sep="  ")


def ratios(seconds: list[float], ours: list[float]) -> str:
    """The smallest and the largest ratio of two measurements of one round."""
    each = [a / b for a, b in zip(seconds, ours, strict=True)]
    return f"{min(each):.2f} to {max(each):.2f}"


if __name__ == "__main__":
    main()
