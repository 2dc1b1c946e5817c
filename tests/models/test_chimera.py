import pytest
import torch
from batches import batch_of
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.kernels import linear_scan, scan_2d, scan_2d_coefficients, selective_scan
from tsforge.layers.chimera import ChimeraBlock, GridSSM, SelectiveGrid
from tsforge.models.chimera import Chimera

SIZES = {"h": 3, "input_size": 5, "in_channels": 3, "d_model": 3, "d_state": 2}
STEPS = (0.1, 1.0)
VARIANTS = [
    {}, {"coupling": "exp"}, {"coupling": "none"}, {"transition": "scalar"}, {"bidirectional": False},
    {"selective": False}, {"coupling": "exp", "transition": "scalar", "selective": False},
    {"coupling": "none", "transition": "scalar"},
]


def ruled(module, dtype=torch.float64):
    """A module whose weights follow a fixed, irregular rule, in eval mode."""
    with torch.no_grad():
        for rank, weight in enumerate(module.to(dtype).parameters(), start=1):
            angle = torch.arange(weight.numel(), dtype=torch.float64) * 12.9898 + rank * 78.233
            weight.copy_(2 * (angle.sin() * 43758.5453 % 1 - 0.5).view_as(weight))
    return module.eval()


def network(dtype=torch.float64, **arguments):
    return ruled(Chimera(**{**SIZES, **arguments}), dtype)


def grid(d=3, n=2, **arguments):
    return ruled(SelectiveGrid(d, n, STEPS, **arguments))


def cells(batch=2, variates=4, time=5, d=3):
    return torch.randn(batch, variates, time, d, dtype=torch.float64)


def waves(batch=2, dtype=torch.float64):
    return 5 + 2 * torch.randn(batch, SIZES["input_size"], SIZES["in_channels"], dtype=dtype)


def apart(a, b):
    return (a - b).abs().max().item()


def linear(layer, x):
    weight = getattr(layer, "weight", None)
    y = 0 if weight is None else weight @ x
    return y if layer.bias is None else y + layer.bias


def coefficients(way, cell):
    """A1, A2, A3, A4, B1 x, B2 x, c1 and c2 of a cell, [d, n] each."""
    n, d = way.d_state, len(cell)
    a1 = -way.log_a[0].exp().expand(d, n)
    reads, steps = linear(way.reads, cell).split(n), F.softplus(linear(way.steps, cell))
    if way.cross is None:
        own = torch.exp(steps[:, None] * a1)
        nothing = torch.zeros(d, n, dtype=cell.dtype)
        return own, nothing, nothing, nothing, (own - 1) / a1 * reads[0] * cell[:, None], nothing, reads[1], reads[1]
    a4, r2, r3 = -way.log_a[1].exp().expand(d, n), *way.cross
    b1, b2, c1, c2 = reads
    D1, D2 = steps[:d, None], steps[d:, None]
    if way.coupling == "exp":
        a2, a3 = -r2.exp().expand(d, n), -r3.exp().expand(d, n)
        D1 = D1 + 0.8 / torch.stack([-a1, -a2]).amin((0, 2))[:, None]
        D2 = D2 + 0.8 / torch.stack([-a4, -a3]).amin((0, 2))[:, None]
        A2, A3 = torch.exp(D1 * a2), torch.exp(D2 * a3)
    else:
        A2 = (torch.exp(D1 * a1) - 1) / a1 * (0.99 * r2.tanh() * a1.abs())
        A3 = (torch.exp(D2 * a4) - 1) / a4 * (0.99 * r3.tanh() * a4.abs())
    A1, A4 = torch.exp(D1 * a1), torch.exp(D2 * a4)
    return A1, A2, A3, A4, (A1 - 1) / a1 * b1 * cell[:, None], (A4 - 1) / a4 * b2 * cell[:, None], c1, c2


def double_loop(way, x):
    """The equations of one direction, cell by cell; x [variate, time, d]."""
    order = list(range(len(x)))[:: -1 if way.reverse else 1]
    y, nothing = torch.zeros_like(x), torch.zeros(x.shape[2], way.d_state, dtype=x.dtype)
    h1, h2 = {}, {}
    for place, v in enumerate(order):
        for t in range(x.shape[1]):
            A1, A2, A3, A4, u1, u2, c1, c2 = coefficients(way, x[v, t])
            before, above = (v, t - 1), (order[place - 1] if place else None, t)
            h1[v, t] = A1 * h1.get(before, nothing) + A2 * h2.get(before, nothing) + u1
            h2[v, t] = A3 * h1.get(above, nothing) + A4 * h2.get(above, nothing) + u2
            y[v, t] = h1[v, t] @ c1 + h2[v, t] @ c2
    return y


