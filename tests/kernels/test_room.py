import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from tsforge.errors import CapabilityError, UnknownNameError
from tsforge.kernels import available, linear_scan, use
from tsforge.kernels.backends import STATE, choose, why_not

needs_numba = pytest.mark.skipif(bool(why_not("numba")), reason="needs numba")


def said_by(code: str, **places: str) -> dict:
    """What a program prints as JSON, run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=240,
        env={**os.environ, **places}, cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_room_needs_torch_and_numpy_and_takes_compilers_only_when_they_are_used():
    loaded = said_by("""
        import json, sys
        from tsforge.kernels import linear_scan
        names = ("polars", "lightning", "sklearn", "scipy", "pandas", "numba", "triton")
        before = [name for name in names if name in sys.modules]
        import torch
        linear_scan(torch.ones(1, 2, 3), torch.ones(1, 2, 3))
        print(json.dumps({"before": before, "after": "numba" in sys.modules}))
    """)
    assert loaded == {"before": [], "after": not why_not("numba")}


@needs_numba
def test_after_a_kernel_a_pool_of_processes_works_and_two_threads_get_the_right_numbers(tmp_path):
    (tmp_path / "program.py").write_text(textwrap.dedent("""
        import json
        import multiprocessing
        import threading
        import torch
        from tsforge.kernels import linear_scan

        torch.set_num_threads(2)
        a, x = torch.linspace(0, 1, 8 * 300 * 64).view(8, 300, 64), torch.arange(8.0 * 300 * 64).view(8, 300, 64).cos()

        def total(_=None):
            return float(linear_scan(a, x).double().sum())

        if __name__ == "__main__":
            first = total()
            with multiprocessing.get_context("forkserver").Pool(2) as pool:
                pooled = pool.map(total, range(4))
            got = []
            threads = [threading.Thread(target=lambda: got.extend(total() for _ in range(20))) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            print(json.dumps({"alike": {first} == {*pooled, *got}, "count": len(pooled) + len(got)}))
    """))
    found = said_by(f"import runpy; runpy.run_path({str(tmp_path / 'program.py')!r}, run_name='__main__')")
    assert found == {"alike": True, "count": 44}


@needs_numba
def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(tmp_path):
    blocked = tmp_path / "a file, not a folder"
    blocked.write_text("")
    code = """
        import json, torch
        from tsforge.kernels import linear_scan
        print(json.dumps(linear_scan(torch.ones(1, 3, 1), torch.ones(1, 3, 1)).flatten().tolist()))
    """
    assert said_by(code, TSFORGE_CACHE=str(blocked), HOME=str(blocked), XDG_CACHE_HOME=str(blocked)) == [1, 2, 3]
    said_by(code, TSFORGE_CACHE=str(tmp_path / "kept"))
    assert list((tmp_path / "kept" / "kernels").rglob("*.nbc"))


@needs_numba
def test_one_thread_and_two_give_the_same_bits():
    a, x = torch.rand(5, 200, 130), torch.randn(5, 200, 130)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(linear_scan(a, x))
        assert torch.equal(*found)
    finally:
        torch.set_num_threads(before)


def test_a_backend_is_forced_until_the_context_ends_and_by_a_plain_call_until_the_next():
    x = torch.ones(1, 2, 3)
    default = choose(x)
    with use("reference"):
        assert choose(x) == "reference"
        with use("torch"):
            assert choose(x) == "torch"
        assert choose(x) == "reference"
    assert choose(x) == default
    use("torch")
    assert choose(x) == "torch"
    use("auto")
    assert choose(x) == default
    assert STATE["forced"] == "auto"


def test_what_is_not_known_or_not_here_is_said():
    with pytest.raises(UnknownNameError, match=r"no backend 'nunba'\. Did you mean 'numba'"):
        use("nunba")
    rows = {row["name"]: row for row in available()}
    assert rows["reference"]["here"] == rows["torch"]["here"] == "yes"
    for name, row in rows.items():
        assert (row["here"] == "yes") is (row["why"] == "")
        if row["why"]:
            with pytest.raises(CapabilityError, match="is not available"):
                use(name)
    assert STATE["forced"] == "auto"


def test_halves_and_other_devices_find_a_backend_too():
    assert choose(torch.ones(1, dtype=torch.bfloat16)) in ("numba", "torch")
    assert choose(torch.ones(1, device="meta")) == "torch"
