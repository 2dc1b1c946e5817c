"""Scores of made paths for which a small LSTM is trained, and the distance by signatures; see `metrics.generation`.

Paper     Yoon, Jarrett & van der Schaar (2019), "Time-series Generative Adversarial Networks", NeurIPS (both scores);
          settings of Min, Hu & Ichiba (2023), arXiv:2304.13131.
Shapes    real, fake [path, time, channel]; the result is one float
Units     channels are scaled by mean and sd of the real paths first, so that no score depends on units
Differs   Paths of one channel are predicted from that channel; the paper's rule would leave nothing to predict from.
          A score near 0 after few steps is a weak classifier: compare with real against real, and real against noise.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from tsforge.evaluation.metrics.generation import dependence, independence, marginal_distance, marginal_overlap, pair
from tsforge.layers.signature import sig_mmd


class _Reader(nn.Module):
    """An LSTM and a linear map of its state at each step."""

    def __init__(self, inputs: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(inputs, hidden, layers, batch_first=True), nn.Linear(hidden, 1)

    def forward(self, x: Float[Tensor, "batch time channel"]) -> Float[Tensor, "batch time"]:
        return self.head(self.lstm(x)[0]).squeeze(-1)


def discriminative_score(
    real: ArrayLike, fake: ArrayLike, *, hidden: int | None = None, steps: int = 5000, seed: int = 0
) -> float:
    """|accuracy - 1/2| of a two-layer LSTM that is trained to tell both apart, on paths it was not trained on.

    Args:
        real: Paths.
        fake: Paths; of both as many are taken as there are of the fewer.
        hidden: Width of the LSTM; None is half the channels, at least 1, as published.
        steps: Steps of Adam, 128 paths each; the paper takes 5000, and 2000 for long paths.
        seed: Of weights, order and the fifth that is held out.

    Returns:
        0 where they cannot be told apart, up to 0.5.
    """
    x, y = _scaled(real, fake)
    draw = np.random.default_rng(seed)
    n = min(len(x), len(y))
    both = torch.cat([x[draw.permutation(len(x))[:n]], y[draw.permutation(len(y))[:n]]])
    label = torch.cat([torch.ones(n), torch.zeros(n)])
    order = torch.from_numpy(draw.permutation(2 * n))
    test, train = order[: max(2 * n // 5, 1)], order[max(2 * n // 5, 1) :]
    model = _trained(
        x.shape[2], hidden or max(x.shape[2] // 2, 1), 2, len(train), steps, seed,
        lambda model, rows: F.binary_cross_entropy_with_logits(model(both[train[rows]])[:, -1], label[train[rows]]),
    )
    with torch.no_grad():
        right = (model(both[test])[:, -1] > 0) == (label[test] > 0)
    return abs(float(right.float().mean()) - 0.5)


def predictive_score(
    real: ArrayLike, fake: ArrayLike, *, hidden: int | None = None, steps: int = 5000, seed: int = 0
) -> float:
    """Mean absolute error on real paths of an LSTM that learned on fake ones to predict the last channel's next step.

    Args:
        real: Paths to predict.
        fake: Paths to learn from.
        hidden: Width of the LSTM; None is half the channels, at least 1, as published.
        steps: Steps of Adam, 128 paths each.
        seed: Of weights and order.

    Returns:
        The error in sd of the real channel; compare with that of learning on other real paths.
    """
    x, y = _scaled(real, fake)
    seen = max(x.shape[2] - 1, 1)

    def error(model: nn.Module, paths: Tensor) -> Tensor:
        return (model(paths[:, :-1, :seen]) - paths[:, 1:, -1]).abs().mean()

    width = hidden or max(x.shape[2] // 2, 1)
    model = _trained(seen, width, 1, len(y), steps, seed, lambda model, rows: error(model, y[rows]))
    with torch.no_grad():
        return float(error(model, x))


def signature_mmd(real: ArrayLike, fake: ArrayLike, *, depth: int = 4) -> float:
    """Distance of the expected signatures of depth `depth`, with time and origin added; 0 for the same paths."""
    x, y = _scaled(real, fake)
    with torch.no_grad():
        return float(sig_mmd(x.double(), y.double(), depth))


def generation_report(
    real: ArrayLike, fake: ArrayLike, *, depth: int = 4, steps: int = 5000, seed: int = 0
) -> dict[str, float]:
    """All scores; independence is always among them, for copies do best in all the others.

    Args:
        real: Paths; row i is the neighbour that fake row i was made of, where there is one.
        fake: As many paths.
        depth: Of signatures.
        steps: Steps that the two LSTMs are trained.
        seed: Of both.
    """
    return {
        "marginal_distance": marginal_distance(real, fake), "marginal_overlap": marginal_overlap(real, fake),
        "independence": independence(real, fake), "dependence": dependence(real, fake),
        "sig_mmd": signature_mmd(real, fake, depth=depth),
        "discriminative": discriminative_score(real, fake, steps=steps, seed=seed),
        "predictive": predictive_score(real, fake, steps=steps, seed=seed),
    }


def _scaled(real: ArrayLike, fake: ArrayLike) -> tuple[Tensor, Tensor]:
    x, y = pair(real, fake)
    mean, sd = x.mean(axis=(0, 1)), x.std(axis=(0, 1))
    sd = np.where(sd == 0, 1, sd)
    return tuple(torch.from_numpy(((z - mean) / sd).astype(np.float32)) for z in (x, y))  # pyright: ignore[reportReturnType]


def _trained(
    inputs: int, hidden: int, layers: int, count: int, steps: int, seed: int,
    loss: Callable[[nn.Module, Tensor], Tensor],
) -> nn.Module:
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        model = _Reader(inputs, hidden, layers)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for rows in _batches(count, steps):
            optimizer.zero_grad()
            loss(model, rows).backward()
            optimizer.step()
    return model.eval()


def _batches(count: int, steps: int) -> Iterator[Tensor]:
    for _ in range(steps):
        yield torch.randint(count, (min(128, count),))
