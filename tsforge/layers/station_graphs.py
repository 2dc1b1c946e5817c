"""Graphs of stations: who is near whom, and whose values move alike. Dense, non-negative, with rows that sum to 1.

Paper     Zhu et al. (2023), "Weather2K: A Multivariate Spatio-Temporal Benchmark Dataset ...", arXiv:2302.10493. Its
          equations were not to hand: these graphs are reconstructed from its abstract and from common practice.
Equation  d_ij = 2 R asin sqrt(sin^2((lat_i - lat_j) / 2) + cos lat_i cos lat_j sin^2((lon_i - lon_j) / 2)),  R = 6371
          distance:    A_ij = exp(-(d_ij / s)^2) of the k nearest, s the sd of d over pairs of different stations
          neighbour:   A_ij = 1 for the k nearest by sqrt(d_ij^2 + (a (alt_i - alt_j))^2), a = 0.1 km for each metre
          correlation: A_ij = max(r_ij, 0) where r_ij is not below a quantile of all r, those of i with i among them
          then A_ii = 1, and each row is divided by its sum
Shapes    coordinates [node, 2 or 3] -> distances, graphs [node, node]
Units     degrees north, degrees east, metres -> kilometres
Differs   Rows are normalised, not rows and columns. Where all stations lie equally far from each other s is that
          distance, since their sd is 0.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

RADIUS = 6371.0  # km
HEIGHT = 0.1  # km that a metre of height counts as: 100 m as 10 km


def haversine(coordinates: Float[Tensor, "node place"]) -> Float[Tensor, "node node"]:
    """Kilometres along the sphere between stations, in double precision.

    Args:
        coordinates: Latitude and longitude in degrees; further columns are not read.
    """
    lat, lon = coordinates.double()[:, :2].deg2rad().unbind(1)
    half = ((lat[:, None] - lat) / 2).sin().square()
    half = half + lat.cos()[:, None] * lat.cos() * ((lon[:, None] - lon) / 2).sin().square()
    return 2 * RADIUS * half.clamp(0, 1).sqrt().asin()


def distance_graph(coordinates: Float[Tensor, "node place"], k: int) -> Float[Tensor, "node node"]:
    """A Gaussian of the distance to each of the `k` nearest stations."""
    d = haversine(coordinates)
    links = (-(d / _width(d)).square()).exp() * _among(nearest(d, k), len(d))
    return with_loops(links)


def neighbour_graph(coordinates: Float[Tensor, "node place"], k: int) -> Float[Tensor, "node node"]:
    """The same for each of the `k` nearest stations, heights counted where there is a third column."""
    d = haversine(coordinates)
    if coordinates.shape[1] > 2:
        height = HEIGHT * coordinates[:, 2].double()
        d = torch.hypot(d, height[:, None] - height)
    return with_loops(_among(nearest(d, k), len(d)))


def correlation_graph(r: Float[Tensor, "node node"], quantile: float | int) -> Float[Tensor, "node node"]:
    """The correlations that are positive and not below their quantile."""
    r = r.double().clone().fill_diagonal_(1.0)
    ordered = r.flatten().sort().values  # torch.quantile refuses more than 16 million numbers, those of 4000 stations
    at = quantile * (len(ordered) - 1)
    low = int(at)
    bound = torch.lerp(ordered[low], ordered[min(low + 1, len(ordered) - 1)], at - low)
    return with_loops(torch.where(r >= bound, r, 0.0).clamp(min=0))


def nearest(d: Float[Tensor, "node node"], k: int) -> Int[Tensor, "node k"]:
    """The `k` nearest others of each station, or all there are; of equal distances the lowest number."""
    others = d.double().clone().fill_diagonal_(torch.inf)
    return others.argsort(dim=1, stable=True)[:, : max(min(k, len(d) - 1), 0)]


def with_loops(links: Float[Tensor, "node node"]) -> Float[Tensor, "node node"]:
    """Each station linked to itself with 1, and rows that sum to 1."""
    links = links.clone().fill_diagonal_(1.0)
    return links / links.sum(1, keepdim=True)


def _among(chosen: Int[Tensor, "node k"], nodes: int) -> Float[Tensor, "node node"]:
    return torch.zeros(nodes, nodes, dtype=torch.float64).scatter(1, chosen, 1.0)


def _width(d: Float[Tensor, "node node"]) -> Float[Tensor, ""]:
    """The sd of the distances between different stations; their mean where it is 0, and 1 where that is 0 too."""
    apart = d[~torch.eye(len(d), dtype=torch.bool)]
    if not len(apart):
        return d.new_ones(())
    mean = apart.mean()
    sd = (apart - mean).square().mean().sqrt()
    width = torch.where(sd > 1e-9 * mean, sd, mean)
    return torch.where(width > 0, width, 1.0)
