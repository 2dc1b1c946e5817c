import pytest
import torch

from tsforge.layers.running_norm import running_norm, undone


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def steps(time=40, missing=0.3, dtype=torch.float64):
    mask = torch.rand(3, time, 2) >= missing
    return (3 + torch.randn(3, time, 2, dtype=dtype)) * mask, mask


def nothing(x):
    return torch.zeros(3, 3, 2, dtype=torch.float64)


def transcription(x, mask, span):
    """The weighted mean of what was observed up to each step, and of the squares around the means then."""
    out, k = torch.zeros_like(x), 1 - 1 / (span + 1)
    for b in range(3):
        for c in range(2):
            values, squares = [], []
            for t in range(x.shape[1]):
                if mask[b, t, c]:
                    values.append(x[b, t, c])
                    weights = torch.tensor([k ** n for n in reversed(range(len(values)))], dtype=x.dtype)
                    squares.append((x[b, t, c] - (weights * torch.stack(values)).sum() / weights.sum()) ** 2)
                if values:
                    mean = (weights * torch.stack(values)).sum() / weights.sum()
                    variance = (weights * torch.stack(squares)).sum() / weights.sum()
                    out[b, t, c] = (x[b, t, c] - mean) / (variance + 1e-5).sqrt()
    return out


@pytest.mark.parametrize("span", [1, 8, 1000])
def test_it_equals_its_equations(span):
    x, mask = steps()
    expected = transcription(x, mask, span)
    assert (running_norm(x, mask, nothing(x), span)[0] - expected).abs().max() < 1e-10
    assert (running_norm(x, mask, nothing(x), 2 * span + 5)[0] - expected).abs().max() > 1e-3  # the control


def test_in_parts_it_is_the_same():
    x, mask = steps()
    whole, end = running_norm(x, mask, nothing(x), 8)
    parts, moments = [], nothing(x)
    for low, high in ((0, 1), (1, 9), (9, 40)):
        part, moments = running_norm(x[:, low:high], mask[:, low:high], moments, 8)
        parts.append(part)
    assert (torch.cat(parts, 1) - whole).abs().max() < 1e-12
    assert (moments - end).abs().max() < 1e-12
    assert (running_norm(x[:, 9:], mask[:, 9:], nothing(x), 8)[0] - whole[:, 9:]).abs().max() > 1e-2


def test_it_undoes_shift_and_scale_and_a_step_is_brought_back_by_what_comes_with_the_moments():
    x, mask = steps(missing=0.0)
    here, moments = running_norm(x, mask, nothing(x), 8)
    there = running_norm(100 + 1e3 * x, mask, nothing(x), 8)[0]
    assert (there - here)[:, 4:].abs().max() < 1e-3
    assert (undone(here[:, -1:, :, None], moments)[..., 0] - x[:, -1:]).abs().max() < 1e-12


def test_a_missing_step_changes_no_moment_and_nothing_later_changes_an_earlier_step():
    x, mask = steps(missing=0.0)
    gone = mask.clone()
    gone[:, 20:] = False
    filled = x.clone()
    filled[:, 20:] = x[:, 19:20]
    normalised, moments = running_norm(filled, gone, nothing(x), 8)
    shorter, wanted = running_norm(x[:, :20], mask[:, :20], nothing(x), 8)
    assert (moments - wanted).abs().max() < 1e-12
    assert (normalised[:, :20] - shorter).abs().max() < 1e-12
    assert (normalised[:, 20:] - normalised[:, 19:20]).abs().max() < 1e-12


def test_before_the_first_observation_and_of_constants_it_is_0():
    x, mask = torch.full((3, 9, 2), 7.0), torch.ones(3, 9, 2, dtype=torch.bool)
    assert running_norm(x, mask, nothing(x), 8)[0].abs().max() < 1e-9
    assert (running_norm(0 * x, ~mask, nothing(x), 8)[0] == 0).all()
    assert torch.isfinite(undone(x[..., None], nothing(x))).all()


def test_far_from_0_and_after_a_hundred_thousand_steps_it_is_as_precise_as_what_it_is_given():
    x = 1e3 + torch.randn(3, 100_000, 2)
    mask = torch.ones_like(x, dtype=torch.bool)
    single = running_norm(x, mask, nothing(x), 100)[0]
    double = running_norm(x.double(), mask, nothing(x), 100)[0]
    assert single.dtype == torch.float32
    assert (single - double).abs().max() < 1e-6
