"""Systems with known invariants, and neighbours found by trying all pairs."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline

Orbit = Callable[..., np.ndarray]


def lorenz_orbits(starts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """[orbit, time, 3], sigma 10, rho 28, beta 8/3."""

    def field(_: float, flat: np.ndarray) -> np.ndarray:
        x, y, z = flat.reshape(3, -1)
        return np.concatenate([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])

    done = solve_ivp(field, (0, times[-1]), starts.T.ravel(), "DOP853", times, rtol=1e-8, atol=1e-8)
    return done.y.reshape(3, len(starts), len(times)).transpose(1, 2, 0)


@pytest.fixture(scope="session")
def lorenz() -> np.ndarray:
    """[5000, 3], a state every 0.02, after 50 units of time."""
    return lorenz_orbits(np.ones((1, 3)), 50 + 0.02 * np.arange(5000))[0]


@pytest.fixture(scope="session")
def dense_lorenz(lorenz: np.ndarray) -> np.ndarray:
    """[10000, 3], the first 20 units of time with a state every 0.002."""
    return CubicSpline(0.02 * np.arange(5000), lorenz)(0.002 * np.arange(10_000))


@pytest.fixture(scope="session")
def sparse_lorenz(lorenz: np.ndarray) -> np.ndarray:
    """[10000, 3], fifty orbits of 40 units of time with a state every 0.2, one after another."""
    return lorenz_orbits(lorenz[::100] + 0.1, 0.2 * np.arange(200)).reshape(-1, 3)


@pytest.fixture(scope="session")
def henon() -> np.ndarray:
    """[6000, 2], a 1.4, b 0.3."""
    orbit = np.empty((6100, 2))
    x = y = 0.1
    for t in range(len(orbit)):
        x, y = 1 - 1.4 * x * x + y, 0.3 * x
        orbit[t] = x, y
    return orbit[100:]


@pytest.fixture(scope="session")
def logistic() -> Orbit:
    """`logistic(r, n)` is an orbit of x -> r x (1 - x)."""

    def orbit(r: float, n: int = 4000) -> np.ndarray:
        values = np.empty(n + 500)
        values[0] = 0.3
        for t in range(1, len(values)):
            values[t] = r * values[t - 1] * (1 - values[t - 1])
        return values[500:]

    return orbit


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(3000)


@pytest.fixture(scope="session")
def nearest_of_all() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Nearest neighbours from the whole matrix of distances; -1 and infinity where there is none."""

    def search(points: np.ndarray, theiler: int = 0, norm: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
        distance = np.linalg.norm(points[:, None] - points[None], ord=norm, axis=2)
        step = np.arange(len(points))
        distance[(distance == 0) | (np.abs(step[:, None] - step) <= theiler)] = np.inf
        first = distance.argmin(axis=1)  # argmin takes the earliest of equals
        best = distance[step, first]
        return np.where(np.isfinite(best), first, -1), best

    return search
