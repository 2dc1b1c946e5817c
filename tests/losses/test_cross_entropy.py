import pytest
import torch
from torch.testing import assert_close

from tsforge.losses.cross_entropy import CrossEntropyLoss

SCORES = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0], [-3.0, 1.0, 1.0]], dtype=torch.float64)
TARGET = torch.tensor([0.0, 2.0, 1.0])[:, None, None]


def test_it_is_minus_the_log_of_the_probability_of_the_class():
    share = SCORES.exp() / SCORES.exp().sum(1, keepdim=True)
    expected = -torch.stack([share[0, 0], share[1, 2], share[2, 1]]).log()[:, None, None]
    assert_close(CrossEntropyLoss().cells(SCORES, TARGET), expected)


def test_balanced_classes_weigh_alike_and_a_training_window_weighs_1_in_the_mean():
    codes = torch.tensor([0] * 90 + [1] * 10)
    loss = CrossEntropyLoss(codes, 3)
    assert loss.weights.tolist() == pytest.approx([100 / 180, 5.0, 0.0])
    assert float(loss.weights[codes].mean()) == pytest.approx(1)
    plain, weighed = CrossEntropyLoss().cells(SCORES, TARGET), loss.cells(SCORES, TARGET)
    assert_close(weighed.flatten(), plain.flatten() * loss.weights.double()[[0, 2, 1]], rtol=1e-6, atol=1e-6)
