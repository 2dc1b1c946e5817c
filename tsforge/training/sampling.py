"""Sample paths of a fitted network, window after window, each from a generator keyed by what it forecasts."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from tsforge.data.windows import Windows
from tsforge.models.base import Model
from tsforge.training.loader import EvalLoader
from tsforge.training.predict import as_array, device_for

AT_ONCE = 1 << 14  # paths in one pass, however few windows that is


def sampled(
    network: Model, windows: Windows, n: int, seeds: Sequence[int], accelerator: str = "auto"
) -> Iterator[tuple[slice, np.ndarray]]:
    """Which windows, and their paths [window, n, h, channel] in scaled units; window i draws from `seeds[i]` alone."""
    device = device_for(accelerator)
    network = network.to(device).eval()
    at = 0
    with torch.inference_mode():
        for batch in EvalLoader(windows, max(AT_ONCE // n, 1)):
            numbers = slice(at, at + len(batch))
            generators = [torch.Generator().manual_seed(seed) for seed in seeds[numbers]]
            yield numbers, as_array(network.sample(batch.to(device), n, generators))
            at += len(batch)


def generated(
    network: Model, length: int, seeds: Sequence[int], accelerator: str = "auto"
) -> tuple[np.ndarray, np.ndarray]:
    """Series [path, length, channel] in scaled units, one for each seed, and the training series of their units."""
    network = network.to(device_for(accelerator)).eval()
    parts = []
    with torch.inference_mode():
        for at in range(0, len(seeds), AT_ONCE):
            generators = [torch.Generator().manual_seed(seed) for seed in seeds[at : at + AT_ONCE]]
            paths, series = network.generate(length, generators)
            parts.append((as_array(paths), series.cpu().numpy()))
    paths, series = zip(*parts, strict=True)
    return np.concatenate(paths), np.concatenate(series)
