"""Exponentials that LLVM can turn into vector code, which a call of the C library cannot be.

    2^x = 2^r p(x - r),   r the integer nearest to x,   p a polynomial on [-1/2, 1/2] with p(0) = 1

They are called inside compiled kernels, on float32 or float64; `exp2` and `exp2_pair` also on lanes.
They compute in the type of the argument, with relative errors below 1.2e-7 and 3e-16, `sigmoid` and `softplus` 3e-7 and
5e-16. Results of `exp2` and `exp` are held within 2^-126 ... 2^127 (2^-1022 ... 2^1023): an underflow is a tiny number,
an overflow a huge one; NaN stays NaN. A kernel that calls them is compiled with `OPTIONS`, never with "reassoc" or
"fast": adding and subtracting `MAGIC` rounds.
"""

import math
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.extending import overload

from tsforge.kernels.cpu.lanes import WIDTH, Lanes, emitted, scalar_of, spread

OPTIONS: Any = {"fastmath": {"contract"}, "error_model": "numpy"}  # no vectors where a zero divisor is looked for
F = np.float32
LOG2E, LOG2E_F = math.log2(math.e), F(math.log2(math.e))
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # the high part: 32 bits, so r * it is exact
LN2_HIGH_F, LN2_LOW_F = F(0.693359375), F(math.log(2) - 0.693359375)
MAGIC, MAGIC_F = 1.5 * 2.0**52, F(1.5 * 2.0**23)  # beyond it numbers are integers, and the low bits hold them
LOWEST, HIGHEST, LOWEST_F, HIGHEST_F = -1022.0, 1023.0, F(-126), F(127)
ZERO_F, ONE_F, TWO_F = F(0), F(1), F(2)
# minimax in relative error with p(0) = 1: 2e-9
P1, P2, P3 = F(0.6931471824645996), F(0.24022647738456726), F(0.055503323674201965)
P4, P5, P6 = F(0.00961843691766262), F(0.0013398873852565885), F(0.00015353361959569156)
T = tuple(math.log(2) ** k / math.factorial(k) for k in range(14))  # Taylor's suffice in float64: 4e-18
# artanh(s)/s in s^2 on [0, 1/9]: 1e-10
Q1, Q2, Q3 = F(0.3333333730697632), F(0.19999438524246216), F(0.14308442175388336)
Q4, Q5 = F(0.10713829100131989), F(0.12150466442108154)


@emitted
def _two_to(typing_context, shifted):  # numba hands over the context by position, and reads the name of the rest
    """2^r of r + MAGIC: the integer in the low bits becomes the exponent; what stands above it is shifted out."""
    bits, bias, mantissa = (32, 127, 23) if scalar_of(shifted) == numba.types.float32 else (64, 1023, 52)

    def generate(context, builder, signature, arguments):
        whole = ir.IntType(bits)
        if isinstance(shifted, Lanes):
            whole = ir.VectorType(whole, WIDTH)
        biased = builder.add(builder.bitcast(arguments[0], whole), _constant(whole, bias))
        return builder.bitcast(builder.shl(biased, _constant(whole, mantissa)), arguments[0].type)

    return shifted(shifted), generate


@emitted
def _within(typing_context, x, low, high):
    """x held between two numbers; NaN passes, which min and max would lose."""

    def generate(context, builder, signature, arguments):
        value, *bounds = arguments
        if isinstance(x, Lanes):
            bounds = [spread(builder, bound) for bound in bounds]
        for beyond, bound in zip("<>", bounds, strict=True):
            value = builder.select(builder.fcmp_ordered(beyond, value, bound), bound, value)
        return value

    return x(x, scalar_of(x), scalar_of(x)), generate


def _constant(kind, value):
    return ir.Constant(kind, [value] * WIDTH if isinstance(kind, ir.VectorType) else value)


def exp2(x):
    """2^x, also of lanes."""
    return np.exp2(x)


