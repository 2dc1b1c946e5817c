"""Causal convolution over time by the fast Fourier transform.

Equation  y_t = sum_{s <= t} k_s u_{t-s}
Shapes    u [..., time]   k [..., time] or shorter, broadcast over the leading axes   y [..., time]

The transforms are of length 2 time or more: shorter ones would wrap the end of the series into its beginning.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tsforge.errors import ShapeError
from tsforge.kernels.backends import choose
from tsforge.kernels.checks import check_alike


def fft_conv(u: Float[Tensor, "*batch time"], k: Float[Tensor, "*kernel reach"]) -> Float[Tensor, "*batch time"]:
    """The series `u` convolved with the kernel `k`, which sees nothing of what comes later.

    Args:
        u: Series along the last axis.
        k: Kernel along the last axis, the weight of the present first; at most as long as the series.

    Raises:
        ShapeError: the kernel is longer than the series, or shapes do not broadcast.

    Halves are convolved in float32 and returned as they came.
    """
    dtype = check_alike({"u": u, "k": k})
    if not u.ndim or not k.ndim or k.shape[-1] > u.shape[-1]:
        raise ShapeError(
            f"k has the shape {tuple(k.shape)} and u {tuple(u.shape)}: wanted a kernel no longer than the series."
        )
    try:
        shape = torch.broadcast_shapes(u.shape[:-1], k.shape[:-1])
    except RuntimeError:
        raise ShapeError(f"k has the shape {tuple(k.shape)}, which does not broadcast to {tuple(u.shape)}.") from None
    if not u.numel() or not k.shape[-1]:
        return u.new_zeros((*shape, u.shape[-1])) * u
    if choose(u) == "reference":
        return _by_sums(u.to(dtype), k.to(dtype)).to(u.dtype)
    time = u.shape[-1]
    size = fast_length(2 * time)
    product = torch.fft.rfft(u.to(dtype), n=size) * torch.fft.rfft(k.to(dtype), n=size)
    return torch.fft.irfft(product, n=size)[..., :time].to(u.dtype)


def fast_length(least: int) -> int:
    """The smallest 2^i 3^j 5^k of at least this size: transforms of other lengths take several times as long."""
    best = 1 << (least - 1).bit_length()
    for five in (1, 5, 25, 125):
        for three in (1, 3, 9, 27, 81):
            rest = -(-least // (five * three))
            best = min(best, five * three << (rest - 1).bit_length())
    return best


def _by_sums(u: Tensor, k: Tensor) -> Tensor:
    time = u.shape[-1]
    shifted = [k[..., s : s + 1] * torch.nn.functional.pad(u, (s, 0))[..., :time] for s in range(k.shape[-1])]
    return torch.stack(shifted).sum(0)
