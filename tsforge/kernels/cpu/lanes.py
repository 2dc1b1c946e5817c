"""`Lanes`: sixteen numbers side by side, for kernels that keep what they compute in registers.

LLVM turns a loop over contiguous channels into vector code only where it can prove that arrays do not overlap; kernels
with many arrays say it themselves. A value of this type lives in compiled code alone: `take` reads it from a row,
`put` writes it, `+ - *` work with others and with scalars of their type, `total` adds it up. It becomes one register
of AVX-512, two of AVX2, four of SSE or NEON.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

WIDTH = 16


def emitted(function: Callable) -> Any:
    """numba's `intrinsic`: a function that writes LLVM code; numba, not the caller, gives its first argument."""
    return intrinsic(function)


class Lanes(types.Type):
    """Numba's name of the type; `scalar` is that of one number."""

    def __init__(self, scalar: types.Float) -> None:
        super().__init__(f"Lanes({scalar})")
        self.scalar = scalar


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        super().__init__(manager, lanes, ir.VectorType(manager.lookup(lanes.scalar).get_value_type(), WIDTH))


def scalar_of(kind: types.Type) -> types.Type:
    """float32 or float64, of a scalar or of lanes."""
    return kind.scalar if isinstance(kind, Lanes) else kind


def spread(builder: Any, value: Any) -> Any:
    """IR: a scalar in every lane; lanes as they are."""
    if isinstance(value.type, ir.VectorType):
        return value
    one = builder.insert_element(ir.Constant(ir.VectorType(value.type, WIDTH), ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH))


def _row(context: Any, builder: Any, array_type: Any, array: Any, row: Any) -> Any:
    """IR: where sixteen numbers of a contiguous array begin."""
    data = context.make_array(array_type)(context, builder, array).data
    start = builder.gep(data, [builder.mul(row, ir.Constant(row.type, WIDTH))])
    return builder.bitcast(start, ir.PointerType(context.get_value_type(Lanes(array_type.dtype))))


@emitted
def take(typing_context, array, row):
    """The numbers 16 row ... 16 row + 15 of a contiguous array."""

    def generate(context, builder, signature, arguments):
        pointer = _row(context, builder, signature.args[0], *arguments)
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return Lanes(array.dtype)(array, types.intp), generate


@emitted
def put(typing_context, array, row, value):
    """Writes them there."""

    def generate(context, builder, signature, arguments):
        pointer = _row(context, builder, signature.args[0], *arguments[:2])
        builder.store(spread(builder, arguments[2]), pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), generate


@emitted
def zeros(typing_context, array):
    """Zeros of the array's type in every lane."""
    lanes = Lanes(array.dtype)

    def generate(context, builder, signature, arguments):
        return context.get_constant_null(lanes)

    return lanes(array), generate


@emitted
def total(typing_context, lanes):
    """Their sum, in any order."""

    def generate(context, builder, signature, arguments):
        vector, scalar = arguments[0].type, arguments[0].type.element
        name = f"llvm.vector.reduce.fadd.v{WIDTH}f{lanes.scalar.bitwidth}"
        add = cgutils.get_or_insert_function(builder.module, ir.FunctionType(scalar, [scalar, vector]), name)
        return builder.call(add, [ir.Constant(scalar, 0.0), arguments[0]], fastmath=("reassoc",))

    return lanes.scalar(lanes), generate


def _define(symbol: Any, instruction: str) -> None:
    """`symbol` on lanes, where at least one side is lanes."""

    @emitted
    def apply(typing_context, a, b):
        def generate(context, builder, signature, arguments):
            left, right = (spread(builder, value) for value in arguments)
            return getattr(builder, instruction)(left, right, flags=("contract",))

        kind = Lanes(scalar_of(a if isinstance(a, Lanes) else b))
        return kind(a if isinstance(a, Lanes) else kind.scalar, b if isinstance(b, Lanes) else kind.scalar), generate

    @overload(symbol)
    def _(a, b):
        return (lambda a, b: apply(a, b)) if isinstance(a, Lanes) or isinstance(b, Lanes) else None


_define(operator.add, "fadd")
_define(operator.sub, "fsub")
_define(operator.mul, "fmul")
