"""Networks that adapters are attached to in tests."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Mixed(nn.Module):
    """Weights of all kinds: linear, tied, grouped and dilated convolutions, in a list, recurrent, of norms, complex."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.lift = nn.Linear(3, width)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.second.weight = self.first.weight
        self.deep = nn.Conv1d(width, width, 3, groups=width, dilation=2, padding="same")
        self.flat = nn.Conv2d(1, 2, (3, 5), stride=(1, 2), padding=(1, 2))
        self.kernels = nn.ParameterList(nn.Parameter(torch.randn(width, width, k) / width) for k in (1, 3))
        self.recurrent = nn.LSTM(width, width, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.turn = nn.Parameter(torch.randn(width, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(F.gelu(self.first(self.lift(x))))
        x = x + self.deep(x.mT).mT
        x = x + sum(F.conv1d(x.mT, kernel, padding="same") for kernel in self.kernels).mT
        x = self.norm(x + self.recurrent(x)[0])
        y = self.flat(x[:, None])
        return torch.cat([y.flatten(1), (x * self.turn.real).flatten(1)], 1)


def mixed(seed: int = 0, dtype: torch.dtype = torch.float32) -> Mixed:
    torch.manual_seed(seed)
    made = Mixed()
    for child in made.children():
        child.to(dtype)
    return made.eval()


def windows(batch: int = 5, time: int = 8, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(batch, time, 3, generator=torch.Generator().manual_seed(1), dtype=dtype)


def moved(network: nn.Module, seed: int = 3, by: float = 0.3) -> nn.Module:
    """The network with other weights, as if it had been trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight += by * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    return network
