"""Convergent encoder: several encoders that differ in their seed alone, and of their units those that all have learnt.

Paper     Li et al. (2016), "Convergent Learning: Do Different Neural Networks Learn the Same Representations?", ICLR,
          arXiv:1511.07543.
Equation  z_i = [score_i >= threshold] mean_k s_ki (a_k,pi_k(i) - mu_k,pi_k(i)) / sigma_k,pi_k(i)
          score_i = mean over k > 0 of s_ki C_k(i, pi_k(i));   C, pi: see `matching`;   s = 1, or the sign of C
Shapes    x [batch, time, channel] -> [batch, time, d_model] or [batch, d_model], units that are left out are 0
Units     of no matter: units are standardised by what they are on held-back windows
Differs   Matching is read in the authors' code; the consensus is ours. A forecaster has no trained members at hand, so
          `fit` trains each by rebuilding cells that are hidden from it, with a linear map of its own, and matches
          on windows that did not train. Afterwards members are frozen. The width stays d_model.
"""

import logging
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsforge.encoders.retrieval.rebuilding import draw_weights
from tsforge.encoders.wrapper.base import Encoded, Make, Mask, Window, WrapperEncoder, refuse_fitted
from tsforge.encoders.wrapper.matching import Moments, matched
from tsforge.errors import ArgumentError
from tsforge.space import Choice, Declared, Integer, Real

log = logging.getLogger("tsforge")

BATCH = 64  # windows in a step
AT_ONCE = 256  # windows that are matched
TRAINS = 0.75  # share of windows that train members, where there are some to be held back
LEAST = 8  # windows: of fewer, all train and all match


