"""Linear maps over time, one for all channels or one for each."""

import torch
from torch import nn


class TimeMaps(nn.Module):
    """Weights of a linear map over time for each channel, or one for all; initialised as `nn.Linear`."""

    def __init__(self, maps: int, steps: int, outputs: int) -> None:
        super().__init__()
        bound = steps**-0.5
        self.weight = nn.Parameter(torch.empty(maps, outputs, steps).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(maps, outputs).uniform_(-bound, bound))
