"""How well a field is known where it was not measured: errors on regions left out, beside those on places at random.

Paper     Dramsch (2020), "70 Years of Machine Learning in Geoscience in Review", arXiv:2006.13311; blocks as in Roberts
          et al. (2017), "Cross-validation strategies for data with temporal, spatial, hierarchical, or phylogenetic
          structure", Ecography 40.
Shapes    coordinates [place, p], values and folds [place]

A place left out at random has neighbours that were kept, and so its value is nearly known. Where forecasts are wanted
far from any known place, the error there is that of a region left out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsforge.encoders.field.base import FieldEncoder
from tsforge.errors import ArgumentError

FLATTERING = 1.5  # times the error of random folds


@dataclass(frozen=True)
class Validation:
    """Root mean squared errors of values left out.

    Args:
        random: Places left out at random.
        block: Regions left out.
    """

    random: float
    block: float

    @property
    def ratio(self) -> float:
        """How many times as large the error in a region is."""
        return self.block / self.random if self.random > 0 else torch.inf

    @property
    def flatters(self) -> bool:
        """Whether random folds make the field look much better known than it is."""
        return self.ratio > FLATTERING


def validate(
    make: Callable[[], FieldEncoder], coordinates: Float[Tensor, "place p"], values: Float[Tensor, " place"], *,
    folds: int = 5, seed: int = 0,
) -> Validation:
    """The errors of encoders fitted without each fold, on both kinds of folds.

    Args:
        make: Gives an encoder that is not fitted yet.
        coordinates: Of known places.
        values: At these.
        folds: How many.
        seed: Of the random folds.

    Raises:
        ArgumentError: there are fewer than 2 folds, or more than places.
    """
    errors = []
    for parts in (random_folds(len(values), folds, seed), block_folds(coordinates, folds)):
        missed = left_out(make, coordinates, values, parts) - values.double()
        errors.append(float(missed.square().mean().sqrt()))
    return Validation(*errors)


def left_out(
    make: Callable[[], FieldEncoder], coordinates: Float[Tensor, "place p"], values: Float[Tensor, " place"],
    folds: Int[Tensor, " place"],
) -> Float[Tensor, " place"]:
    """What is said of each place by an encoder fitted on the other folds."""
    found = torch.zeros(len(values), dtype=torch.float64)
    with torch.no_grad():
        for fold in folds.unique():
            encoder, out = make(), folds == fold
            encoder.fit(coordinates[~out], values[~out])
            found[out] = encoder.predicted(coordinates[out])
    return found


def random_folds(count: int, folds: int, seed: int = 0) -> Int[Tensor, " place"]:
    """A fold for each place, drawn; as many in each as can be."""
    _check_folds(count, folds)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return torch.empty(count, dtype=torch.int64).scatter(0, order, torch.arange(count) % folds)


def block_folds(coordinates: Float[Tensor, "place p"], folds: int) -> Int[Tensor, " place"]:
    """A fold for each place, by region: each place goes to the nearest of centres found by Lloyd's steps."""
    _check_folds(len(coordinates), folds)
    x = coordinates.double()
    spread = x.std(0)
    x = (x - x.mean(0)) / torch.where(spread > 0, spread, 1.0)
    centres = x[:1]
    while len(centres) < folds:  # the farthest from those before
        centres = torch.cat([centres, x[torch.cdist(x, centres).amin(1).argmax()][None]])
    for _ in range(20):
        region = torch.cdist(x, centres).argmin(1)
        centres = torch.stack([x[region == f].mean(0) if (region == f).any() else centres[f] for f in range(folds)])
    return torch.cdist(x, centres).argmin(1)


def importance(
    encoder: FieldEncoder, coordinates: Float[Tensor, "place p"], values: Float[Tensor, " place"], *,
    repeats: int = 10, seed: int = 0,
) -> tuple[Float[Tensor, " p"], Float[Tensor, " p"]]:
    """How much the squared error grows when a coordinate is shuffled between places, and the standard error of that.

    Args:
        encoder: Fitted, on other places than these.
        coordinates: Of places that it was not fitted on.
        values: At these.
        repeats: Shuffles of each coordinate, 2 or more.
        seed: Of the shuffles.
    """
    random = torch.Generator().manual_seed(seed)

    def error(x: Tensor) -> float:
        return float((encoder.predicted(x) - values.double()).square().mean())

    with torch.no_grad():
        before, grown = error(coordinates), torch.zeros(repeats, coordinates.shape[1], dtype=torch.float64)
        for column in range(coordinates.shape[1]):
            for repeat in range(repeats):
                shuffled = coordinates.clone()
                order = torch.randperm(len(values), generator=random)
                shuffled[:, column] = coordinates[order, column]
                grown[repeat, column] = error(shuffled) - before
    return grown.mean(0), grown.std(0) / repeats**0.5


def _check_folds(count: int, folds: int) -> None:
    if not 2 <= folds <= count:
        raise ArgumentError(f"folds={folds}: there are {count} places; give a number from 2 to that.")
