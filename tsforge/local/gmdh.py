"""GMDH: the group method of data handling, layers of quadratic polynomials that grow while unseen rows approve.

Source    Ivakhnenko (1971), "Polynomial Theory of Complex Systems", IEEE Transactions SMC 1
Equation  neuron  q(u, v) = a_0 + a_1 u + a_2 v + a_3 u^2 + a_4 v^2 + a_5 u v   for every pair (u, v) of a layer's
          inputs; a by least squares on the even rows, with a ridge of 1e-8 that decides among equal ones
          layer   the neurons with the least squared error on the odd rows, the external criterion; their outputs are
          the inputs of the next layer, so that L layers make a polynomial of degree 2^L
          end     a layer is kept where the criterion of its best neuron is lower than the best before it (at first that
          of the mean), in logs, by more than so many standard errors; the best of the last one kept is the answer
Shapes    x [row, feature] -> [row]
Units     standardised by the training rows of the series
Differs   Sarveswararao & Ravi (2020), arXiv:2008.10365, use it and state no settings: split and sizes are ours. So are
          the standard errors: the least of many criteria falls a little on noise too, and the plain rule, which stops
          where it rises, grew three to five layers on it. So is the bound: inputs and outputs are held to the range of
          the training rows and a quarter of it on either side, for a polynomial that is fed its own answers runs away.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from tsforge.errors import ArgumentError, ArtifactError, FrameError
from tsforge.local.base import State
from tsforge.local.regression import LagRegression
from tsforge.local.scaling import require_finite
from tsforge.space import Choice, Declared, Integer

TERMS = 6
LEAST_ROWS = 2 * TERMS
MOST_LAYERS = 10
EXACT = 1e-12  # of the variance: below it there is nothing left to learn
RIDGE = 1e-8
MARGIN = 0.25  # of the range of the training rows
AT_ONCE = 1 << 20  # cells of the designs of a block of pairs
Layer = tuple[np.ndarray, np.ndarray]  # inputs [neuron, 2], weights [neuron, 6]


class GMDH(LagRegression):
    """A polynomial network on lags; time grows with the square of their number.

    Args:
        h: Steps ahead.
        season: Steps of one season; None takes that of the frame.
        lags: A number of steps, the lags themselves, `"embedding"`, or None: see LagRegression.
        strategy: `"recursive"` or `"direct"`.
        channels: `"independent"` or `"mixed"`.
        neurons: Neurons that a layer keeps.
        standard_errors: How surely a layer must be better than what was there. 0 is the plain rule: grow until the
            criterion rises.

    Raises:
        ArgumentError: a number is out of its range, or an argument of the lags has a value that cannot work.
    """

    slow: ClassVar[bool] = True

    space: ClassVar[Declared] = {"strategy": Choice("recursive", "direct"), "neurons": Integer(8, 48)}

    def __init__(
        self, h: int, *, season: int | None = None, lags: int | Sequence[int] | str | None = None,
        strategy: str = "recursive", channels: str = "independent", neurons: int = 24,
        standard_errors: float | int = 2.0,
    ) -> None:
        super().__init__(h, season=season, lags=lags, strategy=strategy, channels=channels)
        if neurons < 1:
            raise ArgumentError(f"neurons={neurons!r}: wanted a whole number, 1 or more.")
        if not 0 <= standard_errors < np.inf:
            raise ArgumentError(f"standard_errors={standard_errors!r}: wanted 0 or a positive number.")
        self.neurons, self.standard_errors = neurons, float(standard_errors)

    def learn(self, x: np.ndarray, y: np.ndarray) -> State:
        """sizes [layer], inputs [neuron, 2], weights [neuron, 6], low and high [feature], bounds [2], mean [].

        Raises:
            FrameError: there are fewer than 12 rows.
        """
        if len(y) < LEAST_ROWS:
            raise FrameError(
                f"{len(y)} observed training steps with all their lags are too few for GMDH, which wants {LEAST_ROWS}: "
                f"take fewer lags, or Naive."
            )
        bounds = _widened(y)
        layers = pruned(grown(x, y, self.neurons, self.standard_errors, bounds))
        low, high = _widened(x)
        return {
            "sizes": np.array([len(weights) for _, weights in layers], dtype=np.int64),
            "inputs": np.concatenate([np.empty((0, 2), np.int64), *(inputs for inputs, _ in layers)]),
            "weights": np.concatenate([np.empty((0, TERMS)), *(weights for _, weights in layers)]),
            "low": low, "high": high, "bounds": bounds, "mean": np.array(float(y[::2].mean())),
        }

    def answer(self, x: np.ndarray, learned: State) -> np.ndarray:
        """[row]."""
        z, ends = np.clip(x, learned["low"], learned["high"]), np.cumsum(learned["sizes"])
        if not len(ends):
            return np.full(len(x), float(learned["mean"]))
        for begin, end in zip([0, *ends[:-1]], ends, strict=True):
            z = _outputs(z, learned["inputs"][begin:end], learned["weights"][begin:end], learned["bounds"])
        return z[:, 0]

    def check_learned(self, learned: State, features: int) -> None:
        """See LagRegression."""
        weights = require_finite(learned, "weights", (None, TERMS))
        for name, shape in (("low", (features,)), ("high", (features,)), ("bounds", (2,)), ("mean", ())):
            require_finite(learned, name, shape)
        sizes, inputs = learned.get("sizes"), learned.get("inputs")
        if sizes is None or inputs is None or sizes.dtype != np.int64 or inputs.dtype != np.int64:
            raise ArtifactError("The layers of the polynomials are missing, or no whole numbers.")
        if sizes.ndim != 1 or inputs.shape != (len(weights), 2) or (sizes < 1).any() or (sizes > len(weights)).any():
            raise ArtifactError("The layers of the polynomials have no neurons, or more than there are.")
        if sizes.sum() != len(weights) or (sizes[-1:] != 1).any():
            raise ArtifactError("The layers of the polynomials do not end in one neuron.")
        there = np.repeat(np.array([features, *sizes[:-1]], dtype=np.int64)[: len(sizes)], sizes)
        if (inputs < 0).any() or (inputs >= there[:, None]).any():
            raise ArtifactError("A polynomial reads an input that its layer does not have.")


def grown(
    x: np.ndarray, y: np.ndarray, neurons: int, standard_errors: float, bounds: np.ndarray
) -> list[Layer]:
    """The layers that the external criterion keeps, in each the best neuron first; none where the mean is as good.

    Args:
        x: [row, feature].
        y: [row].
        neurons: Neurons that a layer keeps.
        standard_errors: By so many of them a layer must lower the log of the criterion.
        bounds: [2] what outputs are held to.
    """
    layers: list[Layer] = []
    errors, z = (y[1::2] - y[::2].mean()) ** 2, x
    while errors.mean() > EXACT * y.var() and len(layers) < MOST_LAYERS:
        pairs = np.stack(np.triu_indices(z.shape[1], k=min(1, z.shape[1] - 1)), axis=1)
        found = [_tried(z, y, part, bounds) for part in _blocks(pairs, len(y))]
        weights, criterion = (np.concatenate(part) for part in zip(*found, strict=True))
        kept = np.argsort(criterion, kind="stable")[:neurons]
        outputs = _outputs(z, pairs[kept], weights[kept], bounds)
        mine = (outputs[1::2, 0] - y[1::2]) ** 2
        if not _lower(mine, errors, standard_errors, EXACT * y.var()):
            break
        layers.append((pairs[kept], weights[kept]))
        errors, z = mine, outputs
    return layers


def pruned(layers: list[Layer]) -> list[Layer]:
    """The neurons that the first one of the last layer depends on."""
    kept: list[Layer] = []
    needed = np.zeros(1, dtype=np.int64)
    for number, (inputs, weights) in reversed(list(enumerate(layers))):
        inputs, weights = inputs[needed], weights[needed]
        if number:
            needed, places = np.unique(inputs, return_inverse=True)
            inputs = places.reshape(inputs.shape)
        kept.insert(0, (inputs, weights))
    return kept


def _lower(mine: np.ndarray, errors: np.ndarray, standard_errors: float, floor: float) -> bool:
    """Whether squared errors [row] have surely a lower mean than others; logs, for a few large errors hide no gain."""
    new, old = max(mine.mean(), floor), errors.mean()
    spread = (errors / old - mine / new).std() / len(mine) ** 0.5
    return bool(np.log(old / new) > standard_errors * spread)


def _tried(z: np.ndarray, y: np.ndarray, pairs: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights [pair, 6] from the even rows, and their mean squared errors [pair] on the odd ones."""
    terms = _terms(z, pairs)
    even, odd = terms[:, ::2], terms[:, 1::2]
    gram = even.mT @ even + RIDGE * even.shape[1] * np.eye(TERMS)
    weights = np.linalg.solve(gram, even.mT @ y[::2, None])
    answers = np.clip((odd @ weights)[..., 0], *bounds)
    return weights[..., 0], ((answers - y[1::2]) ** 2).mean(axis=1)


def _outputs(z: np.ndarray, inputs: np.ndarray, weights: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """[row, neuron]."""
    return np.clip((_terms(z, inputs) * weights[:, None]).sum(axis=-1), *bounds).T


def _terms(z: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """[pair, row, 6] of z [row, input]."""
    u, v = z.T[pairs[:, 0]], z.T[pairs[:, 1]]
    return np.stack([np.ones_like(u), u, v, u * u, v * v, u * v], axis=-1)


def _blocks(pairs: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    size = max(1, AT_ONCE // (rows * TERMS))
    return (pairs[i : i + size] for i in range(0, len(pairs), size))


def _widened(x: np.ndarray) -> np.ndarray:
    """[2, ...]: what x [row, ...] ranges over, and a margin on either side."""
    low, high = x.min(axis=0), x.max(axis=0)
    return np.stack([low - MARGIN * (high - low), high + MARGIN * (high - low)])
