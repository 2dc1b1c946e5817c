"""The 0-1 test for chaos: a series drives a walk in the plane, which stays near for order and strays for chaos.

Paper     Gottwald & Melbourne (2009), "On the implementation of the 0-1 test for chaos", SIAM J. Appl. Dyn. Syst. 8.
Equation  z[t] = sum_{s <= t} x[s] exp(i c s),   D(n) = mean_t |z[t + n] - z[t]|^2,   n <= time / 10
          K(c) = correlation of D(n) and n,   K = median over c in (pi/5, 4 pi/5)
Shapes    x [time] -> one number
Units     none: near 0 for order, near 1 for chaos; the same for a x + b.
Differs   The mean of x is removed first. Then the oscillating term (mean x)^2 (1 - cos n c) / (1 - cos c), which the
          paper subtracts from the mean square displacement, is 0. The paper's second form of K, a regression, is left
          out: it finds the correlation the better of the two.
"""

import numpy as np
from numpy.typing import ArrayLike

from tsforge.dynamics.checks import at_least, series

CELLS = 1 << 20  # complex numbers held at a time


def zero_one_test(x: ArrayLike, *, n_frequencies: int = 100, seed: int = 0) -> float:
    """K, from about 0 (periodic, quasi-periodic) to about 1 (chaotic, and also noise).

    Args:
        n_frequencies: Random values of c, of which the median is taken: some resonate with the series.
        seed: Of their generator.

    It is made for maps. A flow sampled densely looks orderly: take one value in every lag, or a section. It does not
    tell chaos from noise: `cao` does.

    Raises:
        ShapeError, ArgumentError: not one finite series that changes, of at least 50 steps; n_frequencies below 1.
    """
    values = series(x, least=50)
    at_least("n_frequencies", n_frequencies, 1)
    centred = values - values.mean()
    centred /= centred.std()
    c = np.random.default_rng(seed).uniform(np.pi / 5, 4 * np.pi / 5, n_frequencies)
    rows = max(1, CELLS // (4 * len(values)))
    return float(np.median(np.concatenate([_correlations(centred, c[i : i + rows]) for i in range(0, len(c), rows)])))


def _correlations(x: np.ndarray, c: np.ndarray) -> np.ndarray:
    """K of each frequency."""
    walk = np.cumsum(x * np.exp(1j * c[:, None] * np.arange(1, len(x) + 1)), axis=1)  # [frequency, time]
    d = _displacement(walk, len(x) // 10)
    d = d - d.mean(axis=1, keepdims=True)
    n = np.arange(d.shape[1]) - (d.shape[1] - 1) / 2
    size = np.linalg.norm(d, axis=1) * np.linalg.norm(n)
    return np.divide(d @ n, size, out=np.zeros(len(d)), where=size > 0)


def _displacement(walk: np.ndarray, cut: int) -> np.ndarray:
    """Mean over t of |z[t + n] - z[t]|^2 for n = 1 .. cut, [frequency, n], every n over the same t: by FFT."""
    length = walk.shape[1] - cut
    power = np.concatenate([np.zeros((len(walk), 1)), np.cumsum(np.abs(walk) ** 2, axis=1)], axis=1)
    moved = power[:, length + 1 :] - power[:, 1 : cut + 1]  # sum over t of |z[t + n]|^2
    size = 1 << (walk.shape[1] + length).bit_length()
    product = np.fft.ifft(np.fft.fft(walk, size) * np.fft.fft(walk[:, :length], size).conj())
    return (moved + power[:, length, None] - 2 * product[:, 1 : cut + 1].real) / length
