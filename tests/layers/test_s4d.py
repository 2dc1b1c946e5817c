import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.layers.s4d import DiagonalSSM, S4DLayer, slow_parameters

INITS = ("legs", "inv", "lin", "real")
DISCRETISATIONS = ("zoh", "bilinear")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def system(d_model=3, d_state=16, dtype=torch.float64, **arguments):
    return DiagonalSSM(d_model, d_state, **arguments).to(dtype)


def series(time, feature=3, batch=2, dtype=torch.float64):
    return torch.randn(batch, time, feature, dtype=dtype)


def stepped(module, u, state=None, rate=1.0):
    outputs = []
    for x in u.unbind(1):
        y, state = module.step(x, state, rate=rate)
        outputs.append(y)
    return torch.stack(outputs, 1), state


def kernel(module, time, rate=1.0):
    """The response to an impulse of each feature, without the direct path."""
    impulse = torch.zeros(1, time, len(module.D), dtype=module.D.dtype)
    impulse[:, 0] = 1
    return (module(impulse, rate=rate) - module.D * impulse)[0]


@torch.no_grad()
@pytest.mark.parametrize("time", [1, 2, 31, 96, 1000])
@pytest.mark.parametrize("discretisation", DISCRETISATIONS)
@pytest.mark.parametrize("init", INITS)
def test_the_convolution_equals_the_recurrence(init, discretisation, time):
    for dtype, bound in ((torch.float64, 1e-10), (torch.float32, 1e-4)):
        module = system(d_state=64, dtype=dtype, init=init, discretisation=discretisation)
        u = series(time, dtype=dtype)
        y, state = stepped(module, u)
        assert (module(u) - y).abs().max() < bound * max(1, y.std(correction=0))  # relative where outputs are large
        assert (module.advance(u) - state).abs().max() < bound * max(1, state.abs().max())


def test_a_transform_too_short_would_wrap_the_end_into_the_beginning():
    module, u = system(), series(31)
    wrapped = torch.fft.irfft(torch.fft.rfft(u, dim=1) * torch.fft.rfft(kernel(module, 31)[None], dim=1), 31, dim=1)
    assert (wrapped + module.D * u - stepped(module, u)[0]).abs().max() > 1e-2


@pytest.mark.parametrize("discretisation", DISCRETISATIONS)
@pytest.mark.parametrize("init", INITS)
def test_the_kernel_is_that_of_the_doubled_system_in_dense_matrices(init, discretisation):
    module = system(d_model=2, d_state=8, init=init, discretisation=discretisation)
    expected = torch.zeros(40, 2, dtype=torch.complex128)
    for h in range(2):
        A = torch.complex(-module.log_A_real[h].exp(), module.A_imag[h])
        A = torch.diag(torch.cat([A, A.conj()]))
        B, C = (torch.cat([x, x.conj()]) for x in (torch.view_as_complex(w[h]) for w in (module.B, module.C)))
        dt, one = module.log_dt[h].exp(), torch.eye(8, dtype=A.dtype)
        if discretisation == "zoh":
            Ab = torch.matrix_exp(dt * A)
            Bb = torch.linalg.solve(A, (Ab - one) @ B)
        else:
            Ab = torch.linalg.solve(one - dt * A / 2, one + dt * A / 2)
            Bb = torch.linalg.solve(one - dt * A / 2, dt * B)
        for step in range(40):
            expected[step, h] = C @ torch.linalg.matrix_power(Ab, step) @ Bb
    assert expected.imag.abs().max() < 1e-12
    assert_close(kernel(module, 40), expected.real, rtol=0, atol=1e-10)
    if init != "real":
        assert (kernel(module, 40) - expected.real / 2).abs().max() > 1e-3  # the control: no factor 2


def test_a_real_mode_decays_by_its_step_and_answers_a_constant_with_it():
    module = system(d_model=1, d_state=2, init="real", dt_min=0.1, dt_max=0.1)
    with torch.no_grad():
        module.C.copy_(torch.tensor([0.5, 0.0]))  # the factor 2 makes it 1
        module.D.zero_()
    step = torch.exp(-torch.tensor(0.1).double())
    assert_close(kernel(module, 50)[:, 0], (1 - step) * step ** torch.arange(50))
    assert_close(module(torch.ones(1, 400, 1).double())[0, -1], torch.ones(1).double())


