"""AnalogForecaster: the training windows most like the present one are found, and what followed them is averaged.

Source    ours, after the analogues of Lorenz (1969), "Atmospheric predictability as revealed by naturally occurring
          analogues"; search in two stages as in LeanVec (Tepper et al. 2024, arXiv:2312.16335).
Equation  y = l + s sum_i w_i (y_i - l_i) / s_i,   w_i ~ exp(-sharpness (d_i - d_1) / mean_j (d_j - d_1))
          l the last value of a window or its mean, s^2 = its variance + 0.05^2 (1 unless `instance_norm`), d_i how far
          the i-th of `neighbours` windows is from the present one
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output]
          kept: codes [window, bytes], followed [window, h, channel]
Units     those of the scaled targets; 0.05 of a scaled target is the least that a window is measured by
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.layers.embedding import Embedding, Mask, Window
from tsforge.layers.instance_norm import normalise
from tsforge.layers.nearest import BLOCK, Found, best_of, top_k
from tsforge.layers.quantise import check_bits, dequantise, quantise, width_of
from tsforge.models.base import Model
from tsforge.space import Choice, Declared, Integer, Real

FLOOR = 0.05  # of the deviation of a window: a flat one is not blown up
CELLS = 1 << 23  # numbers of candidates held at a time


class WindowCells(Embedding):
    """The cells of a window side by side, 0 where nothing was observed: until `plug` puts an encoder there."""

    def __init__(self, in_channels: int, input_size: int, d_model: int) -> None:
        super().__init__()
        self.in_channels, self.width, self.d_model = in_channels, in_channels * input_size, d_model

    def pooled(self, x: Window, mask: Mask) -> Float[Tensor, "batch cell"]:
        """The cells."""
        return torch.where(mask, x, 0.0).flatten(1)


class AnalogForecaster(Model):
    """No parameters of its own, and no steps of training: the encoder is fitted, then the training windows are indexed.

    `max_steps` and other arguments of training by gradient move nothing but a `context=`, whose maps are trained before
    the windows are indexed. An encoder with weights of its own keeps those it was drawn or fitted with.

    Args:
        d_model: Width of the short vector by which candidates are found.
        neighbours: Windows that are averaged.
        rerank: Candidates are so many times the neighbours; the nearest of them by whole windows are taken. With 1, or
            an encoder that knows short vectors only, those decide.
        sharpness: How much nearer windows count more; 0 is a plain mean.
        level: "last" or "mean": what of a window its continuation is measured from.
        instance_norm: Search for windows of the same shape, and stretch what followed them: each window is brought to
            mean 0 and deviation 1. Without it windows must be alike in level and size.
        every: Every so many-th training window is indexed.
        bits: Of a number in the index, 8 or 4.

    Raises:
        ArgumentError: a number is out of its range, `level` is unknown, or several outputs are asked for.
    """

    encoder_takes: ClassVar[Literal["steps", "channel", "window"] | None] = "window"
    encoder_default: ClassVar[str | None] = "leanvec"
    embedding_at: ClassVar[str] = "encoder"
    drawn: ClassVar[bool] = False
    grown: ClassVar[tuple[str, ...]] = ("codes", "ranges", "full_codes", "full_ranges", "followed", "followed_seen")
    space: ClassVar[Declared] = {
        "d_model": Choice(16, 32, 64), "neighbours": Integer(5, 50), "sharpness": Real(0.0, 3.0),
        "level": Choice("last", "mean"), "instance_norm": Choice(True, False),
    }

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (),
        d_model: int = 32, neighbours: int = 20, rerank: int = 5, sharpness: float | int = 1.0, level: str = "last",
        instance_norm: bool = True, every: int = 1, bits: int = 8,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        _check(outputs, level, sharpness, d_model=d_model, neighbours=neighbours, rerank=rerank, every=every)
        check_bits(bits)
        self.neighbours, self.rerank, self.sharpness, self.level = neighbours, rerank, float(sharpness), level
        self.instance_norm, self.every, self.bits = instance_norm, every, bits
        self.encoder: Any = WindowCells(in_channels, input_size, d_model)
        self.codes: Tensor
        self.ranges: Tensor
        self.full_codes: Tensor
        self.full_ranges: Tensor
        self.followed: Tensor
        self.followed_seen: Tensor
        self._room()

    def plug(self, make: Callable[[int, int], nn.Module]) -> None:
        """As for any model; the encoder is not trained, for no gradient goes through the choice of windows."""
        super().plug(make)
        self.encoder.requires_grad_(False)
        self._room()

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window, its level before any window is indexed; covariates and statics are not read."""
        x, level, scale = self._measured(batch)
        if not len(self.followed):
            self.encoder.pooled(x, batch.past_mask)  # by this call it is seen what the encoder is fitted on
            return level.expand(-1, self.h, -1)[..., None]
        score, index = self.search(x, batch.past_mask)
        weight = self._weights(score)[..., None, None] * self.followed_seen[index]  # [batch, neighbour, h, channel]
        total = (weight * self.followed[index]).sum(1) / weight.sum(1).clamp(min=torch.finfo(x.dtype).tiny)
        return (level + scale * total.to(x.dtype))[..., None]

    def search(
        self, x: Float[Tensor, "batch lookback channel"], mask: Mask
    ) -> tuple[Float[Tensor, "batch k"], Int[Tensor, "batch k"]]:
        """Likeness (float64) and number of the indexed windows most like these, the likest first.

        Args:
            x: Windows as the encoder reads them: normalised where `instance_norm` says so.
            mask: Where they were observed.
        """
        sided = hasattr(self.encoder, "query")
        query = self.encoder.query(x, mask) if sided else self.encoder.pooled(x, mask)
        reranked = self.full_codes.shape[1] > 0
        count = min(self.neighbours * (self.rerank if reranked else 1), len(self.followed))
        found = top_k(query, self._blocks, count, "inner" if sided else "l2")
        return self._reranked(self.encoder.full(x, mask), *found) if reranked else found

    @torch.no_grad()
    def after_fit(self, batches: Iterable[Batch]) -> None:
        """Indexes the training windows of which something that followed was observed."""
        self._room()
        self.append(batches)

    @torch.no_grad()
    def append(self, batches: Iterable[Batch]) -> None:
        """Indexes further windows beside those that are; batches hold their horizon."""
        parts: dict[str, list[Tensor]] = {name: [getattr(self, name)] for name in self.grown}
        at = 0
        for batch in batches:
            batch = batch.to(self.followed.device)
            assert batch.future is not None
            assert batch.future_mask is not None
            chosen = (torch.arange(at, at + len(batch)) % self.every == 0).to(batch.past.device)
            at += len(batch)
            chosen = chosen & batch.future_mask.flatten(1).any(1)
            x, level, scale = self._measured(batch)
            x, mask = x[chosen], batch.past_mask[chosen]
            rows = [*quantise(self.encoder.pooled(x, mask), self.bits)]
            rows += [*quantise(self.encoder.full(x, mask), self.bits)] if self._full_width() else [
                part.new_zeros(len(x), part.shape[1]) for part in (self.full_codes, self.full_ranges)]
            followed = torch.where(batch.future_mask, (batch.future - level) / scale, 0.0)
            for name, row in zip(self.grown, (*rows, followed[chosen], batch.future_mask[chosen]), strict=True):
                parts[name].append(row.to(parts[name][0]))
        for name, rows in parts.items():
            setattr(self, name, torch.cat(rows))

    def _measured(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The windows as the encoder reads them; level and scale [batch, 1, channel] of what follows."""
        x, mean, deviation = normalise(batch.past, batch.past_mask)
        scale = (deviation.square() + FLOOR**2).sqrt()
        level = mean if self.level == "mean" else batch.past[:, -1:]
        if not self.instance_norm:
            return batch.past, level, torch.ones_like(scale)
        return x * (deviation / scale), level, scale

    def _weights(self, score: Tensor) -> Float[Tensor, "batch k"]:
        apart = score[:, :1] - score
        mean = apart.mean(1, keepdim=True)
        return torch.exp(-self.sharpness * apart / torch.where(mean > 0, mean, 1.0))

    def _blocks(self) -> Iterator[Tensor]:
        for codes, ranges in zip(self.codes.split(BLOCK), self.ranges.split(BLOCK), strict=True):
            yield dequantise(codes, ranges, self._width(), self.bits)

    def _reranked(self, full: Tensor, score: Tensor, index: Tensor) -> Found:
        """The best of the candidates by whole windows."""
        few = max(1, CELLS // max(1, index.shape[1] * full.shape[1]))
        likeness = []
        for own, rows in zip(full.split(few), index.split(few), strict=True):
            flat = rows.flatten()
            stored = dequantise(self.full_codes[flat], self.full_ranges[flat], full.shape[1], self.bits)
            stored = stored.view(*rows.shape, -1)
            likeness.append(self.encoder.likeness(own[:, None].expand_as(stored), stored))
        return best_of(torch.cat(likeness), index, min(self.neighbours, index.shape[1]))

    def _width(self) -> int:
        return getattr(self.encoder, "width", self.encoder.d_model)

    def _full_width(self) -> int:
        return getattr(self.encoder, "full_width", 0) if self.rerank > 1 else 0

    def _room(self, rows: int = 0) -> None:
        """Empties the index, or makes room in it for so many windows."""
        short, full = width_of(self._width(), self.bits), width_of(self._full_width(), self.bits)
        like = getattr(self, "followed", torch.zeros(0))
        code, number = torch.uint8, like.dtype
        shapes = {"codes": (short, code), "ranges": (2, number), "full_codes": (full, code), "full_ranges": (2, number)}
        for name, (width, dtype) in shapes.items():
            self.register_buffer(name, torch.zeros(rows, width, dtype=dtype, device=like.device))
        cells = (rows, self.h, self.in_channels)
        self.register_buffer("followed", torch.zeros(cells, dtype=number, device=like.device))
        self.register_buffer("followed_seen", torch.zeros(cells, dtype=torch.bool, device=like.device))

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any) -> None:
        if f"{prefix}followed" in state_dict:
            self._room(len(state_dict[f"{prefix}followed"]))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _check(outputs: int, level: str, sharpness: float | int, **sizes: int) -> None:
    if outputs > 1:
        raise ArgumentError(
            f"AnalogForecaster gives one number in a cell, and the loss asks for {outputs}. Give a loss with one, as "
            "loss='mse'; intervals come from the windows held back, predict(level=[80])."
        )
    if level not in ("last", "mean"):
        raise ArgumentError(f"level={level!r}: wanted 'last' or 'mean'.")
    if not 0 <= sharpness < float("inf"):
        raise ArgumentError(f"sharpness={sharpness}: wanted 0, a plain mean, or a positive number.")
    for name, size in sizes.items():
        if size < 1:
            raise ArgumentError(f"{name}={size} leaves nothing to compare: give at least 1.")
