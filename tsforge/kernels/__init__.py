"""Scans: the recurrences that state-space models stand on, behind one door, in a fraction of the memory.

Each has a plain reference, a torch path, a numba path for CPUs and a Triton path for GPUs; `use` forces one.
"""

from tsforge.kernels.additive import AdditiveState, additive_scan
from tsforge.kernels.backends import available, use
from tsforge.kernels.convolution import fft_conv
from tsforge.kernels.grid import GridState, scan_2d
from tsforge.kernels.grid_coefficients import scan_2d_coefficients
from tsforge.kernels.linear import linear_scan
from tsforge.kernels.selective import selective_scan, selective_step
from tsforge.kernels.vandermonde import s4d_kernel

__all__ = [
    "AdditiveState", "GridState", "additive_scan", "available", "fft_conv", "linear_scan", "s4d_kernel", "scan_2d",
    "scan_2d_coefficients", "selective_scan", "selective_step", "use",
]
