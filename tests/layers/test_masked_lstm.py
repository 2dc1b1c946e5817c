import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from tsforge.layers.masked_lstm import MaskedLSTM

GROUPS, HIDDEN, STEPS, BATCH = 3, 4, 7, 5


def made(bidirectional: bool) -> tuple[MaskedLSTM, Tensor, Tensor]:
    torch.manual_seed(0)
    layer = MaskedLSTM(GROUPS, HIDDEN, bidirectional=bidirectional).double()
    drive = torch.randn(BATCH, STEPS, GROUPS, layer.directions * 4 * HIDDEN, dtype=torch.float64)
    rows = torch.rand(BATCH, STEPS, GROUPS) < 0.6
    rows[0] = True
    rows[1, :, 0] = False  # a sequence of nothing
    rows[2, :3] = False  # padding in front
    return layer, drive.requires_grad_(), rows


def torch_lstm(layer: MaskedLSTM, group: int) -> nn.LSTM:
    """torch's LSTM of a group, whose gates are i, f, g, o, driven through an identity."""
    width = layer.directions * 4 * HIDDEN
    lstm = nn.LSTM(width, HIDDEN, batch_first=True, bidirectional=layer.directions == 2).double()
    order = [*range(2 * HIDDEN), *range(3 * HIDDEN, 4 * HIDDEN), *range(2 * HIDDEN, 3 * HIDDEN)]
    with torch.no_grad():
        for way in range(layer.directions):
            end = "_reverse" if way else ""
            eye = torch.eye(width, dtype=torch.float64)[4 * HIDDEN * way :][order]
            getattr(lstm, f"weight_ih_l0{end}").copy_(eye)
            getattr(lstm, f"weight_hh_l0{end}").copy_(layer.recurrent[group, way].mT[order])
            getattr(lstm, f"bias_ih_l0{end}").zero_()
            getattr(lstm, f"bias_hh_l0{end}").zero_()
    return lstm


@pytest.mark.parametrize("bidirectional", [True, False])
def test_each_group_is_an_lstm_over_its_own_steps_alone_in_values_and_gradients(bidirectional):
    layer, drive, rows = made(bidirectional)
    states = layer(drive, rows)
    expected = []
    for n in range(BATCH):
        for g in range(GROUPS):
            own = drive[n, rows[n, :, g], g]
            if len(own):
                theirs = torch_lstm(layer, g)(own[None])[0][0]
                assert_close(states[n, rows[n, :, g], g], theirs, rtol=1e-12, atol=1e-12)
                expected.append((theirs * theirs).sum())
    (ours,) = torch.autograd.grad((states.square() * rows[..., None]).sum(), drive, retain_graph=True)
    (theirs,) = torch.autograd.grad(torch.stack(expected).sum(), drive)
    assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    everywhere = layer(drive, torch.ones_like(rows))
    assert ((everywhere - states).abs() * rows[..., None]).max() > 1e-3  # the control: without the mask it is another


def test_a_skipped_step_leaves_the_state_as_it_was():
    layer, drive, rows = made(bidirectional=False)
    states = layer(drive, rows)
    before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], 1)
    assert torch.equal(states[~rows], before[~rows])
    assert not states[1, :, 0].any()


@pytest.mark.parametrize("bidirectional", [True, False])
def test_padding_in_front_or_behind_changes_nothing(bidirectional):
    layer, drive, rows = made(bidirectional)
    states = layer(drive, rows)
    pad, off = torch.full_like(drive[:, :2], 50.0), torch.zeros_like(rows[:, :2])
    front = layer(torch.cat([pad, drive], 1), torch.cat([off, rows], 1))
    behind = layer(torch.cat([drive, pad], 1), torch.cat([rows, off], 1))
    assert_close(front[:, 2:], states)
    assert_close(behind[:, :-2], states)
    seen = layer(torch.cat([drive, pad], 1), torch.cat([rows, ~off], 1))  # the control: a last step that is there
    assert ((seen[:, :-2] - states).abs().max() > 1e-3) == bidirectional


def test_groups_do_not_see_each_other_and_the_last_may_be_left_out():
    layer, drive, rows = made(bidirectional=True)
    states = layer(drive, rows)
    moved = drive.detach().clone()
    moved[:, :, 1] += 1
    changed = (layer(moved, rows) - states).abs().amax((0, 1, 3)) > 0
    assert changed.tolist() == [False, True, False]
    assert_close(layer(drive[:, :, :2], rows[:, :, :2]), states[:, :, :2])


def test_gradients_of_a_sequence_of_nothing_are_finite_and_zero():
    layer, drive, rows = made(bidirectional=True)
    (gradient,) = torch.autograd.grad(layer(drive, rows).sum(), drive)
    assert torch.isfinite(gradient).all()
    assert not gradient[1, :, 0].any()
    assert gradient[0].any()


@pytest.mark.parametrize("bidirectional", [True, False])
def test_it_has_the_parameters_of_its_formula(bidirectional):
    layer = MaskedLSTM(GROUPS, HIDDEN, bidirectional=bidirectional)
    assert sum(p.numel() for p in layer.parameters()) == GROUPS * (1 + bidirectional) * 4 * HIDDEN**2