@pytest.mark.parametrize("init", INITS)
def test_zero_order_hold_is_exact_for_inputs_held_over_a_step(init):
    u = series(30)
    for discretisation, exact in (("zoh", True), ("bilinear", False)):
        module = system(init=init, discretisation=discretisation, dt_min=0.1, dt_max=0.3)
        held = module(u.repeat_interleave(2, 1), rate=0.5)[:, 1::2]
        difference = (held - module(u)).abs().max()
        assert (difference < 1e-10) if exact else (difference > 1e-4)


def test_the_two_discretisations_agree_to_second_order():
    def apart(dt):
        pair = [system(init="lin", discretisation=name, dt_min=dt, dt_max=dt) for name in DISCRETISATIONS]
        pair[1].load_state_dict(pair[0].state_dict())
        response = [module.step(torch.ones(1, 3).double())[1] / dt for module in pair]
        Ab = [module.discrete()[0].exp() for module in pair]
        return (Ab[0] - Ab[1]).abs().max(), (response[0] - response[1]).abs().max()

    (coarse, coarse_input), (fine, fine_input) = apart(0.01), apart(0.005)
    assert 7 < coarse / fine < 9  # Ab: the local error is of third order
    assert 3.5 < coarse_input / fine_input < 4.5


@pytest.mark.parametrize("discretisation", DISCRETISATIONS)
def test_it_is_causal_linear_and_the_same_at_all_times(discretisation):
    module, u, v = system(discretisation=discretisation), series(40), series(40)
    y = module(u)
    later = torch.cat([u[:, :25], v[:, 25:]], 1)
    assert_close(module(later)[:, :25], y[:, :25], rtol=0, atol=1e-10)
    assert (module(later)[:, 25:] - y[:, 25:]).abs().max() > 1e-2  # the control
    assert_close(module(2 * u - 3 * v), 2 * y - 3 * module(v), rtol=0, atol=1e-10)
    delayed = F.pad(u, (0, 0, 7, 0))
    assert_close(module(delayed)[:, 7:], y, rtol=0, atol=1e-10)
    assert module(delayed)[:, :7].abs().max() < 1e-10


@pytest.mark.parametrize("rate", [1.0, 2.0])
@pytest.mark.parametrize("cut", [1, 17, 39])
def test_pieces_with_the_state_carried_are_the_whole(cut, rate):
    module, u = system(), series(40)
    head, tail = u[:, :cut], u[:, cut:]
    state = module.advance(head, rate=rate)
    whole, end = stepped(module, u, rate=rate)
    assert_close(torch.cat([module(head, rate=rate), module(tail, state, rate=rate)], 1), whole, rtol=0, atol=1e-10)
    assert_close(module.advance(tail, state, rate=rate), end, rtol=0, atol=1e-10)
    assert (module(tail, rate=rate) - whole[:, cut:]).abs().max() > 1e-2  # the control: the state forgotten


@pytest.mark.parametrize("init", INITS)
def test_twice_the_rate_squares_the_transition_and_adds_pairs_of_the_kernel(init):
    module = system(init=init)
    assert_close(module.discrete(2.0)[0].exp(), module.discrete()[0].exp().square())
    one, two = kernel(module, 80), kernel(module, 40, rate=2.0)
    assert_close(two, one[0::2] + one[1::2], rtol=0, atol=1e-10)
    bilinear = system(init=init, discretisation="bilinear", dt_min=0.1)
    assert (bilinear.discrete(2.0)[0].exp() - bilinear.discrete()[0].exp().square()).abs().max() > 1e-4  # the control


@torch.no_grad()
@pytest.mark.parametrize("discretisation", DISCRETISATIONS)
@pytest.mark.parametrize("init", INITS)
def test_it_is_stable_at_the_start_and_over_a_hundred_thousand_steps(init, discretisation):
    module = system(d_model=2, d_state=64, dtype=torch.float32, init=init, discretisation=discretisation)
    assert module.discrete()[0].exp().abs().max() < 1
    y = module(series(100_000, feature=2, batch=1, dtype=torch.float32).clamp(-1, 1))
    assert torch.isfinite(y).all()
    module.log_A_real.fill_(-torch.inf)  # the control: a mode that does not decay
    assert module.discrete()[0].exp().abs().max() > 1 - 1e-6


def test_a_step_of_bilinear_that_forgets_everything_has_finite_values_and_gradients():
    module = system(d_model=1, d_state=2, init="real", discretisation="bilinear", dt_min=2.0, dt_max=2.0)
    with torch.no_grad():
        module.log_dt.copy_(torch.tensor([2.0]).double().log())
    y = module(torch.ones(1, 9, 1).double())
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())


