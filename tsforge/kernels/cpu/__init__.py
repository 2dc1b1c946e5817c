"""The CPU path: numba, compiled at the first call, serial loops that release the GIL."""
