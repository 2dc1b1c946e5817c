import math

import pytest
import torch
from agree import apart, run, worst
from hypothesis import given, settings
from hypothesis import strategies as st

from tsforge.errors import ShapeError
from tsforge.kernels import fft_conv, s4d_kernel, use
from tsforge.kernels.convolution import fast_length
from tsforge.kernels.plain.vandermonde import block_sizes


def modes(feature=3, mode=5, dtype=torch.complex128, fastest=30.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    step = 0.001 * 100 ** torch.rand(feature, 1, generator=generator, dtype=torch.float64)
    imaginary = math.pi * torch.arange(mode) * fastest / mode
    a = step * (-0.5 + 1j * imaginary)
    c = torch.randn(feature, mode, 2, generator=generator, dtype=torch.float64)
    return {"a": a.to(dtype), "c": torch.view_as_complex(c).to(dtype)}


@pytest.mark.parametrize("time", [1, 2, 63, 96, 500, 1000])
def test_the_block_split_equals_the_whole_vandermonde_product_in_values_and_gradients(time):
    given = modes() | {"time": time}
    kernel, grads = run(s4d_kernel, given, "reference")
    found, found_grads = run(s4d_kernel, given, "torch")
    assert worst(found, kernel) < 1e-12
    assert worst(list(found_grads.values()), list(grads.values())) < 1e-10
    found, found_grads = run(s4d_kernel, given, "torch", torch.complex64)
    assert found[0].dtype == torch.float32
    assert worst(found, kernel) < 1e-5
    assert worst(list(found_grads.values()), list(grads.values())) < 1e-4


@pytest.mark.parametrize(("time", "bound"), [(96, 2e-6), (512, 2e-6), (2048, 4e-6), (16_384, 2e-5)])
def test_the_error_of_float32_stays_small_on_fast_modes_and_long_kernels(time, bound):
    given = modes(mode=32, fastest=415.0)  # as fast as the fastest of the inverse initialisation: 1300
    single = {"a": given["a"].to(torch.complex64), "c": given["c"].to(torch.complex64), "time": time}
    with use("reference"):
        exact = s4d_kernel(**{k: v.to(torch.complex128) if torch.is_tensor(v) else v for k, v in single.items()})
    assert apart(s4d_kernel(**single), exact) < bound


def test_a_phase_that_is_rounded_before_it_is_reduced_would_be_off():
    a = modes(mode=32, fastest=415.0)["a"].to(torch.complex64)
    steps = torch.arange(16_384)
    careless = torch.exp(a[:, -1:] * steps)
    exact = torch.exp(a[:, -1:].to(torch.complex128) * steps)
    assert apart(careless, exact) > 1e-5


def test_the_kernel_is_that_of_the_recurrence():
    given = modes(feature=2, mode=4)
    state, expected = given["c"].clone(), []
    for _ in range(40):
        expected.append(2 * state.real.sum(1))
        state = state * torch.exp(given["a"])
    assert apart(s4d_kernel(**given, time=40), torch.stack(expected, 1)) < 1e-12


def test_one_real_mode_decays_as_it_should():
    a, c = torch.full((1, 1), -0.25 + 0j, dtype=torch.complex128), torch.ones(1, 1, dtype=torch.complex128)
    expected = 2 * torch.exp(-0.25 * torch.arange(50, dtype=torch.float64))[None]
    assert apart(s4d_kernel(a, c, 50), expected) < 1e-14


@pytest.mark.parametrize("time", [*range(1, 40), 96, 512, 16_384])
def test_the_blocks_cover_the_kernel_and_are_near_square(time):
    many, size = block_sizes(time)
    assert many * size >= time > (many - 1) * size
    assert many <= 3 * size
    assert size <= 3 * many + 2


def test_a_compiled_function_traces_through_both():
    given = modes()

    def layer(u, re, im):
        return fft_conv(u, s4d_kernel(torch.complex(re, im), given["c"], 20))

    u = torch.randn(2, 3, 20, dtype=torch.float64)
    traced = torch.compile(layer, fullgraph=True, backend="aot_eager")(u, given["a"].real, given["a"].imag)
    assert apart(traced, layer(u, given["a"].real, given["a"].imag)) < 1e-12


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.data())
def test_the_convolution_is_the_sum(time, data):
    reach = data.draw(st.integers(1, time))
    generator = torch.Generator().manual_seed(time)
    u, k = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((2, 3, time), (3, reach)))
    given = {"u": u, "k": k}
    y, grads = run(fft_conv, given, "reference")
    found, found_grads = run(fft_conv, given, "torch")
    assert worst(found, y) < 1e-12
    assert worst(list(found_grads.values()), list(grads.values())) < 1e-12
    assert float(abs(y[0][0, 0, -1] - sum(k[0, s] * u[0, 0, time - 1 - s] for s in range(reach)))) < 1e-12


def test_nothing_of_the_end_wraps_into_the_beginning():
    u, k = torch.zeros(1, 64, dtype=torch.float64), torch.ones(64, dtype=torch.float64)
    u[0, -1] = 1e6
    assert float(fft_conv(u, k)[0, :-1].abs().max()) < 1e-8
    wrapped = torch.fft.irfft(torch.fft.rfft(u) * torch.fft.rfft(k), n=64)  # without room for the end
    assert float(wrapped[0, :-1].abs().max()) > 1e5


@pytest.mark.parametrize("least", [*range(1, 300), 1_023, 4_097, 40_000])
def test_transforms_have_lengths_of_small_factors(least):
    size = fast_length(least)
    assert least <= size <= max(2, 1.25 * least + 1)
    for factor in (2, 3, 5):
        while size % factor == 0:
            size //= factor
    assert size == 1


def test_halves_come_back_as_halves_and_empty_batches_as_empty():
    u, k = torch.randn(4, 3, 50), torch.randn(3, 50)
    half = fft_conv(u.bfloat16(), k.bfloat16())
    assert half.dtype == torch.bfloat16
    assert apart(half, fft_conv(u.bfloat16().double(), k.bfloat16().double())) < 1e-2
    assert fft_conv(u[:0], k).shape == (0, 3, 50)
    assert s4d_kernel(**modes(), time=0).shape == (3, 0)


@pytest.mark.parametrize(("call", "said"), [
    (lambda: fft_conv(torch.ones(2, 3), torch.ones(4)), r"k has the shape \(4,\) and u \(2, 3\)"),
    (lambda: fft_conv(torch.ones(2, 3), torch.ones(5, 3)), "does not broadcast"),
    (lambda: s4d_kernel(torch.ones(2, 3), torch.ones(2, 3), 4), "wanted complex"),
    (lambda: s4d_kernel(**modes(), time=-1), "time=-1"),
    (lambda: s4d_kernel(modes()["a"], modes(mode=4)["c"], 3), "its mode is 4, and that of a is 5"),
])
def test_a_wrong_argument_is_named(call, said):
    with pytest.raises(ShapeError, match=said):
        call()
