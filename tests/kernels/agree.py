"""What the tests of all scans share: an operator run on a backend, its gradients, and how far two results lie apart."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tsforge.kernels import use
from tsforge.kernels.backends import why_not

FAST = [name for name in ("torch", "numba") if not why_not(name)]  # triton runs in a process of its own


def apart(found: Tensor, wanted: Tensor) -> float:
    """max |found - wanted| / max |wanted| (at least 1e-3); infinite where something was left unwritten."""
    if found.shape != wanted.shape:
        return float("inf")
    if not wanted.numel():
        return 0.0
    wanted = wanted.to(torch.complex128 if wanted.is_complex() else torch.float64)
    error = (found.to(wanted.dtype) - wanted).abs().max() / wanted.abs().max().clamp(min=1e-3)
    return float("inf") if bool(torch.isnan(error)) else float(error)


def run(
    operator: Callable[..., Any], arguments: dict[str, Any], backend: str, dtype: torch.dtype | None = None
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Outputs, and the gradients of a fixed weighting of them with respect to every tensor argument.

    Args:
        operator: Returns a tensor or a tuple of them.
        arguments: By name.
        backend: Where it runs.
        dtype: What tensors are cast to first; None leaves them.
    """
    given = {
        name: value.detach().clone().to(dtype or value.dtype).requires_grad_() if isinstance(value, Tensor) else value
        for name, value in arguments.items()
    }
    tensors = {name: value for name, value in given.items() if isinstance(value, Tensor)}
    with use(backend):
        outputs = operator(**given)
        outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
        total = sum((weighting(out) * out).real.sum() for out in outputs)
        grads = torch.autograd.grad(total, list(tensors.values()), allow_unused=True, materialize_grads=True)
    return [out.detach() for out in outputs], dict(zip(tensors, grads, strict=True))


def weighting(out: Tensor) -> Tensor:
    """Fixed weights of changing sign and size, so that no gradient is a plain sum."""
    steps = torch.arange(out.numel(), dtype=torch.float64).view(out.shape)
    return torch.cos(0.7 * steps + 0.3).to(out.dtype)


def poison(monkeypatch: Any) -> None:
    """Fills what `torch.empty` and its kin return with NaN, so that an element that is never written shows."""
    def filled(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def made(*args: Any, **kwargs: Any) -> Tensor:
            out = make(*args, **kwargs)
            return out.fill_(float("nan")) if out.is_floating_point() or out.is_complex() else out

        return made

    for owner, name in ((torch, "empty"), (torch, "empty_like"), (Tensor, "new_empty")):
        monkeypatch.setattr(owner, name, filled(getattr(owner, name)))


def worst(found: Sequence[Any], wanted: Sequence[Any]) -> float:
    """The largest distance over pairs of tensors."""
    return max(apart(a, b) for a, b in zip(found, wanted, strict=True))
