import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.layers.mamba import SelectiveBranch, SelectiveChannelMixer, SelectiveTokenMixer

SMALL = {"d_state": 3, "expand": 2, "kernel_size": 3}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def drawn(module, dtype=torch.float64):
    """The module with every weight drawn, so that none hides at 0 or 1."""
    for weight in module.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return module.to(dtype)


def transcription(branch, x):
    """The equations, a sequence and step at a time."""
    ssm, (rank, n, _), rows = branch.ssm, branch.ssm.sizes, []
    for sequence in x:
        lifted, state, steps = sequence @ branch.lift.weight.T, torch.zeros_like(ssm.A_log), []
        for t in range(len(sequence)):
            u = branch.conv.bias.clone()
            for back in range(min(t + 1, branch.conv.kernel_size[0])):
                u = u + branch.conv.weight[:, 0, -1 - back] * lifted[t - back]
            u = u * torch.sigmoid(u)
            chosen = ssm.selection.weight @ u
            delta = (1 + (ssm.delta.weight @ chosen[:rank] + ssm.delta.bias).exp()).log()[:, None]
            B, C = chosen[rank : rank + n], chosen[rank + n :]
            state = (delta * -ssm.A_log.exp()).exp() * state + delta * B * u[:, None]
            gate = branch.gate.weight @ sequence[t]
            steps.append((state @ C + ssm.D * u) * gate * torch.sigmoid(gate))
        rows.append(torch.stack(steps))
    return torch.stack(rows)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("time", [1, 2, 37])
def test_a_branch_equals_its_equations_in_values_and_gradients(dtype, tolerance, time):
    branch, x = drawn(SelectiveBranch(5, **SMALL), dtype), torch.randn(2, time, 5, dtype=dtype, requires_grad=True)
    of = [x, *branch.parameters()]
    told, weight = transcription(branch, x), torch.randn(2, time, 10, dtype=dtype)
    assert_close(branch(x), told, rtol=tolerance, atol=tolerance)
    got, wanted = (torch.autograd.grad((y * weight).sum(), of) for y in (branch(x), told))
    for one, other in zip(got, wanted, strict=True):
        assert (one - other).abs().max() <= tolerance * other.abs().max().clamp(min=1)


@pytest.mark.parametrize("name", [name for name, _ in SelectiveBranch(5).named_parameters()])
def test_the_equations_see_one_changed_weight(name):
    branch, x = drawn(SelectiveBranch(5, **SMALL)), torch.randn(2, 9, 5, dtype=torch.float64)
    expected = transcription(branch, x)
    with torch.no_grad():
        branch.get_parameter(name).flatten()[0] += 1e-3
    assert (branch(x) - expected).abs().max() > 1e-7


def test_it_starts_where_mamba_does():
    ssm = SelectiveBranch(40, d_state=5).ssm
    assert ssm.sizes == (3, 5, 5)  # rank = ceil(40 / 16)
    assert_close(ssm.A_log.exp(), torch.arange(1.0, 6).expand(80, 5))
    assert_close(ssm.D, torch.ones(80))
    dt = F.softplus(ssm.delta.bias)
    assert 1e-3 - 1e-6 <= dt.min() < 2e-3 < 0.05 < dt.max() <= 0.1 + 1e-6
    assert 0.5 < ssm.delta.weight.abs().max() <= 3**-0.5


@pytest.mark.parametrize(("d_model", "rank"), [(5, 1), (33, 3)])
def test_it_has_the_weights_it_says(d_model, rank):
    inner = 2 * d_model
    branch = inner * (2 * d_model + 3 + 2 * rank + 3 * 3 + 3)
    counts = [sum(weight.numel() for weight in kind(d_model, **SMALL).parameters())
              for kind in (SelectiveBranch, SelectiveTokenMixer, SelectiveChannelMixer)]
    assert counts == [branch, branch + inner * d_model, 2 * branch + inner * d_model]


def test_the_token_mixer_reads_the_past_of_one_variate_only():
    mixer, x = drawn(SelectiveTokenMixer(4, **SMALL)), torch.randn(2, 3, 11, 4, dtype=torch.float64)
    changed = x.clone()
    changed[:, 1, 6:] += 1
    moved = (mixer(changed) - mixer(x)).abs().amax((0, 3))  # [variate, time]
    assert moved[1, :6].max() == 0
    assert moved[[0, 2]].max() == 0
    assert moved[1, 6:].min() > 1e-6  # the control: what follows moves
    for variate in range(3):
        assert_close(mixer(x)[:, variate], transcription(mixer.branch, x[:, variate]) @ mixer.out.weight.T)


