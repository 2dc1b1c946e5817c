"""Normalisation of each window by its own mean and standard deviation, undone on the forecast.

Paper     Liu et al. (2022), "Non-stationary Transformers", arXiv:2205.14415 (stationarisation, without parameters).
Equation  x' = (x - mu) / sd,   sd = sqrt(var + 1e-5),   y = sd y' + mu       (mu, var over observed steps, var biased)
"""

from jaxtyping import Bool, Float
from torch import Tensor

EPSILON = 1e-5


def normalise(
    x: Float[Tensor, "batch time channel"], mask: Bool[Tensor, "batch time channel"]
) -> tuple[Float[Tensor, "batch time channel"], Float[Tensor, "batch 1 channel"], Float[Tensor, "batch 1 channel"]]:
    """The windows at mean 0 and standard deviation 1 over their observed steps, the means and the deviations.

    A missing step keeps the value it was filled with; steps before a channel's first observation become 0,
    the mean. A channel with nothing observed has mean 0 and deviation sqrt(1e-5). Published programs cut the gradient
    of the mean. Here it passes: a context that shifts a window would else be told of a change in its shape that there
    is not.
    """
    observed = mask.to(x.dtype)
    count = observed.sum(1, keepdim=True).clamp(min=1)
    mean = (x * observed).sum(1, keepdim=True) / count
    x = x - mean
    deviation = ((x.square() * observed).sum(1, keepdim=True) / count + EPSILON).sqrt()
    return x / deviation * (observed.cumsum(1) > 0), mean, deviation
