import pytest
import torch
from agree import FAST, apart, poison, run, worst
from hypothesis import given, settings
from hypothesis import strategies as st

from tsforge.errors import ShapeError
from tsforge.kernels import AdditiveState, additive_scan, use

ALL = ("reference", *FAST)


def arguments(batch=2, time=7, head=2, key=3, value=4, spread=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    return {"q": draw(batch, time, head, key), "k": spread * draw(batch, time, head, key),
            "v": draw(batch, time, head, value)}


def by_sums(q, k, v):
    """The definition: ratios of running sums."""
    weights = torch.exp(k)
    top = (weights[..., None] * v[..., None, :]).cumsum(1)
    return torch.einsum("bthi,bthij->bthj", q, top / weights.cumsum(1)[..., None])


def with_state(q, k, v, z, h):
    out, state = additive_scan(q, k, v, state=AdditiveState(z, h), return_state=True)
    return out, *state


@pytest.mark.parametrize("backend", ALL)
def test_the_scan_is_the_ratio_of_running_sums(backend):
    given = arguments(time=40)
    with use(backend):
        assert apart(additive_scan(**given), by_sums(**given)) < 1e-12


@pytest.mark.parametrize("time", [1, 2, 15, 16, 17, 33, 63, 500])
@pytest.mark.parametrize("backend", FAST)
def test_values_and_gradients_equal_the_reference(backend, time, monkeypatch):
    given = arguments(time=time, spread=3.0)
    state = arguments(time=1, seed=5)
    given |= {"z": state["k"][:, 0], "h": torch.einsum("bhi,bhj->bhij", state["q"][:, 0], state["v"][:, 0])}
    wanted, grads = run(with_state, given, "reference")
    poison(monkeypatch)
    found, found_grads = run(with_state, given, backend)
    assert worst(found, wanted) < 1e-10
    assert worst(list(found_grads.values()), list(grads.values())) < 1e-10
    for dtype, bound, bound_of_gradients in ((torch.float32, 1e-5, 1e-4), (torch.bfloat16, 2e-2, 3e-2)):
        rounded = {name: tensor.to(dtype).double() for name, tensor in given.items()}
        wanted, grads = run(with_state, rounded, "reference")
        found, found_grads = run(with_state, rounded, backend, dtype)
        assert found[0].dtype == dtype
        assert worst(found, wanted) < bound
        assert worst(list(found_grads.values()), list(grads.values())) < bound_of_gradients


@pytest.mark.parametrize("backend", ALL)
def test_logits_from_minus_fifty_to_fifty_do_no_harm(backend):
    given = arguments(time=90)
    given["k"] = 50 * torch.cos(torch.arange(given["k"].numel(), dtype=torch.float64)).view(given["k"].shape)
    with use("reference"):
        exact = additive_scan(**given)
    with use(backend):
        assert apart(additive_scan(**{name: tensor.float() for name, tensor in given.items()}), exact) < 1e-5


@pytest.mark.parametrize("backend", ALL)
def test_weights_add_up_to_one_and_with_a_sink_to_less(backend):
    given = arguments(time=20, head=1)
    given["v"] = torch.full_like(given["v"], 3.0)
    with use(backend):
        plain, sunk = (additive_scan(**given, sink=sink) for sink in (False, True))
    assert apart(plain, 3 * given["q"].sum(-1, keepdim=True).expand_as(plain)) < 1e-12
    share = 1 - 1 / (1 + given["k"].exp().cumsum(1))
    assert apart(sunk, 3 * (given["q"] * share).sum(-1, keepdim=True).expand_as(sunk)) < 1e-12


@pytest.mark.parametrize("backend", ALL)
def test_a_shift_of_the_logits_changes_nothing_and_equal_logits_give_the_running_mean(backend):
    given = arguments(time=25)
    with use(backend):
        out = additive_scan(**given)
        assert apart(additive_scan(given["q"], given["k"] + 7.0, given["v"]), out) < 1e-12
        mean = given["v"].cumsum(1) / torch.arange(1, 26)[None, :, None, None]
        level = additive_scan(given["q"], torch.full_like(given["k"], 2.0), given["v"])
        assert apart(level, given["q"].sum(-1, keepdim=True) * mean) < 1e-12


@pytest.mark.parametrize("backend", ALL)
def test_it_is_causal_and_ends_where_the_whole_begins(backend):
    given = arguments(time=30)
    later = {name: torch.cat([tensor[:, :20], tensor[:, 20:] + 1], 1) for name, tensor in given.items()}
    with use(backend):
        out = additive_scan(**given)
        assert apart(additive_scan(**later)[:, :20], out[:, :20]) == 0
        whole = additive_scan(**given, causal=False)
        assert apart(whole[:, -1], out[:, -1]) < 1e-12
        assert apart(whole[:, 0], out[:, 0]) > 1e-2
        order = torch.randperm(30)
        mixed = additive_scan(given["q"], given["k"][:, order], given["v"][:, order], causal=False)
        assert apart(mixed, whole) < 1e-12


@pytest.mark.parametrize("backend", ALL)
def test_pieces_with_their_state_carried_are_the_whole(backend):
    given = arguments(time=50)
    for sink in (False, True):
        with use(backend):
            out, end = additive_scan(**given, sink=sink, return_state=True)
            parts, state = [], None
            for cut in (slice(0, 1), slice(1, 18), slice(18, 50)):
                piece = {name: tensor[:, cut] for name, tensor in given.items()}
                part, state = additive_scan(**piece, sink=sink and state is None, state=state, return_state=True)
                parts.append(part)
        assert apart(torch.cat(parts, 1), out) < 1e-12
        assert state is not None
        assert worst(list(state), list(end)) < 1e-12


@pytest.mark.parametrize("backend", ALL)
def test_steps_left_out_change_nothing_and_before_the_first_the_mean_is_zero(backend):
    given = arguments(time=12)
    kept = torch.tensor([t not in (0, 1, 5, 11) for t in range(12)])
    left_out = given | {"k": given["k"].masked_fill(~kept[None, :, None, None], float("-inf"))}
    with use(backend):
        out = additive_scan(**left_out)
        short = additive_scan(**{name: tensor[:, kept] for name, tensor in given.items()})
        assert apart(out[:, kept], short) < 1e-12
        assert float(out[:, :2].abs().max()) == 0
        _, grads = run(additive_scan, left_out, backend)
        assert all(bool(torch.isfinite(grad).all()) for grad in grads.values())
        assert float(grads["v"][:, ~kept].abs().max()) == 0
        whole = additive_scan(**left_out, causal=False)
        assert apart(whole[:, -1], out[:, -1]) < 1e-12


@pytest.mark.parametrize("backend", ALL)
def test_one_step_gives_its_value(backend):
    given = arguments(time=1)
    with use(backend):
        assert apart(additive_scan(**given), given["q"].sum(-1, keepdim=True) * given["v"]) < 1e-12


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=5, max_size=5), st.integers(0, 40))
def test_any_shape_is_scanned_as_by_the_reference(sizes, time):
    batch, _, head, key, value = sizes
    given = arguments(batch, time, head, key, value)
    wanted, grads = run(additive_scan, given, "reference")
    for backend in FAST:
        found, found_grads = run(additive_scan, given, backend)
        assert worst(found, wanted) < 1e-11
        assert worst(list(found_grads.values()), list(grads.values())) < 1e-11


