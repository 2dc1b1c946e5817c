from itertools import pairwise

import numpy as np
import pytest
import torch
from agree import FAST, apart, poison, run, worst
from hypothesis import given, settings
from hypothesis import strategies as st

from tsforge.errors import ArgumentError, CapabilityError, ShapeError
from tsforge.kernels import use
from tsforge.kernels.backends import why_not
from tsforge.kernels.grid import GridState, scan_2d
from tsforge.kernels.grid_coefficients import scan_2d_coefficients
from tsforge.kernels.reference import grid as reference

ALL = ("reference", *FAST)
NUMBA = pytest.mark.skipif(bool(why_not("numba")), reason="numba is not installed")
COUPLINGS = ("zoh_input", "exp")


def arguments(batch=2, variates=3, time=7, d=2, n=5, steps=(1e-6, 20.0), seed=0, state=True):
    """Steps between two bounds, evenly in their logarithm; couplings that leave every grid bounded."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    def uniform(low, high, *shape):
        return low + (high - low) * torch.rand(*shape, dtype=torch.float64, generator=generator)

    cells, reads, low, high = (batch, variates, time, d), (batch, variates, time, n), *np.log10(steps)
    a1, a4 = uniform(-4, -0.1, d, n), uniform(-4, -0.1, d, n)
    made = {"x": draw(*cells), "delta1": 10 ** uniform(low, high, *cells), "delta2": 10 ** uniform(low, high, *cells)}
    made |= {"a1": a1, "a2": a1 * uniform(0.2, 1, d, n), "a3": a4 * uniform(0.2, 1, d, n), "a4": a4}
    made |= {name: draw(*reads) for name in ("b1", "b2", "c1", "c2")}
    return made | ({name: draw(batch, variates, d, n) for name in ("h1", "h2")} if state else {})


def with_state(h1, h2, **given):
    y, end = scan_2d(**given, h0=GridState(h1, h2), return_state=True)
    return y, *end


def agree(given, backend, bounds=((torch.float64, 1e-10, 1e-10), (torch.float32, 1e-5, 1e-4))):
    for dtype, bound, bound_of_gradients in bounds:
        rounded = {k: v.to(dtype).double() if torch.is_tensor(v) else v for k, v in given.items()}
        wanted, grads = run(with_state, rounded, "reference")
        found, found_grads = run(with_state, rounded, backend, dtype)
        assert found[0].dtype == dtype
        assert worst(found, wanted) < bound
        assert worst(list(found_grads.values()), list(grads.values())) < bound_of_gradients


def test_the_coefficients_are_those_of_the_sheet():
    given = arguments(steps=(0.1, 1.0), state=False)
    x, step1, step2, a1, a2, a3, a4, b1, b2, *_ = given.values()
    step1, step2, x_ = step1[..., None], step2[..., None], x[..., None]
    own = torch.exp(step1 * a1), torch.exp(step2 * a4)
    entering = (own[0] - 1) / a1 * b1[..., None, :] * x_, (own[1] - 1) / a4 * b2[..., None, :] * x_
    for coupling, across in (("zoh_input", ((own[0] - 1) / a1 * a2, (own[1] - 1) / a4 * a3)),
                             ("exp", (torch.exp(step1 * a2), torch.exp(step2 * a3)))):
        wanted = own[0], *across, own[1], *entering
        cells = reference.discretise(x, *(given[k] for k in list(given)[1:9]), exponential=coupling == "exp")
        assert worst(cells, wanted) < 1e-12
        reads = (c[..., None, :].expand_as(x_ * a1) for c in (given["c1"], given["c2"]))
        y = scan_2d_coefficients(*wanted, *reads)
        for backend in ALL:
            with use(backend):
                assert apart(scan_2d(**given, coupling=coupling), y) < 1e-12


def constant(d1, d2, size, coupling, backend, a=-1.0, other=-0.5):
    """A grid of ones with the same steps everywhere."""
    ones = torch.ones(1, size, size, 1, dtype=torch.float64)
    rates = [torch.full((1, 1), value, dtype=torch.float64) for value in (a, other, other, a)]
    with use(backend):
        return scan_2d(ones, d1 * ones, d2 * ones, *rates, ones, ones, ones, ones, coupling=coupling)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize(
    ("variates", "time", "d", "n"),
    [(1, 1, 1, 1), (1, 2, 2, 5), (2, 1, 16, 3), (2, 3, 1, 16), (3, 33, 2, 17), (7, 63, 1, 5), (33, 2, 2, 16),
     (5, 7, 16, 16)],
)
def test_values_and_gradients_equal_the_reference(backend, coupling, variates, time, d, n, monkeypatch):
    given = arguments(variates=variates, time=time, d=d, n=n)
    poison(monkeypatch)
    for reverse in (False, True):
        agree(given | {"coupling": coupling, "reverse_variates": reverse}, backend)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize(("variates", "time"), [(1, 1000), (2, 500), (129, 3)])
def test_long_grids_agree_too(backend, variates, time, monkeypatch):
    poison(monkeypatch)
    agree(arguments(batch=1, variates=variates, time=time, d=1, n=2, steps=(1e-3, 1.0)), backend)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_extreme_steps_and_rates_agree(backend, coupling):
    given = arguments(variates=4, time=9)
    given["delta1"][:, :, ::2], given["delta2"][:, 1::2] = 0.0, 0.0
    given["delta1"][:, 1, 3], given["delta2"][:, 2, 4] = 20.0, 1e-6
    for name, values in (("a1", (0.0, -1e-30, -1e-9, -60.0)), ("a4", (-60.0, -1e-12, 0.0, -1e-4))):
        given[name][:, :4] = torch.tensor(values, dtype=torch.float64)
    agree(given | {"coupling": coupling}, backend)


@pytest.mark.parametrize("backend", FAST)
def test_halves_are_scanned_in_float32(backend):
    agree(arguments(steps=(1e-2, 1.0)), backend, [(torch.bfloat16, 2e-2, 3e-2)])


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("step", [1e-4, 1e-3, 1e-2, 0.3])
def test_at_small_steps_no_gradient_loses_its_digits(backend, step):
    """(D e^z - (e^z - 1) / a) / a, as calculus gives the derivative by a, would lose four digits at D = 1e-3."""
    given = arguments(variates=4, time=20, steps=(0.5 * step, step), state=False)
    wanted, grads = run(scan_2d, {k: v.float().double() for k, v in given.items()}, "reference")
    found, found_grads = run(scan_2d, given, backend, torch.float32)
    for name, grad in grads.items():
        scale = grad.abs().max()  # `apart` divides by no less than 1e-3, and these gradients are small
        assert apart(found_grads[name] / scale, grad / scale) < 3e-6, name
    assert apart(found[0], wanted[0]) < 3e-6
    z = torch.tensor(-step)
    naive = (torch.exp(z) - torch.expm1(z) / z) / z
    assert step > 1e-2 or abs(naive.double() / (0.5 - step / 3) - 1) > 1e-5


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_shape_is_scanned_as_by_the_reference(data):
    batch, variates, time, d = (data.draw(st.integers(0, 4)) for _ in range(4))
    given = arguments(batch, variates, time, d, data.draw(st.sampled_from([0, 1, 3, 16, 18])))
    given |= {"coupling": data.draw(st.sampled_from(COUPLINGS)), "reverse_variates": data.draw(st.booleans())}
    wanted, grads = run(with_state, given, "reference")
    for backend in FAST:
        found, found_grads = run(with_state, given, backend)
        assert worst(found, wanted) < 1e-12
        assert worst(list(found_grads.values()), list(grads.values())) < 1e-12


@pytest.mark.parametrize("backend", ALL)
def test_without_coupling_each_variate_is_a_time_scan_of_its_own(backend):
    given = arguments(time=30, variates=4, state=False)
    given |= {"a2": torch.zeros_like(given["a2"]), "a3": torch.zeros_like(given["a3"])}
    alone = [{k: v[:, i : i + 1] if v.ndim == 4 else v for k, v in given.items()} for i in range(4)]
    with use(backend):
        by_time = {"c2": torch.zeros_like(given["c2"])}
        apiece = torch.cat([scan_2d(**(one | {"c2": torch.zeros_like(one["c2"])})) for one in alone], 1)
        assert apart(scan_2d(**(given | by_time)), apiece) < 1e-12
        coupled = given | by_time | {"a2": given["a1"]}
        assert apart(scan_2d(**coupled), apiece) > 1e-2


@pytest.mark.parametrize("backend", ALL)
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_it_is_causal_in_time_and_along_its_direction_over_variates(backend, coupling):
    given = arguments(variates=5, time=8, steps=(0.1, 1.0), state=False) | {"coupling": coupling}
    later, below = given["x"].clone(), given["x"].clone()
    later[:, :, 5:] += 1
    below[:, 3:] += 1
    with use(backend):
        for reverse in (False, True):
            y, y_later, y_below = (
                scan_2d(**(given | {"x": x}), reverse_variates=reverse) for x in (given["x"], later, below)
            )
            assert apart(y_later[:, :, :5], y[:, :, :5]) == 0
            assert apart(y_later[:, :, 5:], y[:, :, 5:]) > 1e-2
            assert (apart(y_below[:, :3], y[:, :3]) == 0) != reverse
            assert apart(y_below[:, 3:], y[:, 3:]) > 1e-2


@pytest.mark.parametrize("backend", ALL)
def test_reversed_it_is_the_scan_of_the_flipped_variates(backend):
    given = arguments(variates=5, state=False)
    flipped = {name: value.flip(1) if value.ndim == 4 else value for name, value in given.items()}
    with use(backend):
        assert apart(scan_2d(**given, reverse_variates=True), scan_2d(**flipped).flip(1)) < 1e-12


@pytest.mark.parametrize("backend", ALL)
def test_a_held_input_sampled_twice_as_often_gives_the_same_states(backend):
    given = arguments(variates=1, time=12, steps=(1e-3, 2.0), state=False)
    given |= {"a2": torch.zeros_like(given["a2"]), "c2": torch.zeros_like(given["c2"])}
    often = {k: v.repeat_interleave(2, 2) if v.ndim == 4 else v for k, v in given.items()}
    with use(backend):
        y, halved, whole = (scan_2d(**each) for each in (given, often | {"delta1": often["delta1"] / 2}, often))
    assert apart(halved[:, :, 1::2], y) < 1e-12
    assert apart(whole[:, :, 1::2], y) > 1e-2


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("backend", ALL)
def test_column_by_column_with_the_state_carried_is_the_whole(backend, reverse):
    given = arguments(variates=4, time=11, state=False)
    with use(backend):
        y, end = scan_2d(**given, reverse_variates=reverse, return_state=True)
        for cuts in (range(12), (0, 3, 4, 11)):
            parts, state = [], None
            for low, high in pairwise(cuts):
                piece = {k: v[:, :, low:high] if v.ndim == 4 else v for k, v in given.items()}
                part, state = scan_2d(**piece, reverse_variates=reverse, h0=state, return_state=True)
                parts.append(part)
            assert apart(torch.cat(parts, 2), y) < 1e-12
            assert state is not None
            assert worst(state, end) < 1e-12


@pytest.mark.parametrize("backend", FAST)
def test_the_held_coupling_is_bounded_at_every_step_and_the_exponential_one_explodes(backend):
    for step in (1e-3, 1e-2, 0.1, 1.0, 10.0):
        # where the state rests, h = (0.5 h + 1) / 1 for both, so y = 2 + 2; all grids of ones rise towards it
        for other in (step, 0.1):
            assert 0 < constant(step, other, 200, "zoh_input", backend).max() < 4 + 1e-9
    assert constant(0.1, 0.1, 40, "exp", backend, other=-1.0).max() > 1e15
    assert constant(1.5, 1.5, 40, "exp", backend, other=-1.0).max() < 10


@pytest.mark.parametrize("backend", FAST)
def test_strides_and_threads_do_not_matter(backend):
    given = arguments(batch=5, variates=3, time=40, d=3, n=16, state=False)
    strided = {k: v.mT.contiguous().mT for k, v in given.items()}
    before = torch.get_num_threads()
    with use(backend):
        y, grads = run(scan_2d, given, backend)
        turned, turned_grads = run(scan_2d, strided, backend)
        assert worst(turned, y) < 1e-14
        assert worst(list(turned_grads.values()), list(grads.values())) < 1e-14
        try:
            torch.set_num_threads(3)
            parted, parted_grads = run(scan_2d, given, backend)
        finally:
            torch.set_num_threads(before)
        assert worst(parted, y) < 1e-14
        assert worst(list(parted_grads.values()), list(grads.values())) < 1e-14


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("backend", FAST)
def test_gradients_pass_the_numerical_check(backend, coupling):
    given = {k: v.requires_grad_() for k, v in arguments(1, 2, 3, 1, 2, steps=(0.1, 1.0)).items()}

    def scan(*values):
        return with_state(**dict(zip(given, values, strict=True)), coupling=coupling)

    with use(backend):
        assert torch.autograd.gradcheck(scan, list(given.values()))


@pytest.mark.parametrize("fault", ["h1", "c2", "delta2"])
def test_a_planted_fault_is_found(fault):
    given = arguments(time=9, steps=(0.1, 1.0))
    wanted, grads = run(with_state, given, "reference")
    shifted = given | {fault: given[fault].roll(1, dims=1)}
    found, found_grads = run(with_state, shifted, FAST[-1])
    assert worst(found, wanted) > 1e-2
    assert worst(list(found_grads.values()), list(grads.values())) > 1e-2


@pytest.mark.parametrize("backend", FAST)
def test_the_operator_keeps_the_rules_of_torch(backend):
    for time in (4, 0):
        for d, n in ((2, 3), (1, 16)):
            given = [value.requires_grad_() for value in arguments(2, 3, time, d, n).values()]
            torch.library.opcheck(torch.ops.tsforge.scan_2d.default, (*given, False, True, backend))


@pytest.mark.parametrize("backend", FAST)
def test_a_compiled_function_traces_through(backend):
    given = arguments(state=False)

    def double(given):
        y, state = scan_2d(**given, return_state=True)
        return 2 * y, state.h1

    with use(backend):
        traced = torch.compile(double, fullgraph=True, backend="aot_eager")(given)
        assert worst(traced, double(given)) == 0


def test_second_derivatives_are_refused_with_words_and_the_reference_has_them():
    given = {k: v.requires_grad_() for k, v in arguments(1, 2, 2, 1, 1, steps=(0.1, 1.0), state=False).items()}
    with use("torch"):
        (first,) = torch.autograd.grad(scan_2d(**given).square().sum(), given["delta1"], create_graph=True)
    with pytest.raises(CapabilityError, match="differentiated once"):
        first.sum().backward()
    with use("reference"):
        assert torch.autograd.gradgradcheck(lambda *values: scan_2d(*values), list(given.values()))


@pytest.mark.parametrize(("changes", "said"), [
    ({"delta2": torch.ones(2, 3, 8, 2)}, r"delta2 has .*, wanted .*: its time is 8, and that of x is 7"),
    ({"a3": torch.ones(2, 4)}, "a3 has .* its n is 4, and that of a1 is 5"),
    ({"c1": torch.ones(2, 7, 5)}, r"c1 has the shape \(2, 7, 5\): wanted \[batch, variate, time, n\]"),
    ({"h0": (torch.ones(2, 3, 2, 5), torch.ones(2, 4, 2, 5))}, r"h0\[1\] has .* its variate is 4"),
    ({"b1": torch.ones(2, 3, 7, 5, dtype=torch.int64)}, "b1 holds torch.int64"),
    ({"a1": -1.0}, "a1 is a float, wanted a tensor"),
    ({"x": torch.ones(2, 3, 7, 2, device="meta")}, "delta1 is on cpu, x on meta"),
])
def test_a_wrong_argument_is_named(changes, said):
    with pytest.raises(ShapeError, match=said):
        scan_2d(**(arguments(state=False) | changes))


def test_a_coupling_that_there_is_not_is_named():
    with pytest.raises(ArgumentError, match="coupling='zoh': wanted 'zoh_input' or 'exp'"):
        scan_2d(**arguments(state=False), coupling="zoh")


@NUMBA
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 3e-6), ("float64", 1e-13)])
def test_what_a_step_does_to_a_state_is_exact_to_a_few_units(dtype, bound):
    from tsforge.kernels.cpu.compiled import compiled
    from tsforge.kernels.cpu.exponential import OPTIONS
    from tsforge.kernels.cpu.held import FLAT, INVERSE, RATE, RATE_2, TABLE, held_by_rate, kept_and_held, rate_table
    from tsforge.kernels.cpu.lanes import put, take

    @compiled(**OPTIONS)
    def compute(steps, table, kept, held, turned):
        for s in range(steps.size):
            inverse = take(table, INVERSE)
            one, two = kept_and_held(steps[s], take(table, RATE_2), inverse, take(table, FLAT))
            put(kept, s, one)
            put(held, s, two)
            put(turned, s, held_by_rate(steps[s], take(table, RATE), inverse, one, two))

    steps = np.geomspace(1e-6, 20, 3001).astype(dtype)
    rates = -np.geomspace(1e-12, 4, 16).astype(dtype)
    rates[0] = 0
    table, *found = np.empty((TABLE, 16), dtype), *(np.empty((len(steps), 16), dtype) for _ in range(3))
    rate_table(rates, rates, table)
    compute(steps, table, *found)
    step, rate = (torch.from_numpy(array.astype("float64")) for array in (steps[:, None], rates))
    rate = rate.expand(len(steps), 16).clone().requires_grad_()
    held = reference.held(step, rate)
    (turned,) = torch.autograd.grad(held.sum(), rate)
    z, unit = (step * rate).abs().detach(), np.finfo(dtype).eps
    bounds = 2 * unit * (1 + z), 4 * unit, bound  # of e^z the error grows with that of z
    for ours, exact, most in zip(found, (torch.exp(step * rate), held, turned), bounds, strict=True):
        error = (torch.from_numpy(ours).double() / exact - 1).abs()
        assert bool((error < most).all())
