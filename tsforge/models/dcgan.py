"""DC-GAN: the directed-chain generative adversarial network of 2023 for paths, not the convolutional one of 2015.

Paper     Min, Hu & Ichiba (2023), "Directed Chain Generative Adversarial Networks", ICML, arXiv:2304.13131.
Equation  dX = V0(t, X, Xn, c) dt + V1(t, X, Xn, c) dB   from the last value seen, Xn a path of another window
          generator: loss(read(X)) + energy CRPS(X) + signature SigMMD([past, X]) - adversarial critic([past, X])
          critic: critic([past, X]) - critic([past, future])
          inference: Xn walked `walk` steps along the chain, away from the real future that it began as
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output];   paths [batch, path, h, channel]
Units     those of the scaled targets; the horizon is one unit of time
Differs   The paper makes paths without a past. Here c is a perceptron of the look-back; critic and signature see its
          end before the path, and two terms are ours: the loss of the point forecast, and the CRPS of the paths. Noise
          comes in pairs of opposite sign, so that the point has none of its first order. The walk is done once, after
          the fit. Where a signature would have more than 4096 numbers, its depth is less.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.layers.chain_sde import DirectedChainSDE, perceptron, walk_chain
from tsforge.layers.neural_cde import NeuralCDEDiscriminator
from tsforge.layers.signature import deepest, sig_mmd
from tsforge.models.base import Model
from tsforge.space import Choice, Declared, Integer, Real

SIGNATURE = 4096  # numbers of a signature, at most


class DCGAN(Model):
    """The directed-chain GAN (not the convolutional one of 2015): sample paths, by a chain of neural SDEs and a critic.

    With C channels, i = 1 + 2 C + d_model: (input_size C + 1) hidden + (hidden + 1) h d_model of the look-back,
    2 (i + 1) hidden + (hidden + 1) (2 hidden + C + C noise) of the chain, critic (2 + C) + (critic + 1) (critic (3 + C)
    + 1) of the critic, and paths outputs of the reading where the loss asks for more than one output.

    Args:
        noise: Brownian motions.
        d_model: Numbers that the chain is told of the look-back at each step.
        hidden: Width of the hidden layers of the generator.
        critic: Width of the critic.
        depth: Of the signatures.
        paths: Paths of a window in training and for the point forecast; even.
        bank: Neighbours that are kept: as many training windows, spread evenly.
        walk: Steps along the chain between them and the neighbours of a forecast.
        adversarial: Weight of the critic's score.
        signature: Weight of the distance of expected signatures.
        energy: Weight of the continuous ranked probability score of the paths.

    Raises:
        ArgumentError: a size is below 1, `paths` is odd or below 4, `bank` below 3, `walk` or a weight below 0.
    """

    samples: ClassVar[bool] = True
    space: ClassVar[Declared] = {
        "noise": Integer(1, 8), "d_model": Choice(8, 16, 32, 64), "hidden": Choice(32, 64, 128), "depth": Integer(2, 4),
        "adversarial": Real(0.01, 1.0, log=True), "signature": Real(0.1, 3.0, log=True),
        "energy": Real(0.1, 3.0, log=True),
    }

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (),
        noise: int = 3, d_model: int = 16, hidden: int = 64, critic: int = 16, depth: int = 3, paths: int = 8,
        bank: int = 64, walk: int = 10, adversarial: float = 0.1, signature: float = 1.0, energy: float = 1.0,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        _check({"noise": noise, "d_model": d_model, "hidden": hidden, "critic": critic, "depth": depth}, paths, bank,
               {"walk": walk, "adversarial": adversarial, "signature": signature, "energy": energy})
        self.paths, self.walk = paths, walk
        self.weights = {"adversarial": adversarial, "signature": signature, "energy": energy}
        self.depth = deepest(1 + in_channels, depth, SIGNATURE)
        self.before = min(input_size, h)  # steps of the look-back that critic and signature see
        self.told = perceptron(input_size * in_channels, hidden, h * d_model, layers=1)
        self.chain = DirectedChainSDE(in_channels, noise, hidden, d_model)
        self.critic = NeuralCDEDiscriminator(in_channels, critic)
        self.reading = _reading(paths, outputs) if outputs > 1 else None
        self.noise: Tensor
        self.neighbours: Tensor
        self.histories: Tensor
        self.series: Tensor
        self.walk_seed: Tensor
        self.register_buffer("noise", torch.randn(paths // 2, h, noise))  # of the point forecast, of every window
        self.register_buffer("neighbours", torch.zeros(bank, h + 1, in_channels))
        self.register_buffer("histories", torch.zeros(bank, input_size, in_channels))
        self.register_buffer("series", torch.zeros(bank, dtype=torch.long))
        self.register_buffer("walk_seed", torch.randint(2**62, ()))

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window, read from `paths` paths whose noise and neighbours are the same for all."""
        few = torch.linspace(0, len(self.neighbours) - 1, self.paths, device=self.noise.device).round().long()
        noise = torch.cat([self.noise, -self.noise]).expand(len(batch), -1, -1, -1)
        return self._read(self._made(batch.past, self.neighbours[few].expand(len(batch), -1, -1, -1), noise))

    def learn(self, batch: Batch) -> tuple[Float[Tensor, "batch h channel output"], Float[Tensor, ""]]:
        """The forecast from fresh noise and neighbours, and what the generator adds to its loss."""
        assert batch.future_mask is not None
        real = self._real(batch)
        half = torch.randn(len(batch), self.paths // 2, *self.noise.shape[1:], dtype=real.dtype, device=real.device)
        drawn = torch.randint(len(self.neighbours), (len(batch), self.paths), device=real.device)
        made = self._made(batch.past, self._others(drawn, real), torch.cat([half, -half], 1))
        two = self._seen(batch.past, made[:, [0, self.paths // 2]])  # a pair of opposite noise
        added = self.weights["energy"] * _crps(made, real[:, 1:], batch.future_mask)
        added = added - self.weights["adversarial"] * self.critic(two).mean()
        truth = self._seen(batch.past, real[:, None, 1:])
        return self._read(made), added + self.weights["signature"] * sig_mmd(two, truth, self.depth)

    def critic_parameters(self) -> list[nn.Parameter]:
        """Those that are trained against the rest."""
        return list(self.critic.parameters())

    def critic_loss(self, batch: Batch) -> Float[Tensor, ""]:
        """The mean score of made paths minus that of real ones."""
        real = self._real(batch)
        with torch.no_grad():
            noise = torch.randn(len(batch), 1, *self.noise.shape[1:], dtype=real.dtype, device=real.device)
            drawn = torch.randint(len(self.neighbours), (len(batch), 1), device=real.device)
            made = self._made(batch.past, self._others(drawn, real), noise)
        seen, truth = self._seen(batch.past, made), self._seen(batch.past, real[:, None, 1:])
        return self.critic(seen).mean() - self.critic(truth).mean()

    def after_step(self) -> None:
        """Clips the critic."""
        self.critic.clip()

    def sample(
        self, batch: Batch, n: int, generators: Sequence[torch.Generator]
    ) -> Float[Tensor, "batch n h channel"]:
        """Paths of each window, drawn from its generator alone: one step from neighbours at the end of the walk."""
        drawn, noise = self._draws(n, generators)
        return self._made(batch.past, self.neighbours[drawn], noise)

    def generate(
        self, length: int, generators: Sequence[torch.Generator]
    ) -> tuple[Float[Tensor, "path length channel"], Int[Tensor, " path"]]:
        """One path for each generator, going on from itself after each h steps, and the series in whose units it is.

        It begins after the look-back of a training window, which is not part of it.
        """
        begin = torch.cat([torch.randint(len(self.histories), (1,), generator=g) for g in generators])
        begin = begin.to(self.noise.device)
        past, blocks = self.histories[begin], []
        for _ in range(-(-length // self.h)):
            drawn, noise = self._draws(1, generators)
            blocks.append(self._made(past, self.neighbours[drawn], noise)[:, 0])
            past = torch.cat([past, blocks[-1]], 1)[:, -self.input_size :]
        return torch.cat(blocks, 1)[:, :length], self.series[begin]

    def before_fit(self, batches: Iterable[Batch]) -> None:
        """Keeps windows spread evenly over those of the training: neighbours are their futures."""
        count = sum(len(batch) for batch in batches)
        if not count:
            raise ArgumentError("before_fit found no windows: give a list or a loader, which is gone through again.")
        wanted = torch.arange(len(self.neighbours)) * max(count, len(self.neighbours)) // len(self.neighbours) % count
        at = 0
        for batch in batches:
            batch = batch.to(self.noise.device)
            rows = ((wanted >= at) & (wanted < at + len(batch))).nonzero().squeeze(1)
            own = (wanted[rows] - at).to(self.noise.device)
            self.neighbours[rows] = self._real(batch)[own]
            self.histories[rows], self.series[rows] = batch.past[own], batch.series[own]
            at += len(batch)

    def after_fit(self, batches: Iterable[Batch]) -> None:
        """Walks along the chain from the neighbours of training, each step after another window's look-back."""
        self.before_fit(batches)
        generator = torch.Generator().manual_seed(int(self.walk_seed))
        bank, shift = len(self.neighbours), 0

        def step(neighbour: Tensor) -> Tensor:
            nonlocal shift
            others = [s for s in range(1, bank) if s != shift]  # neither the first window of a row nor its last
            shift = others[int(torch.randint(len(others), (), generator=generator))]
            past = self.histories.roll(shift, 0)
            noise = torch.randn(bank, 1, *self.noise.shape[1:], generator=generator).to(past)
            made = self._made(past, neighbour[:, None], noise)[:, 0]
            return torch.cat([past[:, -1:], made], 1)

        self.neighbours.copy_(walk_chain(step, self.neighbours, self.walk)[-1])

    def _made(
        self, past: Float[Tensor, "batch lookback channel"], neighbours: Float[Tensor, "batch n points channel"],
        noise: Float[Tensor, "batch n h e"],
    ) -> Float[Tensor, "batch n h channel"]:
        """The paths after a look-back."""
        n = noise.shape[1]
        times = torch.linspace(0, 1, self.h + 1, dtype=past.dtype, device=past.device)
        told = self.told(past.flatten(1)).unflatten(1, (self.h, -1)).repeat_interleave(n, 0)
        start = past[:, -1].repeat_interleave(n, 0)
        path = self.chain(start, neighbours.flatten(0, 1), noise.flatten(0, 1), times, told)
        return path[:, 1:].unflatten(0, (-1, n))

    def _read(self, made: Float[Tensor, "batch n h channel"]) -> Float[Tensor, "batch h channel output"]:
        """The mean of the paths, or linear maps of them in their order."""
        if self.reading is None:
            return made.mean(1)[..., None]
        return self.reading(made.sort(1).values.movedim(1, -1))

    def _real(self, batch: Batch) -> Float[Tensor, "batch points channel"]:
        """The horizon behind the last value seen; a missing value is the one before it."""
        assert batch.future is not None
        assert batch.future_mask is not None
        values = torch.cat([batch.past[:, -1:], batch.future], 1)
        there = torch.cat([torch.ones_like(batch.future_mask[:, :1]), batch.future_mask], 1)
        steps = torch.arange(self.h + 1, device=values.device)[None, :, None].expand(values.shape)
        return values.gather(1, torch.where(there, steps, 0).cummax(1).values)

    def _others(
        self, drawn: Int[Tensor, "batch n"], real: Float[Tensor, "batch points channel"]
    ) -> Float[Tensor, "batch n points channel"]:
        """Neighbours by number; for one that is the window's own future, the next."""
        own = (self.neighbours[drawn] == real[:, None]).flatten(2).all(2)
        return self.neighbours[(drawn + own.long()) % len(self.neighbours)]

    def _seen(
        self, past: Float[Tensor, "batch lookback channel"], ahead: Float[Tensor, "batch n h channel"]
    ) -> Float[Tensor, "path points channel"]:
        """Paths behind the end of their look-back."""
        before = past[:, None, -self.before :].expand(-1, ahead.shape[1], -1, -1)
        return torch.cat([before, ahead], 2).flatten(0, 1)

    def _draws(self, n: int, generators: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
        """Numbers of neighbours [window, n] and noise [window, n, h, e], of each window from its own generator."""
        bank, shape = len(self.neighbours), (n, *self.noise.shape[1:])
        drawn = torch.stack([torch.randint(bank, (n,), generator=g) for g in generators])
        noise = torch.stack([torch.randn(shape, generator=g) for g in generators])
        return drawn.to(self.noise.device), noise.to(self.noise)


def _crps(made: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    """Mean over observed cells of E|X - y| - E|X - X'| / 2; X' is the path of the next pair, whose noise is another."""
    other = made.unflatten(1, (2, -1)).roll(1, 2).flatten(1, 2)
    cells = (made - real[:, None]).abs().mean(1) - (made - other).abs().mean(1) / 2
    return (cells * mask).sum() / mask.sum().clamp(min=1)


def _reading(paths: int, outputs: int) -> nn.Linear:
    """At first each output is one of the ordered paths, evenly spread."""
    layer = nn.Linear(paths, outputs, bias=False)
    places = ((torch.arange(outputs) + 0.5) * paths / outputs).long()
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[torch.arange(outputs), places] = 1
    return layer


def _check(sizes: dict[str, int], paths: int, bank: int, weights: dict[str, float | int]) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least 1.")
    if paths < 4 or paths % 2:
        raise ArgumentError(f"paths={paths}: wanted an even number of at least 4, for they come in pairs.")
    if bank < 3:
        raise ArgumentError(f"bank={bank}: wanted at least 3 windows, so that each has another for its neighbour.")
    for name, weight in weights.items():
        if weight < 0:
            raise ArgumentError(f"{name}={weight}: wanted 0 or more.")
