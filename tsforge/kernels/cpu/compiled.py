"""`compiled`: numba's njit as every kernel of this folder uses it, with a cache where one can be written."""

import os
from collections.abc import Callable
from typing import Any, cast

import numba

from tsforge.kernels.cpu.places import kernel_cache

if "NUMBA_CACHE_DIR" not in os.environ:
    cast(Any, numba).config.CACHE_DIR = kernel_cache()


def compiled(**options: Any) -> Callable[[Callable], Any]:
    """njit that releases the GIL and keeps what it compiled; where no folder can be written, it compiles each time."""

    def decorate(function: Callable) -> Any:
        jit = cast(Any, numba.njit)
        try:
            return jit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # "no locator available": the cache cannot be written
            return jit(nogil=True, **options)(function)

    return decorate
