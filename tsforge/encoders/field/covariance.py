"""Covariances over space: how likeness falls with distance, and the lengths that explain values best.

Equation  matern32     rho = (1 + a) exp(-a), a = sqrt(3) d      exponential   rho = exp(-d)
          spherical    rho = 1 - 3/2 d + 1/2 d^3 up to d = 1, then 0
          -2 log likelihood   n log(r'R^-1 r / n) + log det R, up to a constant
                              R = rho + nugget I,   r = y - 1'R^-1 y / 1'R^-1 1
Units     d in lengths; nugget as a share of the sill
"""

from itertools import product

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

KERNELS = ("matern32", "exponential", "spherical")
STARTS = (0.1, 0.3, 1.0, 3.0)  # lengths, in deviations of a coordinate
NOISES = (1e-3, 1e-1)
LENGTHS, NUGGETS = (1e-3, 1e3), (1e-6, 1e2)  # what is tried
NEAR = 1e-24  # squared distance, below which it counts as this: a root has no slope at 0


def distances(a: Float[Tensor, "n p"], b: Float[Tensor, "m p"], lengths: Float[Tensor, " p"]) -> Float[Tensor, "n m"]:
    """Distances in lengths."""
    squares = ((a[:, None] - b) / lengths).square().sum(-1)
    return torch.where(squares > NEAR, squares.clamp(min=NEAR).sqrt(), 0.0)


def correlation(kernel: str, d: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    """rho at these distances."""
    if kernel == "matern32":
        return (1 + 3**0.5 * d) * (-(3**0.5) * d).exp()
    if kernel == "exponential":
        return (-d).exp()
    near = d.clamp(max=1)
    return 1 - 1.5 * near + 0.5 * near**3


def slope(kernel: str, d: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    """rho' / d; where rho has a corner, at 0, it counts as flat."""
    if kernel == "matern32":
        return -3 * (-(3**0.5) * d).exp()
    safe = torch.where(d > 0, d, 1.0)
    falling = -(-d).exp() if kernel == "exponential" else torch.where(d < 1, -1.5 + 1.5 * d.square(), 0.0)
    return torch.where(d > 0, falling / safe, 0.0)


def likeliest(
    places: Float[Tensor, "n p"], y: Float[Tensor, " n"], kernel: str, nugget: float | int | None, anisotropic: bool
) -> tuple[Float[Tensor, " p"], Float[Tensor, ""]]:
    """Lengths and nugget of the greatest likelihood.

    The best of a few starts is improved by steps along the gradient, within bounds. Where there is nothing to learn
    from, one place or values all the same, lengths are the deviations of the coordinates.

    Args:
        places: All different.
        y: A value at each.
        kernel: One of `KERNELS`.
        nugget: None is fitted.
        anisotropic: Whether each coordinate has a length of its own, else they have the same.
    """
    from scipy.optimize import minimize

    spread = deviations(places)
    unit = spread if anisotropic else spread.square().mean().sqrt().expand_as(spread)
    count = len(unit) if anisotropic else 1
    if len(y) < 3 or not y.std() > 0:
        return unit.clone(), y.new_tensor(1e-3 if nugget is None else nugget)

    def minus(theta: np.ndarray) -> tuple[float, np.ndarray]:
        with torch.enable_grad():
            t = torch.tensor(theta, dtype=torch.float64, device=y.device, requires_grad=True)
            noise = t[-1].exp() if nugget is None else t.new_tensor(nugget) + 0 * t.sum()
            value = _minus_log_likelihood(places, y, kernel, t[:count].exp() * unit, noise)
            (gradient,) = torch.autograd.grad(value, t)
        return float(value.detach()), gradient.cpu().numpy()

    noises = [()] if nugget is not None else [(np.log(noise),) for noise in NOISES]
    starts = [np.array([*[np.log(length)] * count, *noise]) for length, noise in product(STARTS, noises)]
    start = min(starts, key=lambda theta: minus(theta)[0])
    bounds = [tuple(np.log(LENGTHS))] * count + [tuple(np.log(NUGGETS))] * (nugget is None)
    best = minimize(minus, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 60}).x
    found = torch.tensor(best, dtype=torch.float64, device=y.device).exp()
    return found[:count] * unit, found[-1] if nugget is None else y.new_tensor(nugget)


def deviations(x: Float[Tensor, "n p"]) -> Float[Tensor, " p"]:
    """Of each column; 1 where it is always the same."""
    found = x.std(0, correction=0)
    return torch.where(found > 0, found, 1.0)


def _minus_log_likelihood(places: Tensor, y: Tensor, kernel: str, lengths: Tensor, nugget: Tensor) -> Tensor:
    shape = correlation(kernel, distances(places, places, lengths))
    factor, failed = torch.linalg.cholesky_ex(shape + (nugget + 1e-10) * torch.eye(len(y)).to(y))
    if failed:
        return 1e6 + 0 * lengths.sum()
    both = torch.cholesky_solve(torch.stack([y, torch.ones_like(y)], 1), factor)
    centre = both[:, 0].sum() / both[:, 1].sum()
    misfit = ((y - centre) * (both[:, 0] - centre * both[:, 1])).sum() / len(y)
    return len(y) / 2 * misfit.clamp(min=1e-300).log() + factor.diagonal().log().sum()
