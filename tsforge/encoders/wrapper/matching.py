"""Which units of one network are those of another: correlations, matchings, and codes of one in units of the other.

Paper     Li et al. (2016), "Convergent Learning: Do Different Neural Networks Learn the Same Representations?", ICLR,
          arXiv:1511.07543.
Equation  C_ij = E[(a_i - mu_i)(b_j - nu_j)] / (sigma_i tau_j)
          semi: pi(i) = argmax_j C_ij;   bipartite: the permutation with the greatest sum_i C_{i, pi(i)}
          sparse code: min_w |a_i - sum_j w_j b_j|^2 / 2n + penalty |w|_1, of standardised units
Shapes    a, b [sample, unit]   C [unit, unit]
Differs   Matching is read in the authors' code. The sparse code and the clusters are from knowledge of the paper.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

DEAD = 1e-12  # variance of a unit that says nothing
ISTA = 500  # steps

Units = Float[Tensor, "sample unit"]


@dataclass
class Moments:
    """Sums over samples of the units of several networks, in float64, and their products with those of the first."""

    count: int
    sums: Float[Tensor, "network unit"]
    squares: Float[Tensor, "network unit"]
    products: Float[Tensor, "network unit unit"]

    @classmethod
    def empty(cls, networks: int, units: int) -> "Moments":
        """Of no samples."""
        shape = (networks, units)
        return cls(0, *(torch.zeros(*s, dtype=torch.float64) for s in (shape, shape, (*shape, units))))

    def add(self, units: Float[Tensor, "network sample unit"]) -> None:
        """Counts some samples in, on the CPU."""
        units = units.detach().double().cpu()
        self.count += units.shape[1]
        self.sums += units.sum(1)
        self.squares += units.square().sum(1)
        self.products += units[0].T @ units

    def mean(self) -> Float[Tensor, "network unit"]:
        """mu."""
        return self.sums / max(self.count, 1)

    def deviation(self) -> Float[Tensor, "network unit"]:
        """sigma; 0 of dead units."""
        variance = self.squares / max(self.count, 1) - self.mean().square()
        return torch.where(variance > DEAD, variance, 0.0).sqrt()

    def correlations(self) -> Float[Tensor, "network unit unit"]:
        """C of the first network with each, itself among them; 0 of dead units."""
        mean, scale = self.mean(), self.deviation()
        centred = self.products / max(self.count, 1) - mean[0][:, None] * mean[:, None]
        scales = scale[0][:, None] * scale[:, None]
        return torch.where(scales > 0, centred / scales.clamp(min=DEAD), 0.0).clamp(-1, 1)


def matched(correlation: Float[Tensor, "unit unit"], match: str) -> Int[Tensor, " unit"]:
    """The partner of each unit of the first network: its best one ("semi"), or one to one ("bipartite")."""
    if match == "semi":
        return torch.from_numpy(correlation.numpy().argmax(1))
    from scipy.optimize import linear_sum_assignment  # slow to import

    return torch.from_numpy(linear_sum_assignment(correlation.numpy(), maximize=True)[1].astype(np.int64))


def sparse_code(unit: Float[Tensor, " sample"], others: Units, penalty: float = 0.05) -> Float[Tensor, " unit"]:
    """The weights by which a few units make up one, in float64, by proximal gradient steps; of itself leave it out.

    Args:
        unit: What is made up.
        others: Units that it may be made of.
        penalty: The more, the fewer.
    """
    target, basis = (_standardised(part.double()) for part in (unit[:, None], others))
    gram, with_target = basis.T @ basis / len(basis), (basis.T @ target / len(basis))[:, 0]
    step = 1 / torch.linalg.eigvalsh(gram)[-1].clamp(min=DEAD)
    weights = torch.zeros_like(with_target)
    for _ in range(ISTA):
        moved = weights - step * (gram @ weights - with_target)
        weights = moved.sign() * (moved.abs() - step * penalty).clamp(min=0)
    return weights


def clusters(units: Units, k: int) -> Int[Tensor, " unit"]:
    """The cluster of each unit, of several networks side by side, by the spectrum of |C|: units of one subspace."""
    from scipy.cluster.vq import kmeans2  # slow to import

    standard = _standardised(units.double())
    affinity = (standard.T @ standard / len(standard)).abs()
    root = affinity.sum(1).sqrt()
    places = torch.linalg.eigh(affinity / (root[:, None] * root))[1][:, -k:]
    places = torch.nn.functional.normalize(places, dim=1)
    centres = [0]  # then the place that is farthest from those there are
    while len(centres) < k:
        centres.append(int(torch.cdist(places, places[centres]).amin(1).numpy().argmax()))
    found = kmeans2(places.numpy(), places[centres].numpy(), minit="matrix", missing="raise")[1]
    return torch.from_numpy(found.astype(np.int64))


def _standardised(units: Units) -> Units:
    centred = units - units.mean(0)
    return centred / centred.square().mean(0).sqrt().clamp(min=DEAD)
