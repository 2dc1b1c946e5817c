from typing import Any, cast

import pytest
import torch
from agree import FAST, apart, poison, run, worst
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from tsforge.errors import CapabilityError, ShapeError
from tsforge.kernels import use
from tsforge.kernels.backends import implementation
from tsforge.kernels.selective import CHUNK, selective_scan, selective_step

scan, step = cast(Any, selective_scan), cast(Any, selective_step)  # called with whatever a test made up
LENGTHS = (1, 2, 63, 500, 1000)
NUMBA = pytest.mark.skipif("numba" not in FAST, reason="numba is not installed")


def arguments(batch=2, time=7, channels=5, n=3, *, full=True, seed=0, dtype=torch.float64) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator).to(dtype)

    made = {"u": draw(batch, time, channels), "delta": draw(batch, time, channels) - 1, "A": -draw(channels, n).exp(),
            "B": draw(batch, time, n), "C": draw(batch, time, n), "return_state": True}
    if not full:
        return made | {"delta": made["delta"].exp()}
    return made | {"D": draw(channels), "z": draw(batch, time, channels), "delta_bias": draw(channels),
                   "h0": draw(batch, channels, n), "softplus": True}


def check(given, backend, *, halves=False, float32=True):
    """Values and gradients of a backend against the reference in float64."""
    wanted, wanted_grads = run(selective_scan, given, "reference")
    found, grads = run(selective_scan, given, backend)
    assert worst(found, wanted) < 1e-10
    assert worst(list(grads.values()), list(wanted_grads.values())) < 1e-10
    types = [(torch.float32, 1e-5, 1e-4)] * float32 + [(torch.bfloat16, 2e-2, 3e-2)] * halves
    for dtype, bound, bound_of_gradients in types:
        rounded = {k: v.to(dtype).double() if torch.is_tensor(v) else v for k, v in given.items()}
        wanted, wanted_grads = run(selective_scan, rounded, "reference")
        found, grads = run(selective_scan, rounded, backend, dtype)
        assert found[0].dtype == dtype
        assert worst(found, wanted) < bound
        assert worst(list(grads.values()), list(wanted_grads.values())) < bound_of_gradients


def test_the_reference_is_the_recurrence():
    given = arguments()
    u, A, B, C, D, z, h0 = (given[name] for name in ("u", "A", "B", "C", "D", "z", "h0"))
    delta = torch.log1p(torch.exp(given["delta"] + given["delta_bias"]))
    for reverse, times in ((False, range(7)), (True, reversed(range(7)))):
        with use("reference"):
            y, last = scan(**given, reverse=reverse)
        h = h0.clone()
        for t in times:
            for c in range(5):
                for n in range(3):
                    h[:, c, n] = torch.exp(delta[:, t, c] * A[c, n]) * h[:, c, n] + (delta * u)[:, t, c] * B[:, t, n]
            read = torch.stack([(h[:, c] * C[:, t]).sum(1) for c in range(5)], 1)
            assert apart(y[:, t], (read + D * u[:, t]) * z[:, t] * torch.sigmoid(z[:, t])) < 1e-14
        assert apart(last, h) < 1e-14


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("time", LENGTHS)
@pytest.mark.parametrize("backend", FAST)
def test_values_and_gradients_equal_the_reference(backend, time, reverse, monkeypatch):
    poison(monkeypatch)
    check(arguments(time=time) | {"reverse": reverse}, backend, halves=True)
    check(arguments(time=time, full=False) | {"reverse": reverse}, backend)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("backend", FAST)
