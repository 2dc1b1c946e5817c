import pytest
import torch
from agree import FAST, apart, poison, run, worst
from hypothesis import given, settings
from hypothesis import strategies as st

from tsforge.errors import CapabilityError, ShapeError
from tsforge.kernels import linear_scan, use

LENGTHS = (1, 2, 31, 32, 33, 63, 500, 1000)
DTYPES = (torch.float64, torch.complex128)


def arguments(batch=3, time=7, channels=5, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, dtype=dtype, generator=generator)

    return {"a": 0.5 * draw(batch, time, channels), "x": draw(batch, time, channels), "h0": draw(batch, channels)}


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_reference_is_the_recurrence(dtype):
    given = arguments(dtype=dtype)
    with use("reference"):
        h, back = (linear_scan(**given, reverse=reverse) for reverse in (False, True))
    a, x, h0 = given.values()
    assert apart(h[:, 0], a[:, 0] * h0 + x[:, 0]) == 0
    assert apart(h[:, 4], a[:, 4] * h[:, 3] + x[:, 4]) == 0
    assert apart(back[:, 2], a[:, 2] * back[:, 3] + x[:, 2]) == 0
    assert apart(back[:, 6], a[:, 6] * h0 + x[:, 6]) == 0


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("time", LENGTHS)
@pytest.mark.parametrize("backend", FAST)
def test_values_and_gradients_equal_the_reference(backend, time, reverse, monkeypatch):
    for dtype in DTYPES:
        given = arguments(time=time, dtype=dtype) | {"reverse": reverse}
        h, grads = run(linear_scan, given, "reference")
        poison(monkeypatch)
        found, found_grads = run(linear_scan, given, backend)
        assert worst(found, h) < 1e-12
        assert worst(list(found_grads.values()), list(grads.values())) < 1e-12
        for half, bound, bound_of_gradients in ((torch.float32, 1e-5, 1e-4), (torch.bfloat16, 2e-2, 3e-2)):
            if dtype == torch.float64:
                rounded = {k: v.to(half).double() if torch.is_tensor(v) else v for k, v in given.items()}
                h, grads = run(linear_scan, rounded, "reference")
                found, found_grads = run(linear_scan, rounded, backend, half)
                assert found[0].dtype == half
                assert worst(found, h) < bound
                assert worst(list(found_grads.values()), list(grads.values())) < bound_of_gradients


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_shape_is_scanned_as_by_the_reference(data):
    shape = data.draw(st.lists(st.integers(0, 4), min_size=2, max_size=5))
    complex_ = data.draw(st.booleans())
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    dtype = torch.complex128 if complex_ else torch.float64
    a_shape = [size if data.draw(st.booleans()) else 1 for size in shape]
    x, a = (torch.randn(*sizes, dtype=dtype, generator=generator) for sizes in (shape, a_shape))
    given = {"a": a, "x": x, "reverse": data.draw(st.booleans())}
    h, grads = run(linear_scan, given, "reference")
    for backend in FAST:
        found, found_grads = run(linear_scan, given, backend)
        assert worst(found, h) < 1e-12
        assert worst(list(found_grads.values()), list(grads.values())) < 1e-12


@pytest.mark.parametrize("backend", FAST)
def test_strides_do_not_matter_and_the_result_is_never_the_input(backend):
    given = arguments(batch=4, time=6)
    with use(backend):
        h = linear_scan(given["a"], given["x"])
        turned = linear_scan(given["a"].mT.contiguous().mT, given["x"].transpose(0, 1).contiguous().transpose(0, 1))
        assert apart(turned, h) == 0
        one = given["x"][:, :1].contiguous()
        out = linear_scan(torch.ones_like(one), one)
        assert apart(out, one) == 0
        assert out.data_ptr() != one.data_ptr()
        assert linear_scan(given["a"][:0], given["x"][:0]).shape == (0, 6, 5)


@pytest.mark.parametrize("backend", FAST)
def test_gradients_pass_the_numerical_check(backend):
    given = [tensor.requires_grad_() for tensor in arguments(batch=2, time=4, channels=2).values()]
    with use(backend):
        assert torch.autograd.gradcheck(linear_scan, given)


def test_a_planted_fault_is_found():
    given = arguments(time=9)
    h, grads = run(linear_scan, given, "reference")
    shifted = {**given, "a": given["a"].roll(1, dims=1)}
    found, found_grads = run(linear_scan, shifted, FAST[-1])
    assert worst(found, h) > 1e-2
    assert worst(list(found_grads.values()), list(grads.values())) > 1e-2


@pytest.mark.parametrize("backend", FAST)
def test_the_operator_keeps_the_rules_of_torch(backend):
    a, x, h0 = (tensor.requires_grad_() for tensor in arguments().values())
    for state in (h0, None):
        torch.library.opcheck(torch.ops.tsforge.linear_scan.default, (a, x, state, False, backend))


@pytest.mark.parametrize("backend", FAST)
def test_a_compiled_function_traces_through(backend):
    given = arguments()

    def double(a, x):
        return linear_scan(a, x) * 2

    with use(backend):
        traced = torch.compile(double, fullgraph=True, backend="aot_eager")(given["a"], given["x"])
        assert apart(traced, double(given["a"], given["x"])) == 0


def test_second_derivatives_are_refused_with_words_and_the_reference_has_them():
    a, x, h0 = (tensor.requires_grad_() for tensor in arguments(batch=1, time=3, channels=2).values())
    with use("torch"):
        (first,) = torch.autograd.grad(linear_scan(a, x, h0).square().sum(), a, create_graph=True)
    with pytest.raises(CapabilityError, match="differentiated once"):
        first.sum().backward()
    with use("reference"):
        assert torch.autograd.gradgradcheck(linear_scan, [a, x, h0])


@pytest.mark.parametrize(("changes", "said"), [
    ({"a": torch.ones(3, 8, 5)}, r"a has the shape \(3, 8, 5\), which does not broadcast to \(3, 7, 5\)"),
    ({"h0": torch.ones(3, 4)}, r"h0 has the shape \(3, 4\): wanted \(3, 5\)"),
    ({"x": torch.ones(3, dtype=torch.float64)}, r"x has the shape \(3,\): wanted \[batch, time, ...\]"),
    ({"x": torch.ones(3, 7, 5, dtype=torch.int64)}, "x holds torch.int64"),
    ({"a": torch.ones(3, 7, 5, device="meta")}, "a is on meta, x on cpu"),
    ({"a": 0.5}, "a is a float, wanted a tensor"),
])
def test_a_wrong_argument_is_named(changes, said):
    with pytest.raises(ShapeError, match=said):
        linear_scan(**(arguments() | changes))
