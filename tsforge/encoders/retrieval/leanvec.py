"""LeanVec: two linear maps, of stored and of searching windows, that keep their scores in few numbers.

Paper     Tepper, Bhati, Aguerrebere, Hildebrand & Willke (2024), "LeanVec: Search your vectors faster by making them
          fit", TMLR, arXiv:2312.16335; the closed form is that of their "GleanVec", arXiv:2410.22347.
Equation  error(A, B) = tr(E K_X E' K_Q),   E = A'B - I,   K_X = E[x x'],   K_Q = E[q q']
          closed       W = K_Q^(1/2), P the first d eigenvectors of W K_X W:   A = P' W^-1,   B = P' W
          eigsearch    A = B = the first d eigenvectors of (1 - b) K_Q / tr K_Q + b K_X / tr K_X, b of the least error
          frank_wolfe  from there, A <- (1 - g) A - g U V',  U S V' = grad_A error, then B likewise, many times
          pca          A = B = the first d eigenvectors of K_X
          score        -|q - x|^2 / 2 + |q|^2 / 2 = <[q; 1], [x; -|x|^2 / 2]>  ~  <A [q; 1], B [x; -|x|^2 / 2]>
Shapes    x [batch, time, channel] -> [batch, d_model];   A, B [d_model, time * channel + 1]
Units     none: x is normalised before it comes here, and centred here by the mean of the stored windows.
Differs   Problem, eigenvector search and Frank-Wolfe are recalled from the paper, the closed form is derived anew; no
          code of the authors was read. The paper ranks by inner products; here the length of a stored window is one
          more coordinate, so that they rank by distance. Frank-Wolfe takes the best step on its line, so it never
          gets worse. Quantisation and re-ranking stand with the index that keeps the vectors.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from tsforge.encoders.retrieval.base import Mask, RetrievalEncoder, Window, flat
from tsforge.errors import ArgumentError
from tsforge.space import Choice, Declared

METHODS = ("closed", "eigsearch", "frank_wolfe", "pca")
MIXTURES = 41  # values of b that are tried
STEPS = 50  # of Frank-Wolfe, for each of the maps

Moments = Float[Tensor, "D D"]
Maps = tuple[Float[Tensor, "d D"], Float[Tensor, "d D"]]


class LeanVecEncoder(RetrievalEncoder):
    """No parameters; two maps of d_model * (input_size * in_channels + 1) numbers each, found by `fit`.

    With d_model of that width or more, scores are exact and the numbers beyond are 0. Before `fit` the maps take the
    first cells. `fit` may be given windows that are searched with as a third and fourth input, values and mask, where
    they differ from those that are stored: noisy ones, or ones with gaps.

    Args:
        in_channels: Channels of a window.
        input_size: Steps of a window.
        d_model: Width of the vector.
        method: "closed", "eigsearch", "frank_wolfe" or "pca".
        ridge: Added to K_Q of the closed form, as a share of its mean eigenvalue, for searching windows that span less
            than the space.

    Raises:
        ArgumentError: a size is below 1, the method is unknown, or the ridge is not positive.
    """

    space: ClassVar[Declared] = {"method": Choice("closed", "eigsearch", "pca")}

    def __init__(
        self, in_channels: int, input_size: int, d_model: int = 64, *, method: str = "closed", ridge: float = 1e-3
    ) -> None:
        super().__init__(in_channels, input_size, d_model)
        if method not in METHODS:
            raise ArgumentError(f"method={method!r}: wanted one of {', '.join(map(repr, METHODS))}.")
        if not ridge > 0:
            raise ArgumentError(f"ridge={ridge} does not keep the closed form solvable: give a positive number.")
        self.method, self.ridge = method, ridge
        cells = in_channels * input_size
        self.centre: Tensor
        self.of_query: Tensor
        self.of_stored: Tensor
        self.register_buffer("centre", torch.zeros(cells))
        self.register_buffer("of_query", torch.eye(d_model, cells + 1))
        self.register_buffer("of_stored", torch.eye(d_model, cells + 1))

    def fit(self, *inputs: Tensor | None) -> None:
        """Both maps, in float64.

        Args:
            inputs: Windows [window, time, channel] that are stored and their mask; then, unless they are alike, those
                that are searched with and their mask.
        """
        x, mask, q, q_mask = (*inputs, None, None, None)[:4]
        assert x is not None
        rows = flat(x, mask).double()
        self.centre.copy_(rows.mean(0))
        stored = self._stored(rows)
        queries = self._queries(rows if q is None else flat(q, q_mask).double())
        width = min(self.d_model, stored.shape[1])
        maps = projections(stored.mT @ stored / len(stored), queries.mT @ queries / len(queries), width,
                           self.method, self.ridge)
        for own, found in zip((self.of_query, self.of_stored), maps, strict=True):
            own.zero_()
            own[:width] = found.to(own)

    def forward(self, x: Window, mask: Mask | None = None) -> Float[Tensor, "batch d_model"]:
        """B [x; -|x|^2 / 2]."""
        return (self._stored(flat(x, mask).double()) @ self.of_stored.double().mT).to(x.dtype)

    def query(self, x: Window, mask: Mask | None = None) -> Float[Tensor, "batch d_model"]:
        """A [x; 1]."""
        return (self._queries(flat(x, mask).double()) @ self.of_query.double().mT).to(x.dtype)

    def _stored(self, rows: Tensor) -> Tensor:
        centred = rows - self.centre.double()
        return torch.cat([centred, -0.5 * centred.square().sum(1, keepdim=True)], 1)

    def _queries(self, rows: Tensor) -> Tensor:
        return torch.cat([rows - self.centre.double(), rows.new_ones(len(rows), 1)], 1)


def projections(stored: Moments, queries: Moments, d: int, method: str = "closed", ridge: float = 1e-3) -> Maps:
    """A and B of the second moments of stored vectors and of queries, in their precision."""
    if method == "closed":
        return _closed(stored, queries, d, ridge)
    if method == "pca":
        rows = _first(stored, d)
        return rows, rows
    found = _searched(stored, queries, d)
    return found if method == "eigsearch" else _frank_wolfe(*found, stored, queries)


def error_of(a: Float[Tensor, "d D"], b: Float[Tensor, "d D"], stored: Moments, queries: Moments) -> Tensor:
    """The mean squared error of a score."""
    e = a.mT @ b - torch.eye(len(stored)).to(stored)
    return ((queries @ e) * (e @ stored)).sum()


def _first(moments: Tensor, d: int) -> Tensor:
    """The d eigenvectors of the largest eigenvalues as rows, the largest entry of each positive."""
    rows = torch.linalg.eigh(moments).eigenvectors.flip(1)[:, :d].mT
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    return rows * largest.sign()


def _closed(stored: Tensor, queries: Tensor, d: int, ridge: float) -> Maps:
    values, vectors = torch.linalg.eigh(queries)
    roots = (values.clamp(min=0) + ridge * values.clamp(min=0).mean().clamp(min=1e-30)).sqrt()
    w, inverse = (vectors * roots) @ vectors.mT, (vectors / roots) @ vectors.mT
    p = _first(w @ stored @ w, d)
    return p @ inverse, p @ w


def _searched(stored: Tensor, queries: Tensor, d: int) -> Maps:
    x, q = (moments / moments.trace().clamp(min=1e-30) for moments in (stored, queries))
    tried = [_first((1 - b) * q + b * x, d) for b in torch.linspace(0, 1, MIXTURES, dtype=torch.float64).tolist()]
    best = min(tried, key=lambda rows: float(error_of(rows, rows, stored, queries)))
    return best, best


def _frank_wolfe(a: Tensor, b: Tensor, stored: Tensor, queries: Tensor) -> Maps:
    for _ in range(STEPS):
        a = _stepped(a, b, stored, queries)
        b = _stepped(b, a, queries, stored)  # the error is the same with the parts of both exchanged
    return a, b


def _stepped(a: Tensor, b: Tensor, stored: Tensor, queries: Tensor) -> Tensor:
    """`a` after the best step towards the map of spectral norm 1 that the gradient points to."""
    e = a.mT @ b - torch.eye(len(stored)).to(stored)
    left, _, right = torch.linalg.svd(b @ stored @ e.mT @ queries, full_matrices=False)
    change = (-left @ right - a).mT @ b
    slope = ((queries @ e) * (change @ stored)).sum()
    bend = ((queries @ change) * (change @ stored)).sum()
    step = (-slope / bend.clamp(min=1e-30)).clamp(0, 1)
    return a + step * (-left @ right - a)