def test_they_do_so_for_steps_and_rates_of_any_size(backend, reverse, monkeypatch):
    poison(monkeypatch)
    given = arguments(time=100, channels=17, n=6, full=False) | {"reverse": reverse}
    spread = torch.rand(given["delta"].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    given["delta"] = 10 ** (-6 + 7.3 * spread)  # 1e-6 to 20
    given["delta"][:, 30:40] = 0
    given["delta"][:, 60:70] = 20
    given["A"] = -torch.tensor([0.0, 1e-8, 1e-3, 1.0, 30.0, 1e4], dtype=torch.float64).repeat(17, 1)
    check(given, backend)
    raw = given["delta"] * 20 - 100  # softplus far to both sides, where torch's own leaves float64 behind
    check(given | {"delta": raw, "softplus": True}, backend)


@pytest.mark.parametrize("channels", [1, 15, 16, 17, 40])
@pytest.mark.parametrize("backend", FAST)
def test_any_number_of_channels_fits_the_lanes(backend, channels, monkeypatch):
    poison(monkeypatch)
    check(arguments(time=35, channels=channels, n=2), backend)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_shape_is_scanned_as_by_the_reference(data):
    batch, time, channels, n = (data.draw(st.integers(0, high)) for high in (3, 70, 20, 4))
    given = arguments(batch, time, channels, n, full=data.draw(st.booleans()), seed=data.draw(st.integers(0, 99)))
    for optional in ("D", "z", "delta_bias", "h0"):
        if data.draw(st.booleans()):
            given.pop(optional, None)
    for backend in FAST:
        check(given | {"reverse": data.draw(st.booleans())}, backend, float32=False)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("backend", [*FAST, "reference"])
def test_two_calls_with_the_state_carried_equal_one(backend, reverse):
    given = arguments(time=70) | {"reverse": reverse}

    def in_two(cut=41, **given):
        head, tail = ({k: v[:, part] if k in ("u", "delta", "B", "C", "z") else v for k, v in given.items()}
                      for part in (slice(cut), slice(cut, None)))
        first, second = (tail, head) if reverse else (head, tail)
        y1, state = scan(**first)
        y2, last = scan(**second | {"h0": state})
        return torch.cat([y2, y1] if reverse else [y1, y2], 1), last

    whole, grads = run(selective_scan, given, backend)
    parts, grads_of_parts = run(in_two, given, backend)
    assert worst(parts, whole) < 1e-12
    assert worst(list(grads_of_parts.values()), list(grads.values())) < 1e-12


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("backend", [*FAST, "reference"])
def test_steps_one_by_one_equal_the_scan(backend, full):
    given = arguments(time=9, full=full)
    with use(backend):
        y, last = scan(**given)
    kept = {"state": given.pop("h0", None)}
    given.pop("return_state")
    for t in range(9):
        now = {k: v[:, t] if k in ("u", "delta", "B", "C", "z") else v for k, v in given.items()}
        out, kept["state"] = step(**now, **kept)
        assert apart(out, y[:, t]) < 1e-12
    assert apart(kept["state"], last) < 1e-12


@pytest.mark.parametrize("backend", FAST)
def test_with_constant_coefficients_it_is_the_convolution_of_a_linear_system(backend):
    given = arguments(time=40, full=False)
    given |= {name: given[name][:, :1].expand_as(given[name]) for name in ("delta", "B", "C")}
    with use(backend):
        y, _ = scan(**given)
    delta, B, C = (given[name][:, 0] for name in ("delta", "B", "C"))
    steps = torch.arange(40, dtype=torch.float64)
    powers = torch.exp(steps[:, None, None, None] * delta[..., None] * given["A"])  # [time, batch, channel, n]
    kernel = torch.einsum("tbcn,bn,bn,bc->btc", powers, B, C, delta)
    wanted = torch.stack([(kernel[:, : t + 1].flip(1) * given["u"][:, : t + 1]).sum(1) for t in range(40)], 1)
    assert apart(y, wanted) < 1e-12


@pytest.mark.parametrize("backend", FAST)
def test_the_future_does_not_reach_the_past_and_nan_stays_in_its_series(backend):
    given = arguments(time=70, dtype=torch.float32)
    spoiled = {name: given[name].clone() for name in ("u", "delta", "B", "C", "z")}
    for tensor in spoiled.values():
        tensor[1, 45:] = float("nan")
    with use(backend):
        y, found = (scan(**given | changed)[0] for changed in ({}, spoiled))
    assert apart(found[0], y[0]) == 0
    assert apart(found[1, :45], y[1, :45]) == 0
    assert found[1, 45:].isnan().all()
    spoiled["u"] = given["u"]
    with use(backend):
        assert scan(**given | {"delta": spoiled["delta"]})[0][1, 45:].isnan().all()


def error_of_rates(positive):
    """Of dA after 2048 steps as a trained model has them: steps of a hundredth to a tenth, rates 1 to 16."""
    given: dict[str, Any] = arguments(2, 2048, 16, 16, full=False) | {"return_state": False}
    given["A"] = -torch.arange(1, 17, dtype=torch.float64).repeat(16, 1)
    uniform = torch.rand(2, 2048, 16, generator=torch.Generator().manual_seed(5))
    given["delta"] = 0.01 + 0.09 * uniform.double()
    weights, grads = torch.randn(2, 2048, 16, generator=torch.Generator().manual_seed(6)), {}
    given = {name: value.float() if torch.is_tensor(value) else value for name, value in given.items()}
    if positive:
        weights, given = weights.abs(), given | {name: given[name].abs() for name in ("u", "B", "C")}
    for backend, dtype in (("torch", torch.float64), ("numba", torch.float32)):
        typed: dict[str, Any] = {k: v.to(dtype) if torch.is_tensor(v) else v for k, v in given.items()}
        A = typed["A"].requires_grad_()
        with use(backend):
            (grads[backend],) = torch.autograd.grad((scan(**typed) * weights).sum(), A)
    return apart(grads["numba"], grads["torch"])


@NUMBA
def test_the_gradient_of_the_rates_over_a_long_series_is_as_exact_as_float32_can_be(monkeypatch):
    assert error_of_rates(positive=True) < 2e-7
    assert error_of_rates(positive=False) < 4e-7  # what cancels costs digits, in torch's parallel scan as many
    monkeypatch.setattr("tsforge.kernels.selective.CHUNK", 2048)  # the fault: one serial sum in float32
    assert error_of_rates(positive=True) > 3e-7
    assert error_of_rates(positive=False) > 6e-7


@NUMBA
def test_the_number_of_threads_does_not_change_a_bit():
    given, results = arguments(batch=5, time=300, channels=40, n=8, dtype=torch.float32), []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found, grads = run(selective_scan, given, "numba")
            results.append([*found, *grads.values()])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, results[0], strict=True))


