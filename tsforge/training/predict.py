"""Forecasts of a fitted network, without a Trainer and without lightning."""

import numpy as np
import torch

from tsforge.batch import Batch
from tsforge.data.windows import Windows
from tsforge.models.base import Model
from tsforge.training.loader import EvalLoader, evaluation_batch


def device_for(accelerator: str) -> torch.device:
    """Where a network predicts: on the GPU where training would be, else on the CPU."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("cpu")


def network_outputs(network: Model, windows: Windows, batch_size: int, accelerator: str = "auto") -> np.ndarray:
    """[window, h, channel, output] in scaled units, for all windows in order."""
    device = device_for(accelerator)
    network = network.to(device).eval()
    out: np.ndarray | None = None
    at = 0
    with torch.inference_mode():
        for batch in EvalLoader(windows, evaluation_batch(network, batch_size)):
            part = _forward(network, batch, device)
            if out is None:
                out = np.empty((len(windows), *part.shape[1:]), part.dtype)
            out[at : at + len(part)] = part
            at += len(part)
    assert out is not None
    return out


def _forward(network: Model, batch: Batch, device: torch.device) -> np.ndarray:
    on_device = batch if device.type == "cpu" else batch.to(device, non_blocking=True)
    return network(on_device).float().cpu().numpy() if device.type != "cpu" else network(on_device).numpy()
