"""What a step does to a state with a rate, on lanes: e^(step rate), (e^(step rate) - 1) / rate, and its derivative.

A table of rates is made once per call; each row is read into registers as it is needed.
"""

import numpy as np
from numba.extending import overload

from tsforge.kernels.cpu.compiled import compiled
from tsforge.kernels.cpu.exponential import LOG2E, OPTIONS, exp2_pair
from tsforge.kernels.cpu.lanes import emitted, scalar_of, spread

SERIES_BELOW = {np.dtype("float32"): 0.25, np.dtype("float64"): 0.01}  # where six terms are exact to rounding
NO_RATE = 1e-20  # below, (e^(step a) - 1) / a is the step
RATE, RATE_2, INVERSE, FLAT, OTHER, OTHER_2, TABLE = range(7)


@compiled(**OPTIONS)
def rate_table(own, other, table):
    """Fills the rows [6, 16] of some rates: rate, in base 2, inverse, whether it is 0; coupling, in base 2."""
    table[:] = 0
    for n in range(own.size):
        flat = abs(own[n]) < NO_RATE
        table[RATE, n], table[RATE_2, n] = own[n], own[n] * LOG2E
        table[INVERSE, n], table[FLAT, n] = (0, 1) if flat else (1 / own[n], 0)
        table[OTHER, n], table[OTHER_2, n] = other[n], other[n] * LOG2E


@compiled(**OPTIONS)
def kept_and_held(step, rate_2, inverse, flat):
    """e^(step a) and (e^(step a) - 1) / a."""
    kept, change = exp2_pair(step * rate_2)
    return kept, change * inverse + flat * step


@emitted
def _nearer(typing_context, z, bound, near, far):
    """`near` where |z| < bound, else `far`."""

    def generate(context, builder, signature, arguments):
        z_, bound_, near_, far_ = arguments
        bound_ = spread(builder, bound_)
        inside = builder.and_(
            builder.fcmp_ordered("<", z_, bound_), builder.fcmp_ordered(">", z_, builder.fneg(bound_))
        )
        return builder.select(inside, near_, far_)

    return near(z, z.scalar, near, near), generate


def held_by_rate(step, rate, inverse, kept, held):
    """The derivative of what is held by the rate: step^2 g'(z), g(z) = (e^z - 1) / z, with z = step rate."""
    z = step * rate
    if abs(z) < SERIES_BELOW[z.dtype]:
        return step**2 * (1 / 2 + z * (1 / 3 + z * (1 / 8 + z * (1 / 30 + z * (1 / 144 + z / 840)))))
    return (step * kept - held) * inverse


@overload(held_by_rate, jit_options=OPTIONS)
def _(step, rate, inverse, kept, held):
    bound = SERIES_BELOW[np.dtype(scalar_of(rate).name)]

    def run(step, rate, inverse, kept, held):
        z = step * rate
        series = z * (z * (z * (z * (z * (1 / 840) + 1 / 144) + 1 / 30) + 1 / 8) + 1 / 3) + 1 / 2
        return _nearer(z, bound, series * step * step, (kept * step - held) * inverse)

    return run
