"""What the tests of models share: batches that are observed throughout."""

from typing import Any

import torch
from torch import Tensor

from tsforge.batch import Batch


def batch_of(past: Tensor, mask: Tensor | None = None, **more: Tensor) -> Batch:
    """These windows of one series, observed unless a mask says otherwise."""
    mask = torch.ones_like(past, dtype=torch.bool) if mask is None else mask
    return Batch(past=past, past_mask=mask, series=torch.zeros(len(past), dtype=torch.long), **more)


def random_batch(windows: int = 3, channels: int = 3, lookback: int = 8, h: int = 4, **sizes: Any) -> Batch:
    """Normal windows around 5 in double precision; `sizes` of covariates and statics as a model is made with.

    Codes of statics count up from 1, for 0 is a value unseen in training.
    """
    past, more, steps = 3 * torch.randn(windows, lookback, channels, dtype=torch.float64) + 5, {}, {
        "past_covariates": (lookback,), "future_covariates": (lookback + h,), "static_numeric": (),
    }
    for name, length in steps.items():
        if sizes.get(name):
            more[name] = torch.randn(windows, *length, sizes[name], dtype=torch.float64)
    if codes := [torch.arange(windows) % (n - 1) + 1 for n in sizes.get("static_cardinalities", ())]:
        more["static_categorical"] = torch.stack(codes, 1)
    return batch_of(past, **more)
