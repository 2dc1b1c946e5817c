import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.layers.inception import Inception


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def separately(inception, maps):
    """The published block: one convolution for each kernel, then the mean."""
    x = maps.permute(0, 3, 1, 2)
    results = [
        F.conv2d(x, kernel, bias, padding=kernel.shape[-1] // 2)
        for kernel, bias in zip(inception.kernels, inception.biases, strict=True)
    ]
    return torch.stack(results, dim=-1).mean(-1).permute(0, 2, 3, 1)


def random_biases(inception):
    with torch.no_grad():
        inception.biases.normal_()
    return inception


@pytest.mark.parametrize("size", [(1, 1), (1, 17), (17, 1), (2, 9), (9, 2), (4, 5), (23, 3), (8, 24), (13, 13)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_one_convolution_equals_the_mean_of_six_in_values_and_gradients(size, dtype, tolerance):
    inception = random_biases(Inception(3, 4).to(dtype))
    maps = torch.randn(2, *size, 3, dtype=dtype, requires_grad=True)
    pull = torch.randn(2, *size, 4, dtype=dtype)
    answers = []
    for compute in (inception, lambda x: separately(inception, x)):
        y = compute(maps)
        loss = (y * pull).sum() / maps[..., 0].numel()
        answers.append((y, *torch.autograd.grad(loss, [maps, *inception.parameters()])))
    for merged, separate in zip(*answers, strict=True):
        assert_close(merged, separate, rtol=tolerance, atol=tolerance)


def test_the_comparison_with_six_convolutions_sees_one_changed_tap():
    inception, maps = random_biases(Inception(3, 4).double()), torch.randn(2, 8, 24, 3, dtype=torch.float64)
    expected = separately(inception, maps)
    with torch.no_grad():
        inception.kernels[5][0, 0, 0, 0] += 1e-3
    assert (inception(maps) - expected).abs().max() > 1e-6


@pytest.mark.parametrize("num_kernels", [1, 3, 6])
def test_it_has_the_parameters_of_its_kernels_and_one_bias_for_each(num_kernels):
    count = sum(p.numel() for p in Inception(5, 7, num_kernels).parameters())
    assert count == 5 * 7 * sum((2 * j + 1) ** 2 for j in range(num_kernels)) + num_kernels * 7


def test_six_kernels_have_286_weights_for_a_pair_of_channels():
    assert sum(p.numel() for p in Inception(16, 32).parameters()) == 286 * 16 * 32 + 6 * 32


def test_centre_taps_alone_make_the_identity():
    inception, maps = Inception(4, 4), torch.randn(2, 6, 7, 4)
    with torch.no_grad():
        for kernel in inception.kernels:
            middle = kernel.shape[-1] // 2
            kernel.zero_()[:, :, middle, middle] = torch.eye(4)
    assert_close(inception(maps), maps)
    with torch.no_grad():
        inception.kernels[3][:, :, 3, 4] = torch.eye(4)  # control: one tap beside the centre
    assert (inception(maps) - maps).abs().max() > 0.1


def test_kernels_start_with_the_published_spread():
    for kernel in Inception(64, 32).kernels:
        fan_out = 32 * kernel[0, 0].numel()
        assert_close(kernel.std().item(), (2 / fan_out) ** 0.5, rtol=0.1, atol=0)
