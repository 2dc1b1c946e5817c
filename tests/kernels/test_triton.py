import inspect
import json
import os
import subprocess
import sys
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from agree import poison, run, worst

from tsforge.kernels import AdditiveState, GridState, additive_scan, check, linear_scan, scan_2d, selective_scan

pytestmark = [pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed"), pytest.mark.slow]
LENGTHS = (1, 2, 33)
BOUNDS = {"float64": (1e-10, 1e-10), "float32": (1e-5, 1e-4), "float16": (2e-3, 4e-3), "complex64": (1e-5, 1e-4)}
NOT_INFINITE = -20.0  # stands for the logarithm of no weight, whose distance from itself is not a number


def draw(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed + 97 * len(shape) + sum(shape))
    return torch.randn(*shape, dtype=dtype, generator=generator)


def linear(time, dtype=torch.float64):
    given = {"a": 0.6 * draw(2, time, 3, 5, dtype=dtype), "x": draw(2, time, 3, 5, seed=1, dtype=dtype)}
    return linear_scan, given | {"h0": draw(2, 3, 5, dtype=dtype), "reverse": time == 33}


def selective(time, full=True, n=3, batch=2):
    cells, channels = (batch, time, 19), 19
    given = {"u": draw(*cells), "delta": draw(*cells, seed=1) - 1, "A": -draw(channels, n).exp(),
             "B": draw(batch, time, n), "C": draw(batch, time, n, seed=1), "return_state": True}
    if not full:
        given["delta"] = given["delta"].mul(3).exp().clamp(1e-6, 20) * (draw(*cells, seed=2) > -1)
        given["A"][::3], given["A"][1::3] = 0.0, -1e3
        return selective_scan, given | {"reverse": True}
    given |= {"D": draw(channels), "delta_bias": draw(channels, seed=1), "z": draw(*cells, seed=3)}
    return selective_scan, given | {"h0": draw(batch, channels, n), "softplus": True}


def additive(time, longest=33):
    def with_state(q, k, v, z, h):
        out, state = additive_scan(q, k, v, state=AdditiveState(z, h), return_state=True)
        return out, state.z.clamp(min=NOT_INFINITE), state.h

    time = min(time, longest)
    given = {"q": draw(2, time, 1, 3), "k": 3 * draw(2, time, 1, 3, seed=1), "v": draw(2, time, 1, 5)}
    given |= {"z": draw(2, 1, 3), "h": draw(2, 1, 3, 5)}
    given["k"][0, : time // 2], given["z"][0], given["h"][0] = float("-inf"), float("-inf"), 0.0
    return with_state, given


def grid(time, coupling="zoh_input", longest=17):
    def with_state(h1, h2, **given):
        y, end = scan_2d(**given, h0=GridState(h1, h2), return_state=True)
        return y, *end

    cells, reads, rates = (1, 4, min(time, longest), 3), (1, 4, min(time, longest), 5), (3, 5)
    rate = -draw(*rates).abs() - 0.1
    given = {"x": draw(*cells), "delta1": draw(*cells, seed=1).exp(), "delta2": draw(*cells, seed=2).exp()}
    given |= {"a1": rate, "a2": 0.5 * rate, "a3": 0.7 * rate, "a4": rate.flip(0)}
    given["a1"][0, 0], given["a4"][0, 1], given["delta1"][:, 1], given["delta2"][:, :, ::2] = 0.0, -1e-9, 1e-6, 0.0
    given |= {name: draw(*reads, seed=seed) for seed, name in enumerate(("b1", "b2", "c1", "c2"))}
    given |= {"h1": draw(1, 4, 3, 5), "h2": draw(1, 4, 3, 5, seed=1)}
    return with_state, given | {"coupling": coupling, "reverse_variates": coupling == "exp"}


CASES = {
    "linear": linear, "linear complex": partial(linear, dtype=torch.complex128), "selective": selective,
    "selective, extreme steps": partial(selective, full=False), "selective, n=17": partial(selective, n=17, batch=1),
    "additive": additive, "grid": grid, "grid, exp": partial(grid, coupling="exp", longest=3),
    "additive, small tiles": partial(additive, longest=3), "grid, small tiles": partial(grid, longest=3),
}


def dtypes(case, time):
    if case == "linear complex":
        return ("complex64",)
    plain = "," not in case
    return ("float32", *(("float16",) if plain and time == 33 else ()), *(("float64",) if plain and time == 2 else ()))


def compare(case, time, dtype, fault=False):
    """The distances of values and of gradients from the float64 reference."""
    operator, given = CASES[case](time)
    exact = {name: x.to(dtype).to(x.dtype) if torch.is_tensor(x) else x for name, x in given.items()}
    wanted, wanted_grads = run(operator, exact, "reference")
    if fault:
        first = next(iter(exact))
        exact[first] = exact[first].roll(1, 1)
    turned = {k: v.mT.contiguous().mT if torch.is_tensor(v) and v.ndim > 1 else v for k, v in exact.items()}
    found, grads = run(operator, turned, "triton", dtype)
    return worst(found, wanted), worst([grads[name] for name in wanted_grads], list(wanted_grads.values()))


def keeps_the_rules():
    """Whether what the kernels give is what torch was told of it."""
    cells, reads, rates = draw(1, 2, 3).float(), draw(1, 2, 2).float(), -draw(3, 2).abs().float()
    steps, heads, square, column = cells.abs(), cells[:, :, None], cells[:, :, None, :1], rates[None, None].clone()
    grid_cells, grid_reads = cells[:, None], reads[:, None]
    calls = {
        "linear_scan": (cells, cells, None, False),
        "selective_scan": (cells, steps, rates, reads, reads, None, cells, None, None, True, False, 32),
        "additive_scan": (heads, heads, square, heads[:, 0], heads[:, 0, ..., None]),
        "scan_2d": (grid_cells, grid_cells.abs(), grid_cells.abs(), *4 * [rates], *4 * [grid_reads], column, column,
                    False, False),
    }
    for name, given in calls.items():
        operator, leaves = getattr(torch.ops.tsforge, name), []
        for value in given:
            leaves.append(value.detach().clone().requires_grad_() if torch.is_tensor(value) else value)
        tests = ("test_schema", "test_autograd_registration", "test_faketensor")
        torch.library.opcheck(operator.default, (*leaves, "triton"), test_utils=tests)
    return True


def empty(case):
    """Results without a batch, and without a step."""
    found = []
    operator, given = CASES[case](2)
    for axis in (0, "time"):
        cut = {}
        for name, value in given.items():
            rates = name in ("A", "D", "delta_bias", "a1", "a2", "a3", "a4")
            state = name in ("h0", "h", "z", "h1", "h2") and not (name == "z" and case.startswith("selective"))
            place = axis if axis == 0 else 2 if case.startswith("grid") else 1
            keep = not torch.is_tensor(value) or rates or (axis == "time" and state)
            cut[name] = value if keep else value.narrow(place, 0, 0)
        wanted, wanted_grads = run(operator, cut, "reference")
        out, grads = run(operator, cut, "triton")
        found += [worst(out, wanted), worst([grads[name] for name in wanted_grads], list(wanted_grads.values()))]
    return max(found)


def interpreted():
    """Everything that runs under the interpreter, in the one process that has it."""
    from tsforge.kernels.gpu import additive as values
    from tsforge.kernels.gpu import grid as cells
    from tsforge.kernels.gpu import selective as states

    torch.set_num_threads(1)
    states.PROGRAMS = 1  # several groups of channels, as in large scans
    poison(pytest.MonkeyPatch())
    found = {}
    for case in CASES:
        if "small tiles" in case:  # several tiles of each axis, as in wide scans
            values.FORWARD = values.BACKWARD = cells.TILE = 8
        agree = {
            f"{time} {dtype}": compare(case, time, getattr(torch, dtype))
            for time in (LENGTHS[2:] if "," in case else LENGTHS) for dtype in dtypes(case, time)
        }
        fault = compare(case, 2, getattr(torch, dtypes(case, 2)[0]), fault=True)
        found[case] = {"agree": agree, "fault": fault, "empty": empty(case)}
    found["rules"] = keeps_the_rules()
    return found


def compiled():
    """The sizes of the machine code of all kernels for sm_90."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from tsforge.kernels.gpu import additive, grid_back, grid_parts, linear, rates, selective_back
    from tsforge.kernels.gpu import selective_parts as selective

    scan = {"SIZE": 16, "GROUPS": 2, "STATES": 16, "LANES": 8, "STEPS": 4, "GATED": True, "SOFT": True, "REVERSE": True}
    plane = {"LINES": 8, "CHANNELS": 4, "STATES": 16, "TERMS": 9, "EXPONENTIAL": True, "REVERSE": True}
    lanes = {"LANES": 32, "STEPS": 4, "COMPLEX": False, "REVERSE": False}
    jobs = {
        "linear": (linear.scan, linear.NUMBERS, lanes), "linear back": (linear.adjoint, linear.NUMBERS, lanes),
        "complex": (linear.scan, linear.NUMBERS, lanes | {"COMPLEX": True}),
        "complex back": (linear.adjoint, linear.NUMBERS, lanes | {"COMPLEX": True}),
        "selective": (selective.scan, selective.NUMBERS, scan),
        "selective back": (selective_back.adjoint, selective.NUMBERS, scan),
        "additive": (additive.scan, additive.NUMBERS, {"KEYS": 16, "VALUES": 32, "STEPS": 4}),
        "additive back": (additive.adjoint, additive.NUMBERS, {"KEYS": 16, "VALUES": 32, "CHUNK": 16}),
        "grid": (grid_parts.scan, grid_parts.NUMBERS, plane),
        "grid back": (grid_back.adjoint, grid_parts.NUMBERS, plane | {"CHUNK": 16, "BELOW": 0.25}),
        "exponentials": (rates.exponentials, (), {"ROUNDS": 8, "BLOCK": 64}),
    }
    doubles = {"selective back": ("dA", "dD", "dbias"), "grid back": ("da1", "da2", "da3", "da4")}
    sizes = {}
    for job, (kernel, numbers, constants) in jobs.items():
        kinds = dict.fromkeys(numbers, "i32") | dict.fromkeys(constants, "constexpr")
        kinds |= dict.fromkeys(doubles.get(job, ()), "*fp64")
        signature = {name: kinds.get(name, "*fp32") for name in inspect.signature(kernel.fn).parameters}
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        options = {"num_warps": 2, "enable_fp_fusion": True}
        sizes[job] = len(triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["cubin"])
    return sizes


@cache
def said_by(function, **places):
    """What a function of this file gives in a process of its own."""
    here = Path(__file__).parent
    code = f"import json, test_triton; print(json.dumps(test_triton.{function}()))"
    paths = os.pathsep.join([str(here), str(here.parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600,
        env={**os.environ, "PYTHONPATH": paths, **places}, cwd=here.parents[1],
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def distances():
    return said_by("interpreted", TRITON_INTERPRET="1")


@pytest.mark.parametrize("case", CASES)
def test_under_the_interpreter_values_and_gradients_equal_the_reference(distances, case):
    for key, (error, error_of_gradients) in distances[case]["agree"].items():
        bound, bound_of_gradients = BOUNDS[key.split()[-1]]
        assert error < bound, key
        assert error_of_gradients < bound_of_gradients, key


@pytest.mark.parametrize("case", CASES)
def test_a_planted_fault_is_found(distances, case):
    assert min(distances[case]["fault"]) > 1e-2


@pytest.mark.parametrize("case", CASES)
def test_without_a_batch_or_a_step_the_results_are_those_of_the_reference(distances, case):
    assert distances[case]["empty"] < 1e-12


def test_the_operators_keep_the_rules_of_torch(distances):
    assert distances["rules"]


def test_every_kernel_compiles_to_machine_code_without_a_gpu(tmp_path):
    sizes = said_by("compiled", TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path))
    assert len(sizes) == 11
    assert min(sizes.values()) > 1000


@pytest.mark.slow
def test_the_script_passes_on_this_machine_and_says_what_it_lacks(capsys):
    assert check.main(["--quick"]) == 0
    said = capsys.readouterr().out
    rows = [line for line in said.splitlines() if line.endswith("passes")]
    for name in ("linear_scan", "selective_scan", "additive_scan", "scan_2d", "s4d_kernel", "fft_conv"):
        for backend in ("reference", "torch"):
            assert any(row.startswith(name) and backend in row for row in rows)
    assert torch.cuda.is_available() or "There is no GPU here" in said


def test_the_script_ends_with_code_1_where_a_row_fails(capsys, monkeypatch):
    given = {name: value for name, value in linear(3)[1].items() if torch.is_tensor(value)}
    monkeypatch.setattr(check, "cases", lambda time: {"linear_scan": (linear_scan, given, (torch.float32,))})
    monkeypatch.setitem(check.BOUNDS, torch.float32, (0.0, 0.0))
    assert check.main(["--quick"]) == 1
    assert "FAILS" in capsys.readouterr().out
