import pytest
import torch
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.layers import nearest
from tsforge.layers.nearest import best_of, blocks, funnel, top_k
from tsforge.layers.quantise import dequantise, quantise, width_of


def drawn(queries=7, rows=300, d=5, dtype=torch.float32):
    torch.manual_seed(0)
    return torch.randn(queries, d, dtype=dtype), torch.randn(rows, d, dtype=dtype)


def by_loops(queries, stored, k, measure):
    """Every score by itself, sorted with the lower index first."""
    found = []
    for q in queries.double():
        score = [float(q @ s) if measure == "inner" else -float((q - s) @ (q - s)) for s in stored.double()]
        found.append(sorted(range(len(score)), key=lambda i: (-score[i], i))[:k])
    return torch.tensor(found)


@pytest.mark.parametrize("size", [1, 40, 300, 1000])
@pytest.mark.parametrize("measure", ["inner", "l2"])
def test_it_finds_what_a_loop_over_all_rows_finds_whatever_the_blocks(measure, size, monkeypatch):
    monkeypatch.setattr(nearest, "SCORES", 900)
    monkeypatch.setattr(nearest, "CELLS", 50)
    queries, stored = drawn()
    score, index = top_k(queries, lambda: blocks(stored, size), 4, measure)
    assert torch.equal(index, by_loops(queries, stored, 4, measure))
    assert score.dtype == torch.float64
    assert (score.diff(dim=1) <= 0).all()


@pytest.mark.parametrize("measure", ["inner", "l2"])
def test_of_equal_rows_the_lowest_index_counts_even_where_all_are_equal(measure):
    queries, stored = drawn()
    score, index = top_k(queries, lambda: blocks(stored[:1].expand(200, -1), 33), 5, measure)
    assert torch.equal(index, torch.arange(5).expand(7, 5))
    assert torch.equal(score, score[:, :1].expand(7, 5))


@pytest.mark.parametrize("measure", ["inner", "l2"])
def test_rows_that_differ_by_less_than_the_rounding_of_a_product_are_told_apart(measure):
    queries, _ = drawn(d=64)
    near = queries[:1] * (1 + torch.arange(200)[:, None] * 1e-7)
    _, index = top_k(queries[:1], lambda: blocks(near), 3, measure)
    assert torch.equal(index, by_loops(queries[:1], near, 3, measure))
    rough = queries[:1] @ near.mT  # the control: a product in float32 does not tell them apart
    assert rough[0].unique().numel() < near.unique(dim=0).shape[0]


def test_a_query_finds_alike_alone_and_in_company():
    queries, stored = drawn(queries=50, d=33)
    together = top_k(queries, lambda: blocks(stored, 70), 6)
    for n in (0, 17, 49):
        alone = top_k(queries[n : n + 1], lambda: blocks(stored), 6)
        assert torch.equal(alone[0], together[0][n : n + 1])
        assert torch.equal(alone[1], together[1][n : n + 1])


def test_where_there_are_fewer_rows_than_asked_for_all_are_given():
    queries, stored = drawn(rows=3)
    assert top_k(queries, lambda: blocks(stored, 2), 10)[1].sort(1).values.tolist() == [[0, 1, 2]] * 7


def test_candidates_are_ranked_by_score_and_then_by_index():
    score, index = torch.tensor([[1.0, 3.0, 3.0, 2.0]]).double(), torch.tensor([[5, 9, 4, 0]])
    assert best_of(score, index, 3)[1].tolist() == [[4, 9, 0]]


def test_a_funnel_that_keeps_everything_is_a_search_by_the_whole_and_one_that_keeps_few_looks_at_the_first_numbers():
    queries, stored = drawn()
    unit = torch.nn.functional.normalize
    assert torch.equal(funnel(queries, stored, (2, 5), (300, 4))[1], top_k(
        unit(queries), lambda: blocks(unit(stored)), 4)[1])
    first = top_k(unit(queries[:, :2]), lambda: blocks(unit(stored[:, :2])), 4)[1]
    assert torch.equal(funnel(queries, stored, (2, 5), (4, 4))[1].sort(1).values, first.sort(1).values)
    assert not torch.equal(funnel(queries, stored, (2, 5), (4, 4))[1], first)  # their order is that of the whole


@pytest.mark.parametrize(("k", "measure"), [(0, "inner"), (3, "cosine")])
def test_what_cannot_be_searched_for_is_refused(k, measure):
    with pytest.raises(ArgumentError, match="wanted 'inner' or 'l2' and k"):
        top_k(*drawn()[:1], lambda: [], k, measure)


@pytest.mark.parametrize("d", [1, 6, 7])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantised_vector_is_within_half_a_step(bits, d):
    vectors = 5 + torch.randn(40, d)
    codes, ranges = quantise(vectors, bits)
    assert codes.shape == (40, width_of(d, bits))
    back = dequantise(codes, ranges, d, bits)
    step = (vectors.amax(1) - vectors.amin(1)) / (2**bits - 1)
    assert ((back - vectors).abs() <= step[:, None] * 0.501 + 1e-6).all()
    if d > 2:
        assert ((back - vectors).abs() > step[:, None] * 0.2).any()  # it is no copy
    assert_close(back.amin(1), vectors.amin(1))


def test_a_constant_vector_stays_what_it_is():
    vectors = torch.tensor([[3.5, 3.5], [0.0, 0.0]])
    assert_close(dequantise(*quantise(vectors), 2), vectors, atol=0, rtol=0)


def test_other_numbers_of_bits_are_refused():
    with pytest.raises(ArgumentError, match="bits=5"):
        quantise(torch.zeros(1, 2), 5)
