import logging

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.encoders.sequence.phnn import PHCEncoder, PHConv1d, hamilton_algebra
from tsforge.errors import ArgumentError, ShapeError


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def weights(conv):
    return conv.algebra.numel() + conv.filters.numel()


def test_four_components_take_about_a_quarter_of_the_weights():
    assert weights(PHConv1d(64, 64, 3, n=4)) == 3136
    assert torch.nn.Conv1d(64, 64, 3, bias=False).weight.numel() == 12288


@pytest.mark.parametrize(("outputs", "inputs", "taps", "n"), [(6, 9, 5, 3), (8, 4, 1, 2), (5, 7, 2, 1), (16, 8, 3, 8)])
def test_the_number_of_weights_is_that_of_the_paper(outputs, inputs, taps, n):
    conv = PHConv1d(inputs, outputs, taps, n=n)
    assert weights(conv) == n**3 + outputs * inputs * taps // n
    assert sum(p.numel() for p in conv.parameters()) == weights(conv) + outputs


def quaternion_convolution(x, filters):
    """Each component of the output, written out as sums of real convolutions."""
    signs = [[("r", 1), ("i", -1), ("j", -1), ("k", -1)], [("i", 1), ("r", 1), ("k", -1), ("j", 1)],
             [("j", 1), ("k", 1), ("r", 1), ("i", -1)], [("k", 1), ("j", -1), ("i", 1), ("r", 1)]]
    parts = dict(zip("rijk", filters, strict=True))
    blocks = x.chunk(4, dim=1)
    rows = [
        sum(s * F.conv1d(block, parts[name], padding="same") for (name, s), block in zip(row, blocks, strict=True))
        for row in signs
    ]
    return torch.cat(rows, 1)


@pytest.mark.parametrize("groups", [1, 3])
def test_with_the_algebra_of_hamilton_it_multiplies_quaternions(groups):
    conv, x = PHConv1d(4 * groups, 8, 3, algebra="hamilton"), torch.randn(2, 4 * groups, 9)
    expected = quaternion_convolution(x, conv.filters)
    assert_close(conv(x), expected, atol=1e-6, rtol=1e-6)
    conv.algebra[2, 1, 3] *= -1  # the control: one sign of the table is wrong
    assert not torch.allclose(conv(x), expected, atol=1e-2)


def test_the_algebra_of_hamilton_is_that_of_quaternions_and_is_not_trained():
    one, i, j, k = hamilton_algebra()
    assert torch.equal(one, torch.eye(4))
    for unit in (i, j, k):
        assert torch.equal(unit @ unit, -one)
    assert torch.equal(i @ j, k)
    assert torch.equal(j @ i, -k)
    encoder = PHCEncoder(4, 8, algebra="hamilton")
    assert [name for name, _ in encoder.named_parameters() if name.endswith("algebra")] == []
    assert [name for name in encoder.state_dict() if name.endswith("algebra")] == []
    assert [name for name, _ in PHCEncoder(4, 8, n_layers=1).named_parameters() if name.endswith("algebra")] == [
        "lift.algebra", "layers.0.algebra"]


def test_with_the_complex_algebra_it_multiplies_complex_numbers():
    conv, x = PHConv1d(in_channels=6, out_channels=4, n=2), torch.randn(5, 6, 7)
    conv.algebra.data = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, -1.0], [1.0, 0.0]]])
    w, z = torch.complex(*conv.filters.squeeze(-1)), torch.complex(*x.chunk(2, dim=1))
    y = w @ z
    assert_close(conv(x), torch.cat([y.real, y.imag], dim=1))


def test_the_weight_is_the_sum_of_kronecker_products_at_each_tap():
    conv = PHConv1d(6, 9, 5, n=3)
    for tap in range(5):
        expected = sum(torch.kron(a, f[..., tap]) for a, f in zip(conv.algebra, conv.filters, strict=True))
        assert_close(conv.weight()[..., tap], expected, atol=1e-6, rtol=1e-6)
        turned = sum(torch.kron(f[..., tap], a) for a, f in zip(conv.algebra, conv.filters, strict=True))
        assert not torch.allclose(conv.weight()[..., tap], turned, atol=1e-2)  # the control: the other order


