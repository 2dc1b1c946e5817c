"""Paths of two mean-field systems whose laws have several modes: the simulated data of the directed-chain GAN.

Source    Min, Hu & Ichiba (2023), "Directed Chain Generative Adversarial Networks", arXiv:2304.13131; the neurons are
          those of Baladron et al. (2012), J. Math. Neurosci. 2:10. Generated, not downloaded.
Equation  opinion   dX_i = -mean_j phi(|X_i - X_j|) (X_i - X_j) dt + sigma dB_i
                    phi(r) = th1 exp(-0.01 / (1 - (r - th2)^2)) for r < th2 + 1, else 0;   X_0 uniform on (-2, 2)
          neuron    dV = (V - V^3 / 3 - w + I) dt + sigma_ext dB - mean_j y_j (V - V_rev) (J dt + sigma_J dB')
                    dw = c (V + a - b w) dt
                    dy = (a_r S (1 - y) - a_d y) dt + sqrt(a_r S (1 - y) + a_d y) chi(y) dB''
                    S = T_max / (1 + exp(-lambda (V - V_T))),   chi(y) = Gamma exp(-Lambda / (1 - (2 y - 1)^2))
Frame     unique_id "path-0", ...   ds step number from 0   opinion: x   neuron: V, w, y
Units     ds: 0.01 units of time; states dimensionless
Differs   The published runs have 8192 paths; here n is 1024 unless told, for the cost of opinions grows with its
          square. With the published th2 = 0.2 the opinions meet in one group or in two by t = 1, as the starts fall;
          with th2 = -0.2 there are two. The equations of the neurons are reconstructed from the cited paper, with
          starts of mean (0, .5, .3) and deviation (.4, .4, .05).
"""

from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from tsforge.data.adapter import Adapter
from tsforge.data.cache import cached
from tsforge.errors import ArgumentError

DT = 0.01
AT_ONCE = 1 << 22  # pairs of particles


class _Particles(Adapter):
    """What both systems share: paths into a table."""

    names: tuple[str, ...]

    def __init__(self, *, n: int = 1024, steps: int = 100, seed: int = 0) -> None:
        for name, value, least in (("n", n, 2), ("steps", steps, 1), ("seed", seed, 0)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise ArgumentError(f"{name}={value!r}: wanted a whole number of at least {least}.")
        self.n, self.steps, self.seed = int(n), int(steps), int(seed)

    def table(self) -> pl.DataFrame:
        """`unique_id`, `ds` and the states, out of the cache where they have been made before."""
        return self._table

    def roles(self) -> dict[str, Any]:
        return {"targets": list(self.names), "freq": "1i", "season": 1}

    def paths(self) -> np.ndarray:
        """[path, steps + 1, state]."""
        raise NotImplementedError(f"{type(self).__name__} has no paths.")

    def _recipe(self) -> list[Any]:
        return [self.n, self.steps, self.seed, 1]

    @cached_property
    def _table(self) -> pl.DataFrame:
        return cached("directed_chain", type(self).__name__, self._recipe(), self._made)

    def _made(self) -> pl.DataFrame:
        paths = self.paths()
        width = len(str(self.n - 1))
        keys = {"unique_id": np.repeat([f"path-{i:0{width}}" for i in range(self.n)], self.steps + 1),
                "ds": np.tile(np.arange(self.steps + 1), self.n)}
        return pl.DataFrame(keys | {name: paths[..., c].ravel() for c, name in enumerate(self.names)})


class Opinion(_Particles):
    """Opinions that draw nearer to those they are near to, so that groups form.

    Args:
        n: Particles, each a path.
        steps: Steps of 0.01 units of time.
        seed: Of starts and noise.
        dropped: Share of the points after the start that is dropped and drawn as a straight line, as published 0.3.
        sigma: Noise.
        th2: Opinions further apart than th2 + 1 do not see each other.

    Raises:
        ArgumentError: a number is out of range.
    """

    names = ("x",)

    def __init__(
        self, *, n: int = 1024, steps: int = 100, seed: int = 0, dropped: float = 0.3, sigma: float = 0.1,
        th2: float = 0.2,
    ) -> None:
        super().__init__(n=n, steps=steps, seed=seed)
        if not 0 <= dropped < 1:
            raise ArgumentError(f"dropped={dropped!r}: wanted a share from 0 to below 1.")
        if not sigma >= 0:
            raise ArgumentError(f"sigma={sigma!r}: wanted 0 or more.")
        if not th2 > -1:
            raise ArgumentError(f"th2={th2!r}: wanted more than -1, else nobody sees anybody.")
        self.dropped, self.sigma, self.th2 = dropped, sigma, th2

    def _recipe(self) -> list[Any]:
        return [*super()._recipe(), self.dropped, self.sigma, self.th2]

    def paths(self) -> np.ndarray:
        draw = np.random.default_rng(self.seed)
        x = draw.uniform(-2, 2, self.n)
        path = [x]
        for _ in range(self.steps):
            x = x - pull(x, th2=self.th2) * DT + self.sigma * DT**0.5 * draw.standard_normal(self.n)
            path.append(x)
        values, steps = np.stack(path, axis=1), np.arange(self.steps + 1)
        kept = draw.random(values.shape) >= self.dropped
        kept[:, 0] = True
        return np.stack([np.interp(steps, steps[k], v[k]) for k, v in zip(kept, values, strict=True)])[..., None]


def pull(x: np.ndarray, th1: float = 6.0, th2: float = 0.2) -> np.ndarray:
    """mean_j phi(|x_i - x_j|) (x_i - x_j) of each particle."""
    out = np.empty_like(x)
    many = max(AT_ONCE // len(x), 1)
    for at in range(0, len(x), many):
        gap = x[at : at + many, None] - x
        inside = 1 - (np.abs(gap) - th2) ** 2
        near = (np.abs(gap) < th2 + 1) & (inside > 0)
        phi = np.where(near, th1 * np.exp(-0.01 / np.where(near, inside, 1)), 0.0)
        out[at : at + many] = (phi * gap).mean(axis=1)
    return out


class FitzHughNagumo(_Particles):
    """Neurons that speak to each other by synapses: voltage, recovery and the share of open channels.

    Args:
        n: Neurons, each a path.
        steps: Steps of 0.01 units of time.
        seed: Of starts and noise.

    Raises:
        ArgumentError: a number is out of range.
    """

    names = ("V", "w", "y")

    def paths(self) -> np.ndarray:
        draw = np.random.default_rng(self.seed)
        v, w, y = (np.array([0.0, 0.5, 0.3]) + draw.standard_normal((self.n, 3)) * [0.4, 0.4, 0.05]).T
        path = [np.stack([v, w, y], axis=1)]
        for _ in range(self.steps):
            noise = draw.standard_normal((3, self.n)) * DT**0.5
            open_, reach = 1 / (1 + np.exp(-0.2 * (v - 2))), y.mean() * (v - 1)
            rise = open_ * (1 - y)
            inside = (y > 0) & (y < 1)
            chi = np.where(inside, 0.1 * np.exp(-0.5 / np.where(inside, 1 - (2 * y - 1) ** 2, 1)), 0.0)
            spread = np.sqrt(np.maximum(rise + y, 0)) * chi
            v, w, y = (
                v + (v - v**3 / 3 - w + 0.5 - reach) * DT + 0.5 * noise[0] - 0.2 * reach * noise[1],
                w + 0.08 * (v + 0.7 - 0.8 * w) * DT,
                y + (rise - y) * DT + spread * noise[2],
            )
            path.append(np.stack([v, w, y], axis=1))
        return np.stack(path, axis=1)
