import pytest
import torch
from torch.testing import assert_close

from tsforge.layers.instance_norm import normalise


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def windows(*shape):
    return torch.randn(*shape, dtype=torch.float64) * 3 + 5


def test_complete_windows_get_the_mean_and_biased_deviation_of_all_steps():
    x = windows(4, 20, 3)
    z, mean, deviation = normalise(x, torch.ones_like(x, dtype=torch.bool))
    assert_close(mean, x.mean(1, keepdim=True))
    assert_close(deviation, (x.var(1, keepdim=True, correction=0) + 1e-5).sqrt())
    assert_close(z * deviation + mean, x)


def test_only_observed_steps_count():
    x = windows(1, 20, 1)
    mask = torch.rand_like(x) > 0.4
    _, mean, deviation = normalise(x, mask)
    assert_close(mean.squeeze(), x[mask].mean())
    assert_close(deviation.squeeze(), (x[mask].var(correction=0) + 1e-5).sqrt())
    assert not torch.isclose(mean.squeeze(), x.mean())  # control: the mean of all is another


def test_a_filled_step_keeps_its_value_and_one_before_the_first_observation_is_the_mean():
    x = windows(1, 5, 1)
    mask = torch.tensor([False, True, True, False, True]).view(1, 5, 1)
    z, mean, deviation = normalise(x, mask)
    assert z[0, 0, 0] == 0
    assert_close(z[:, 1:], ((x - mean) / deviation)[:, 1:])


def test_a_channel_without_observations_stays_finite():
    z, mean, deviation = normalise(windows(1, 5, 1), torch.zeros(1, 5, 1, dtype=torch.bool))
    assert_close(z, torch.zeros_like(z))
    assert mean.item() == 0
    assert deviation.item() > 0