def reads(mixer, variates=5):
    """Whether the output at a row reads the input at a column."""
    x, moved = torch.randn(2, variates, 4, dtype=torch.float64), []
    for variate in range(variates):
        changed = x.clone()
        changed[:, variate] += 1
        moved.append((mixer(changed) - mixer(x)).abs().amax((0, 2)))
    return torch.stack(moved, 1) > 1e-12


def test_every_variate_reads_every_other_and_upward_alone_those_before_it():
    mixer, everything = drawn(SelectiveChannelMixer(4, **SMALL)), torch.ones(5, 5, dtype=torch.bool)
    assert reads(mixer).equal(everything)
    gate = mixer.downward.gate.weight.clone()
    torch.nn.init.zeros_(mixer.downward.gate.weight)
    assert reads(mixer).equal(everything.tril())
    with torch.no_grad():
        mixer.downward.gate.weight.copy_(gate)
    torch.nn.init.zeros_(mixer.upward.gate.weight)
    assert reads(mixer).equal(everything.triu())


def test_the_channel_mixer_is_the_sum_of_both_directions():
    mixer, x = drawn(SelectiveChannelMixer(4, **SMALL)), torch.randn(2, 5, 4, dtype=torch.float64)
    both = transcription(mixer.upward, x) + transcription(mixer.downward, x.flip(1)).flip(1)
    assert_close(mixer(x), both @ mixer.out.weight.T, rtol=1e-10, atol=1e-10)
    assert (mixer(x) - transcription(mixer.upward, x) @ mixer.out.weight.T).abs().max() > 1e-3  # the control


def test_with_the_directions_swapped_reversed_variates_give_the_reversed_output():
    mixer, x = drawn(SelectiveChannelMixer(4, **SMALL)), torch.randn(2, 5, 4, dtype=torch.float64)
    expected = mixer(x).flip(1)
    assert (mixer(x.flip(1)) - expected).abs().max() > 1e-3  # the control: bidirectional is not yet symmetric
    mixer.upward, mixer.downward = mixer.downward, mixer.upward
    assert_close(mixer(x.flip(1)), expected, rtol=1e-12, atol=1e-12)


def without_memory(branch):
    """Turns the state space into the identity and the convolution into a delta."""
    torch.nn.init.zeros_(branch.ssm.selection.weight)
    torch.nn.init.ones_(branch.ssm.D)
    torch.nn.init.zeros_(branch.conv.bias)
    torch.nn.init.zeros_(branch.conv.weight)
    with torch.no_grad():
        branch.conv.weight[..., -1] = 1


def perceptron(branch, x):
    return F.silu(x @ branch.lift.weight.T) * F.silu(x @ branch.gate.weight.T)


def test_with_an_identity_for_the_state_space_both_mixers_are_perceptrons():
    x = torch.randn(2, 3, 6, 4, dtype=torch.float64)
    token, channel = drawn(SelectiveTokenMixer(4, **SMALL)), drawn(SelectiveChannelMixer(24, **SMALL))
    flat, out = x.flatten(2), channel.out.weight.T

    def errors():
        both = perceptron(channel.upward, flat) + perceptron(channel.downward, flat)
        return [(token(x) - perceptron(token.branch, x) @ token.out.weight.T).abs().max(),
                (channel(flat) - both @ out).abs().max()]

    assert min(errors()) > 1e-2  # the control: with their state spaces they are not
    for branch in (token.branch, channel.upward, channel.downward):
        without_memory(branch)
    assert max(errors()) < 1e-12


def test_at_half_precision_it_stays_near_the_full_one():
    mixer, x = SelectiveChannelMixer(8), torch.randn(2, 5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        half = mixer(x)
    assert half.dtype == torch.bfloat16
    assert_close(half.float(), mixer(x), atol=0.02, rtol=0.05)


@pytest.mark.parametrize("size", ["d_model", "d_state", "expand", "kernel_size"])
@pytest.mark.parametrize("kind", [SelectiveBranch, SelectiveTokenMixer, SelectiveChannelMixer])
def test_a_size_that_cannot_work_is_named(kind, size):
    with pytest.raises(ArgumentError, match=f"{size}=0 .*give at least 1"):
        kind(**({"d_model": 4} | {size: 0}))
