import numpy as np
import pytest
import scipy.linalg
import torch
from adapted_networks import mixed, windows
from safetensors.torch import save
from torch import nn
from torch.testing import assert_close

from tsforge.encoders.adapter.base import attached
from tsforge.encoders.adapter.random_subspace import RandomSubspaceAdapter, dense, fastfood, hadamard, sparse
from tsforge.errors import ArgumentError


class Vector(nn.Module):
    """Weights alone."""

    def __init__(self, size: int, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(size, dtype=dtype))

    def forward(self) -> torch.Tensor:
        return self.theta


def matrix(projection: str, total: int, dim: int, seed: int = 0) -> torch.Tensor:
    """P, column by column through the adapter."""
    module = Vector(total)
    adapter = RandomSubspaceAdapter(dim=dim, projection=projection, seed=seed)
    adapter.attach(module)
    columns = []
    for unit in torch.eye(dim, dtype=torch.float64):
        with torch.no_grad():
            adapter.steps.copy_(unit)
        columns.append(module().detach().clone())
    return torch.stack(columns, 1)


@pytest.mark.parametrize("projection", ["dense", "sparse", "fastfood"])
def test_all_weights_move_along_p_and_at_the_start_not_at_all(projection):
    network, x = mixed(dtype=torch.float64), windows(dtype=torch.float64)
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    output = network(x)
    adapter = RandomSubspaceAdapter(dim=9, projection=projection, seed=2)
    adapter.attach(network)
    assert torch.equal(network(x), output)
    assert adapter.trainable_parameters() == 9
    with torch.no_grad():
        adapter.steps.copy_(torch.arange(9.0) - 3)
    total = adapter.total
    theta = torch.cat([before[name].flatten() for name in adapter.spans])
    expected = theta + matrix(projection, total, 9, seed=2) @ adapter.steps.detach()
    for name, span in adapter.spans.items():
        assert_close(adapter.changed(name, before[name]).flatten(), expected[span], atol=1e-6, rtol=1e-6)
    adapter.merge(network)
    after = dict(network.named_parameters())
    assert_close(torch.cat([after[name].detach().flatten() for name in adapter.spans]), expected, atol=1e-6, rtol=1e-6)
    assert torch.equal(after["norm.weight"], before["norm.weight"])
    assert {"norm.weight", "norm.bias", "turn"} == before.keys() - adapter.spans.keys()


@pytest.mark.parametrize("projection", ["dense", "sparse"])
def test_the_columns_have_norm_one_and_are_almost_orthogonal(projection):
    columns = matrix(projection, 5000, 200)
    gram = columns.T @ columns
    assert_close(gram.diagonal(), torch.ones(200).double(), atol=1e-5, rtol=0)
    most = (gram - gram.diagonal().diag()).abs().max()
    assert most <= (5 if projection == "dense" else 6) / 5000**0.5  # products of signs have the heavier tails
    repeated = torch.cat([columns[:, :1], columns[:, :1]], 1)  # the control: one direction twice
    assert (repeated.T @ repeated)[0, 1] > 0.99


def test_a_sparse_direction_has_a_share_of_one_over_the_root_of_all_weights():
    drawn = sparse(10_000, 50, torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn["columns"], minlength=50).double()
    assert abs(counts.mean() - 100) < 5
    assert torch.bincount(sparse(2, 40, torch.Generator().manual_seed(0))["columns"], minlength=40).min() == 1


def test_the_fast_transform_is_the_product_with_the_matrix_of_walsh_and_hadamard():
    x = torch.randn(64, dtype=torch.float64)
    assert_close(hadamard(x), torch.from_numpy(scipy.linalg.hadamard(64)).double() @ x)


def test_fastfood_is_the_product_of_the_paper():
    total, dim = 50, 6
    drawn = fastfood(total, dim, torch.Generator().manual_seed(3))
    h = torch.from_numpy(scipy.linalg.hadamard(64)).double()
    signs, normal = drawn["signs"].double().diag(), drawn["normal"].double()
    swap = torch.eye(64).double()[drawn["order"]]
    whole = h @ normal.diag() @ swap @ h @ signs / (64 * normal.square().sum()).sqrt()
    built = whole[:total, :dim]
    assert_close(matrix("fastfood", total, dim, seed=3), built, atol=1e-6, rtol=1e-6)
    unmixed = (h @ normal.diag() @ h @ signs / (64 * normal.square().sum()).sqrt())[:total, :dim]
    assert not torch.allclose(built, unmixed, atol=1e-2)  # the control: without the permutation