def features(model, values):
    """What the blocks give for values [variate, time]."""
    z = values[..., None] * model.embedding.weight[:, 0] + model.embedding.bias
    for block in model.blocks:
        y = block.skip * z
        for way in (*block.long.ways, *block.seasonal.ways):
            y = y + double_loop(way, z)
        gate = z @ block.gate.weight.T + block.gate.bias
        y = (y * gate * torch.sigmoid(gate)) @ block.out.weight.T + block.out.bias
        z = F.layer_norm(z + y, z.shape[2:], block.norm.weight, block.norm.bias)
    return z


def transcription(model, past):
    """One window after the other; in closed loop all is computed again from the start for each step."""
    forecasts = []
    for window in past:
        mean, deviation = window.mean(0), (window.var(0, correction=0) + 1e-5).sqrt()
        values, steps = ((window - mean) / deviation).T, []
        z = features(model, values)
        for k in range(model.h):
            if model.horizon is not None:
                state = model.horizon.weight[k] @ z + model.horizon.bias[k]  # [variate, d]
            else:
                state = features(model, values)[:, -1]
            y = state @ model.point.weight.T + model.point.bias
            values = torch.cat([values, y], 1)
            if model.offsets is not None:
                y = y + state @ model.offsets.weight.T + model.offsets.bias
            steps.append(y * deviation[:, None] + mean[:, None])
        forecasts.append(torch.stack(steps))
    return torch.stack(forecasts)