@pytest.mark.parametrize("backend", FAST)
def test_the_operator_keeps_the_rules_of_torch_and_passes_the_numerical_check(backend):
    given = list(arguments(time=5).values())
    state = [torch.randn(2, 2, 3, dtype=torch.float64), torch.randn(2, 2, 3, 4, dtype=torch.float64)]
    tensors = [tensor.requires_grad_() for tensor in (*given, *state)]
    torch.library.opcheck(torch.ops.tsforge.additive_scan.default, (*tensors, backend))
    with use(backend):
        assert torch.autograd.gradcheck(with_state, tensors)
        compiled = torch.compile(lambda q, k, v: additive_scan(q, k, v) + 1, fullgraph=True, backend="aot_eager")
        assert apart(compiled(*given).detach(), additive_scan(*given).detach() + 1) == 0


def test_a_planted_fault_is_found():
    given = arguments(time=20)
    wanted, _ = run(additive_scan, given, "reference")
    faulty, _ = run(additive_scan, given | {"v": given["v"].roll(1, dims=2)}, FAST[-1])
    assert worst(faulty, wanted) > 1e-2


@pytest.mark.parametrize(("changes", "said"), [
    ({"k": torch.ones(2, 7, 2, 5)}, "k has the shape .* its key is 5, and that of q is 3"),
    ({"v": torch.ones(2, 6, 2, 4)}, "v has the shape .* its time is 6"),
    ({"q": torch.ones(2, 7, 3)}, r"q has the shape \(2, 7, 3\): wanted \[batch, time, head, key\]"),
])
def test_a_wrong_argument_is_named(changes, said):
    with pytest.raises(ShapeError, match=said):
        additive_scan(**(arguments() | changes))
