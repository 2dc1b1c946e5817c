import pytest
import torch
from adapted_networks import moved
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.encoders.adapter.flora import FLoRAAdapter
from tsforge.errors import ArgumentError

LAYERS = {
    "linear": lambda: nn.Linear(6, 5),
    "conv1d": lambda: nn.Conv1d(6, 5, 3, padding="same"),
    "conv2d": lambda: nn.Conv2d(6, 5, (3, 2), stride=2, padding=1),
    "grouped": lambda: nn.Conv1d(6, 4, 3, groups=2),
    "depthwise, dilated": lambda: nn.Conv1d(6, 6, 3, groups=6, dilation=3),
    "one wide": lambda: nn.Conv2d(6, 5, 1),
}


def inputs(layer: nn.Module) -> torch.Tensor:
    size = {nn.Linear: (4, 6), nn.Conv1d: (4, 6, 11), nn.Conv2d: (4, 6, 9, 8)}[type(layer)]
    return torch.randn(size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def applied(layer: nn.Module, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The layer of another weight, without its bias."""
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight)
    convolve = F.conv1d if isinstance(layer, nn.Conv1d) else F.conv2d
    return convolve(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)


def written_out(core: torch.Tensor, factors: list[torch.Tensor]) -> torch.Tensor:
    """The sum of the paper, entry by entry of the core."""
    total = torch.zeros([len(factor) for factor in factors], dtype=core.dtype)
    for at in torch.cartesian_prod(*(torch.arange(size) for size in core.shape)):
        outer = core[tuple(at)]
        for factor, column in zip(factors, at, strict=True):
            outer = outer[..., None] * factor[:, column]
        total += outer
    return total


@pytest.mark.parametrize("kind", LAYERS)
def test_the_output_is_that_of_the_layer_and_of_the_layer_of_the_change_as_published(kind):
    torch.manual_seed(0)
    layer = LAYERS[kind]().double()
    x, before = inputs(layer), layer.weight.detach().clone()
    plain = layer(x).detach()
    adapter = FLoRAAdapter(rank=3, kernel_rank=2, scale=0.7)
    adapter.attach(layer)
    moved(adapter, by=0.5)
    factors = [adapter.factors[f"weight/{at}"] for at in range(before.ndim)]
    change = 0.7 * written_out(adapter.cores["weight"].detach(), [f.detach() for f in factors])
    assert_close(adapter.delta("weight"), change, atol=1e-6, rtol=1e-6)
    assert_close(layer(x), plain + applied(layer, x, change), atol=1e-6, rtol=1e-6)
    assert not torch.allclose(layer(x), plain + applied(layer, x, change / 0.7), atol=1e-3)  # the control: no scale
    adapter.merge(layer)
    assert_close(layer.weight, before + change, atol=1e-6, rtol=1e-6)


def test_a_matrix_is_changed_as_by_lora_with_a_core_in_the_middle():
    layer = nn.Linear(6, 5)
    adapter = FLoRAAdapter(rank=2)
    adapter.attach(layer)
    moved(adapter)
    a, b, core = adapter.factors["weight/0"], adapter.factors["weight/1"], adapter.cores["weight"]
    assert_close(adapter.delta("weight"), a @ core @ b.T)
    with torch.no_grad():
        core.copy_(torch.eye(2))
    assert_close(adapter.delta("weight"), a @ b.T)  # LoRA itself


def test_every_unfolding_of_a_trained_change_has_the_rank_of_its_dimension():
    torch.manual_seed(0)
    layer, full = nn.Conv2d(8, 7, 5).double(), nn.Conv2d(8, 7, 5).double()
    adapter = FLoRAAdapter(rank=3, kernel_rank=2)
    adapter.attach(layer)
    x, y = torch.randn(6, 8, 9, 9).double(), torch.randn(6, 7, 5, 5).double()
    before = full.weight.detach().clone()
    for network, parameters in ((layer, adapter.parameters()), (full, full.parameters())):
        optimizer = torch.optim.Adam(parameters, lr=0.05)
        for _ in range(20):
            optimizer.zero_grad()
            F.mse_loss(network(x), y).backward()
            optimizer.step()

    def ranks(change):
        return [int(torch.linalg.matrix_rank(change.movedim(at, 0).flatten(1), rtol=1e-9)) for at in range(4)]

    assert ranks(adapter.delta("weight").detach()) == [3, 3, 2, 2]
    assert ranks(full.weight.detach() - before) == [7, 8, 5, 5]  # the control: all weights


def test_the_number_of_parameters_is_that_of_the_paper_and_below_that_of_lora():
    layer = nn.Conv2d(64, 64, 3)
    adapter = FLoRAAdapter(rank=4, kernel_rank=2)
    adapter.attach(layer)
    assert adapter.trainable_parameters() == adapter.count((64, 64, 3, 3)) == 588
    assert 4 * (64 + 64 * 3 * 3) == 2560  # LoRA of the flattened kernel
    mixed = nn.Sequential(nn.Linear(6, 5), nn.Conv1d(5, 5, 3, groups=5), nn.LayerNorm(4))
    adapter = FLoRAAdapter(rank=4)
    adapter.attach(mixed)
    assert adapter.trainable_parameters() == (16 + 4 * (6 + 5)) + (4 * 1 * 2 + 4 * 5 + 1 * 1 + 2 * 3)


def fitted(network: nn.Module, parameters, x: torch.Tensor, y: torch.Tensor, steps: int) -> float:
    """The error of the outputs, relative to how far they are from those of the base."""
    start = F.mse_loss(network(x), y).item()
    optimizer = torch.optim.Adam(parameters, lr=0.03)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.mse_loss(network(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
    return (F.mse_loss(network(x), y).item() / start) ** 0.5


class LoRAConv(nn.Module):
    """A convolution and a change of low rank of its flattened kernel."""

    def __init__(self, layer: nn.Conv2d, rank: int) -> None:
        super().__init__()
        self.layer, (out, *rest) = layer.requires_grad_(False), layer.weight.shape
        self.shape = layer.weight.shape
        self.a = nn.Parameter(torch.zeros(out, rank).double())
        self.b = nn.Parameter(torch.randn(rank, torch.Size(rest).numel()).double() * 0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.layer.weight + (self.a @ self.b).view(self.shape), self.layer.bias)


@pytest.mark.slow
def test_a_change_of_its_form_is_found_where_lora_with_as_many_parameters_does_not_find_it():
    torch.manual_seed(0)
    base = nn.Conv2d(8, 8, 3).double()
    x = torch.randn(48, 8, 5, 5).double()
    core = torch.randn(4, 4, 2, 2).double()
    planted = written_out(core, [torch.randn(size, rank).double() / size**0.5 for size, rank in zip(
        (8, 8, 3, 3), core.shape, strict=True)])
    y = F.conv2d(x, base.weight + planted, base.bias).detach()
    lora = LoRAConv(nn.Conv2d(8, 8, 3).double(), rank=2)
    lora.layer.load_state_dict(base.state_dict())
    adapter = FLoRAAdapter(rank=4, kernel_rank=2)
    adapter.attach(base)
    assert sum(p.numel() for p in lora.parameters() if p.requires_grad) >= adapter.trainable_parameters()
    found = fitted(base, list(adapter.parameters()), x, y, 800)
    flat = fitted(lora, [lora.a, lora.b], x, y, 800)
    assert found <= 1e-2
    assert flat > 10 * found


def test_a_rank_below_one_and_a_scale_of_zero_are_refused():
    for arguments in ({"rank": 0}, {"kernel_rank": 0}, {"scale": 0}):
        with pytest.raises(ArgumentError, match="give"):
            FLoRAAdapter(**arguments)
