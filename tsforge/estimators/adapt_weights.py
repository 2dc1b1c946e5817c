"""Weights of a network as arrays of a file: as they are, or a byte for each with the grid that they lie on."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from tsforge.encoders.adapter.quantized import Grid
from tsforge.errors import ArtifactError
from tsforge.models.base import Model

WHOLE, BYTES = "network/", "bytes/"
LOW, HIGH = -128, 127  # of a byte


def packed_weights(network: Model, grids: Mapping[str, Grid]) -> dict[str, np.ndarray]:
    """The state of a network, with a byte for each weight that has a grid."""
    arrays: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        if name in grids:
            grid, tensor = grids[name], tensor.cpu()  # a forecast may have left the network elsewhere
            parts = {"values": grid.quantise(tensor), "step": grid.step, "zero": grid.zero.to(torch.int8)}
            arrays |= {f"{BYTES}{name}/{part}": found for part, found in parts.items()}
        else:
            arrays[f"{WHOLE}{name}"] = tensor
    return {name: tensor.cpu().numpy() for name, tensor in arrays.items()}


def unpacked_weights(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, Tensor], dict[str, Grid]]:
    """The inverse: the state, to the bit, and the grids.

    Raises:
        ArtifactError: bytes do not lie on the grid beside them.
    """
    weights = {name.removeprefix(WHOLE): torch.from_numpy(array) for name, array in arrays.items()
               if name.startswith(WHOLE)}
    grids: dict[str, Grid] = {}
    for name in sorted({key.removeprefix(BYTES).rpartition("/")[0] for key in arrays if key.startswith(BYTES)}):
        values, step, zero = (torch.from_numpy(arrays[f"{BYTES}{name}/{part}"]) for part in ("values", "step", "zero"))
        rest = (1,) * (values.ndim - 1)
        fits = tuple(step.shape) in ((1, *rest), (*values.shape[:1], *rest)) and zero.shape == step.shape
        kinds = (values.dtype, zero.dtype) == (torch.int8, torch.int8) and step.is_floating_point()
        if not (fits and kinds and bool(step.isfinite().all())):
            raise ArtifactError(f"The bytes of the weight {name} do not lie on the grid beside them.")
        grids[name] = Grid(step, zero.to(step.dtype), LOW, HIGH)
        weights[name] = grids[name].dequantise(values)
    return weights, grids