def test_fastfood_moves_weights_as_far_as_a_dense_projection_does():
    norms = [matrix(projection, 1000, 20).norm(dim=0) for projection in ("dense", "fastfood")]
    assert_close(norms[0], torch.ones(20).double(), atol=1e-5, rtol=0)
    assert abs(norms[1].mean() - (1000 / 1024) ** 0.5) < 0.02
    assert norms[1].std() < 0.1


def least(projection_of: torch.Tensor) -> float:
    """The least of sum_i (sum of block i - i)^2 over 10 blocks of 100, along these directions."""
    blocks = projection_of.view(10, 100, -1).sum(1).numpy()
    target = np.arange(1, 11)
    best = np.linalg.lstsq(blocks, target, rcond=None)[0]
    return float(((blocks @ best - target) ** 2).sum())


def test_a_task_with_ten_conditions_is_solved_in_ten_dimensions_and_not_in_nine():
    assert least(matrix("dense", 1000, 10)) < 1e-6
    assert least(matrix("dense", 1000, 9)) > 1e-2
    assert least(matrix("dense", 1000, 8)) > 1e-2


def trained_to(dim: int) -> float:
    module = Vector(1000)
    adapter = RandomSubspaceAdapter(dim=dim)
    adapter.attach(module)
    optimizer = torch.optim.LBFGS(adapter.parameters(), max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-16)
    target = torch.arange(1.0, 11).double()

    def loss():
        optimizer.zero_grad()
        value = (module().view(10, 100).sum(1) - target).square().sum()
        value.backward()
        return value

    for _ in range(5):
        optimizer.step(loss)
    return float(loss().detach())


def test_training_the_numbers_of_the_adapter_gets_there_too():
    assert trained_to(10) < 1e-6
    assert trained_to(9) > 1e-2


def test_the_numbers_and_the_seed_are_the_whole_state():
    network, x = mixed(), windows()
    adapter = RandomSubspaceAdapter(dim=5, seed=4)
    adapter.attach(network)
    with torch.no_grad():
        adapter.steps += torch.randn(5)
    assert len(save(adapter.state_dict())) < 200
    for seed, alike in ((4, True), (5, False)):
        other = mixed()
        RandomSubspaceAdapter(dim=5, seed=seed).attach(other)
        attached(other).load_state_dict(adapter.state_dict())
        assert torch.equal(other(x), network(x)) is alike


def test_the_projection_is_computed_once_in_a_call_and_never_kept(monkeypatch):
    network, x, calls = mixed(), windows(), []
    adapter = RandomSubspaceAdapter(dim=5, projection="fastfood")
    adapter.attach(network)
    project = RandomSubspaceAdapter.project
    monkeypatch.setattr(RandomSubspaceAdapter, "project", lambda self: calls.append(1) or project(self))
    network(x).sum().backward()
    assert len(calls) == 1
    with torch.no_grad():
        adapter.steps += 1
    first = network.lift.weight.detach().clone()
    with torch.no_grad():
        adapter.steps += 1
    assert not torch.equal(network.lift.weight, first)
    with pytest.raises(RuntimeError):
        network(x[..., :2])
    assert adapter.offset is None


def test_drawn_directions_depend_on_the_seed_alone():
    torch.manual_seed(5)
    one = dense(20, 3, torch.Generator().manual_seed(1))["directions"]
    torch.manual_seed(6)
    assert torch.equal(one, dense(20, 3, torch.Generator().manual_seed(1))["directions"])


def test_what_cannot_be_is_refused(monkeypatch):
    with pytest.raises(ArgumentError, match="give at least 1"):
        RandomSubspaceAdapter(dim=0)
    with pytest.raises(ArgumentError, match="'dense', 'sparse', 'fastfood'"):
        RandomSubspaceAdapter(projection="fast")
    with pytest.raises(ArgumentError, match="more than the 20 weights"):
        RandomSubspaceAdapter(dim=21).attach(Vector(20))
    monkeypatch.setattr("tsforge.encoders.adapter.random_subspace.MOST", 30)
    with pytest.raises(ArgumentError, match="take projection='fastfood'"):
        RandomSubspaceAdapter(dim=2).attach(Vector(20))
