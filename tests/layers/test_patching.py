import pytest
import torch
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.layers.patching import check_patches, cut_patches, patch_count

SIZES = [(13, 5, 3), (13, 5, 5), (12, 4, 4), (12, 4, 1), (5, 5, 2), (3, 5, 2), (1, 1, 1), (96, 16, 8)]


def numbered(length):
    """Two windows of three channels, each step with a value of its own."""
    return torch.arange(2 * 3 * length, dtype=torch.float64).view(2, 3, length) + 1


@pytest.mark.parametrize(("length", "patch_len", "stride"), SIZES)
def test_a_patch_holds_the_steps_from_its_start_on_then_the_last_value(length, patch_len, stride):
    x = numbered(length)
    patches, front = cut_patches(x, patch_len, stride), max(patch_len - length, 0)
    for window, channel, patch, step in torch.cartesian_prod(*map(torch.arange, patches.shape)).tolist():
        at = patch * stride + step - front
        wanted = 0.0 if at < 0 else x[window, channel, min(at, length - 1)]
        assert patches[window, channel, patch, step] == wanted


@pytest.mark.parametrize(("length", "patch_len", "stride"), SIZES)
def test_there_are_as_many_patches_as_are_counted(length, patch_len, stride):
    assert cut_patches(numbered(length), patch_len, stride).shape[2] == patch_count(length, patch_len, stride)


@pytest.mark.parametrize(("length", "patch_len", "stride"), SIZES)
def test_every_step_is_in_a_patch(length, patch_len, stride):
    x = numbered(length)
    assert set(x.flatten().tolist()) <= set(cut_patches(x, patch_len, stride).flatten().tolist())


def test_without_the_copies_of_the_last_value_the_end_would_be_in_none():
    x = numbered(12)
    bare = x.unfold(-1, 5, 3)
    assert_close(cut_patches(x, 5, 3)[:, :, :-1], bare)
    assert x[0, 0, -1] not in bare


@pytest.mark.parametrize(("patch_len", "stride", "said"), [
    (0, 1, "patch_len=0 leaves nothing"), (4, 0, "stride=0 leaves nothing"), (4, 5, "stride=5 jumps over steps"),
])
def test_sizes_that_cannot_work_are_named(patch_len, stride, said):
    check_patches(4, 4)
    with pytest.raises(ArgumentError, match=said):
        check_patches(patch_len, stride)
