"""Are the scans right on this machine, and how near do they come to what its GPU can do?

    python -m tsforge.kernels.check [--quick]

Each operator, backend and type is compared with the float64 loop on the same rounded inputs, in values and in all
gradients: max |a - b| / max |b|, the largest over outputs, and over arguments. On a GPU the selective scan is timed
as well, beside the floor that `gpu.rates` explains. The exit code is 1 where a row fails.

Needs torch and jaxtyping, and tries what there is of numba and triton.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tsforge.kernels.additive import additive_scan
from tsforge.kernels.backends import FOLDERS, interpreted, use, why_not
from tsforge.kernels.convolution import fft_conv
from tsforge.kernels.grid import scan_2d
from tsforge.kernels.grid_coefficients import scan_2d_coefficients
from tsforge.kernels.linear import linear_scan
from tsforge.kernels.selective import selective_scan
from tsforge.kernels.vandermonde import s4d_kernel

BOUNDS = {  # of values, of gradients
    torch.float64: (1e-10, 1e-10), torch.float32: (1e-5, 1e-4),
    torch.bfloat16: (2e-2, 2e-2), torch.float16: (3e-3, 3e-3),
    torch.complex128: (1e-10, 1e-10), torch.complex64: (1e-5, 1e-4),
}
REAL = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
COMPLEX = (torch.complex128, torch.complex64)
Case = tuple[Callable[..., Any], dict[str, Any], tuple[torch.dtype, ...]]


def cases(time: int) -> dict[str, Case]:
    """Operators, their arguments in float64, and the types in which they are checked."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.randn(*shape, dtype=dtype, generator=generator)

    def steps(*shape: int) -> Tensor:
        return 10 ** (-6 + 7.3 * torch.rand(*shape, dtype=torch.float64, generator=generator))  # 1e-6 to 20

    cells, width = (2, time, 19), min(time, 24)
    grid = {"x": draw(2, 5, width, 3), "delta1": steps(2, 5, width, 3), "delta2": steps(2, 5, width, 3)}
    own = [-draw(3, 4).exp() for _ in range(2)]
    grid |= {"a1": own[0], "a2": 0.5 * own[0], "a3": 0.7 * own[1], "a4": own[1]}
    grid |= {name: draw(2, 5, width, 4) for name in ("b1", "b2", "c1", "c2")}
    plain, complex_ = linear(draw, cells), linear(partial(draw, dtype=torch.complex128), cells)
    selective = {"delta": steps(*cells), "A": -draw(19, 5).exp(), "B": draw(2, time, 5), "C": draw(2, time, 5)}
    short = {"u": draw(*cells), **selective}
    full = short | {"D": draw(19), "z": draw(*cells), "delta_bias": draw(19), "h0": draw(2, 19, 5)}
    turned = partial(selective_scan, softplus=True, reverse=True, return_state=True)
    heads = {"q": draw(2, time, 2, 5), "k": 3 * draw(2, time, 2, 5), "v": draw(2, time, 2, 7)}
    kernel = {"a": 0.05 * torch.complex(-draw(3, 4).exp(), 9 * draw(3, 4)), "c": torch.complex(draw(3, 4), draw(3, 4))}
    coefficients = {name: 0.4 * draw(2, 5, width, 3, 2) for name in ("A1", "A2", "A3", "A4", "u1", "u2", "C1", "C2")}
    return {
        "linear_scan": (linear_scan, plain, REAL),
        "linear_scan, complex": (linear_scan, complex_, COMPLEX),
        "selective_scan": (selective_scan, short, REAL),
        "selective_scan, all arguments": (turned, full, REAL),
        "additive_scan": (additive_scan, heads, REAL),
        "scan_2d": (scan_2d, grid, REAL),
        "scan_2d, exp": (partial(scan_2d, coupling="exp", reverse_variates=True), grid, REAL),
        "scan_2d_coefficients": (scan_2d_coefficients, coefficients, REAL),
        "s4d_kernel": (partial(s4d_kernel, time=time), kernel, COMPLEX),
        "fft_conv": (fft_conv, {"u": draw(2, time), "k": draw(2, time)}, REAL),
    }


def linear(draw: Callable[..., Tensor], cells: tuple[int, ...]) -> dict[str, Tensor]:
    a = draw(*cells)
    return {"a": 0.8 * a / a.abs().amax(), "x": draw(*cells), "h0": draw(cells[0], cells[2])}


def results(operator: Callable[..., Any], given: dict[str, Tensor], backend: str) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs, and the gradients of a fixed weighting of them."""
    given = {name: value.detach().clone().requires_grad_() for name, value in given.items()}
    with use(backend):
        out = operator(**given)
        outputs = list(out) if isinstance(out, tuple) else [out]
        total = torch.stack([(weighting(part) * part).real.sum().double().cpu() for part in outputs]).sum()
        return outputs, list(torch.autograd.grad(total, list(given.values())))


def weighting(out: Tensor) -> Tensor:
    """Weights of changing sign that bfloat16 has exactly, so that all types are given the same gradient."""
    steps = torch.arange(out.numel(), dtype=torch.float64).view(out.shape)
    return torch.cos(0.7 * steps + 0.3).bfloat16().to(out)


def apart(found: list[Tensor], wanted: list[Tensor]) -> float:
    """The largest of max |a - b| / max |b|; infinite where something is no number."""
    errors = []
    for a, b in zip(found, wanted, strict=True):
        error = (a.detach().cpu().to(b.dtype) - b.detach()).abs().max() / b.detach().abs().max().clamp(min=1e-3)
        errors.append(float("inf") if bool(error.isnan()) else float(error))
    return max(errors)


def check(time: int) -> bool:
    """Prints a row for each operator, backend and type; whether all pass."""
    good = True
    print(f"{'operator':<31}{'backend':<11}{'device':<8}{'type':<12}{'values':>9}{'gradients':>11}")
    for name, (operator, arguments, dtypes) in cases(time).items():
        for dtype in dtypes:
            rounded = {key: value.to(dtype).to(value.dtype) for key, value in arguments.items()}
            wanted = results(operator, rounded, "reference")
            for backend in (backend for backend in FOLDERS if not why_not(backend)):
                device = device_of(backend)
                given = {key: value.to(device, dtype) for key, value in rounded.items()}
                errors = [apart(*pair) for pair in zip(results(operator, given, backend), wanted, strict=True)]
                passed = all(error < bound for error, bound in zip(errors, BOUNDS[dtype], strict=True))
                good &= passed
                kind = str(dtype).removeprefix("torch.")
                print(f"{name:<31}{backend:<11}{device:<8}{kind:<12}{errors[0]:9.1e}{errors[1]:11.1e}"
                      f"  {'passes' if passed else 'FAILS'}")
    return good


def device_of(backend: str) -> str:
    cuda = torch.cuda.is_available() and backend != "numba" and not (backend == "triton" and interpreted())
    return "cuda" if cuda else "cpu"


def main(arguments: list[str] | None = None) -> int:
    about = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m tsforge.kernels.check", description=about)
    parser.add_argument("--quick", action="store_true", help="short series, and no timing")
    quick = parser.parse_args(arguments).quick
    for backend in FOLDERS:
        if missing := why_not(backend):
            print(f"{backend}: {missing}")
    good = check(9 if quick else 257)
    if not torch.cuda.is_available():
        print("\nThere is no GPU here: nothing is timed.")
    elif not quick and not why_not("triton") and not interpreted():
        from tsforge.kernels.gpu.rates import speed

        speed()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
