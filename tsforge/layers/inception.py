"""Inception of growing kernels: convolutions of 1x1, 3x3, 5x5, ... averaged, run as one.

Paper     Wu et al. (2023), "TimesNet", arXiv:2210.02186 (`Inception_Block_V1` of the published code).
Equation  y = 1/J sum_j (W_j * x + b_j),   W_j [out, in, 2j+1, 2j+1], zero padding j
Shapes    [batch, row, column, in_channels] -> [batch, row, column, out_channels]
Differs   Zero-padded to the largest, the kernels add up to one; the function and its gradients are the same. The J
          kernels stay the parameters, because Adam would take other steps on their sum.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class Inception(nn.Module):
    """The mean of `num_kernels` convolutions; `num_kernels * out + in * out * (1 + 9 + 25 + ...)` parameters.

    Args:
        in_channels: Channels of the map.
        out_channels: Channels of the result.
        num_kernels: How many kernels; the largest is `2 * num_kernels - 1` wide.
    """

    def __init__(self, in_channels: int, out_channels: int, num_kernels: int = 6) -> None:
        super().__init__()
        shapes = [(out_channels, in_channels, 2 * j + 1, 2 * j + 1) for j in range(num_kernels)]
        self.kernels = nn.ParameterList(nn.Parameter(torch.empty(shape)) for shape in shapes)
        self.biases = nn.Parameter(torch.zeros(num_kernels, out_channels))
        for kernel in self.kernels:
            nn.init.kaiming_normal_(kernel, mode="fan_out", nonlinearity="relu")

    def merged(self) -> tuple[Float[Tensor, "out in size size"], Float[Tensor, " out"]]:
        """Kernel and bias of the one convolution that equals the mean of all."""
        total, *larger = self.kernels
        for kernel in larger:
            total = F.pad(total, (1, 1, 1, 1)) + kernel
        kernel = (total / len(self.kernels)).contiguous(memory_format=torch.channels_last)  # once, not in every call
        return kernel, self.biases.mean(0)

    def forward(self, maps: Float[Tensor, "batch row column in"]) -> Float[Tensor, "batch row column out"]:
        """The mean of the convolutions."""
        return convolve(maps, *self.merged())


def convolve(
    maps: Float[Tensor, "batch row column in"], kernel: Float[Tensor, "out in size size"], bias: Float[Tensor, " out"]
) -> Float[Tensor, "batch row column out"]:
    """Convolution with zero padding that keeps rows and columns; the channels stay last in memory."""
    rows, columns, reach = maps.shape[1], maps.shape[2], kernel.shape[-1] // 2
    if rows > 5 * columns:  # a tall map is convolved lying, up to a third faster: the inner loop runs along columns
        return convolve(maps.transpose(1, 2), kernel.transpose(2, 3), bias).transpose(1, 2)
    up, left = min(reach, rows - 1), min(reach, columns - 1)  # a farther tap meets nothing but padding
    kernel = kernel[:, :, reach - up : reach + up + 1, reach - left : reach + left + 1]
    return F.conv2d(maps.permute(0, 3, 1, 2), kernel, bias, padding=(up, left)).permute(0, 2, 3, 1)
