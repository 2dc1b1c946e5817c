"""Checks at the door: shapes, types and devices of the arguments of a scan, each fault naming its argument."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tsforge.errors import ShapeError

HALF = (torch.float16, torch.bfloat16)


def check_shapes(named: Mapping[str, tuple[Tensor | None, str]]) -> dict[str, int]:
    """The sizes of the axes, which have to be the same wherever an axis is named.

    Args:
        named: Argument -> (tensor, its axes), as in `{"u": (u, "batch time channel")}`; None is left out.

    Raises:
        ShapeError: an argument has another number of axes, or an axis of another size.
    """
    sizes: dict[str, int] = {}
    owner: dict[str, str] = {}
    for name, (tensor, text) in named.items():
        if tensor is None:
            continue
        axes = text.split()
        if tensor.ndim != len(axes):
            raise ShapeError(f"{name} has the shape {tuple(tensor.shape)}: wanted [{', '.join(axes)}].")
        for axis, size in zip(axes, tensor.shape, strict=True):
            if sizes.setdefault(axis, size) != size:
                raise ShapeError(
                    f"{name} has the shape {tuple(tensor.shape)}, wanted [{', '.join(axes)}]: its {axis} is {size}, "
                    f"and that of {owner[axis]} is {sizes[axis]}."
                )
            owner.setdefault(axis, name)
    return sizes


def check_alike(named: Mapping[str, Any], *, complex_too: bool = False) -> torch.dtype:
    """The type in which a scan is computed: float32 where the inputs are halves.

    Raises:
        ShapeError: an argument is no tensor of floating point, or lies on another device than the first.
    """
    tensors = {name: tensor for name, tensor in named.items() if tensor is not None}
    first_name, first = next(iter(tensors.items()))
    dtype = first.dtype
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise ShapeError(f"{name} is a {type(tensor).__name__}, wanted a tensor.")
        if not (tensor.is_floating_point() or (complex_too and tensor.is_complex())):
            kinds = "floating point or complex" if complex_too else "floating point"
            raise ShapeError(f"{name} holds {tensor.dtype}, wanted numbers of {kinds}.")
        if tensor.device != first.device:
            raise ShapeError(f"{name} is on {tensor.device}, {first_name} on {first.device}: put both on one device.")
        dtype = torch.promote_types(dtype, tensor.dtype)
    return torch.float32 if dtype in HALF else dtype