class ConvergentEncoder(WrapperEncoder):
    """`members` times the parameters of the encoder inside, of which none trains with the forecaster.

    Args:
        encoder: Makes a member each time it is called; they are trained in `fit`, or come trained and `steps` is 0.
        d_model: Width of what comes out.
        members: How many, at least 2; the first is the reference.
        threshold: The least mean correlation of a unit with its partners, above 0.
        match: "bipartite", one to one, or "semi", each with its best.
        reduce: "mean" over members, or "first": the reference alone, without the units that the others lack.
        signed: Whether a unit that is minus another is another; if not, it is turned.
        steps: Steps of Adam for each member; 0 takes them as they are.
        learning_rate: Of these steps.
        hide: Share of cells that are hidden from a member and rebuilt.
        seed: Of what is hidden and which windows stand in a step.

    Raises:
        ArgumentError: there are fewer than 2 members, a share or a rate cannot be, or a word is not known.
        CapabilityError: what is inside is no encoder of windows, or is fitted by itself.
    """

    mean: Tensor
    scale: Tensor
    partners: Tensor
    signs: Tensor
    scores: Tensor
    best: Tensor
    keep: Tensor

    space: ClassVar[Declared] = {
        "members": Integer(2, 5), "threshold": Real(0.2, 0.8), "match": Choice("bipartite", "semi"),
    }

    def __init__(
        self, encoder: Make | None = None, d_model: int = 64, *, members: int = 3, threshold: float | int = 0.5,
        match: str = "bipartite", reduce: str = "mean", signed: bool = True, steps: int = 200,
        learning_rate: float = 3e-3, hide: float = 0.3, seed: int = 0,
    ) -> None:
        super().__init__(encoder, d_model)
        assert encoder is not None
        _check(members, threshold, steps, learning_rate, hide, match, reduce)
        refuse_fitted(self, self.encoder, "members differ in what they learn by gradients")
        self.threshold, self.match, self.reduce, self.signed = float(threshold), match, reduce, signed
        self.steps, self.learning_rate, self.hide, self.seed = steps, learning_rate, hide, seed
        self.others = nn.ModuleList(encoder() for _ in range(members - 1))
        for name, start in (("mean", 0.0), ("scale", 1.0)):
            self.register_buffer(name, torch.full((members, d_model), start))
        self.register_buffer("partners", torch.arange(d_model).repeat(members, 1))
        self.register_buffer("signs", torch.ones(members, d_model))
        for name in ("scores", "best"):
            self.register_buffer(name, torch.ones(d_model))
        self.register_buffer("keep", torch.ones(d_model, dtype=torch.bool))
        self.requires_grad_(False)

    @property
    def members(self) -> list[Any]:
        """The encoders, the reference first."""
        return [self.encoder, *self.others]

    def forward(self, x: Window, mask: Mask = None) -> Encoded:
        """The units that members share, in the order of the reference, standardised; the others are 0."""
        with torch.no_grad():
            units = torch.stack([self._aligned(k, member.eval()(x, mask)) for k, member in enumerate(self.members)])
            return torch.where(self.keep, units[0] if self.reduce == "first" else units.mean(0), 0.0)

    def _aligned(self, k: int, units: Tensor) -> Tensor:
        standard = (units - self.mean[k]) / self.scale[k]
        return standard[..., self.partners[k]] * self.signs[k]

    def fit(self, *inputs: Tensor | None) -> None:
        """Trains the members, unless they come trained, and matches their units on the windows after those.

        Args:
            inputs: Windows [window, time, channel] and their mask.
        """
        x, mask = (*inputs, None)[:2]
        assert x is not None
        held = round(TRAINS * len(x)) if self.steps and len(x) >= LEAST else 0
        if self.steps:
            stop = held or len(x)
            for k, member in enumerate(self.members):
                self._train(member, k, x[:stop], None if mask is None else mask[:stop])
        self.match_units(x[held:], None if mask is None else mask[held:])
        log.info(f"ConvergentEncoder: {int(self.keep.sum())} of {self.d_model} units are shared by "
                 f"{len(self.members)} members (correlation of {self.threshold} or more).")

    def _train(self, member: nn.Module, k: int, x: Tensor, mask: Tensor | None) -> None:
        """Steps of Adam on cells that are hidden; torch's own random state is as it was afterwards."""
        random = torch.Generator("cpu").manual_seed(self.seed * 1000 + k)
        cells = x.shape[2] if self.makes_tokens else x.shape[1] * x.shape[2]
        member.requires_grad_(True).train()
        with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []), torch.enable_grad():
            torch.manual_seed(self.seed * 1000 + k)  # for what the member drops
            head = nn.Linear(self.d_model, cells, dtype=x.dtype, device=x.device)
            draw_weights(head, random)
            optimizer = torch.optim.Adam([*member.parameters(), *head.parameters()], lr=self.learning_rate)
            for _ in range(self.steps):
                rows = torch.randint(len(x), (min(BATCH, len(x)),), generator=random, device="cpu").to(x.device)
                drawn = torch.rand(len(rows), *x.shape[1:], generator=random, device="cpu").to(x.device)
                there = torch.ones_like(drawn, dtype=torch.bool) if mask is None else mask[rows]
                optimizer.zero_grad()
                self._error(member, head, x[rows], there, drawn < self.hide).backward()
                optimizer.step()
            optimizer.zero_grad()
        member.requires_grad_(False).eval()

    @staticmethod
    def _error(member: nn.Module, head: nn.Module, x: Tensor, there: Tensor, hidden: Tensor) -> Tensor:
        """The mean square by which hidden cells are missed, of those that were observed."""
        missed = head(member(x, there & ~hidden)).reshape(x.shape) - x
        asked = hidden & there
        return torch.where(asked, missed, 0.0).square().sum() / asked.sum().clamp(min=1)

    @torch.no_grad()
    def match_units(self, x: Window, mask: Mask = None) -> None:
        """Finds means, deviations, partners and scores on windows; steps at which nothing was observed are left out."""
        moments = Moments.empty(len(self.members), self.d_model)
        for at in range(0, len(x), AT_ONCE):
            window, seen = x[at : at + AT_ONCE], None if mask is None else mask[at : at + AT_ONCE]
            units = torch.stack([member.eval()(window, seen) for member in self.members])
            if self.makes_tokens:
                there = torch.ones(window.shape[:2], dtype=torch.bool) if seen is None else seen.any(-1)
                units = units[:, there.to(units.device)]
            moments.add(units)
        scale, correlations = moments.deviation(), moments.correlations()[1:]
        found = correlations if self.signed else correlations.abs()
        partners = torch.stack([matched(each, self.match) for each in found])
        signs = torch.ones_like(scale)
        if not self.signed:
            signs[1:] = torch.where(correlations.gather(2, partners[..., None])[..., 0] < 0, -1.0, 1.0)
        self.mean.copy_(moments.mean())
        self.scale.copy_(torch.where(scale > 0, scale, 1.0))
        self.partners[1:].copy_(partners)
        self.signs.copy_(signs)
        self.scores.copy_(found.gather(2, partners[..., None])[..., 0].mean(0))
        self.best.copy_(found.amax(2).mean(0))
        self.keep.copy_(self.scores >= self.threshold)

    def report(self) -> dict[str, Any]:
        """What was found: the score of each unit, which are kept, and `gap`.

        `gap` is how much better the best partners are than those of the matching: large where several units of one
        member are like one of another.
        """
        return {"scores": self.scores.clone(), "keep": self.keep.clone(), "kept": int(self.keep.sum()),
                "gap": float(self.best.mean() - self.scores.mean())}

    def kept(self, x: Window, mask: Mask = None) -> Float[Tensor, "*rows kept"]:
        """The shared units alone."""
        return self(x, mask)[..., self.keep]


def _check(
    members: int, threshold: float | int, steps: int, learning_rate: float, hide: float, match: str, reduce: str
) -> None:
    if members < 2 or not 0 < threshold <= 1 or steps < 0:
        raise ArgumentError(f"members={members}, threshold={threshold}, steps={steps}: wanted at least 2 members, a "
                            "correlation above 0 and up to 1, and 0 steps or more.")
    if not learning_rate > 0 or not 0 < hide < 1:
        raise ArgumentError(f"learning_rate={learning_rate}, hide={hide}: wanted a positive rate and a share above 0 "
                            "and below 1.")
    for name, word, known in (("match", match, ("bipartite", "semi")), ("reduce", reduce, ("mean", "first"))):
        if word not in known:
            raise ArgumentError(f"{name}={word!r}: wanted {' or '.join(map(repr, known))}.")
