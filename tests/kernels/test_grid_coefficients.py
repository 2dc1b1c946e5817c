import pytest
import torch
from agree import FAST, apart, poison, run, worst
from torch.nn.functional import pad

from tsforge.errors import ArgumentError, ShapeError
from tsforge.kernels import linear_scan, use
from tsforge.kernels.grid import GridState
from tsforge.kernels.grid_coefficients import scan_2d_coefficients
from tsforge.kernels.plain import grid_coefficients as plain

ALL = ("reference", *FAST)
ORDERS = {
    "wavefront": (plain.wavefront, plain.wavefront_adjoint),
    "rows": (plain.rows, plain.rows_adjoint),
    "columns": (plain.columns, plain.columns_adjoint),
}
GRIDS = [(1, 1), (1, 2), (2, 1), (2, 3), (3, 2), (7, 7), (1, 129), (129, 1), (3, 129), (129, 2), (7, 33), (33, 7)]


def coefficients(batch=2, variates=4, time=6, d=2, n=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = batch, variates, time, d, n

    def draw():
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    made = {name: 0.45 * torch.tanh(draw()) for name in ("A1", "A2", "A3", "A4")}
    return made | {name: draw() for name in ("u1", "u2", "C1", "C2")}


def constant(numbers, variates=6, time=7):
    """The same coefficients everywhere, and an impulse in the first cell."""
    shape = 1, variates, time, 1, 1
    given = {f"A{i + 1}": torch.full(shape, a, dtype=torch.float64) for i, a in enumerate(numbers[:4])}
    given |= {name: torch.zeros(shape, dtype=torch.float64) for name in ("u1", "u2")}
    given["u1"][:, 0, 0], given["u2"][:, 0, 0] = numbers[4:]
    return given


def states(given):
    return {name: value for name, value in given.items() if name not in ("C1", "C2")}


def with_state(h1, h2, **given):
    return scan_2d_coefficients(**given, h0=GridState(h1, h2))


@pytest.mark.parametrize(("variates", "time"), GRIDS)
def test_all_orders_equal_the_double_loop_in_values_and_in_the_gradients_of_all_eight(variates, time, monkeypatch):
    given = coefficients(variates=variates, time=time)
    single = {name: value.float().double() for name, value in given.items()}
    wanted, exact = run(scan_2d_coefficients, given, "reference"), run(scan_2d_coefficients, single, "reference")
    poison(monkeypatch)
    for backend, order in [("torch", order) for order in ORDERS.values()] + [(name, None) for name in FAST[1:]]:
        if order is not None:
            monkeypatch.setattr(plain, "order", lambda u, order=order: order)
        for dtype, bound, (y, grads) in ((torch.float64, 1e-12, wanted), (torch.float32, 1e-5, exact)):
            found, found_grads = run(scan_2d_coefficients, given, backend, dtype)
            assert set(found_grads) == {"A1", "A2", "A3", "A4", "u1", "u2", "C1", "C2"}
            assert worst(found, y) < bound
            assert worst(list(found_grads.values()), list(grads.values())) < bound


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("reverse", [False, True])
def test_with_a_state_before_the_first_column_and_reversed_it_equals_the_loop(backend, reverse, monkeypatch):
    given = states(coefficients()) | {"reverse_variates": reverse}
    given |= {name: torch.randn(2, 4, 2, 3, dtype=torch.float64) for name in ("h1", "h2")}
    wanted, grads = run(with_state, given, "reference")
    poison(monkeypatch)
    found, found_grads = run(with_state, given, backend)
    assert worst(found, wanted) < 1e-12
    assert worst(list(found_grads.values()), list(grads.values())) < 1e-12


@pytest.mark.parametrize("backend", ALL)
def test_the_transposed_grid_with_the_states_exchanged_gives_the_transposed_states(backend):
    A1, A2, A3, A4, u1, u2 = states(coefficients()).values()
    with use(backend):
        h1, h2 = scan_2d_coefficients(A1, A2, A3, A4, u1, u2)
        turned = [tensor.transpose(1, 2) for tensor in (A4, A3, A2, A1, u2, u1)]
        second, first = scan_2d_coefficients(*turned)
        assert worst([first.transpose(1, 2), second.transpose(1, 2)], [h1, h2]) < 1e-12
        unchanged, _ = scan_2d_coefficients(*[tensor.transpose(1, 2) for tensor in (A1, A2, A3, A4, u1, u2)])
        assert apart(unchanged.transpose(1, 2), h1) > 1e-2


@pytest.mark.parametrize("backend", ALL)
def test_constant_coefficients_have_the_transfer_function_of_the_sheet(backend):
    """(1 - A1 z)(1 - A4 w) - A2 A3 z w times the response of h1 is b1 (1 - A4 w) + A2 b2 z; of h2, by symmetry."""
    a1, a2, a3, a4, b1, b2 = numbers = 0.8, 0.3, 0.5, 0.6, 1.3, -0.7
    with use(backend):
        h1, h2 = (h[0, :, :, 0, 0] for h in scan_2d_coefficients(**constant(numbers)))
    z, w = (lambda h: pad(h, (1, 0))[:, :-1]), (lambda h: pad(h, (0, 0, 1, 0))[:-1])
    for h, (own, across), entered in ((h1, (z, w), (b1, -a4 * b1, a2 * b2)), (h2, (w, z), (b2, -a1 * b2, a3 * b1))):
        start = torch.zeros_like(h)
        start[0, 0] = 1.0
        numerator = entered[0] * start + entered[1] * across(start) + entered[2] * own(start)
        assert apart(h - a1 * z(h) - a4 * w(h) + (a1 * a4 - a2 * a3) * z(w(h)), numerator) < 1e-12
    corners = [h1[0, 0], h1[0, 1], h2[1, 0], h1[1, 0]]
    assert corners == pytest.approx([b1, a1 * b1 + a2 * b2, a3 * b1 + a4 * b2, 0.0])


@pytest.mark.parametrize("backend", ALL)
def test_without_coupling_the_states_are_scans_along_one_axis_each(backend):
    given = states(coefficients(variates=5, time=9))
    A1, _, _, A4, u1, u2 = given.values()
    given |= {"A2": torch.zeros_like(A1), "A3": torch.zeros_like(A1)}
    with use(backend):
        h1, h2 = scan_2d_coefficients(**given)
        along_time = linear_scan(A1.flatten(0, 1), u1.flatten(0, 1)).unflatten(0, (2, 5))
        assert worst([h1, h2], [along_time, linear_scan(A4, u2)]) < 1e-12


def test_the_recalled_pairwise_product_is_not_associative_unless_uncoupled():
    """Why no associative scan runs over both axes at once."""

    def product(p, q):
        return (q[0] * p[0], q[1] * p[1], q[0] * p[2] + q[1] * p[5] + q[2],
                q[3] * p[3], q[4] * p[4], q[3] * p[2] + q[4] * p[5] + q[5])

    def groupings(coupled):
        p, q, r = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        if not coupled:
            for each in (p, q, r):
                each[1] = each[3] = 0.0
        return product(product(p, q), r), product(p, product(q, r))

    left, right = (torch.stack(each) for each in groupings(coupled=True))
    assert apart(left, right) > 0.1
    left, right = (torch.stack(each) for each in groupings(coupled=False))
    assert apart(left, right) < 1e-12


@pytest.mark.parametrize("backend", FAST)
def test_no_cells_are_scanned_and_strides_do_not_matter(backend):
    given = coefficients()
    with use(backend):
        y = scan_2d_coefficients(**given)
        turned = {name: value.transpose(0, 3).contiguous().transpose(0, 3) for name, value in given.items()}
        assert apart(scan_2d_coefficients(**turned), y) < 1e-14
        for axis in range(5):
            shape = [0 if i == axis else size for i, size in enumerate((2, 4, 6, 2, 3))]
            h1, h2 = scan_2d_coefficients(*6 * [torch.empty(shape)])
            assert h1.shape == h2.shape == torch.Size(shape)


@pytest.mark.parametrize("backend", FAST)
def test_gradients_pass_the_numerical_check(backend):
    given = [value.requires_grad_() for value in coefficients(1, 3, 3, 1, 1).values()]
    with use(backend):
        assert torch.autograd.gradcheck(scan_2d_coefficients, given)


@pytest.mark.parametrize("backend", FAST)
def test_the_operator_keeps_the_rules_of_torch_and_is_traced_through(backend):
    given = [value.requires_grad_() for value in states(coefficients()).values()]
    torch.library.opcheck(torch.ops.tsforge.scan_2d_coefficients.default, (*given, True, backend))
    with use(backend):
        given = [value.detach() for value in given]
        traced = torch.compile(scan_2d_coefficients, fullgraph=True, backend="aot_eager")(*given)
        assert worst(traced, scan_2d_coefficients(*given)) == 0


def test_a_planted_fault_is_found():
    given = coefficients()
    y, grads = run(scan_2d_coefficients, given, "reference")
    found, found_grads = run(scan_2d_coefficients, given | {"A3": given["A3"].roll(1, 2)}, FAST[-1])
    assert worst(found, y) > 1e-2
    assert worst(list(found_grads.values()), list(grads.values())) > 1e-2


def test_a_wrong_argument_is_named():
    given = coefficients()
    with pytest.raises(ShapeError, match=r"A4 has .* its time is 5, and that of A1 is 6"):
        scan_2d_coefficients(**(given | {"A4": given["A4"][:, :, 1:]}))
    with pytest.raises(ArgumentError, match="give both for y"):
        scan_2d_coefficients(**(given | {"C2": None}))
    with pytest.raises(ShapeError, match=r"h0\[0\] has the shape \(2, 4\)"):
        scan_2d_coefficients(**given, h0=GridState(torch.ones(2, 4), torch.ones(2, 4)))
