import torch

from tsforge.layers.last_observed import carried_on


def looped(values, mask, last):
    out, last = values.clone(), last.clone()
    for t in range(values.shape[1]):
        last = torch.where(mask[:, t], values[:, t], last)
        out[:, t] = last
    return out, last


def test_a_missing_step_takes_the_last_observation_also_from_before_these_steps():
    torch.manual_seed(0)
    values, mask, last = torch.randn(4, 9, 3), torch.rand(4, 9, 3) > 0.6, torch.randn(4, 3)
    filled, end = carried_on(values, mask, last)
    expected, expected_end = looped(values, mask, last)
    assert torch.equal(filled, expected)
    assert torch.equal(end, expected_end)
    assert not torch.equal(carried_on(values, mask, 0 * last)[0], expected)  # the control


def test_in_parts_it_is_the_same_and_what_stands_under_the_mask_is_not_read():
    torch.manual_seed(1)
    values, mask, last = torch.randn(2, 7, 2), torch.rand(2, 7, 2) > 0.5, torch.zeros(2, 2)
    whole, end = carried_on(values, mask, last)
    parts = []
    for low, high in ((0, 1), (1, 5), (5, 7)):
        part, last = carried_on(torch.where(mask, values, 1e9)[:, low:high], mask[:, low:high], last)
        parts.append(part)
    assert torch.equal(torch.cat(parts, 1), whole)
    assert torch.equal(last, end)
