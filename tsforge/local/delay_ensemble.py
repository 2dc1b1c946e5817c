"""DelayEnsemble: the median of many free-running models on delay vectors, of several kinds.

Papers    the members: KernelAR (Rasmussen & Williams 2006) and NVAR (Gauthier 2021); the median of candidate models
          chosen by what they forecast: Caruana (2004), "Ensemble selection from libraries of models", who averages.
Equation  y_{t+k} = median over the members of their free run at k; a member steps by y_{t+1} = y_t + f(x_t)
Choice    Candidates (kind, width or degree, delays, stride, penalty) are learned from the first rows and run freely
          over the last fifth; the `members` with the least mean error, cut off at one sd, are learned again from all.
          The median holds to the members that stay together after one has left: a mean follows the one astray.
Shapes    values [time, channel] -> median of [member, window, h, channel]
Units     each channel standardised by the training rows; strides in steps, unless told shares of the lag at which the
          autocorrelation falls to 1/e
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from tsforge.dynamics.lag import lag_by_acf
from tsforge.errors import ArgumentError, ArtifactError, FrameError
from tsforge.local.base import NONE, NOTHING, Covariates, LocalModel, State, last_observed
from tsforge.local.delays import DelayModel, delay_rows, fits, free_runs, require_lags, under, whole_numbers
from tsforge.local.kernel_ar import KernelAR
from tsforge.local.nvar import NVAR
from tsforge.local.scaling import loc_and_scale, require_finite

SHARES = (0.12, 0.3, 0.6)  # strides, of the lag by autocorrelation
VALIDATED = 0.2  # share of the rows that candidates run over
STARTS = 4  # free runs of the validation
LONGEST = 200  # steps of a free run
MOST_PRODUCTS = 500  # of a polynomial member


class DelayEnsemble(LocalModel):
    """Many autoregressions of all channels together, of which the best vote.

    Args:
        h: Steps ahead.
        delays: Delays in a vector, or several; every candidate takes one.
        stride: Steps between them, or several; None takes shares of the lag at which a series has forgotten itself.
        members: Models whose median is the forecast.
        span: Most steps that a delay vector reaches back; longer candidates are left out.
        max_rows: Rows learned from, the last ones: time grows with their cube.

    Raises:
        ArgumentError: a number is below 1, or `span` is too short for every candidate.
    """

    missing: ClassVar[str] = "filled"
    learns: ClassVar[bool] = True
    slow: ClassVar[bool] = True

    def __init__(
        self, h: int, *, delays: int | Sequence[int] = (3, 4, 5, 6, 8), stride: int | Sequence[int] | None = None,
        members: int = 20, span: int = 128, max_rows: int = 1000,
    ) -> None:
        super().__init__(h)
        self.delays = whole_numbers("delays", delays)
        self.stride = None if stride is None else whole_numbers("stride", stride)
        self.members, self.span = whole_numbers("members", members)[0], whole_numbers("span", span)[0]
        self.max_rows = max_rows
        shortest = 1 + (min(self.delays) - 1) * min(self.stride or (1,))
        if self.span < shortest:
            raise ArgumentError(f"span={span!r}: the shortest delay vector reaches back {shortest} steps.")
        penalty = (1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2)
        self.kinds: tuple[DelayModel, ...] = (
            KernelAR(h, width=(1.0, 2.0, 4.0), penalty=penalty, max_rows=max_rows),
            KernelAR(h, width=(1.0, 2.0, 4.0), penalty=penalty, kernel="matern", max_rows=max_rows),
            *(NVAR(h, degree=degree) for degree in (2, 3, 4)),
        )

    @property
    def lookback(self) -> int:
        """The steps of the longest delay vector that may be chosen."""
        return self.span

    def fit(self, values: np.ndarray, covariates: Covariates = NONE) -> State:
        """The members with the best free runs, learned from all rows.

        Raises:
            FrameError: too few steps are observed.
        """
        loc, scale = loc_and_scale(values)
        y = np.nan_to_num((last_observed(values) - loc) / scale)
        seen: np.ndarray = np.isnan(values).sum(axis=1) == 0
        scaling = {"loc": loc, "scale": scale, "low": y.min(0), "high": y.max(0)}
        chosen = self._chosen(y, seen, scaling, self._lags(y, int(seen.sum())))
        state = dict(scaling)
        for number, (kind, lags, setting) in enumerate(chosen):
            learned = self.kinds[kind].again(*self._rows(y, seen, lags), setting)
            state |= {f"{number}/kind": np.array(kind), f"{number}/lags": lags}
            state |= {f"{number}/f/{name}": array for name, array in learned.items()}
        return state

    def forecast(
        self, values: np.ndarray, cutoffs: np.ndarray, state: State = NOTHING, covariates: Covariates = NONE,
    ) -> np.ndarray:
        """[window, h, channel]."""
        filled = last_observed(values)
        y = np.nan_to_num((filled - state["loc"]) / state["scale"])
        runs = []
        for member in _members(state):
            change = self.kinds[int(member["kind"])].step(under(member))
            runs.append(free_runs(change, y, cutoffs, self.h, {**state, "lags": member["lags"]}))
        ahead = np.median(runs, axis=0) * state["scale"] + state["loc"]
        return np.where(~np.isnan(filled[cutoffs])[:, None], ahead, np.nan)

    def check(self, state: State, channels: int) -> None:
        """See LocalModel."""
        for name in ("loc", "scale", "low", "high"):
            require_finite(state, name, (channels,))
        found = list(_members(state))
        if not 0 < len(found) <= self.members:
            raise ArtifactError(f"{len(found)} members were learned: wanted 1 to {self.members}.")
        for member in found:
            lags, kind = require_lags(member, max(self.delays), self.span), member.get("kind")
            strides = set(np.diff(lags).tolist())
            if len(lags) not in self.delays or len(strides) > 1 or not strides <= set(self.stride or strides):
                raise ArtifactError("The delays of a member are none of those to choose from.")
            if kind is None or kind.ndim or kind.dtype.kind != "i" or not 0 <= kind < len(self.kinds):
                raise ArtifactError("The kind of a member is none.")
            self.kinds[int(kind)].check_learned(under(member), len(lags) * channels, channels)

    def _lags(self, y: np.ndarray, observed: int) -> list[np.ndarray]:
        """The delay vectors of the candidates.

        Raises:
            FrameError: too few steps are observed for the shortest.
        """
        strides = self.stride or _strides(y)
        pairs = [(k, s) for s in strides for k in self.delays if fits(k, s, observed) and 1 + (k - 1) * s <= self.span]
        if not pairs:
            raise FrameError(
                f"{observed} observed training steps are too few for DelayEnsemble with {min(self.delays)} delays "
                f"within {self.span} steps: take fewer delays, or Naive."
            )
        return [1 + s * np.arange(k) for k, s in pairs]

    def _chosen(
        self, y: np.ndarray, seen: np.ndarray, scaling: dict[str, np.ndarray], lags: list[np.ndarray]
    ) -> list[tuple[int, np.ndarray, State]]:
        """Kind, lags and setting of the members, the best first; equal ones in the order in which they are tried."""
        block = max(int(len(y) * VALIDATED), min(self.h, len(y) // 3), 2)
        until = max(len(y) - block, int(max(lag[-1] for lag in lags)) + 1)
        steps = max(min(self.h, (len(y) - until + 1) // 2, LONGEST), 1)
        starts = np.unique(np.linspace(until - 1, len(y) - 1 - steps, STARTS).astype(int))
        truth, known = (part[starts[:, None] + np.arange(1, steps + 1)] for part in (y, seen))
        scored: list[tuple[float, tuple[int, np.ndarray, State]]] = []
        for own in lags:
            for kind, learned in self._candidates(*self._rows(y[:until], seen[:until], own)):
                run = free_runs(self.kinds[kind].step(learned), y, starts, steps, {**scaling, "lags": own})
                error = np.minimum(np.abs(run - truth), 1.0)[known]
                setting = {name: array for name, array in learned.items() if not array.ndim}
                scored.append((float(error.mean()) if error.size else 0.0, (kind, own, setting)))
        return [which for _, which in sorted(scored, key=lambda pair: pair[0])[: self.members]]

    def _candidates(self, x: np.ndarray, change: np.ndarray) -> Iterator[tuple[int, State]]:
        for kind, model in enumerate(self.kinds):
            if isinstance(model, NVAR) and model.products(x.shape[1]) > min(MOST_PRODUCTS, 4 * len(x)):
                continue
            for learned in model.candidates(x, change):
                yield kind, learned

    def _rows(self, y: np.ndarray, seen: np.ndarray, lags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, change = delay_rows(y, seen, lags)
        return x[-self.max_rows :], change[-self.max_rows :]


def _members(state: State) -> Iterator[State]:
    number = 0
    while member := under(state, f"{number}/"):
        yield member
        number += 1


def _strides(y: np.ndarray) -> tuple[int, ...]:
    """Steps between delays, from the slowest channel to lose its memory; 1 where none changes."""
    lags = [lag_by_acf(channel, "1/e") for channel in y.T if np.ptp(channel) > 0]
    longest = min(max(lags, default=1), max(len(y) // 4, 1))
    return tuple(sorted({max(1, round(share * longest)) for share in SHARES}))