def relative_error(conv, target, inputs, steps):
    """Mean squared error over the variance of the targets, after training on them."""
    optimizer = torch.optim.Adam(conv.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with torch.no_grad():
        y = target(inputs)
    for _ in range(steps):
        loss = F.mse_loss(conv(inputs), y) / y.var()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return float(loss.detach())


def test_it_learns_an_unknown_algebra_which_a_grouped_convolution_of_more_weights_does_not():
    target, inputs = PHConv1d(12, 12, 3, n=3), torch.randn(24, 12, 32)
    grouped = torch.nn.Conv1d(12, 12, 5, groups=3, padding="same")
    conv = PHConv1d(12, 12, 3, n=3)
    assert grouped.weight.numel() >= weights(conv)
    assert relative_error(conv, target, inputs, 300) < 1e-2
    assert relative_error(grouped, target, inputs, 300) > 0.3


@pytest.mark.parametrize("algebra", ["learned", "hamilton"])
@pytest.mark.parametrize("width", [64, 256])
def test_the_weight_starts_with_the_variance_of_he(width, algebra):
    conv = PHConv1d(width, width, 3, algebra=algebra)
    assert_close(conv.weight().var().item(), 2 / (3 * width), rtol=0.1, atol=0)


def test_the_variance_does_not_fall_with_the_number_of_components():
    for n in (1, 2, 8, 16):
        assert_close(PHConv1d(128, 128, 3, n=n).weight().var().item(), 2 / (3 * 128), rtol=0.1, atol=0)


@pytest.mark.parametrize(("n", "channels", "causal"), [(4, 4, False), (2, 3, True), (4, 1, False)])
def test_it_is_what_its_equations_say(n, channels, causal):
    encoder = PHCEncoder(channels, 8, n=n, n_layers=2, kernel_size=3, dilation_base=3, causal=causal).double().eval()
    for rank, weight in enumerate(encoder.parameters()):
        weight.data = torch.sin(torch.arange(weight.numel(), dtype=torch.float64) * 12.9 + rank).view_as(weight)
    x = torch.randn(2, 11, channels, dtype=torch.float64)
    mask = torch.rand(2, 11, channels) < 0.8
    z = torch.cat([x * mask, x.new_zeros(2, 11, -channels % n)], -1) @ encoder.lift.weight()[..., 0].T
    z = z + encoder.lift.bias
    for layer, (conv, norm) in enumerate(zip(encoder.layers, encoder.norms, strict=True)):
        y = torch.zeros_like(z) + conv.bias
        for t in range(11):
            for tap in range(3):
                at = t + (tap - (2 if causal else 1)) * 3**layer
                if 0 <= at < 11:
                    y[:, t] += z[:, at] @ conv.weight()[..., tap].T
        z = F.layer_norm(z + F.gelu(y), (8,), norm.weight, norm.bias)
    assert_close(encoder(x, mask), z, atol=1e-10, rtol=1e-10)


def test_the_number_of_parameters_is_that_of_the_docstring():
    for channels, d_model, n, layers, taps in ((4, 24, 4, 3, 3), (1, 12, 2, 2, 5), (7, 9, 3, 1, 2)):
        encoder = PHCEncoder(channels, d_model, n=n, n_layers=layers, kernel_size=taps)
        padded = -(-channels // n) * n
        filters = padded * d_model // n + layers * taps * d_model**2 // n
        expected = filters + (layers + 1) * n**3 + (3 * layers + 1) * d_model
        assert sum(p.numel() for p in encoder.parameters()) == expected


@pytest.mark.parametrize("kernel_size", [2, 3])
def test_a_causal_encoder_sees_no_later_step(kernel_size):
    x = torch.randn(1, 20, 4)
    changed = torch.cat([x[:, :12], x[:, 12:] + 1], 1)
    for causal in (True, False):
        encoder = PHCEncoder(4, 8, kernel_size=kernel_size, causal=causal).eval()
        alike = (encoder(x) == encoder(changed)).all(-1)[0]
        assert bool(alike[:12].all()) is causal  # the other one is the control
        assert not alike[12:].any()


def test_the_mask_hides_single_channels():
    encoder, x = PHCEncoder(4, 8).eval(), torch.randn(1, 6, 4)
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[0, 2, 1] = False
    hidden = x.clone()
    hidden[0, 2, 1] = 0
    assert_close(encoder(x, mask), encoder(hidden))
    assert not torch.allclose(encoder(x, mask), encoder(x))


@pytest.mark.parametrize(("inputs", "outputs", "name"), [(6, 8, "in_channels"), (8, 6, "out_channels")])
def test_a_convolution_refuses_channels_that_do_not_make_whole_numbers(inputs, outputs, name):
    with pytest.raises(ShapeError, match=f"{name}=6 is not a multiple of n=4: choose n among the divisors of 6"):
        PHConv1d(inputs, outputs)


def test_channels_that_are_filled_up_are_said(caplog):
    caplog.set_level(logging.INFO, "tsforge")
    PHCEncoder(4, 8)
    assert caplog.messages == []
    PHCEncoder(3, 8)
    assert "3 channels for n=4 components; 1 of them are zeros" in caplog.messages[0]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"d_model": 10}, ShapeError, "d_model=10 is not a multiple of n=4: choose n among the divisors of 10"),
        ({"n": 2, "algebra": "hamilton"}, ShapeError, "quaternions have 4 components. Give n=4"),
        ({"n": 0}, ArgumentError, "n=0 leaves nothing"), ({"n_layers": 0}, ArgumentError, "n_layers=0"),
        ({"kernel_size": 0}, ArgumentError, "kernel_size=0"), ({"dilation_base": 0}, ArgumentError, "dilation_base=0"),
        ({"dropout": 1.0}, ArgumentError, "dropout=1.0 is not a share"),
        ({"algebra": "octonion"}, ArgumentError, "'octonion' is not known: give one of 'learned', 'hamilton'"),
    ],
)
def test_what_cannot_be_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        PHCEncoder(4, **{"d_model": 8, **arguments})
