"""Places out of what was given: each once, and not more of them than are wanted."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsforge.encoders.field.covariance import deviations


def averaged(
    coordinates: Float[Tensor, "n p"], values: Float[Tensor, " n"]
) -> tuple[Float[Tensor, "place p"], Float[Tensor, " place"]]:
    """Each place once, with the mean of its values."""
    seen = values.isfinite()
    places, at = coordinates[seen].unique(dim=0, return_inverse=True)
    counts = torch.bincount(at, minlength=len(places))
    return places, values.new_zeros(len(places)).index_add(0, at, values[seen]) / counts


def farthest(places: Float[Tensor, "n p"], count: int) -> Int[Tensor, " place"]:
    """So many places, each the farthest from those before; all where there are not more. Ties go to the first."""
    if len(places) <= count:
        return torch.arange(len(places), device=places.device)
    scaled = places / deviations(places)
    nearest = (scaled - scaled.mean(0)).square().sum(1)
    chosen = [int(nearest.argmin())]
    nearest = (scaled - scaled[chosen[0]]).square().sum(1)
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (scaled - scaled[chosen[-1]]).square().sum(1))
    return torch.tensor(sorted(chosen), device=places.device)
