"""A vector algebra of structures: things are added, and bound to a role by an orthogonal matrix that undoes itself.

Paper     Gallant (2022), "Orthogonal Matrices for MBAT Vector Symbolic Architectures, and a 'Soft' VSA Representation
          for JSON", arXiv:2202.04771.
Equation  bundle   norm(sum_i v_i)
          bind     M_role v,   M = P_2 S_2 H P_1 S_1,   H the Hadamard matrix / sqrt(dim), S signs, P permutations
          unbind   M_role' M_role v = v
Shapes    vectors [..., dim], dim a power of two
Differs   The paper draws dense matrices. These are orthogonal, too, need no memory and cost dim * log(dim). A role and
          an atom are drawn from a seed and their name, so they are the same wherever they are met.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tsforge.errors import ArgumentError
from tsforge.layers.stable_hash import stable_hash

Vector = Float[Tensor, "*batch dim"]


class VectorAlgebra:
    """Atoms, roles and what is made of them, in float64.

    Args:
        dim: Width of a vector, a power of two.
        seed: Of all that is drawn.

    Raises:
        ArgumentError: `dim` is no power of two.
    """

    def __init__(self, dim: int = 1024, seed: int = 0) -> None:
        if dim < 2 or dim & (dim - 1):
            raise ArgumentError(f"code_dim={dim}: give a power of two, such as 1024.")
        self.dim, self.seed = dim, seed
        self._atoms: dict[str, Tensor] = {}
        self._roles: dict[str, tuple[Tensor, Tensor, Tensor, Tensor]] = {}

    def atom(self, name: str) -> Float[Tensor, " dim"]:
        """The random unit vector of a name."""
        if name not in self._atoms:
            drawn = torch.randn(self.dim, generator=self._drawing(f"atom {name}"), dtype=torch.float64, device="cpu")
            self._atoms[name] = drawn / drawn.norm()
        return self._atoms[name]

    def bind(self, role: str, vector: Vector) -> Vector:
        """A vector in a role; norms and angles stay as they are."""
        first_signs, first, second_signs, second = self._role(role)
        return (hadamard((vector * first_signs)[..., first]) * second_signs)[..., second]

    def unbind(self, role: str, vector: Vector) -> Vector:
        """What was bound to a role, exactly."""
        first_signs, first, second_signs, second = self._role(role)
        inner = hadamard(vector[..., second.argsort()] * second_signs)
        return inner[..., first.argsort()] * first_signs

    def bundle(self, vectors: list[Tensor]) -> Float[Tensor, " dim"]:
        """The direction of a sum."""
        total = torch.stack(vectors).sum(0)
        return total / total.norm().clamp(min=torch.finfo(total.dtype).tiny)

    def _role(self, name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if name not in self._roles:
            drawing = self._drawing(f"role {name}")
            signs = 2.0 * torch.randint(2, (2, self.dim), generator=drawing, device="cpu").double() - 1
            orders = [torch.randperm(self.dim, generator=drawing, device="cpu") for _ in range(2)]
            self._roles[name] = (signs[0], orders[0], signs[1], orders[1])
        return self._roles[name]

    def _drawing(self, name: str) -> torch.Generator:
        return torch.Generator("cpu").manual_seed(stable_hash(f"{self.seed} {name}"))


def hadamard(x: Vector) -> Vector:
    """The Hadamard transform of the last axis, scaled to be its own inverse."""
    shape, half = x.shape, 1
    while half < shape[-1]:
        a, b = x.reshape(*shape[:-1], -1, 2, half).unbind(-2)
        x, half = torch.stack([a + b, a - b], -2), 2 * half
    return x.reshape(shape) * shape[-1] ** -0.5