class Largest(TorchDispatchMode):
    """Remembers the most elements of any tensor that an operator of torch returned."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **kwargs or {})
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.untyped_storage().nbytes() // tensor.element_size())
        return out


@pytest.mark.parametrize("backend", [*FAST, "reference"])
def test_no_tensor_has_the_size_of_all_states(backend):
    batch, time, channels, n = 2, 8 * CHUNK, 16, 8
    given = arguments(batch, time, channels, n)
    del given["return_state"]
    inputs, options = [value.requires_grad_() for value in given.values() if torch.is_tensor(value)], (True, False)
    module = implementation("selective", backend)
    order = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias", "h0")
    values = [given[name] for name in order]
    if backend == "reference":  # the control: torch's tape keeps a state for each step
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x.numel()), lambda x: x):
            module.forward(*values, *options)
        assert sum(saved) > 2 * batch * time * channels * n
        return
    with torch.no_grad(), Largest() as seen:
        y, last, kept = module.forward(*values, *options, CHUNK)
        module.backward(y, last, *values[:-1], kept, *options, CHUNK)
    assert len(inputs) == len(order)
    assert batch * time * channels <= seen.elements <= batch * CHUNK * channels * n


@pytest.mark.parametrize("backend", FAST)
def test_strides_do_not_matter_and_empty_batches_pass(backend):
    given = arguments(batch=3, time=6)
    turned = {k: v.transpose(0, 1).contiguous().transpose(0, 1) if torch.is_tensor(v) and v.ndim > 1 else v
              for k, v in given.items()}
    with use(backend):
        y, last = scan(**given)
        found, state = scan(**turned)
        assert worst([found, state], [y, last]) < 1e-15
        empty, state = scan(**{k: v[:0] if k in ("u", "delta", "B", "C", "z", "h0") else v
                                         for k, v in given.items()})
    assert (empty.shape, state.shape) == ((0, 6, 5), (0, 5, 3))


@pytest.mark.parametrize("backend", FAST)
def test_without_time_the_state_passes_and_is_a_copy(backend):
    given = arguments(time=0)
    with use(backend):
        y, last = scan(**given)
    assert y.shape == (2, 0, 5)
    assert apart(last, given["h0"]) == 0
    assert last.data_ptr() != given["h0"].data_ptr()


@pytest.mark.parametrize("backend", [*FAST, "reference"])
def test_halves_may_stand_beside_float32_and_the_state_stays_in_it(backend):
    given = arguments(dtype=torch.float32)
    with use(backend):
        y, last = scan(**given | {"u": given["u"].bfloat16(), "z": given["z"].half()})
        assert (y.dtype, last.dtype) == (torch.bfloat16, torch.float32)
        alone = scan(**given | {"return_state": False})
    assert isinstance(alone, torch.Tensor)
    assert apart(y, alone) < 2e-2


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("backend", FAST)
def test_gradients_pass_the_numerical_check(backend, full):
    given = arguments(batch=2, time=4, channels=2, n=2, full=full)
    tensors = {name: value.requires_grad_() for name, value in given.items() if torch.is_tensor(value)}
    rest = {name: value for name, value in given.items() if name not in tensors}
    with use(backend):
        assert torch.autograd.gradcheck(
            lambda *values: scan(**dict(zip(tensors, values, strict=True)), **rest), list(tensors.values())
        )


@pytest.mark.parametrize("backend", FAST)
def test_a_gradient_of_the_state_or_of_the_output_alone(backend):
    given = arguments(time=40)
    for pick in (0, 1):
        def one(pick=pick, **given):
            return scan(**given)[pick]

        _, wanted = run(one, given, "reference")
        _, found = run(one, given, backend)
        assert worst(list(found.values()), list(wanted.values())) < 1e-12


@pytest.mark.parametrize("name", ["delta", "A", "B", "C", "h0"])
def test_a_planted_fault_is_found(name):
    given = arguments(time=40)
    wanted, grads = run(selective_scan, given, "reference")
    found, found_grads = run(selective_scan, given | {name: given[name].roll(1, dims=1)}, FAST[-1])
    assert worst(found, wanted) > 1e-2
    assert worst(list(found_grads.values()), list(grads.values())) > 1e-2


@pytest.mark.parametrize("backend", FAST)
def test_the_operator_keeps_the_rules_of_torch(backend):
    for full in (False, True):
        given = arguments(full=full)
        order = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias", "h0")
        values = [given[name].requires_grad_() if name in given else None for name in order]
        torch.library.opcheck(torch.ops.tsforge.selective_scan.default, (*values, full, False, CHUNK, backend))


@pytest.mark.parametrize("backend", FAST)
def test_a_compiled_function_traces_through(backend):
    given = arguments(time=40)

    def double(**given):
        y, last = scan(**given)
        return y * 2, last

    with use(backend):
        wanted = double(**given)
        traced = torch.compile(double, fullgraph=True, backend="aot_eager")(**given)
    assert worst(traced, wanted) == 0


def test_second_derivatives_are_refused_with_words_and_the_reference_has_them():
    given: dict[str, Any] = arguments(1, 3, 2, 2, full=False) | {"return_state": False}
    A = given["A"].requires_grad_()
    with use("torch"):
        (first,) = torch.autograd.grad(scan(**given).square().sum(), A, create_graph=True)
    with pytest.raises(CapabilityError, match="differentiated once"):
        first.sum().backward()
    with use("reference"):
        assert torch.autograd.gradgradcheck(lambda A: scan(**given | {"A": A}), [A])


@pytest.mark.parametrize(("changes", "said"), [
    ({"A": torch.ones(4, 3)}, r"A has the shape \(4, 3\), wanted \[channel, n\]: its channel is 4, and that of u is 5"),
    ({"B": torch.ones(2, 8, 3)}, r"B has the shape \(2, 8, 3\), wanted \[batch, time, n\]: its time is 8"),
    ({"C": torch.ones(2, 7, 4)}, r"C has the shape \(2, 7, 4\), wanted \[batch, time, n\]: its n is 4"),
    ({"D": torch.ones(5, 1)}, r"D has the shape \(5, 1\): wanted \[channel\]"),
    ({"z": torch.ones(2, 7, 6)}, "z has the shape"),
    ({"h0": torch.ones(2, 3, 5)}, r"h0 has the shape \(2, 3, 5\), wanted \[batch, channel, n\]"),
    ({"delta": torch.ones(2, 7, 5, device="meta")}, "delta is on meta, u on cpu"),
    ({"A": torch.ones(5, 3, dtype=torch.complex64)}, "A holds torch.complex64, wanted numbers of floating point"),
    ({"delta_bias": 0.5}, "delta_bias is a float, wanted a tensor"),
])
def test_a_wrong_argument_is_named(changes, said):
    with pytest.raises(ShapeError, match=said):
        scan(**(arguments() | changes))
    now = {k: v for k, v in (arguments() | changes).items() if k in ("A", "D", "delta_bias")}
    if set(changes) & set(now):
        steps = {k: torch.ones(2, size) for k, size in {"u": 5, "delta": 5, "B": 3, "C": 3}.items()}
        with pytest.raises(ShapeError, match=said):
            step(**(steps | now))
