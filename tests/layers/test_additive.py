import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.kernels import additive_scan
from tsforge.layers.additive import AdditiveMixer, GatedMLP

GRID = (6, 3)
TOKENS = 18


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def mixer(dtype=torch.float64, d_model=8, **arguments):
    return AdditiveMixer(d_model, 2, GRID, **arguments).to(dtype)


def tokens(spread=1.0, dtype=torch.float64):
    """q, k, v of [batch, token, head, channel]."""
    q, k, v = torch.randn(3, 2, TOKENS, 2, 4, dtype=dtype)
    return q, spread * k, v


def angles(channels=4):
    """The phase of each token and channel: half of the channels for rows, half for columns."""
    rate = torch.tensor([1.0, 1e4**-0.5]).double()
    token = torch.arange(TOKENS).double()
    row, column = torch.div(token, GRID[1], rounding_mode="floor"), token % GRID[1]
    return torch.cat([row[:, None] * rate, column[:, None] * rate], 1)


def direct(q, k, v, causal, sink=False, seen=None):
    """The equation, a token and channel at a time, with exponentials as they are."""
    angle = angles().to(q.dtype)
    seen = torch.ones(q.shape[:2], dtype=torch.bool) if seen is None else seen
    out = torch.zeros_like(v)
    for b in range(len(q)):
        for t in range(TOKENS):
            earlier = [s for s in range(t + 1 if causal else TOKENS) if seen[b, s]]
            for head in range(2):
                for c in range(4) if earlier or sink else ():
                    weight = k[b, earlier, head, c].exp()
                    phase = (angle[t, c] - angle[earlier, c]).cos()
                    mean = (weight * phase) @ v[b, earlier, head] / (weight.sum() + int(sink))
                    out[b, t, head] += q[b, t, head, c] * mean
    return out


