import numpy as np
import pytest

numba = pytest.importorskip("numba")

TYPES = (np.float32, np.float64)
EXACT = {
    "exp2": np.exp2,
    "exp": np.exp,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(x, 0),
}
BOUNDS = {"exp2": (1.2e-7, 3e-16), "exp": (1.2e-7, 3e-16), "sigmoid": (3e-7, 5e-16), "softplus": (3e-7, 5e-16)}


@pytest.fixture(scope="module")
def apply():
    """`apply(name, x)` runs one of the functions over an array, compiled as the kernels are."""
    from tsforge.kernels.cpu import exponential

    def over(function):
        def run(x, out):
            for i in range(x.size):
                out[i] = function(x[i])

        # not kept: a closure's name says nothing of its function
        return numba.njit(**exponential.OPTIONS)(run)

    loops = {name: over(getattr(exponential, name)) for name in EXACT}

    def apply(name, x):
        out = np.empty_like(x)
        loops[name](x, out)
        return out

    return apply


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", EXACT)
def test_the_relative_error_is_within_its_bound_everywhere(apply, name, dtype):
    x = np.linspace(-80, 80, 400_001).astype(dtype)
    exact = EXACT[name](x.astype(np.longdouble))
    error = np.abs(apply(name, x) - exact) / exact
    assert error.max() < BOUNDS[name][dtype == np.float64]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", EXACT)
def test_a_larger_argument_never_gives_less(apply, name, dtype):
    eps = np.finfo(dtype).eps
    near = [centre + np.arange(-2000, 2000) * eps * max(abs(centre), 1) for centre in (-20.5, -0.5, 0.0, 0.5, 3.5)]
    for x in (np.linspace(-200, 200, 200_001), *near):
        assert (np.diff(apply(name, np.unique(x.astype(dtype)))) >= -eps * 2).all()
    coarse = apply(name, np.linspace(-60, 30, 5001).astype(dtype))
    assert (np.diff(coarse) >= 0).all()


@pytest.mark.parametrize("dtype", TYPES)
def test_special_arguments(apply, dtype):
    x = np.array([0, -1e30, 1e30, np.nan], dtype)
    limits = np.finfo(dtype)
    for name in ("exp2", "exp"):
        one, tiny, huge, nothing = apply(name, x)
        assert one == 1
        assert 0 < tiny < 2 * limits.tiny
        assert limits.max / 4 < huge < np.inf
        assert np.isnan(nothing)
    assert list(apply("exp2", np.arange(-5, 6, dtype=dtype))) == [2.0**k for k in range(-5, 6)]
    assert np.isnan(apply("sigmoid", x)[3])
    assert np.isnan(apply("softplus", x)[3])
    assert apply("softplus", x)[2] == x[2]


@pytest.mark.parametrize("dtype", TYPES)
def test_lanes_compute_what_scalars_do(apply, dtype):
    from tsforge.kernels.cpu.exponential import OPTIONS, exp2
    from tsforge.kernels.cpu.lanes import WIDTH, put, take, total, zeros

    def by_lanes(x, y, out, sums):
        for row in range(x.size // WIDTH):
            put(out, row, exp2(take(x, row)) * take(y, row) - y[0] + zeros(x))
            sums[row] = total(take(x, row) * take(y, row))

    x, y = np.random.default_rng(0).standard_normal((2, 5 * WIDTH)).astype(dtype)
    out, sums = np.full_like(x, np.nan), np.full(5, np.nan, dtype)
    numba.njit(**OPTIONS)(by_lanes)(x, y, out, sums)
    eps = np.finfo(dtype).eps
    assert np.allclose(out, apply("exp2", x) * y - y[0], rtol=4 * eps, atol=4 * eps)
    assert np.allclose(sums, (x * y).reshape(5, WIDTH).sum(1), rtol=0, atol=20 * eps)


def test_reordering_of_sums_would_be_found(apply):
    from tsforge.kernels.cpu import exponential

    @exponential.numba.njit(fastmath=True)
    def fast(x, out):
        for i in range(x.size):
            shifted = x[i] + exponential.MAGIC_F
            out[i] = x[i] - (shifted - exponential.MAGIC_F)

    x = np.linspace(-3, 3, 101, dtype=np.float32)
    out = np.empty_like(x)
    fast(x, out)
    assert np.abs(out - (x - np.rint(x))).max() > 0.1  # "fast" cancels MAGIC, which is why OPTIONS leaves it out
