"""Relative representation: a window is told by how like it is to fixed windows, in the space of the encoder inside.

Paper     Moschella et al. (2023), "Relative representations enable zero-shot latent space communication", ICLR,
          arXiv:2209.15430.
Equation  r_j(x) = cos(E(x) - b, E(a_j) - b);   b = 0, or with `center` the mean of E(a_1) ... E(a_m)
          inner: r_j(x) = (E(x) - b) . (E(a_j) - b) / sqrt(d_model)
Shapes    x [batch, time, channel] -> [batch, time, d_model] or [batch, d_model];   anchors a [d_model, time, channel]
Units     cosines are between -1 and 1
Differs   The cosine, its lack of a scale and the inner product are read in the authors' code; its use in forecasting is
          ours. There are as many anchors as the encoder inside is wide, so that the width stays. Tokens are compared
          with anchors that are pooled. Least-squares coordinates and rounding are left out.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from tsforge.encoders.field.places import farthest
from tsforge.encoders.wrapper.base import Encoded, Make, Mask, Window, WrapperEncoder, refuse_fitted
from tsforge.errors import ArgumentError, ShapeError
from tsforge.layers.instance_norm import normalise
from tsforge.space import Choice, Declared

TINY = 1e-8  # the length of a vector that is none


class RelativeAdapter(WrapperEncoder):
    """The encoder inside, whose outputs are read in one frame however its space is turned; no parameters of its own.

    Two trainings of one encoder mostly differ by a turn and a scale of their space. What was fitted on the relative
    representation of one can be used with the other, if both have the same anchors: see `share_anchors`. Anchors
    are raw windows, encoded anew at each call, which costs `d_model` windows more.

    Args:
        in_channels: Channels of a window.
        input_size: Steps of an anchor.
        encoder: Makes the encoder inside.
        d_model: Its width, and how many anchors there are.
        similarity: "cosine", or "inner", which keeps how large outputs are.
        center: Whether the mean of the anchors is the origin.
        through_anchors: Whether gradients reach the encoder through the anchors, too, as published.

    Raises:
        ArgumentError: `similarity` is not known, or a size is below 1.
        CapabilityError: what is inside is no encoder of windows, or is fitted by itself.
    """

    anchors: Tensor
    anchors_seen: Tensor

    given: ClassVar[tuple[str, ...]] = ("in_channels", "input_size")
    space: ClassVar[Declared] = {"center": Choice(False, True)}

    def __init__(
        self, in_channels: int, input_size: int, encoder: Make | None = None, d_model: int = 64, *,
        similarity: str = "cosine", center: bool = False, through_anchors: bool = True,
    ) -> None:
        super().__init__(encoder, d_model)
        refuse_fitted(self, self.encoder, "it would be fitted before its anchors are known")
        if min(in_channels, input_size) < 1:
            raise ArgumentError(f"in_channels={in_channels}, input_size={input_size}: give at least 1 of each.")
        if similarity not in ("cosine", "inner"):
            raise ArgumentError(f"similarity={similarity!r}: wanted 'cosine' or 'inner'.")
        self.similarity, self.center, self.through_anchors = similarity, center, through_anchors
        self.register_buffer("anchors", torch.randn(d_model, input_size, in_channels))  # until they are fitted
        self.register_buffer("anchors_seen", torch.ones(d_model, input_size, in_channels, dtype=torch.bool))

    @classmethod
    def given_by(cls, sizes: Mapping[str, Any]) -> dict[str, int]:
        """Channels and steps of a window, which an anchor has, too."""
        return {name: sizes[name] for name in cls.given}

    @torch.no_grad()
    def fit(self, *inputs: Tensor | None) -> None:
        """Takes anchors among windows: each the farthest from those before, once all have mean 0 and deviation 1.

        Of fewer windows than anchors some are taken again, and say nothing new.

        Args:
            inputs: Windows [window, time, channel] and their mask.
        """
        x, mask = (*inputs, None)[:2]
        assert x is not None
        seen = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
        shapes = normalise(torch.where(seen, x, 0.0), seen)[0] * seen
        chosen = farthest(shapes.flatten(1), self.d_model)
        chosen = chosen[torch.arange(self.d_model, device=chosen.device) % len(chosen)]
        self.anchors.copy_(x[chosen])
        self.anchors_seen.copy_(seen[chosen])

    def forward(self, x: Window, mask: Mask = None) -> Encoded:
        """The likeness of each token, or each vector, to each anchor."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.through_anchors):
            anchors = self.encoder.pooled(self.anchors, self.anchors_seen)
        origin = anchors.mean(0) if self.center else 0.0
        encoded, anchors = self.encoder(x, mask) - origin, anchors - origin
        if self.similarity == "inner":
            return encoded @ anchors.T / self.d_model**0.5
        return F.normalize(encoded, dim=-1, eps=TINY) @ F.normalize(anchors, dim=-1, eps=TINY).T

    def share_anchors(self, other: "RelativeAdapter") -> None:
        """Takes the anchors of another, in their order: heads of one then read the other.

        Raises:
            ShapeError: they are of other sizes.
        """
        if other.anchors.shape != self.anchors.shape:
            raise ShapeError(f"Anchors are {tuple(self.anchors.shape)} here and {tuple(other.anchors.shape)} there: "
                             "make both with the same d_model, input_size and in_channels.")
        self.anchors.copy_(other.anchors)
        self.anchors_seen.copy_(other.anchors_seen)

    def anchor_key(self) -> str:
        """A digest of the anchors and their order, which is part of what a head was fitted on."""
        parts = (self.anchors.double().cpu().numpy().tobytes(), self.anchors_seen.cpu().numpy().tobytes())
        return sha256(b"".join(parts)).hexdigest()


@torch.no_grad()
def similarity_of_spaces(a: RelativeAdapter, b: RelativeAdapter, x: Window, mask: Mask = None) -> float:
    """The mean cosine between what both say of windows: look at it before a head of one is put on the other.

    Raises:
        ArgumentError: their anchors differ.
    """
    if a.anchor_key() != b.anchor_key():
        raise ArgumentError("The two have other anchors, or in another order: b.share_anchors(a) first.")
    return float(F.cosine_similarity(a.pooled(x, mask), b.pooled(x, mask), dim=-1).mean())


def rank_of_anchors(encoder: RelativeAdapter, tolerance: float = 1e-3) -> int:
    """The numerical rank of the cosines between anchors: near-duplicates lower it."""
    with torch.no_grad():
        vectors = F.normalize(encoder.encoder.pooled(encoder.anchors, encoder.anchors_seen).double(), dim=-1, eps=TINY)
        values = torch.linalg.svdvals(vectors @ vectors.T)
    return int((values > tolerance * values[0]).sum())
