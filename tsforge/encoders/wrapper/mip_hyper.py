"""MIP hypernetwork: the weights of an encoder of windows are a learned function of what is known of the series.

Paper     Gonzalez Ortiz, Guttag & Dalca (2024), "Magnitude Invariant Parametrizations Improve Hypernetwork Learning",
          ICLR, arXiv:2304.07645.
Equation  E(g) = [cos(pi g / 2), sin(pi g / 2)],   |E(g)|^2 = m for every g in [0, 1]^m
          theta = theta0 + h(E(g)),   h a perceptron of leaky ReLUs without biases at the start
          y = encoder(x; theta)
Shapes    g [batch, m]   h(E(g)) [batch, |targets|]   x [batch, time, channel] -> [batch, d_model], or tokens of it
Units     static numbers are read by their rank among the series of the training part, 0 to 1
Differs   The encoding, the sum with theta0 and the start (Kaiming by fan-out, a layer out for each tensor) are read in
          the authors' library. There theta0 are the biases of the last layer of h; here they are the weights of the
          encoder inside, which are the same numbers. Ranks, ids through a hashed table and a sigmoid, `targets` and
          `rank` are ours.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from math import pi, prod
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, vmap

from tsforge.batch import Batch
from tsforge.encoders.wrapper.base import Encoded, Make, Mask, Window, WrapperEncoder, refuse_fitted
from tsforge.errors import ArgumentError
from tsforge.layers.hypernetwork import Hypernetwork
from tsforge.layers.pooling import masked_mean
from tsforge.layers.stable_hash import buckets, mix, stable_hashes
from tsforge.space import Choice, Declared

log = logging.getLogger("tsforge")

QUANTILES = 65  # of each static number, by which it is ranked
MOST = 50_000_000  # hidden * |targets|
Ids = Int[Tensor, "batch n_ids"] | None
Numbers = Float[Tensor, "batch n_numbers"] | None
Context = Float[Tensor, "batch m"]


def encoded_context(gamma: Context) -> Float[Tensor, "batch twice"]:
    """E(g), whose norm is that of every other context: the root of m."""
    return torch.cat([torch.cos(gamma * pi / 2), torch.sin(gamma * pi / 2)], -1)


class MIPHyperAdapter(WrapperEncoder):
    """An encoder of windows whose weights belong to the series, for `context=`. With m = n_numbers + id_dim * ids read:

    the parameters of the encoder inside, n_buckets * id_dim of ids if any is read, (2 m + 1) * hidden_1 +
    (hidden_1 + 1) * hidden_2 ... of the perceptron and hidden_last * |targets| of the layers out. The encoder runs
    once for each window with weights of its own: memory is batch * |targets|.

    Args:
        n_ids: Ids of a series: its name, then its static categories.
        n_numbers: Static numbers of a series.
        encoder: Makes the encoder inside, which learns by gradients alone.
        d_model: Width of what comes out.
        hidden: Widths of the perceptron h.
        targets: What h changes: "norm_bias_out", weights of one dimension and the last of more; "all"; or a pattern
            (`re.search`) of names.
        rank: Change weights of two or more dimensions by a product of two thin matrices of this rank; None for all
            their entries.
        series: Whether the name of the series is read, too: of use where series come again, of none for new ones.
        id_dim: Numbers that an id is worth.
        n_buckets: Rows of the table of ids.
        output_gain: Factor of the layers out at the start.

    Raises:
        ArgumentError: nothing is known of a series, nothing is changed, h would be too large, or a size is below 1.
        CapabilityError: what is inside is no encoder of windows, or is fitted by itself.
    """

    quantiles: Tensor
    salts: Tensor

    reads: ClassVar[Literal["window", "static"]] = "static"
    given: ClassVar[tuple[str, ...]] = ("n_ids", "n_numbers")
    space: ClassVar[Declared] = {"series": Choice(False, True), "targets": Choice("norm_bias_out", "all")}

    def __init__(
        self, n_ids: int = 1, n_numbers: int = 0, encoder: Make | None = None, d_model: int = 64, *,
        hidden: Sequence[int] = (16, 64), targets: str = "norm_bias_out", rank: int | None = None, series: bool = False,
        id_dim: int = 4, n_buckets: int = 1024, output_gain: float | int = 1.0,
    ) -> None:
        super().__init__(encoder, d_model)
        refuse_fitted(self, self.encoder, "its weights change from one series to the next")
        sizes = {f"hidden={tuple(hidden)}": min(hidden, default=0), "rank": 1 if rank is None else rank,
                 "id_dim": id_dim, "n_buckets": n_buckets}
        for name, size in sizes.items():
            if size < 1:
                raise ArgumentError(f"{name}: {size} leaves nothing to compute: give at least 1.")
        self.first_id = 0 if series else 1
        read = n_ids - self.first_id
        if n_numbers + read < 1:
            raise ArgumentError(
                "MIPHyperAdapter reads what is known of a series, and there is nothing: give static columns, or "
                "series=True, which reads its name."
            )
        self.n_numbers, self.rank, self.n_buckets, self.noticed = n_numbers, rank, n_buckets, False
        if read:
            self.table = nn.Parameter(torch.randn(n_buckets, id_dim))
        self.register_buffer("salts", stable_hashes(f"mip {at}" for at in range(read)), persistent=False)
        start = torch.linspace(-2, 2, QUANTILES).expand(n_numbers, -1).clone()
        self.register_buffer("quantiles", start)  # of standardised numbers, until they are fitted
        self.shapes = _targets(self.encoder, targets)
        lengths = [sum(_lengths(shape, rank)) for shape in self.shapes.values()]
        if hidden[-1] * sum(lengths) > MOST:
            raise ArgumentError(
                f"targets={targets!r} are {sum(lengths)} numbers, and h would need {hidden[-1] * sum(lengths)}: change "
                "fewer weights, or give rank=4."
            )
        self.h = Hypernetwork(2 * (n_numbers + id_dim * read), hidden, lengths, gain=float(output_gain))

    @classmethod
    def given_by(cls, sizes: Mapping[str, Any]) -> dict[str, int]:
        """The name of the series and its static categories; its static numbers."""
        return {"n_ids": 1 + len(sizes["static_cardinalities"]), "n_numbers": sizes["static_numeric"]}

    def fit(self, *inputs: Tensor | None) -> None:
        """Quantiles of each static number over the series; of those with the same numbers, one is taken.

        Args:
            inputs: Windows, mask, ids and numbers, as `forward` takes them.
        """
        numbers = inputs[3] if len(inputs) > 3 else None
        if numbers is not None:
            distinct = torch.unique(numbers.double(), dim=0)
            self.quantiles.copy_(torch.quantile(distinct, torch.linspace(0, 1, QUANTILES).to(distinct), dim=0).T)

    def context(self, ids: Ids = None, numbers: Numbers = None) -> Context:
        """g: ranks of the numbers, 0 to 1 and 0.5 where they are constant, and the squashed rows of the ids."""
        parts = [] if numbers is None else [self._ranks(numbers)]
        if ids is not None and len(self.salts):
            rows = buckets(mix(ids[:, self.first_id :] ^ self.salts), self.n_buckets)
            parts.append(torch.sigmoid(self.table[rows].flatten(1)))
        return torch.cat(parts, 1)

    def _ranks(self, numbers: Float[Tensor, "batch n_numbers"]) -> Float[Tensor, "batch n_numbers"]:
        low, high = self.quantiles[:, 0], self.quantiles[:, -1]
        if not self.noticed and not torch.compiler.is_compiling() and bool(((numbers < low) | (numbers > high)).any()):
            self.noticed = True
            log.warning("MIPHyperAdapter: a static number lies beyond those of training; it counts as the outermost.")
        values = numbers.T.contiguous()
        before = torch.searchsorted(self.quantiles, values)
        after = torch.searchsorted(self.quantiles, values, right=True)
        right = after.clamp(1, QUANTILES - 1)
        ends = self.quantiles.gather(1, right - 1), self.quantiles.gather(1, right)
        share = (values - ends[0]) / (ends[1] - ends[0]).clamp(min=torch.finfo(values.dtype).tiny)
        between = right - 1 + share.clamp(0, 1)
        place = torch.where(after > before, (before + after - 1) / 2, between)  # equal ones share the middle of theirs
        return torch.where((high > low)[:, None], place / (QUANTILES - 1), 0.5).T

    def changes(self, gamma: Context) -> dict[str, Float[Tensor, "batch ..."]]:
        """What is added to the weights of the encoder inside, by name."""
        found = {}
        for (name, shape), flat in zip(self.shapes.items(), self.h(encoded_context(gamma)), strict=True):
            lengths = _lengths(shape, self.rank)
            if len(lengths) == 2:
                u, v = (part.unflatten(1, (-1, self.rank)) for part in flat.split(lengths, 1))
                flat = (u @ v.mT).flatten(1)
            found[name] = flat.unflatten(1, shape)
        return found

    def forward(self, x: Window, mask: Mask = None, ids: Ids = None, numbers: Numbers = None) -> Encoded:
        """What the encoder gives of each window with the weights of its series."""
        changes = self.changes(self.context(ids, numbers))

        def one(change: dict[str, Tensor], window: Tensor, seen: Tensor | None) -> Tensor:
            weights = {name: self.encoder.get_parameter(name) + part for name, part in change.items()}
            return functional_call(self.encoder, weights, (window[None], None if seen is None else seen[None]))[0]

        return vmap(one, in_dims=(0, 0, None if mask is None else 0), randomness="different")(changes, x, mask)

    def pooled(
        self, x: Window, mask: Mask = None, ids: Ids = None, numbers: Numbers = None
    ) -> Float[Tensor, "batch d_model"]:
        """One vector for each window: the mean of the tokens of observed steps, or the vector itself."""
        encoded = self(x, mask, ids, numbers)
        return masked_mean(encoded, mask) if self.makes_tokens else encoded

    def of_batch(self, batch: Batch) -> Float[Tensor, "batch d_model"]:
        """The look-back of the targets, by the weights of the series."""
        return self.pooled(batch.past, batch.past_mask, batch.static_ids, batch.static_numeric)

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Weight decay is for h alone: it pulls the series together, and not theta0 towards 0."""
        spared = [weight for name, weight in self.named_parameters() if not name.startswith("h.")]
        return [
            {"params": spared, "lr": learning_rate, "weight_decay": 0.0},
            {"params": list(self.h.parameters()), "lr": learning_rate, "weight_decay": weight_decay},
        ]