@pytest.mark.parametrize("sink", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_the_single_scan_is_the_direct_ratio_of_sums(causal, sink):
    given = tokens()
    expected = direct(*given, causal, sink)
    module = mixer(causal=causal, sink=sink)
    module.places.phases = torch.cat([angles().cos(), angles().sin()], 1)[:, None]  # in double precision
    assert_close(module.read(*given), expected, rtol=0, atol=1e-12)
    single = mixer(torch.float32, causal=causal, sink=sink)
    assert_close(single.read(*(x.float() for x in given)).double(), expected, rtol=0, atol=1e-5)
    assert (expected - direct(*given, causal, not sink)).abs().max() > 1e-3  # the control
    assert (expected - direct(*given, not causal, sink)).abs().max() > 1e-3


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_are_those_of_the_direct_sums(causal):
    given = [x.requires_grad_() for x in tokens()]
    module = mixer(causal=causal)
    found, expected = module.read(*given), direct(*given, causal)
    weights = torch.randn_like(found)
    for one, other in zip(*(torch.autograd.grad((y * weights).sum(), given) for y in (found, expected)), strict=True):
        assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_logits_from_minus_fifty_to_fifty_do_no_harm(causal):
    q, k, v = tokens()
    k = 50 * torch.cos(torch.arange(k.numel()).double()).view(k.shape)
    expected = direct(q, k, v, causal)
    module = mixer(torch.float32, causal=causal)
    assert_close(module.read(q.float(), k.float(), v.float()).double(), expected, rtol=0, atol=1e-4)


def without_phases(module):
    module.places.phases = torch.cat([torch.ones(TOKENS, 1, 4), torch.zeros(TOKENS, 1, 4)], -1).double()
    return module


@pytest.mark.parametrize("causal", [False, True])
def test_without_phases_it_is_the_plain_scan(causal):
    for sink in (False, True):
        given = tokens()
        expected = additive_scan(*given, causal=causal, sink=sink)
        assert_close(without_phases(mixer(causal=causal, sink=sink)).read(*given), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
def test_weights_add_up_to_one_and_equal_logits_give_the_mean(causal):
    q, k, v = tokens()
    constant, level = torch.full_like(v, 3.0), torch.full_like(k, 0.7)
    module, total = without_phases(mixer(causal=causal)), q.sum(-1, keepdim=True)
    assert_close(module.read(q, k, constant), 3 * total.expand_as(v))
    counts = torch.arange(1, TOKENS + 1).double()[:, None, None]
    mean = v.cumsum(1) / counts if causal else v.mean(1, keepdim=True)
    assert_close(module.read(q, level, v), total * mean)


@pytest.mark.parametrize("causal", [False, True])
def test_a_constant_added_to_the_logits_of_a_channel_changes_nothing_but_with_a_sink(causal):
    q, k, v = tokens()
    shifted = k + torch.tensor([3.0, -2.0, 0.5, 1.0])
    for sink in (False, True):
        module = mixer(causal=causal, sink=sink)
        difference = (module.read(q, shifted, v) - module.read(q, k, v)).abs().max()
        assert (difference > 1e-2) if sink else (difference < 1e-12)


def test_causal_it_sees_nothing_of_later_tokens_and_its_last_token_sees_all():
    x, later = torch.randn(2, 2, TOKENS, 8, dtype=torch.float64)
    later[:, :11] = x[:, :11]
    module, whole = mixer(causal=True), mixer(causal=False)
    whole.load_state_dict(module.state_dict())
    assert_close(module(later)[:, :11], module(x)[:, :11], rtol=0, atol=1e-12)
    assert (whole(later)[:, :11] - whole(x)[:, :11]).abs().max() > 1e-3  # the control
    assert_close(module(x)[:, -1], whole(x)[:, -1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
def test_tokens_left_out_change_nothing_and_where_all_are_the_mean_is_zero(causal):
    x, other = torch.randn(2, 2, TOKENS, 8, dtype=torch.float64)
    seen = torch.ones(2, TOKENS, dtype=torch.bool)
    seen[0, [0, 1, 7, 17]], seen[1] = False, False
    x, module = x.requires_grad_(), mixer(causal=causal)
    y = module(x, seen)
    changed = module(torch.where(seen[..., None], x, other), seen)
    assert_close(changed[seen], y[seen], rtol=0, atol=1e-12)
    assert (module(torch.where(seen[..., None], x, other)) - module(x)).abs().max() > 1e-3  # the control
    assert y[1].abs().max() == 0
    q, k, v = tokens()
    found = module.read(q, k, v, ~seen[..., None, None])
    assert_close(found, direct(q, k, v, causal, seen=seen), rtol=0, atol=1e-6)
    y.sum().backward()
    assert all(torch.isfinite(grad).all() for grad in (x.grad, *(p.grad for p in module.parameters())))


def test_one_token_gives_its_value():
    module = AdditiveMixer(8, 2, (1, 1)).double()
    q, k, v = (x[:, :1] for x in tokens())
    assert_close(module.read(q, k, v), q.sum(-1, keepdim=True) * v)


def test_states_of_two_pieces_merge_into_that_of_the_whole_in_any_order():
    q, k, v = tokens()

    def state(cut):
        return additive_scan(q[:, cut], k[:, cut], v[:, cut], return_state=True)[1]

    def merge(one, other):
        z = torch.logaddexp(one[0], other[0])
        return z, (one[0] - z).exp()[..., None] * one[1] + (other[0] - z).exp()[..., None] * other[1]

    a, b, c, whole = (state(slice(*ends)) for ends in ((0, 4), (4, 5), (5, TOKENS), (0, TOKENS)))
    for merged in (merge(merge(a, b), c), merge(a, merge(b, c)), merge(c, merge(b, a))):
        assert_close(merged[0], whole.z)
        assert_close(merged[1], whole.h)
    assert (a.h + b.h + c.h - whole.h).abs().max() > 1e-2  # the control: means do not add up


@pytest.mark.parametrize("causal", [False, True])
def test_step_by_step_with_the_state_carried_it_is_the_scan(causal):
    q, k, v = tokens()
    outputs, state = [], None
    for t in range(TOKENS):
        y, state = additive_scan(
            q[:, t : t + 1], k[:, t : t + 1], v[:, t : t + 1], causal=causal, state=state, return_state=True
        )
        outputs.append(y)
    assert_close(torch.cat(outputs, 1), additive_scan(q, k, v), rtol=0, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
def test_the_mixer_is_its_equations(causal):
    module, x = mixer(d_model=9, causal=causal), torch.randn(2, TOKENS, 9).double()
    q, k, v = ((x @ w.weight.T).view(2, TOKENS, 2, 4) for w in (module.query, module.key, module.value))
    o = direct(q * torch.sigmoid(q), k, v, causal)
    o = o / (o.square().mean(-1, keepdim=True) + 1e-5).sqrt() * module.norm.weight
    gate = torch.sigmoid(x @ module.gate[0].weight.T @ module.gate[1].weight.T)
    assert_close(module(x), (o.reshape(2, TOKENS, 8) * gate) @ module.out.weight.T, rtol=0, atol=1e-6)
    assert sum(p.numel() for p in module.parameters()) == 9 * (4 * 8 + 4) + 4 * (8 + 1)


def test_weights_are_near_equal_at_the_start():
    module, x = AdditiveMixer(64, 4, GRID), F.rms_norm(torch.randn(2, TOKENS, 64), (64,))
    weights = module.key(x).softmax(1) * TOKENS
    assert 0.5 < weights.min() < weights.max() < 2


def test_the_gated_map_is_its_equation():
    module, x = GatedMLP(5, 7).double(), torch.randn(2, 3, 5).double()
    up, gate = x @ module.up.weight.T, x @ module.gate.weight.T
    assert_close(module(x), (gate * torch.sigmoid(gate) * up) @ module.down.weight.T)
    assert sum(p.numel() for p in module.parameters()) == 3 * 5 * 7
