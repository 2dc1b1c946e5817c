"""The fitting of encoders that learn by rebuilding the windows they read: weights drawn, then steps of Adam."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

BATCH = 256  # windows in a step

Objective = Callable[[Tensor, Tensor | None], Tensor]


@torch.no_grad()
def draw_weights(module: nn.Module, random: torch.Generator) -> None:
    """Weights and biases uniform within one over the root of the inputs, as torch's linear layers are."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            for weight in (layer.weight, layer.bias):
                drawn = torch.rand(weight.shape, generator=random, device="cpu")
                weight.copy_((2 * drawn - 1) * layer.in_features**-0.5)


@torch.enable_grad()
def train(
    module: nn.Module, objective: Objective, x: Tensor, mask: Tensor | None, *, steps: int, learning_rate: float,
    seed: int,
) -> None:
    """Draws the weights of a module anew and trains them on batches of windows; the rate falls as a half cosine.

    Whether its weights need gradients afterwards is as it was.
    """
    random = torch.Generator("cpu").manual_seed(seed)
    draw_weights(module, random)
    asked = [weight.requires_grad for weight in module.parameters()]
    module.requires_grad_(True)
    optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (min(BATCH, len(x)),), generator=random, device="cpu").to(x.device)
        optimizer.zero_grad()
        objective(x[rows], None if mask is None else mask[rows]).backward()
        optimizer.step()
        schedule.step()
    optimizer.zero_grad()
    for weight, needs in zip(module.parameters(), asked, strict=True):
        weight.requires_grad_(needs)