def _targets(encoder: nn.Module, targets: str) -> dict[str, torch.Size]:
    """The shapes of the weights that h changes, by name."""
    shapes = {name: weight.shape for name, weight in encoder.named_parameters() if weight.is_floating_point()}
    last = [name for name, shape in shapes.items() if len(shape) > 1][-1:]
    if targets == "norm_bias_out":
        names = {name for name, shape in shapes.items() if len(shape) < 2 or name in last}
    else:
        try:
            names = {name for name in shapes if targets == "all" or re.search(targets, name)}
        except re.error as error:
            raise ArgumentError(f"targets={targets!r} is no pattern of names ({error}).") from None
    if not names:
        raise ArgumentError(
            f"targets={targets!r} fits no weight of {type(encoder).__name__}, which has {', '.join(shapes) or 'none'}."
        )
    return {name: shape for name, shape in shapes.items() if name in names}


def _lengths(shape: torch.Size, rank: int | None) -> list[int]:
    """Numbers that h gives for a weight: its entries, or those of two thin matrices where they are fewer."""
    entries = shape.numel()
    if rank is None or len(shape) < 2:
        return [entries]
    rows = min((prod(shape[:cut]) for cut in range(1, len(shape))), key=lambda rows: rows + entries // rows)
    thin = [rank * rows, rank * (entries // rows)]  # as a matrix that is as near to a square as its axes allow
    return thin if sum(thin) < entries else [entries]
