import copy
import statistics

import pytest
import torch
from adapted_networks import mixed, moved, windows
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.encoders.adapter.task_vectors import TaskVectorAdapter
from tsforge.errors import ArgumentError, ShapeError


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 4)).double()


def composed(base: nn.Module, tasks: list[nn.Module], coefficients: torch.Tensor) -> nn.Module:
    """The equation of the paper, block after block."""
    made = copy.deepcopy(base)
    with torch.no_grad():
        for block, (name, weight) in enumerate(made.named_parameters()):
            for task, tuned in enumerate(tasks):
                weight += coefficients[task, block] * (tuned.get_parameter(name) - base.get_parameter(name))
    return made


def tasks_of(base: nn.Module, count: int, by: float = 0.3) -> list[nn.Module]:
    return [moved(copy.deepcopy(base), seed, by) for seed in range(10, 10 + count)]


def fitted(model: nn.Module, parameters, x, y, steps: int, rate: float) -> None:
    optimizer = torch.optim.Adam(parameters, lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()


def test_what_is_read_is_the_equation_of_the_paper():
    base, x = network(), torch.randn(5, 8).double()
    tasks, coefficients = tasks_of(base, 3), torch.randn(3, 6).double()
    adapter = TaskVectorAdapter(tasks)
    wanted = composed(base, tasks, coefficients)(x)
    untouched = copy.deepcopy(base)
    adapter.attach(base)
    with torch.no_grad():
        adapter.coefficients.copy_(coefficients)
    assert_close(base(x), wanted, atol=1e-6, rtol=1e-6)
    assert_close(adapter.by_weight()["2.bias"], coefficients[:, 3])
    assert not torch.allclose(composed(untouched, tasks, coefficients.flip(1))(x), wanted, atol=1e-3)  # the control


def test_a_partition_has_one_coefficient_for_each_task_weight_and_group_and_leaves_biases():
    base = network()
    before, tasks = copy.deepcopy(base), tasks_of(base, 2)
    adapter = TaskVectorAdapter(tasks, mode="partition", partitions=5, seed=1)
    adapter.attach(base)
    assert adapter.trainable_parameters() == 2 * 3 * 5
    with torch.no_grad():
        adapter.coefficients.copy_(torch.randn(2, 3, 5).double())
    for block, layer in enumerate((0, 2, 4)):
        groups, weight = adapter.get_buffer(f"groups {layer}/weight"), before[layer].weight
        assert set(groups.unique().tolist()) == set(range(5))
        expected = weight.clone()
        for row in range(weight.shape[0]):
            for column in range(weight.shape[1]):
                for task, tuned in enumerate(tasks):
                    tau = tuned[layer].weight[row, column] - weight[row, column]
                    expected[row, column] += adapter.coefficients[task, block, groups[row, column]] * tau
        assert_close(base[layer].weight, expected, atol=1e-6, rtol=1e-6)
        assert torch.equal(base[layer].bias, before[layer].bias)


@pytest.mark.parametrize("mode", ["block", "isotropic"])
def test_coefficients_of_one_are_the_task_itself(mode):
    base, x = mixed(), windows()
    tasks = [moved(copy.deepcopy(base), seed) for seed in (1, 2)]
    for tuned in tasks:
        tuned.turn = base.turn  # complex weights are left
    TaskVectorAdapter(tasks, mode=mode, init=[0.0, 1.0]).attach(base)
    assert_close(base(x), tasks[1](x), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(base(x), tasks[0](x), atol=1e-2)


def test_the_number_of_coefficients_is_that_of_the_paper():
    counts = {"block": 3 * 6, "isotropic": 3, "partition": 3 * 3 * 4}
    for mode, count in counts.items():
        base = network()
        adapter = TaskVectorAdapter(tasks_of(base, 3), mode=mode, partitions=4)
        adapter.attach(base)
        assert adapter.trainable_parameters() == count


def test_planted_coefficients_are_recovered():
    base, x = network(), torch.randn(256, 8).double()
    tasks = tasks_of(base, 2)
    planted = torch.rand(2, 6, dtype=torch.float64)
    y = composed(base, tasks, planted)(x).detach()
    adapter = TaskVectorAdapter(tasks)
    adapter.attach(base)
    assert planted.abs().mean() > 0.05  # those at the start are no answer
    fitted(base, adapter.parameters(), x, y, 500, 0.03)
    assert (adapter.coefficients.detach() - planted).abs().mean() <= 0.05


def test_of_a_linear_encoder_they_are_recovered_by_least_squares():
    torch.manual_seed(0)
    base = nn.Linear(8, 4).double()
    tasks, x = tasks_of(base, 3), torch.randn(256, 8).double()
    planted = torch.randn(3, 2, dtype=torch.float64)
    y = composed(base, tasks, planted)(x).detach()
    adapter = TaskVectorAdapter(tasks)
    adapter.attach(base)

    def output(coefficients):
        with torch.no_grad():
            adapter.coefficients.copy_(coefficients.view(3, 2))
        return base(x).flatten().detach()

    zero = output(torch.zeros(6).double())
    columns = torch.stack([output(unit) - zero for unit in torch.eye(6).double()], 1)
    found = torch.linalg.lstsq(columns, (y.flatten() - zero)[:, None]).solution
    assert_close(found.view(3, 2), planted, atol=1e-4, rtol=1e-4)


def test_a_coefficient_for_each_weight_takes_parts_of_tasks_that_one_for_each_task_cannot():
    base = network()
    tasks, x, unseen = tasks_of(base, 2), torch.randn(256, 8).double(), torch.randn(256, 8).double()
    target = composed(base, tasks, torch.tensor([[1.0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1]]).double())
    errors = {}
    for mode in ("block", "isotropic"):
        tried = copy.deepcopy(base)
        adapter = TaskVectorAdapter(tasks, mode=mode)
        adapter.attach(tried)
        fitted(tried, adapter.parameters(), x, target(x).detach(), 300, 0.03)
        errors[mode] = F.mse_loss(tried(unseen), target(unseen)).item()
    assert errors["block"] <= 0.5 * errors["isotropic"]


@pytest.mark.slow
def test_from_few_windows_it_learns_more_than_all_weights_do():
    ratios = []
    for seed in range(3):
        base = network(seed)
        tasks = tasks_of(base, 3)
        torch.manual_seed(seed + 20)
        target = composed(base, tasks, torch.rand(3, 6).double())
        x, unseen = torch.randn(16, 8).double(), torch.randn(512, 8).double()
        y = target(x).detach() + 0.1 * torch.randn(16, 4).double()
        errors = []
        for adapted in (True, False):
            tried = copy.deepcopy(base)
            parameters, rate = tried.parameters(), 1e-2
            if adapted:
                adapter = TaskVectorAdapter(tasks)
                adapter.attach(tried)
                parameters, rate = adapter.parameters(), 3e-2
            fitted(tried, parameters, x, y, 200, rate)
            errors.append(F.mse_loss(tried(unseen), target(unseen)).item())
        ratios.append(errors[0] / errors[1])
    assert statistics.median(ratios) < 0.5


def test_tasks_of_another_shape_are_refused_by_name():
    base, wide = nn.Linear(3, 4), nn.Linear(3, 5)
    with pytest.raises(ShapeError, match=r"weight has the shape \[4, 3\], and task 1 has \[5, 3\]"):
        TaskVectorAdapter([nn.Linear(3, 4), wide]).attach(base)
    with pytest.raises(ShapeError, match="task 0 does not have it"):
        TaskVectorAdapter([{}]).attach(nn.Linear(3, 4))
    for arguments, words in (({"tasks": []}, "there is none"), ({"mode": "blocks"}, "'block', 'isotropic'"),
                             ({"partitions": 0}, "at least 1"), ({"init": [1.0, 2.0]}, "2 coefficients for 1 tasks")):
        with pytest.raises(ArgumentError, match=words):
            TaskVectorAdapter(**{"tasks": [base]} | arguments)
