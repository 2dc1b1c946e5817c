"""The kernel of a diagonal state space as one product of real matrices for each feature."""

import math

import torch
from torch import Tensor


def forward(a: Tensor, c: Tensor, time: int) -> Tensor:
    """[feature, time]"""
    many, size = block_sizes(time)
    if not a.numel() or not time:
        return c.real.new_zeros(c.shape[0], time) + (a * c).real.sum(1, keepdim=True)
    far_re, far_im = _powers(a, size * torch.arange(many, device=a.device))  # [feature, mode, q]
    near_re, near_im = _powers(a, torch.arange(size, device=a.device))  # [feature, mode, r]
    c_re, c_im = c.real[..., None], c.imag[..., None]
    weighted = torch.cat([c_re * far_re - c_im * far_im, -c_re * far_im - c_im * far_re], 1)  # [feature, 2 mode, q]
    kernel = 2 * weighted.mT @ torch.cat([near_re, near_im], 1)  # [feature, q, r]
    return kernel.flatten(1)[:, :time]


def _powers(a: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of exp(a step), in the precision of `a`, from phases that are exact to a turn."""
    dtype = a.real.dtype
    exact = steps.double()
    phase = torch.remainder(a.imag.double()[..., None] * exact, 2 * math.pi).to(dtype)
    size = torch.exp((a.real.double()[..., None] * exact).to(dtype))
    return size * torch.cos(phase), size * torch.sin(phase)


def block_sizes(time: int) -> tuple[int, int]:
    """Q and R with Q R >= time, both near its root; R is a power of two, which the product of matrices likes."""
    size = 1 << max(0, round(math.log2(max(time, 1)) / 2))
    return -(-time // size), size
