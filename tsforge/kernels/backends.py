"""Which implementation runs: the plain loop, torch, numba on the CPU, Triton on a GPU; chosen by device, or by hand.

An implementation is a module `tsforge.kernels.<folder>.<operator>` with `forward` and `backward`; torch differentiates
the reference by itself. It is imported when first called: numba and triton cost a second, and may not be there.
"""

import os
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType, TracebackType

import torch

from tsforge.errors import CapabilityError, UnknownNameError, suggest

FOLDERS = {"reference": "reference", "torch": "plain", "numba": "cpu", "triton": "gpu"}
STATE: dict[str, str] = {"forced": "auto"}


class use:
    """Makes every scan run on one backend, until another is asked for; as a context, until its end.

    Args:
        backend: "auto" (by device and what is installed), "reference", "torch", "numba" or "triton".

    Raises:
        UnknownNameError: there is no such backend.
        CapabilityError: it is not available here; says why.
    """

    def __init__(self, backend: str) -> None:
        if backend not in ("auto", *FOLDERS):
            hint = suggest(backend, FOLDERS) or f" There are: auto, {', '.join(FOLDERS)}."
            raise UnknownNameError(f"There is no backend {backend!r}.{hint}")
        if backend != "auto" and (missing := why_not(backend)):
            raise CapabilityError(f"The backend {backend!r} is not available: {missing}.")
        self.before, STATE["forced"] = STATE["forced"], backend

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        STATE["forced"] = self.before


def why_not(backend: str) -> str:
    """Why a backend cannot run here; "" where it can."""
    if backend == "numba" and find_spec("numba") is None:
        return "numba is not installed: pip install 'tsforge[cpu]'"
    if backend == "triton":
        if find_spec("triton") is None:
            return "triton is not installed: pip install 'tsforge[triton]' (Linux)"
        if not torch.cuda.is_available() and not interpreted():
            return "torch sees no GPU"
    return ""


def interpreted() -> bool:
    """Whether Triton's interpreter runs the kernels on the CPU, as the tests have it."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def choose(tensor: torch.Tensor) -> str:
    """The backend for tensors on this device and of this type."""
    forced = STATE["forced"]
    if forced != "auto":
        if forced == "numba" and tensor.device.type != "cpu":
            raise CapabilityError(f"The backend 'numba' runs on the CPU, and the tensors are on {tensor.device}.")
        if forced == "triton" and tensor.device.type != "cuda" and not interpreted():
            raise CapabilityError(f"The backend 'triton' runs on a GPU, and the tensors are on {tensor.device}.")
        return forced
    if tensor.device.type == "cpu" and READY["numba"]:
        return "numba"
    if tensor.device.type == "cuda" and READY["triton"] and tensor.dtype not in (torch.float64, torch.complex128):
        return "triton"
    return "torch"


def implementation(operator: str, backend: str) -> ModuleType:
    """The module of an operator for a backend."""
    return import_module(f"tsforge.kernels.{FOLDERS[backend]}.{operator}")


def available() -> list[dict[str, str]]:
    """A row for each backend: its name, whether it can run here, and why not."""
    return [{"name": name, "here": "no" if why_not(name) else "yes", "why": why_not(name)} for name in FOLDERS]


READY = {name: not why_not(name) for name in FOLDERS}  # looked up once: torch.compile traces through what asks for it
