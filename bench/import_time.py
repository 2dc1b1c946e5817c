"""How long tsforge takes to start, as ratios to bare Python and to importing torch.

    python bench/import_time.py [--rounds 7]
"""

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python, nothing imported": ["-c", "pass"],
    "import tsforge": ["-c", "import tsforge"],
    "tsforge --help": ["-m", "tsforge", "--help"],
    "tsforge list models": ["-m", "tsforge", "list", "models"],
    "import torch": ["-c", "import torch"],
    "tsforge.DLinear": ["-c", "import tsforge; tsforge.DLinear"],
}
NOTHING, TORCH = "python, nothing imported", "import torch"


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="Start-up time of tsforge.")
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(rounds + 1):  # the first round fills the caches of the disk
        for name, arguments in COMMANDS.items():
            spent = seconds(arguments)
            if number:
                times[name].append(spent)
    bare = statistics.median(times[NOTHING])
    torch = statistics.median(times[TORCH])
    print(f"start-up, medians of {rounds} rounds; a bare Python takes {bare:.3f} s, import torch {torch:.2f} s")
    for name in COMMANDS:
        if name not in (NOTHING, TORCH):
            middle = statistics.median(times[name])
            ratios = f"{middle / bare:.1f} x bare Python, {middle / torch:.2f} x import torch"
            print(f"  {name}:".ljust(24), f"{middle:.3f} s; {ratios}")


if __name__ == "__main__":
    main()