@overload(exp2, jit_options=OPTIONS)
def _(x):
    def single(x):
        x = _within(x, LOWEST_F, HIGHEST_F)
        shifted = x + MAGIC_F
        f = x - (shifted - MAGIC_F)
        p = (((f * P6 + P5) * f + P4) * f + P3) * f + P2
        return ((p * f + P1) * f + ONE_F) * _two_to(shifted)

    def double(x):
        x = _within(x, LOWEST, HIGHEST)
        shifted = x + MAGIC
        f = x - (shifted - MAGIC)
        p = (((f * T[13] + T[12]) * f + T[11]) * f + T[10]) * f + T[9]
        p = ((((p * f + T[8]) * f + T[7]) * f + T[6]) * f + T[5]) * f + T[4]
        return ((((p * f + T[3]) * f + T[2]) * f + T[1]) * f + 1.0) * _two_to(shifted)

    return single if scalar_of(x) == numba.types.float32 else double


def exp2_pair(x):
    """2^x, and 2^x - 1 to full relative precision also near 0; also of lanes."""
    return np.exp2(x), np.expm1(x * math.log(2))


@overload(exp2_pair, jit_options=OPTIONS)
def _(x):
    def single(x):  # 2^x - 1 = 2^r (2^f - 1) + (2^r - 1): where r is 0 nothing cancels, elsewhere little
        x = _within(x, LOWEST_F, HIGHEST_F)
        shifted = x + MAGIC_F
        f, scale = x - (shifted - MAGIC_F), _two_to(shifted)
        p = (((f * P6 + P5) * f + P4) * f + P3) * f + P2
        change = (p * f + P1) * f * scale
        return change + scale, change + (scale - ONE_F)

    def double(x):
        x = _within(x, LOWEST, HIGHEST)
        shifted = x + MAGIC
        f, scale = x - (shifted - MAGIC), _two_to(shifted)
        p = (((f * T[13] + T[12]) * f + T[11]) * f + T[10]) * f + T[9]
        p = ((((p * f + T[8]) * f + T[7]) * f + T[6]) * f + T[5]) * f + T[4]
        change = (((p * f + T[3]) * f + T[2]) * f + T[1]) * f * scale
        return change + scale, change + (scale - 1.0)

    return single if scalar_of(x) == numba.types.float32 else double


def exp(x):
    """e^x."""
    return np.exp(x)


@overload(exp, jit_options=OPTIONS)
def _(x):
    def single(x):
        x = _within(x, LOWEST_F / LOG2E_F, HIGHEST_F / LOG2E_F)
        shifted = x * LOG2E_F + MAGIC_F
        r = shifted - MAGIC_F
        return exp2(((x - r * LN2_HIGH_F) - r * LN2_LOW_F) * LOG2E_F) * _two_to(shifted)

    def double(x):
        x = _within(x, LOWEST / LOG2E, HIGHEST / LOG2E)
        shifted = x * LOG2E + MAGIC
        r = shifted - MAGIC
        return exp2(((x - r * LN2_HIGH) - r * LN2_LOW) * LOG2E) * _two_to(shifted)

    return single if x == numba.types.float32 else double


def sigmoid(x):
    """1 / (1 + e^-x)."""
    return 1 / (1 + np.exp(-x))


@overload(sigmoid, jit_options=OPTIONS)
def _(x):
    def single(x):
        return ONE_F / (ONE_F + exp(-x))

    def double(x):
        return 1.0 / (1.0 + exp(-x))

    return single if x == numba.types.float32 else double


def softplus(x):
    """log(1 + e^x), to full relative precision also where it is tiny."""
    return np.logaddexp(x, 0)


@overload(softplus, jit_options=OPTIONS)
def _(x):
    def single(x):
        e = exp(-abs(x))
        s = e / (TWO_F + e)  # log(1 + e) = 2 artanh(e / (2 + e))
        w = s * s
        q = ONE_F + w * (Q1 + w * (Q2 + w * (Q3 + w * (Q4 + w * Q5))))
        return (x if x > ZERO_F else ZERO_F) + TWO_F * s * q

    def double(x):
        return (x if x > 0.0 else 0.0) + math.log1p(exp(-abs(x)))

    return single if x == numba.types.float32 else double