def test_the_layer_gates_the_system_and_its_steps_are_its_forward():
    layer = S4DLayer(3, 8, dropout=0.5).double().eval()
    u = series(20)
    y = F.gelu(layer.system(u))
    a, b = (y @ w.T + c for w, c in zip(layer.mix.weight.chunk(2), layer.mix.bias.chunk(2), strict=True))
    assert_close(layer(u), a * torch.sigmoid(b))
    assert_close(stepped(layer, u)[0], layer(u))


def test_dropout_takes_a_feature_away_at_all_steps_of_a_window():
    layer = S4DLayer(200, 4, dropout=0.5).double().train()
    seen = []
    layer.mix.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    layer(series(6, feature=200))
    gone = seen[0] == 0
    assert (gone == gone[:, :1]).all()
    assert 0.3 < gone.float().mean() < 0.7
    assert (gone[0] != gone[1]).any()


@pytest.mark.parametrize(("d_model", "d_state"), [(1, 2), (5, 8)])
def test_it_has_as_many_parameters_as_it_says(d_model, d_state):
    count = sum(p.numel() for p in DiagonalSSM(d_model, d_state).parameters())
    assert count == d_model * (3 * d_state + 2)
    more = sum(p.numel() for p in S4DLayer(d_model, d_state).parameters())
    assert more == count + 2 * d_model * (d_model + 1)


def test_steps_start_between_their_bounds_evenly_in_the_logarithm():
    log_dt = DiagonalSSM(4000, 2, dt_min=1e-3, dt_max=0.1).log_dt / torch.tensor(10.0).log()
    assert -3 <= log_dt.min() < log_dt.max() <= -1
    assert_close(log_dt.mean().item(), -2.0, rtol=0, atol=0.05)
    assert_close(log_dt.std().item(), 2 / 12**0.5, rtol=0.05, atol=0)


@torch.no_grad()
@pytest.mark.parametrize("rate", [1.0, 2.0])
@pytest.mark.parametrize("discretisation", DISCRETISATIONS)
def test_a_bounded_memory_lets_every_response_fade_and_the_recurrence_as_well(discretisation, rate):
    for log_dt in (-9.0, -3.0, 1.0):  # the slowest modes remember hundreds of thousands of steps by themselves
        free, bounded = (system(discretisation=discretisation, memory=memory) for memory in (None, 12))
        free.log_dt.fill_(log_dt)
        bounded.load_state_dict(free.state_dict())
        fading = torch.exp(-3 * rate / 12 * torch.arange(40, dtype=torch.float64))[:, None]
        response = kernel(bounded, 40, rate)
        assert_close(response, kernel(free, 40, rate) * fading, rtol=1e-6, atol=1e-9)
        u = series(40)
        assert (bounded(u, rate=rate) - stepped(bounded, u, rate=rate)[0]).abs().max() < 1e-10
        left = bounded.advance(torch.zeros(1, 12, 3, dtype=u.dtype), torch.ones(1, 3, 8, dtype=torch.complex128))
        assert left.abs().max() <= 0.05
    free.log_dt.fill_(-9.0)  # the control
    assert free.advance(0 * u[:1, :12], torch.ones(1, 3, 8, dtype=torch.complex128)).abs().min() > 0.99


def test_the_slow_parameters_are_eigenvalues_steps_and_inputs():
    layer = S4DLayer(3, 8)
    slow = {id(p) for p in slow_parameters(layer.modules())}
    names = {name for name, p in layer.named_parameters() if id(p) in slow}
    assert names == {f"system.{name}" for name in ("log_dt", "log_A_real", "A_imag", "B")}


@pytest.mark.parametrize(("arguments", "said"), [
    ({"d_state": 7}, "d_state=7 .* even"), ({"d_state": 0}, "d_state=0"), ({"d_model": 0}, "d_model=0"),
    ({"init": "hippo"}, "init='hippo' .* 'legs'"), ({"discretisation": "euler"}, "discretisation='euler' .* 'zoh'"),
    ({"dt_min": 0.2}, "dt_min=0.2 and dt_max=0.1"), ({"dt_min": 0.0}, "dt_min=0.0"),
    ({"memory": 0}, "memory=0"),
])
def test_what_cannot_work_is_refused_with_what_to_give(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        system(**arguments)