@pytest.mark.parametrize("decode", ["closed_loop", "direct"])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_it_equals_its_equations(decode, variant):
    model, past = network(decode=decode, outputs=2, **variant), waves()
    expected = transcription(model, past)
    assert_close(model(batch_of(past)), expected, rtol=0, atol=1e-10)
    single = network(torch.float32, decode=decode, outputs=2, **variant)(batch_of(past.float()))
    assert_close(single.double(), expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        model.blocks[1].seasonal.ways[-1].log_a[0, 0, -1] += 0.5
    assert apart(model(batch_of(past)), expected) > 1e-6  # the control


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("decode", ["closed_loop", "direct"])
def test_it_has_as_many_parameters_as_it_says(decode, variant):
    d, n, layers, outputs = 5, 4, 3, 2
    given = variant | {"d_model": d, "d_state": n, "n_layers": layers, "decode": decode}
    model = Chimera(**{**SIZES, **given}, outputs=outputs)
    m = 1 if variant.get("transition") == "scalar" else n
    if variant.get("coupling") == "none":
        weights, ways = d * m + 2 * n * d + d * (d + 1), 1
    else:
        weights, ways = 4 * d * m + 4 * n * d + 2 * d * (d + 1), 2 if variant.get("bidirectional", True) else 1
    if not variant.get("selective", True):
        weights = 4 * d * m + 4 * n + 2 * d
    expected = 2 * d + layers * (2 * ways * weights + d * (2 * d + 5)) + d + 1 + (d + 1) * outputs
    expected += (SIZES["input_size"] + 1) * SIZES["h"] if decode == "direct" else 0
    assert sum(p.numel() for p in model.parameters()) == expected
    constant = SelectiveGrid(d, n, STEPS, coupling="none", selective=False)
    assert sum(p.numel() for p in constant.parameters()) == d * n + 2 * n + d


def part_of(coupled, state):
    """An uncoupled grid with the weights of the first or second state of a coupled one."""
    n, d, transition = coupled.d_state, coupled.log_a.shape[1], "diagonal" if coupled.log_a.shape[2] > 1 else "scalar"
    alone = SelectiveGrid(d, n, STEPS, coupling="none", transition=transition).double()
    with torch.no_grad():
        alone.log_a.copy_(coupled.log_a[state : state + 1])
        alone.reads.weight.copy_(torch.cat([coupled.reads.weight[n * k :][:n] for k in (state, 2 + state)]))
        for mine, theirs in ((alone.steps.weight, coupled.steps.weight), (alone.steps.bias, coupled.steps.bias)):
            mine.copy_(theirs[state * d :][:d])
    return alone


@pytest.mark.parametrize("transition", ["diagonal", "scalar"])
def test_uncoupled_2d_mamba_is_a_selective_scan_along_time_and_one_along_variates(transition):
    both, x = grid(transition=transition), cells()
    along_time = part_of(both, 0)(x)[0]
    along_variates = part_of(both, 1)(x.transpose(1, 2))[0].transpose(1, 2)
    assert apart(both(x)[0], along_time + along_variates) > 1e-3  # the control: the states read each other
    with torch.no_grad():
        both.cross.zero_()
    assert apart(both(x)[0], along_time + along_variates) < 1e-12
    with torch.no_grad():
        both.reads.weight[3 * both.d_state :].zero_()  # c2
    assert apart(both(x)[0], along_time) < 1e-12


def test_uncoupled_variates_are_selective_1d_scans_each_by_itself():
    alone, x = grid(coupling="none"), cells()
    delta, _ = alone.deltas(x)
    b, c = alone.reads(x).split(2, -1)
    A = torch.exp(delta[..., None] * -alone.log_a[0].exp())
    u = (A - 1) / -alone.log_a[0].exp() * b[..., None, :] * x[..., None]
    for v in range(x.shape[1]):
        h = linear_scan(A[:, v].flatten(2), u[:, v].flatten(2)).unflatten(2, (3, 2))
        y = (h * c[:, v, :, None]).sum(-1)
        assert apart(alone(x)[0][:, v], y) < 1e-12
        assert apart(alone(x[:, v : v + 1])[0][:, 0], y) < 1e-12
    assert apart(grid()(x)[0][:, :1], grid()(x[:, :1])[0]) < 1e-12  # coupled, the first sees none before it
    assert apart(grid()(x)[0][:, 1:2], grid()(x[:, 1:2])[0]) > 1e-3


def test_an_uncoupled_scalar_transition_is_mambas_scan_of_inputs_held_over_their_steps():
    alone, x = grid(coupling="none", transition="scalar"), cells(variates=1)
    a, (delta, _) = -alone.log_a[0].exp(), alone.deltas(x)
    b, c = alone.reads(x).split(2, -1)
    held = torch.expm1(delta * a[:, 0]) / (delta * a[:, 0]) * x  # Mamba's own step is delta b u
    args = (t[:, 0] for t in (held, delta))
    assert apart(alone(x)[0][:, 0], selective_scan(*args, a.expand(3, 2).contiguous(), b[:, 0], c[:, 0])) < 1e-12


def test_with_a_scalar_transition_it_is_attention_masked_by_decays_over_the_grid():
    """2-D Mamba-2: all numbers of a state decay alike, so y = sum over cells of (c . b) G x, G of scans of size 1."""
    way, x = grid(transition="scalar"), cells(batch=1, variates=3, time=4)
    a1, a2, a3, a4 = (a[:, :1] for a in way.rates())
    D1, D2 = (delta[..., None] for delta in way.deltas(x))
    A1, A4 = torch.exp(D1 * a1), torch.exp(D2 * a4)
    p1, p2 = (A1 - 1) / a1, (A4 - 1) / a4
    b1, b2, c1, c2 = way.reads(x).split(2, -1)
    y = torch.zeros_like(x)
    for v in range(3):
        for t in range(4):
            for entry, b, p in ((0, b1, p1), (1, b2, p2)):
                u = [torch.zeros_like(A1), torch.zeros_like(A1)]
                u[entry][:, v, t] = (p[..., 0] * x)[:, v, t, :, None]
                G1, G2 = scan_2d_coefficients(A1, p1 * a2, p2 * a3, A4, *u)
                scores = ((c * b[:, v : v + 1, t : t + 1]).sum(-1, keepdim=True) for c in (c1, c2))
                y = y + sum(score * G[..., 0] for score, G in zip(scores, (G1, G2), strict=True))
    assert apart(way(x)[0], y) < 1e-12
    assert apart(grid(transition="diagonal")(x)[0], y) > 1e-3


def test_scalar_equals_diagonal_with_equal_rates():
    scalar, diagonal, x = grid(transition="scalar"), grid(), cells()
    with torch.no_grad():
        for name, weight in diagonal.named_parameters():
            weight.copy_(scalar.get_parameter(name).expand_as(weight))
    assert apart(scalar(x)[0], diagonal(x)[0]) < 1e-12


@pytest.mark.parametrize("coupling", ["zoh_input", "exp"])
def test_where_not_selective_it_is_a_2d_convolution_with_the_transfer_function_of_the_sheet(coupling):
    way, x = grid(selective=False, coupling=coupling), cells(batch=1)
    A1, A2, A3, A4, b1, b2, c1, c2 = coefficients(way, torch.ones(3, dtype=torch.float64))
    z, w, size = 0.2, 0.3, 40  # of time and variate lags; z^40 is nothing
    determinant = (1 - A1 * z) * (1 - A4 * w) - A2 * A3 * z * w
    H1, H2 = (b1 * (1 - A4 * w) + A2 * b2 * z) / determinant, (b2 * (1 - A1 * z) + A3 * b1 * w) / determinant
    impulse = torch.zeros(1, size, size, 3, dtype=torch.float64)
    impulse[:, 0, 0] = 1
    kernel = way(impulse)[0]
    powers = w ** torch.arange(size)[:, None].double() * z ** torch.arange(size).double()
    assert apart((kernel[0] * powers[..., None]).sum((0, 1)), (H1 @ c1 + H2 @ c2)) < 1e-10
    y = torch.zeros_like(x)
    for v in range(x.shape[1]):
        for t in range(x.shape[2]):
            y[:, v:, t:] += kernel[:, : x.shape[1] - v, : x.shape[2] - t] * x[:, v : v + 1, t : t + 1]
    assert apart(way(x)[0], y) < 1e-10
    twice = grid(coupling=coupling)  # the control: a selective one is not even linear
    assert apart(twice(2 * x)[0], 2 * twice(x)[0]) > 1e-3


def changed(x, variates=slice(None), time=slice(None)):
    x = x.clone()
    x[:, variates, time] += 1
    return x


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_features_never_depend_on_later_steps(variant):
    model, x = network(**variant), torch.randn(2, 3, 8, dtype=torch.float64)
    z, after = model.encode(x)[0], model.encode(changed(x, time=slice(5, None)))[0]
    assert apart(after[:, :, :5], z[:, :, :5]) == 0
    assert apart(after[:, :, 5:], z[:, :, 5:]) > 1e-3


def test_one_direction_reads_earlier_variates_only_and_both_read_all():
    x = cells()
    upward, downward = grid(), grid(reverse=True)
    for v in range(4):
        difference = [(way(changed(x, v))[0] - way(x)[0]).abs().amax((0, 2, 3)) > 1e-9 for way in (upward, downward)]
        assert difference[0].tolist() == [u >= v for u in range(4)]
        assert difference[1].tolist() == [u <= v for u in range(4)]
        both = ruled(GridSSM(3, d_state=2, steps=STEPS))
        assert ((both(changed(x, v))[0] - both(x)[0]).abs().amax((0, 2, 3)) > 1e-9).all()


def test_the_two_directions_have_weights_of_their_own_and_are_the_flip_of_each_other():
    both, x = ruled(GridSSM(3, d_state=2, steps=STEPS)), cells()
    assert not {id(p) for p in both.ways[0].parameters()} & {id(p) for p in both.ways[1].parameters()}
    y = both.ways[0](x)[0] + both.ways[1](x)[0]
    assert apart(both(x)[0], y) < 1e-12
    swapped = GridSSM(3, d_state=2, steps=STEPS).double()
    for mine, theirs in zip(swapped.ways, reversed(both.ways), strict=True):
        mine.load_state_dict(theirs.state_dict())
    assert apart(swapped(x.flip(1))[0].flip(1), y) < 1e-12
    assert apart(both(x.flip(1))[0].flip(1), y) > 1e-3  # from either end it is not the same


@pytest.mark.parametrize(("coupling", "depends"), [("zoh_input", True), ("exp", True), ("none", False)])
def test_the_order_of_the_channels_matters_unless_they_are_uncoupled(coupling, depends):
    model, past, order = network(coupling=coupling), waves(), [2, 0, 1]
    difference = apart(model(batch_of(past[:, :, order])), model(batch_of(past))[:, :, order])
    assert (difference > 1e-3) if depends else (difference < 1e-12)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_column_by_column_the_features_are_those_of_the_whole(variant):
    model, x = network(**variant), torch.randn(2, 3, 7, dtype=torch.float64)
    whole, parts, memory = model.encode(x)[0], [], None
    for low, high in ((0, 1), (1, 2), (2, 5), (5, 7)):
        z, memory = model.encode(x[:, :, low:high], memory)
        parts.append(z)
    assert apart(torch.cat(parts, 2), whole) < 1e-12
    assert apart(model.encode(x[:, :, 5:])[0], whole[:, :, 5:]) > 1e-4  # without the states it is not


def test_in_closed_loop_a_longer_horizon_begins_with_the_shorter_one_and_a_step_feeds_those_after_it():
    past = waves()
    short, long = (network(decode="closed_loop", h=h) for h in (3, 6))
    before = long(batch_of(past))
    assert apart(before[:, :3], short(batch_of(past))) < 1e-12
    with torch.no_grad():
        long.point.bias += 1
    shift = (long(batch_of(past)) - before)[..., 0] / (past.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
    assert apart(shift[:, :1], torch.ones_like(shift[:, :1])) < 1e-12
    assert ((shift[:, 1:] - 1).abs() > 1e-6).all()


def held_at(coupling, step1, step2, cross=50.0):
    """A grid of one feature with all rates at 1, all inputs and readouts at 1, and given steps."""
    way = SelectiveGrid(1, 1, STEPS, coupling=coupling, selective=False).double()
    with torch.no_grad():
        way.reads.bias.fill_(1.0)
        way.steps.bias.copy_(torch.tensor([step1, step2], dtype=torch.float64).expm1().log())
        way.log_a.zero_()
        way.cross.fill_(cross)
    return way


ONES = torch.ones(1, 200, 200, 1, dtype=torch.float64)


@pytest.mark.parametrize("step", [1e-3, 1e-2, 0.1, 1.0, 10.0])
def test_the_states_stay_bounded_whatever_the_steps(step):
    """|h1| <= 0.99 |h2| + 1 and the same of h2, so |h| <= 100 and y <= 200; with the floor, |h| <= 10 B."""
    for other in (step, 0.1):
        assert 0 < held_at("zoh_input", step, other)(ONES)[0].max() <= 200
        assert 0 < held_at("exp", step, other, cross=0.0)(ONES)[0].max() <= 20


def test_without_the_floor_the_coupling_of_the_paper_explodes():
    way, at = held_at("exp", 0.1, 0.1, cross=0.0), torch.full_like(ONES, 0.1)
    assert (way.deltas(ONES)[0] - 0.9).abs().max() < 1e-12
    exploded = scan_2d(ONES, at, at, *way.rates(), *way.reads(ONES).split(1, -1), coupling="exp")
    assert exploded.max() > 1e15


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_coupling_is_always_weaker_than_the_rates(dtype):
    way = ruled(SelectiveGrid(3, 2, STEPS), dtype)
    for size in (0.0, 1.0, 100.0, -100.0):
        with torch.no_grad():
            way.cross.fill_(size)
        a1, a2, a3, a4 = way.rates()
        assert ((a2 * a3).abs() < (a1 * a4).abs()).all()
    assert (torch.tensor(100.0, dtype=dtype).tanh() == 1).all()  # why tanh alone would not do


def test_a_held_input_sampled_twice_as_often_at_half_the_step_gives_the_same():
    way, x = grid(coupling="none", selective=False), cells()
    y = way(x)[0]
    often = x.repeat_interleave(2, 2)
    assert apart(way(often)[0][:, :, 1::2], y) > 1e-3
    with torch.no_grad():
        way.steps.bias.copy_((F.softplus(way.steps.bias) / 2).expm1().log())
    assert apart(way(often)[0][:, :, 1::2], y) < 1e-12


def test_steps_start_within_their_bounds():
    block = ChimeraBlock(200, 0.01, 1.0, d_state=2)
    nothing = torch.zeros(1, 1, 1, 200)
    for ssm, low, high in ((block.long, 1e-3, 1e-2), (block.seasonal, 0.1, 1.0)):
        for way in ssm.ways:
            for delta, bottom, top in zip(way.deltas(nothing), (low, 1e-3), (high, 0.1), strict=True):
                assert 0.99 * bottom < delta.min() < 1.3 * bottom
                assert 0.7 * top < delta.max() < 1.01 * top


def test_decay_of_weights_leaves_the_memory_alone():
    model = Chimera(**SIZES)
    names = {id(p): name for name, p in model.named_parameters()}
    rest, free = model.parameter_groups(learning_rate=0.01, weight_decay=0.1)
    spared = {names[id(p)] for p in free["params"]}
    assert spared == {n for n in names.values() if n.endswith(("log_a", "cross", "steps.bias", "skip"))}
    assert len(rest["params"]) + len(spared) == len(names)
    assert (rest["weight_decay"], free["weight_decay"], free["lr"]) == (0.1, 0.0, 0.01)


@pytest.mark.parametrize("decode", ["closed_loop", "direct"])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_weight_is_trained(decode, variant):
    model = Chimera(**SIZES, outputs=2, decode=decode, **variant).train()
    model(batch_of(waves(dtype=torch.float32)))[..., 0].square().sum().backward()
    unmoved = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not unmoved


@pytest.mark.parametrize("decode", ["closed_loop", "direct"])
def test_in_half_precision_it_forecasts_nearly_the_same(decode):
    model, batch = Chimera(**SIZES, decode=decode).eval(), batch_of(waves(dtype=torch.float32))
    with torch.autocast("cpu", torch.bfloat16):
        y = model(batch)
    assert y.dtype == torch.float32
    assert 0 < apart(y, model(batch)) < 0.1 * batch.past.std()


@pytest.mark.parametrize(("arguments", "said"), [
    ({"n_layers": 0}, "n_layers=0"), ({"d_model": 0}, "d_model=0"), ({"d_state": 0}, "d_state=0"),
    ({"dropout": 1.0}, "dropout=1.0 is not a share"), ({"decode": "loop"}, "decode='loop' .* 'closed_loop', 'direct'"),
    ({"coupling": "zoh"}, "coupling='zoh' .* 'zoh_input', 'exp', 'none'"),
    ({"transition": "dense"}, "transition='dense' .* 'diagonal', 'scalar'"), ({"long_step": 0.0}, "0 < low <= high"),
])
def test_what_cannot_work_is_refused_with_what_to_give(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        Chimera(**{**SIZES, **arguments})


@pytest.mark.parametrize("task", ["imputation", "anomaly"])
def test_it_reconstructs_each_step_from_the_features_of_all_with_hidden_cells_at_the_mean(task):
    model, mask = network(task=task, h=0, outputs=2), torch.rand(2, 5, 3) < 0.7
    mask[:, 0] = True
    past = waves() * mask
    observed = past.masked_fill(~mask, torch.nan)
    mean = observed.nanmean(1, keepdim=True)
    deviation = ((observed - mean).square().nanmean(1, keepdim=True) + 1e-5).sqrt()
    x = ((past - mean) / deviation).masked_fill(~mask, 0)
    for window in range(2):
        z = features(model, x[window].T)
        state = torch.einsum("st,vtd->svd", model.horizon.weight, z) + model.horizon.bias[:, None, None]
        y = state @ model.point.weight.T + model.point.bias + state @ model.offsets.weight.T + model.offsets.bias
        expected = y * deviation[window, 0, :, None] + mean[window, 0, :, None]
        assert apart(model(batch_of(past, mask))[window], expected) < 1e-10
    late = past.clone()
    late[:, -1] += 3 * mask[:, -1]
    assert apart(model(batch_of(late, mask))[:, 0], model(batch_of(past, mask))[:, 0]) > 1e-3  # it looks ahead


def test_it_classifies_by_the_mean_feature_of_observed_steps():
    model, past = network(task="classification", classes=4, h=0), waves()
    mask = torch.ones(2, 5, 3, dtype=torch.bool)
    mask[:, :2] = False
    expected = torch.stack([features(model, window.T)[:, 2:].mean((0, 1)) for window in past])
    expected = expected @ model.point.weight.T + model.point.bias
    assert apart(model(batch_of(past, mask)), expected) < 1e-10
    assert apart(model(batch_of(past)), expected) > 1e-3  # padding that speaks
    assert model.horizon is None
    assert sum(p.numel() for p in model.point.parameters()) == 4 * (3 + 1)


def test_beside_the_forecast_nothing_runs_past_the_end_of_a_window():
    with pytest.raises(ArgumentError, match="decode='direct'"):
        network(task="anomaly", h=0, decode="closed_loop")
