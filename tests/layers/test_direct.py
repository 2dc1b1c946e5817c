import pytest
import torch
from torch.testing import assert_close

from tsforge.layers.direct import DirectHead, with_covariates


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_of_what_is_known_ahead_only_the_look_back_joins_the_values():
    past, own, ahead = torch.randn(2, 6, 3), torch.randn(2, 6, 2), torch.randn(2, 9, 1)
    assert_close(with_covariates(past, own, ahead), torch.cat([past, own, ahead[:, :6]], 2))
    assert with_covariates(past, None, None) is past


def test_a_cell_reads_the_state_and_what_is_known_of_its_own_step():
    head, state, known = DirectHead(5, 3, 2, 4, future=2), torch.randn(6, 5), torch.randn(6, 10, 2)
    weight, bias = head.state.weight.view(3, 2, 4, 5), head.state.bias.view(3, 2, 4)
    effect = head.known.weight.view(2, 4, 2)
    expected = torch.stack([
        weight[t] @ state[n] + bias[t] + effect @ known[n, 7 + t] for n in range(6) for t in range(3)
    ]).view(6, 3, 2, 4)
    assert_close(head(state, known), expected)
    changed = known.clone()
    changed[:, 8] += 1
    moved = (head(state, changed) - head(state, known)).abs().amax((0, 2, 3))
    assert (moved > 1e-3).tolist() == [False, True, False]


@pytest.mark.parametrize("future", [0, 2])
def test_it_has_the_parameters_it_says(future):
    assert sum(p.numel() for p in DirectHead(5, 3, 2, 4, future=future).parameters()) == 6 * 24 + future * 8
