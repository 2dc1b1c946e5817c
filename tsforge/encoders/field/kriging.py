"""Kriging: what the places around say the value is here, how sure that is, and how far this place is from it.

Paper     Dramsch (2020), "70 Years of Machine Learning in Geoscience in Review", Advances in Geophysics 61,
          arXiv:2006.13311: a review; kriging as in its textbooks, equal to regression with Gaussian processes.
Equation  K = sill rho(d) + nugget I,   k = sill rho(d of a place from the known ones),   C = K^-1
          m = 1'C y / 1'C 1,   mean = m + k'C (y - m),   var = sill - k'C k + (1 - 1'C k)^2 / 1'C 1      (ordinary)
          left out: y_i - mean_i = (P y)_i / P_ii,   var_i = 1 / P_ii,   P = C - C 1 1'C / 1'C 1
          d^2 = sum_c ((s_c - t_c) / length_c)^2;   lengths and nugget maximise the likelihood, the sill follows
Shapes    coordinates [batch, p], values [batch] -> [batch, d_model]
          features mean, sd, residual, distance, slope [batch, 4 + p]
Units     mean and sd those of the values, distance in lengths, slope value per coordinate. The map reads them by the
          deviations of values and coordinates, and the logarithm of 1 + distance.
Differs   The features are reconstructed. Each coordinate has a length of its own, so that degrees of longitude and of
          latitude and metres of height need no common unit; over a region this is what a projection does. At most
          `max_places` places are kept, spread by farthest-point sampling; the others are not averaged in. The support
          vectors and forests of the review are not here. The sd is that of interpolation at one time, and no interval
          of a forecast.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsforge.encoders.field.base import Coordinates, FieldEncoder, Values
from tsforge.encoders.field.covariance import KERNELS, correlation, deviations, distances, likeliest, slope
from tsforge.encoders.field.places import averaged, farthest
from tsforge.errors import ArgumentError
from tsforge.space import Choice, Declared

TINY = 1e-30


class KrigingEncoder(FieldEncoder):
    """(5 + p) * d_model parameters; all that is fitted are buffers in float64.

    Args:
        n_coordinates: Coordinates of a place.
        kernel: "matern32", "exponential" or "spherical": how likeness falls with distance.
        nugget: Share of the sill that is noise of a place by itself; None fits it, 0 interpolates.
        anisotropic: Whether each coordinate has a length of its own.
        ordinary: Whether the mean is estimated with the covariance; else it is the plain mean, taken as known.
        max_places: Places that are kept.

    Raises:
        ArgumentError: a size is below 1, the kernel is unknown or none in so many coordinates, or `nugget` is below 0.
    """

    places: Tensor
    values: Tensor
    there: Tensor
    lengths: Tensor
    extent: Tensor
    inverse: Tensor
    level: Tensor
    spread: Tensor
    sill: Tensor
    noise: Tensor
    centre: Tensor

    space: ClassVar[Declared] = {"kernel": Choice(*KERNELS), "ordinary": Choice(False, True)}

    def __init__(
        self, n_coordinates: int, d_model: int = 16, *, kernel: str = "matern32", nugget: float | int | None = None,
        anisotropic: bool = True, ordinary: bool = True, max_places: int = 256,
    ) -> None:
        super().__init__(n_coordinates, d_model)
        _check(kernel, n_coordinates, nugget, max_places)
        self.kernel, self.nugget, self.anisotropic, self.ordinary = kernel, nugget, anisotropic, ordinary
        self.out = nn.Linear(4 + n_coordinates, d_model)
        blank = {"places": (max_places, n_coordinates), "values": (max_places,), "inverse": (max_places, max_places),
                 "noise": (), "centre": (), "level": ()}
        for name, shape in blank.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("there", torch.zeros(max_places, dtype=torch.bool))
        for name, shape in {"lengths": (n_coordinates,), "extent": (n_coordinates,), "sill": (), "spread": ()}.items():
            self.register_buffer(name, torch.ones(shape, dtype=torch.float64))

    def fit(self, *inputs: Tensor | None) -> None:
        """Covariance and weights of values at places; several values of one place are averaged, NaN is left out.

        Args:
            inputs: Coordinates and values, as `forward` is given them.

        Raises:
            ArgumentError: there are no values, or places are so near each other that the covariance needs a nugget.
        """
        coordinates, values = (*inputs, None)[:2]
        if coordinates is None or values is None or not values.isfinite().any():
            raise ArgumentError(f"{type(self).__name__}.fit: give coordinates and the values that were observed there.")
        places, y = averaged(coordinates.detach().double(), values.detach().double())
        kept = farthest(places, len(self.places))
        places, y = places[kept], y[kept]
        lengths, nugget = likeliest(places, y, self.kernel, self.nugget, self.anisotropic)
        shape = correlation(self.kernel, distances(places, places, lengths)) + nugget * torch.eye(len(y)).to(y)
        factor, failed = torch.linalg.cholesky_ex(shape)
        if failed:
            raise ArgumentError("nugget=0: places are too near each other to go through them all. Give one, as 1e-6.")
        inverse = torch.cholesky_inverse(factor)
        weights = inverse.sum(1) if self.ordinary else torch.ones_like(y)
        centre = weights @ y / weights.sum()
        sill = ((y - centre) @ inverse @ (y - centre) / len(y)).clamp(min=TINY)
        self._keep(places, y, lengths, inverse / sill, sill, nugget * sill, centre)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "KrigingEncoder":
        """Moves what is fitted with the rest, and leaves it in float64: rounded, the inverse would mean nothing."""
        fitted = {name: buffer for name, buffer in self._buffers.items() if buffer is not None}
        super()._apply(fn, recurse)
        for name, buffer in fitted.items():
            moved = getattr(self, name)
            self._buffers[name] = moved.to(buffer.dtype) if buffer.is_meta else buffer.to(moved.device)
        return self

    def _keep(self, places: Tensor, y: Tensor, lengths: Tensor, inverse: Tensor, *numbers: Tensor) -> None:
        n = len(y)
        for buffer in (self.places, self.values, self.inverse, self.there):
            buffer.zero_()
        self.places[:n], self.values[:n], self.inverse[:n, :n], self.there[:n] = places, y, inverse, True
        self.lengths.copy_(lengths)
        self.extent.copy_(deviations(places))
        self.level.copy_(y.mean())
        self.spread.copy_(deviations(y[:, None])[0])
        for buffer, number in zip((self.sill, self.noise, self.centre), numbers, strict=True):
            buffer.copy_(number)

    def predicted(self, coordinates: Coordinates) -> Float[Tensor, " batch"]:
        """The mean at each place."""
        return self.features(coordinates)[:, 0]

    def weights(self, coordinates: Coordinates) -> Float[Tensor, "batch place"]:
        """What each known value counts for the mean at a place; of ordinary kriging they sum to 1."""
        k = self._covariances(distances(coordinates.double(), self.places, self.lengths))
        ones, total = self._ones()
        return (k + (1 - k @ ones)[:, None] / total * self.there) @ self.inverse if self.ordinary else k @ self.inverse

    def left_out(self) -> tuple[Float[Tensor, " place"], Float[Tensor, " place"]]:
        """The mean and the variance at each known place by the values of the others."""
        ones, total = self._ones()
        held = self.inverse - torch.outer(ones, ones) / total.clamp(min=TINY) if self.ordinary else self.inverse
        own = torch.where(self.there & (held.diagonal() > TINY), held.diagonal(), 1.0)
        y = torch.where(self.there, self.values - self.centre, 0.0)
        return self.values - held @ y / own, 1 / own.clamp(min=TINY)

    def features(self, coordinates: Coordinates, values: Values = None) -> Float[Tensor, "batch feature"]:
        """Mean, deviation, residual, distance to the nearest known place, and slope of the mean, in float64.

        The residual is how many deviations a value lies above what the other places say; without values, of a known
        place its own, and 0 elsewhere.
        """
        at = coordinates.double()
        d = distances(at, self.places, self.lengths)
        k = self._covariances(d)
        weights = self.inverse @ torch.where(self.there, self.values - self.centre, 0.0)
        mean, var = self.centre + k @ weights, self._variance(k)
        residual = self._residual(at, values, mean, var)
        nearest = torch.where(self.there, d, torch.inf).amin(1)
        away = (at[:, None] - self.places) / self.lengths.square()  # [batch, place, p]
        pull = self.sill * torch.where(self.there, slope(self.kernel, d), 0.0) * weights
        known = torch.where(nearest.isfinite(), nearest, 0.0)
        return torch.cat([torch.stack([mean, var.sqrt(), residual, known], 1), (pull[..., None] * away).sum(1)], 1)

    def forward(self, coordinates: Coordinates, values: Values = None) -> Float[Tensor, "batch d_model"]:
        """The features through the map."""
        mean, sd, residual, distance, *slopes = self.features(coordinates, values).unbind(1)
        by_value = torch.stack([mean - self.level, sd, *(s * e for s, e in zip(slopes, self.extent, strict=True))], 1)
        scaled = torch.cat([by_value / self.spread, torch.stack([residual, distance.log1p()], 1)], 1)
        return self.out(scaled.to(self.out.weight.dtype))

    def _variance(self, k: Tensor) -> Tensor:
        var = self.sill - ((k @ self.inverse) * k).sum(1)
        if self.ordinary:
            ones, total = self._ones()
            var = var + torch.where(total > 0, (1 - k @ ones).square() / total.clamp(min=TINY), 0.0)
        return var.clamp(min=0)

    def _residual(self, at: Tensor, values: Values, mean: Tensor, var: Tensor) -> Tensor:
        same = (at[:, None] == self.places).all(-1) & self.there
        known, place = same.any(1), same.to(torch.uint8).argmax(1)
        others, spread = self.left_out()
        mean = torch.where(known, others[place], mean)
        var = torch.where(known, spread[place], var + self.noise)
        own = torch.where(known, self.values[place], mean)
        value = own if values is None else torch.where(values.isfinite(), values.double(), mean)
        return torch.where(var > TINY, (value - mean) / var.clamp(min=TINY).sqrt(), 0.0)

    def _covariances(self, d: Tensor) -> Tensor:
        return self.sill * torch.where(self.there, correlation(self.kernel, d), 0.0)

    def _ones(self) -> tuple[Tensor, Tensor]:
        ones = self.inverse.sum(1)
        return ones, ones.sum()


def _check(kernel: str, n_coordinates: int, nugget: float | int | None, max_places: int) -> None:
    if kernel not in KERNELS:
        raise ArgumentError(f"kernel={kernel!r}: wanted one of {', '.join(KERNELS)}.")
    if kernel == "spherical" and n_coordinates > 3:
        raise ArgumentError(f'kernel="spherical" is none in {n_coordinates} coordinates: take "matern32".')
    if nugget is not None and not nugget >= 0:
        raise ArgumentError(f"nugget={nugget}: give a share of 0 or more, or None.")
    if max_places < 1:
        raise ArgumentError(f"max_places={max_places} leaves nothing to read: give at least 1.")
