import math

import pytest
import torch
from torch.testing import assert_close

from tsforge.layers.station_graphs import (
    correlation_graph,
    distance_graph,
    haversine,
    nearest,
    neighbour_graph,
    with_loops,
)


def places(count=9, seed=0, height=True):
    draw = torch.rand(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    where = draw * torch.tensor([20.0, 30.0, 2000.0]) + torch.tensor([25.0, 100.0, 0.0])
    return where if height else where[:, :2]


def correlations(count=9, seed=1):
    draw = torch.randn(30, count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return torch.corrcoef(draw.mT)


GRAPHS = {
    "distance": lambda where: distance_graph(where, 3),
    "neighbour": lambda where: neighbour_graph(where, 3),
    "correlation": lambda where: correlation_graph(torch.corrcoef(where), 0.6),
}


def test_a_quarter_of_the_equator_is_ten_thousand_kilometres():
    d = haversine(torch.tensor([[0.0, 0.0], [0.0, 90.0]]))
    assert d[0, 1].item() == pytest.approx(10007.5, abs=0.1)


def test_distances_are_symmetric_zero_to_oneself_and_no_distances_of_degrees():
    d = haversine(places())
    assert_close(d, d.mT, rtol=0, atol=0)
    assert (d.diagonal() == 0).all()
    north = haversine(torch.tensor([[60.0, 0.0], [60.0, 1.0], [61.0, 0.0]]))
    assert north[0, 1] / north[0, 2] == pytest.approx(0.5, abs=1e-3)  # a degree east is half as long at 60 north
    across = haversine(torch.tensor([[0.0, 179.0], [0.0, -179.0]]))
    assert across[0, 1].item() == pytest.approx(2 / 90 * 10007.5, abs=0.1)


@pytest.mark.parametrize("kind", GRAPHS)
def test_rows_are_non_negative_sum_to_one_and_hold_the_station_itself(kind):
    graph = GRAPHS[kind](places())
    assert_close(graph.sum(1), torch.ones(9, dtype=torch.float64))
    assert (graph >= 0).all()
    assert (graph.diagonal() > 0).all()
    assert (graph > 0).sum() > 9


@pytest.mark.parametrize("kind", GRAPHS)
def test_permuting_the_stations_permutes_the_graph(kind):
    where, order = places(), torch.randperm(9, generator=torch.Generator().manual_seed(3))
    graph = GRAPHS[kind](where)
    assert_close(GRAPHS[kind](where[order]), graph[order][:, order])
    assert not torch.allclose(GRAPHS[kind](where[order]), graph)  # the control


@pytest.mark.parametrize("k", [0, 1, 3, 8])
def test_each_station_has_as_many_neighbours_as_asked_for(k):
    for graph in (distance_graph(places(), k), neighbour_graph(places(), k)):
        assert ((graph > 0).sum(1) == k + 1).all()


def test_more_neighbours_than_stations_are_all_and_one_station_has_none():
    assert ((neighbour_graph(places(4), 9) > 0).sum(1) == 4).all()
    for graph in (distance_graph(places(1), 2), neighbour_graph(places(1), 2), correlation_graph(torch.zeros(1, 1), 1)):
        assert graph.tolist() == [[1.0]]


def test_the_distance_graph_equals_its_equation():
    where = places(5)
    d = [[haversine(where[[i, j]])[0, 1].item() for j in range(5)] for i in range(5)]
    pairs = [d[i][j] for i in range(5) for j in range(5) if i != j]
    mean = sum(pairs) / len(pairs)
    s = math.sqrt(sum((x - mean) ** 2 for x in pairs) / len(pairs))
    for i, row in enumerate(distance_graph(where, 2)):
        near = sorted((d[i][j], j) for j in range(5) if j != i)[:2]
        raw = {i: 1.0} | {j: math.exp(-((x / s) ** 2)) for x, j in near}
        expected = torch.tensor([raw.get(j, 0.0) / sum(raw.values()) for j in range(5)], dtype=torch.float64)
        assert_close(row, expected, rtol=1e-9, atol=1e-12)


def test_two_stations_are_linked_though_one_distance_has_no_spread():
    graph = distance_graph(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), 1)
    assert graph[0, 1].item() == pytest.approx(math.exp(-1) / (1 + math.exp(-1)))
    same = distance_graph(torch.zeros(3, 2), 2)
    assert_close(same, torch.full((3, 3), 1 / 3, dtype=torch.float64))


def test_equal_distances_go_to_the_lowest_number():
    assert nearest(torch.ones(4, 4), 2).tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]


def test_height_counts_among_neighbours():
    where = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.1, 3000.0], [0.0, 1.0, 0.0]])
    assert neighbour_graph(where, 1)[0].tolist() == [0.5, 0.0, 0.5]
    assert neighbour_graph(where[:, :2], 1)[0].tolist() == [0.5, 0.5, 0.0]  # the control: without it


def test_correlations_below_the_quantile_and_negative_ones_make_no_link():
    r = torch.tensor([[1.0, 0.9, -0.8], [0.9, 1.0, 0.2], [-0.8, 0.2, 1.0]])
    assert_close(correlation_graph(r, 0.5), with_loops(torch.tensor([[1.0, 0.9, 0], [0.9, 1, 0], [0, 0, 1]]).double()))
    assert_close(correlation_graph(r, 0.0), with_loops(r.double().clamp(min=0)))
    assert_close(correlation_graph(r, 1.0), torch.eye(3, dtype=torch.float64))
