import pytest
import torch
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.layers.grid_positions import MDLRPE, MDTPE, TPE


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def grid(*sizes, batch=2, feature=6):
    return torch.randn(batch, *sizes, feature, dtype=torch.float64)


def dense(tpe, x, causal):
    """The product with a Toeplitz matrix for each feature, along the first axis of the grid."""
    steps = torch.arange(x.shape[1], dtype=torch.float64)
    distance = steps[:, None] - steps
    y = torch.zeros_like(x)
    for feature in range(x.shape[-1]):
        head = feature * len(tpe.p) // x.shape[-1]
        matrix = torch.sigmoid(tpe.p[head]) ** distance.abs()
        matrix = matrix.tril() if causal else matrix
        y[..., feature] = torch.einsum("ts,bs...->bt...", matrix, x[..., feature]) * (tpe.a[head] @ tpe.b[head])
    return y


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 33])
def test_the_scan_is_a_toeplitz_product_in_values_and_gradients(steps, causal):
    tpe, x = TPE(6, 3, 4, causal=causal).double(), grid(steps, 2).requires_grad_()
    inputs = [x, tpe.a, tpe.b, tpe.p]
    found, expected = tpe(x, 1), dense(tpe, x, causal)
    assert_close(found, expected, rtol=0, atol=1e-11)
    weights = torch.randn_like(found)
    for one, other in zip(*(torch.autograd.grad((y * weights).sum(), inputs) for y in (found, expected)), strict=True):
        assert_close(one, other, rtol=1e-5, atol=1e-9)
    if steps > 1:
        assert (found - dense(tpe, x, not causal)).abs().max() > 1e-2  # the control


def test_without_memory_it_scales_each_token():
    tpe, x = TPE(6, 3, 4, causal=False).double(), grid(9)
    tpe.p.data.fill_(-200.0)
    assert_close(tpe(x, 1), x * (tpe.a * tpe.b).sum(-1)[[0, 0, 1, 1, 2, 2]])


def test_the_answer_to_an_impulse_decays_by_the_same_share_at_each_step():
    tpe, impulse = TPE(6, 3, 4, causal=True).double(), torch.zeros(1, 20, 6).double()
    impulse[:, 4] = 1
    y = tpe(impulse, 1)[0]
    assert (y[:4] == 0).all()
    assert_close(y[5:] / y[4:-1], torch.sigmoid(tpe.p)[[0, 0, 1, 1, 2, 2]].expand(15, -1))


def test_both_ways_it_is_the_same_backwards_and_causal_it_is_not():
    x = grid(15)
    for causal in (False, True):
        tpe = TPE(6, 3, 4, causal=causal).double()
        difference = (tpe(x.flip(1), 1).flip(1) - tpe(x, 1)).abs().max()
        assert (difference > 1e-2) if causal else (difference < 1e-12)


def test_along_one_axis_other_rows_are_left_alone():
    tpe, x = TPE(6, 3, 4, causal=False).double(), grid(5, 7)
    changed = x.clone()
    changed[:, 2] += 1
    difference = (tpe(changed, 2) - tpe(x, 2)).abs().amax((0, 2, 3))
    assert difference[2] > 0.1
    assert difference[[0, 1, 3, 4]].max() == 0
    assert (tpe(changed, 1) - tpe(x, 1)).abs().amax((0, 2, 3)).min() > 1e-3  # the control: along the other axis


def test_the_axes_are_summed_normalised_projected_and_added():
    code, x = MDTPE(6, 3, 4, causal=(True, False)).double(), grid(5, 7)
    near = dense(code.axes[0], x, True) + dense(code.axes[1], x.transpose(1, 2), False).transpose(1, 2)
    near = near / (near.square().mean(-1, keepdim=True) + 1e-5).sqrt() * code.norm.weight
    assert_close(code(x), x + near @ code.out.weight.T)
    assert sum(p.numel() for p in code.parameters()) == 2 * 3 * (2 * 4 + 1) + 6 + 6 * 6


def products(code, q, k):
    """q_i . k_j of all pairs of tokens, the same q and k at every token."""
    tokens = len(code.phases)
    return code(q.expand(1, tokens, 1, -1))[0, :, 0] @ code(k.expand(1, tokens, 1, -1))[0, :, 0].mT


def test_products_of_phased_keys_and_queries_depend_on_the_distance_alone():
    code = MDLRPE((12,), 8).double()
    found = products(code, *torch.randn(2, 8).double())
    for distance in range(-11, 12):
        line = found.diagonal(distance)
        assert (line - line[0]).abs().max() < 1e-6
    assert (found[0] - found[0, 0]).abs().max() > 0.1  # the control: on the distance they do depend


def test_on_a_grid_they_depend_on_the_differences_of_both_coordinates():
    code = MDLRPE((5, 4), 6).double()
    found = products(code, *torch.randn(2, 6).double()).view(5, 4, 5, 4)
    assert_close(found[1:, 1:, 1:, 1:], found[:-1, :-1, :-1, :-1], rtol=0, atol=1e-6)
    assert_close(found[1:, :, 1:], found[:-1, :, :-1], rtol=0, atol=1e-6)
    flat = products(MDLRPE((20,), 6).double(), *torch.randn(2, 6).double()).view(5, 4, 5, 4)
    assert (flat[:, 1, :, 0] - flat[:, 0, :, 1]).abs().max() > 1e-2  # the control: a row does not know its columns


def test_turning_pairs_under_a_normaliser_for_each_channel_depends_on_more_than_the_distance():
    decay = torch.tensor([0.5, 2.0]).double()

    def turned(q, k, i, j):
        turn = [torch.tensor([[c, -s], [s, c]]).double() for c, s in
                ((torch.tensor(0.7 * t).cos(), torch.tensor(0.7 * t).sin()) for t in (i, j))]
        return (turn[0] @ q * decay) @ (turn[1] @ k)

    q, k = torch.tensor([1.0, 0.3]).double(), torch.tensor([0.2, 1.1]).double()
    assert (turned(q, k, 5, 3) - turned(q, k, 2, 0)).abs() > 0.1


def test_the_wavelengths_go_from_two_pi_to_the_base_and_each_axis_has_its_channels():
    code = MDLRPE((3, 4), 5, base=16.0)
    row, column = torch.arange(12) // 4, torch.arange(12) % 4
    angle = torch.stack([row, row * 16 ** (-1 / 3), row * 16 ** (-2 / 3), column, column / 4], 1)
    assert_close(code.phases[:, 0], torch.cat([angle.cos(), angle.sin()], 1))


def test_an_axis_without_a_channel_is_refused():
    with pytest.raises(ArgumentError, match="1 key channels are too few for 2 axes"):
        MDLRPE((3, 4), 1)
