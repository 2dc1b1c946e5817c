"""Forecasts of a fitted network, without a Trainer and without lightning."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from tsforge.data.windows import Windows
from tsforge.models.base import Model
from tsforge.training.loader import EvalLoader, evaluation_batch
from tsforge.training.stream import streamed_forecasts


def device_for(accelerator: str) -> torch.device:
    """Where a network predicts: on the GPU where training would be, else on the CPU."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("cpu")


def network_outputs(network: Model, windows: Windows, batch_size: int, accelerator: str = "auto") -> np.ndarray:
    """[window, h, channel, output] in scaled units, for all windows in order.

    A network that streams reads the whole context of each window, in one pass over each series.
    """
    device = device_for(accelerator)
    network = network.to(device).eval()
    out: np.ndarray | None = None
    forecasts = streamed_forecasts if network.streaming else _forecasts
    with torch.inference_mode():
        for numbers, part in forecasts(network, windows, evaluation_batch(network, batch_size), device):
            part = as_array(part)
            if out is None:
                out = np.empty((len(windows), *part.shape[1:]), part.dtype)
            out[numbers] = part
    assert out is not None
    return out


def as_array(forecasts: Tensor) -> np.ndarray:
    """The same numbers on the CPU; those of a GPU may be of half precision."""
    return forecasts.float().cpu().numpy() if forecasts.device.type != "cpu" else forecasts.numpy()


def _forecasts(
    network: Model, windows: Windows, at_once: int, device: torch.device
) -> Iterator[tuple[slice, Tensor]]:
    at = 0
    for batch in EvalLoader(windows, at_once):
        on_device = batch if device.type == "cpu" else batch.to(device, non_blocking=True)
        yield slice(at, at + len(batch)), network(on_device)
        at += len(batch)
