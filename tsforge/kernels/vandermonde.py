"""The kernel of a diagonal state space, without the [feature, mode, time] tensor.

Paper     Gu et al. (2022), "On the Parameterization and Initialization of Diagonal State Space Models", 2206.11893.
Equation  K[h, l] = 2 Re sum_n c[h, n] exp(l a[h, n])
          l = q R + r:   K[h, q R + r] = 2 Re sum_n (c exp(q R a)) exp(r a),   a product of matrices [q, n] [n, r]
Shapes    a, c complex [feature, mode]   K [feature, time]

Of the H N L powers only H N (Q + R) are computed, Q R = L; the rest is multiplication. Phases are formed in float64 and
taken modulo a turn before they are rounded: in float32 the phase of a fast mode would be off by more than the kernel.
"""

from jaxtyping import Complex, Float
from torch import Tensor

from tsforge.errors import ShapeError
from tsforge.kernels.backends import choose
from tsforge.kernels.checks import check_alike, check_shapes
from tsforge.kernels.plain import vandermonde as plain
from tsforge.kernels.reference import vandermonde as reference


def s4d_kernel(
    a: Complex[Tensor, "feature mode"], c: Complex[Tensor, "feature mode"], time: int
) -> Float[Tensor, "feature time"]:
    """The convolution kernel of modes `a` (the step times the eigenvalue) with weights `c`.

    Args:
        a: Exponents of one step; negative real parts decay.
        c: Weights, C times the discretised B.
        time: Length of the kernel.

    Raises:
        ShapeError: shapes, types or devices do not fit together, or `time` is negative; names the argument.

    Products of matrices are the fastest there is on every device, so all backends but the reference run the same code.
    """
    check_shapes({"a": (a, "feature mode"), "c": (c, "feature mode")})
    dtype = check_alike({"a": a, "c": c}, complex_too=True)
    if not dtype.is_complex:
        raise ShapeError(f"a holds {a.dtype} and c {c.dtype}, wanted complex numbers.")
    if time < 0:
        raise ShapeError(f"time={time} is no length of a kernel.")
    forward = reference.forward if choose(a.real) == "reference" else plain.forward
    return forward(a.to(dtype), c.to(dtype), time)
