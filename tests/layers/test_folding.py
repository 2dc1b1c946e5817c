import pytest
import torch

from tsforge.layers.folding import fold, group, round_up, strongest, unfold


def test_each_window_goes_to_each_of_its_periods_once():
    periods = torch.tensor([[24, 8, 8], [12, 24, 8], [8, 12, 96]])
    windows, groups, places = group(periods)
    assert groups == [(8, 3), (12, 2), (24, 2), (96, 1)]
    found = torch.tensor([period for period, count in groups for _ in range(count)])
    assert torch.equal(found[places], periods)
    assert torch.equal(windows[places], torch.arange(3)[:, None].expand(3, 3))
    assert len(windows) == 8  # the second 8 of the first window is the same pair


@pytest.mark.parametrize("batch", [1, 5, 8, 32, 50, 257])
def test_groups_have_few_sizes_and_none_exceeds_the_batch(batch):
    sizes = [round_up(count, batch) for count in range(1, batch + 1)]
    assert all(count <= size <= batch for count, size in enumerate(sizes, start=1))
    assert sizes[-1] == batch
    assert len(set(sizes)) <= 8 + 6 + 1  # eighths, powers of two below an eighth, the batch


def test_windows_of_zeros_come_last_and_leave_the_others_alone():
    x = torch.randn(3, 10, 2)
    maps = fold(x, 4, windows=5)
    assert maps.shape == (5, 3, 4, 2)
    assert torch.equal(unfold(maps[:3], 10), x)
    assert not maps[3:].any()


def test_equal_amplitudes_give_the_lower_frequency():
    assert strongest(torch.tensor([1.0, 3.0, 2.0, 3.0, 2.0]), 4).tolist() == [2, 4, 3, 5]
    many = torch.arange(200).remainder(7).double()  # long rows take another sorting path
    assert strongest(many, 5).tolist() == [7, 14, 21, 28, 35]
