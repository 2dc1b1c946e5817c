from math import factorial, pi

import pytest
import torch
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.layers.signature import augmented, chen, deepest, sig_mmd, signature, signature_size


def path(points: int = 7, dim: int = 2, batch: int = 3, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(batch, points, dim, generator=draw, dtype=torch.float64).cumsum(1)


def test_the_first_level_is_the_end_minus_the_start_and_the_second_is_symmetric_in_half_its_square():
    x = path(dim=3)
    first, second = signature(x, 2).split([3, 9], dim=1)
    ahead = x[:, -1] - x[:, 0]
    assert_close(first, ahead)
    second = second.unflatten(1, (3, 3))
    assert_close((second + second.mT) / 2, ahead[:, :, None] * ahead[:, None] / 2)
    assert not torch.allclose(second, second.mT)  # the control: the other half is the area


def test_the_area_of_a_unit_circle_is_pi_either_way_round():
    angle = torch.linspace(0, 2 * pi, 4001, dtype=torch.float64)
    loop = torch.stack([angle.cos(), angle.sin()], 1)[None]
    for walked, area in ((loop, pi), (loop.flip(1), -pi)):
        second = signature(walked, 2)[0, 2:].view(2, 2)
        assert abs(float(second[0, 1] - second[1, 0]) / 2 - area) < 1e-5


def test_a_straight_line_has_the_powers_of_its_increment_over_factorials():
    v = torch.tensor([0.5, -1.5], dtype=torch.float64)
    levels = signature(torch.stack([torch.zeros_like(v), v])[None], 5)[0]
    power, at = v, 0
    for k in range(1, 6):
        assert_close(levels[at : at + 2**k], power / factorial(k))
        power, at = (power[:, None] * v).flatten(), at + 2**k


def test_the_levels_are_iterated_integrals():
    x, depth = path(points=4, batch=1), 3
    fine = torch.nn.functional.interpolate(x.mT, size=3001, mode="linear", align_corners=True).mT[0]
    steps, mid = fine.diff(dim=0), (fine[1:] + fine[:-1]) / 2 - fine[0]
    second = torch.einsum("ta,tb->tab", mid, steps)
    third = torch.einsum("tab,tc->abc", second.cumsum(0) - second / 2, steps)
    assert_close(signature(x, depth)[0, 6:], third.flatten(), atol=1e-4, rtol=1e-3)


def test_two_paths_after_each_other_have_the_product_of_their_signatures():
    x = path(points=9)
    whole, parts = signature(x, 4), (signature(x[:, :5], 4), signature(x[:, 4:], 4))
    assert_close(whole, chen(*parts, dim=2))
    assert not torch.allclose(whole, chen(*reversed(parts), dim=2))  # the control: order matters


def test_points_on_a_line_change_nothing_and_a_point_beside_it_does():
    x = path(points=4)
    finer = torch.nn.functional.interpolate(x.mT, size=10, mode="linear", align_corners=True).mT
    assert_close(signature(finer, 4), signature(x, 4))
    finer[:, 4] += 0.1
    assert not torch.allclose(signature(finer, 4), signature(x, 4))


def test_time_and_origin_show_the_speed_and_the_start_of_a_path():
    x = torch.linspace(0, 1, 9, dtype=torch.float64)[None, :, None]
    assert_close(signature(x**2, 3), signature(x, 3))
    assert_close(signature(x + 1, 3), signature(x, 3))
    assert not torch.allclose(signature(augmented(x**2), 3), signature(augmented(x), 3))
    assert_close(signature(augmented(x + 1, origin=False), 3), signature(augmented(x, origin=False), 3))
    assert not torch.allclose(signature(augmented(x + 1), 3), signature(augmented(x), 3))


def test_its_size_and_the_greatest_depth_of_a_size():
    assert signature(path(dim=2), 8).shape == (3, 510)
    assert signature_size(7, 4) == 2800
    assert [deepest(7, 9, n) for n in (1, 56, 398, 2800)] == [1, 2, 2, 4]
    for depth, points in ((0, 3), (2, 1)):
        with pytest.raises(ArgumentError, match=f"depth={depth} of {points} points"):
            signature(torch.zeros(1, points, 1), depth)


def test_the_distance_is_zero_for_one_sample_and_grows_with_the_gap_of_drifts():
    draw = torch.Generator().manual_seed(0)
    time = torch.linspace(0, 1, 11, dtype=torch.float64)[None, :, None]
    walk = [torch.randn(2000, 11, 1, generator=draw, dtype=torch.float64).cumsum(1) * 0.1 for _ in range(2)]
    assert sig_mmd(walk[0], walk[0], 4) == 0
    gaps = [float(sig_mmd(walk[0], walk[1] + drift * time, 4)) for drift in (0.0, 0.3, 0.6, 1.0, 1.5)]
    assert gaps == sorted(gaps)
    assert gaps[0] < 0.1 * gaps[-1]
