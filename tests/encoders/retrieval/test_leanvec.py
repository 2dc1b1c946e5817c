import pytest
import torch
from torch.testing import assert_close

from tsforge.encoders.retrieval.leanvec import LeanVecEncoder, error_of, projections
from tsforge.errors import ArgumentError
from tsforge.layers.nearest import best_of, blocks, top_k
from tsforge.layers.quantise import dequantise, quantise

D, WIDTH = 64, 16


def apart(seed=0, stored=4000, queries=1500):
    """Stored vectors and queries whose power lies in other directions, and queries held out: [row, 64] each."""
    random = torch.Generator().manual_seed(seed)

    def rows(count, basis, power):
        scale = (1 + torch.arange(D, dtype=torch.float64)) ** -power
        return torch.randn(count, D, generator=random, dtype=torch.float64) * scale @ basis.mT

    one, other = (torch.linalg.qr(torch.randn(D, D, generator=random, dtype=torch.float64)).Q for _ in range(2))
    return rows(stored, one, 0.5), rows(queries, other, 1.0), rows(200, other, 1.0)


def moments(rows):
    return rows.mT @ rows / len(rows)


def maps(method, stored, queries, d=WIDTH, **arguments):
    return projections(moments(stored), moments(queries), d, method, **arguments)


def relative(found, stored, queries):
    scores = queries @ stored.mT
    return float(((queries @ found[0].mT) @ (stored @ found[1].mT).mT - scores).square().sum() / scores.square().sum())


def recall(found, truth):
    return sum(len(set(a.tolist()) & set(b.tolist())) for a, b in zip(found, truth, strict=True)) / truth.numel()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_where_queries_lie_elsewhere_knowing_them_keeps_the_scores_of_queries_held_out(seed):
    stored, queries, held_out = apart(seed)
    error = {m: relative(maps(m, stored, queries), stored, held_out) for m in ("closed", "eigsearch", "pca")}
    assert error["closed"] <= error["eigsearch"] <= error["pca"]
    assert error["closed"] <= 0.25 * error["pca"]


def test_the_neighbours_are_found_with_it_and_not_with_principal_components():
    stored, queries, held_out = apart()
    truth = top_k(held_out, lambda: blocks(stored), 10)[1]
    found, again = {}, {}
    for method in ("closed", "pca"):
        a, b = maps(method, stored, queries)
        score, index = top_k(held_out @ a.mT, lambda b=b: blocks(stored @ b.mT), 50)
        exact = (held_out[:, None] * stored[index]).sum(-1)
        found[method], again[method] = recall(index[:, :10], truth), recall(best_of(exact, index, 10)[1], truth)
        assert (score.diff(dim=1) <= 0).all()
    assert found["closed"] >= found["pca"] + 0.3
    assert again["closed"] >= 0.98 > again["pca"]


def test_where_queries_are_like_what_is_stored_it_is_no_worse_than_principal_components():
    stored, _, _ = apart()
    like, held_out = stored[:2000], stored[2000:2200]
    worst = relative(maps("pca", stored, like), stored, held_out)
    for method in ("closed", "eigsearch", "frank_wolfe"):
        assert relative(maps(method, stored, like), stored, held_out) <= 1.05 * worst


@pytest.mark.parametrize("method", ["closed", "eigsearch", "pca"])
def test_with_all_dimensions_scores_stay_what_they_are(method):
    stored, queries, held_out = apart()
    a, b = maps(method, stored, queries, d=D)
    assert_close((held_out @ a.mT) @ (stored[:50] @ b.mT).mT, held_out @ stored[:50].mT, atol=1e-8, rtol=1e-5)


def test_the_rows_of_the_eigenvector_search_are_orthonormal_and_the_closed_form_is_a_projection_of_its_rank():
    stored, queries, _ = apart()
    a, b = maps("eigsearch", stored, queries)
    assert torch.equal(a, b)
    assert_close(a @ a.mT, torch.eye(WIDTH, dtype=torch.float64), atol=1e-9, rtol=0)
    a, b = maps("closed", stored, queries)
    both = a.mT @ b
    assert torch.linalg.matrix_rank(both, rtol=1e-9) == WIDTH
    assert_close(both @ both, both, atol=1e-8, rtol=0)
    assert not torch.allclose(both, both.mT, atol=1e-3)  # the control: no orthogonal projection is what it is


def test_no_other_maps_have_a_lower_error_than_the_closed_form_and_frank_wolfe_never_gets_worse():
    stored, queries, _ = apart()
    x, q = moments(stored), moments(queries)
    error = {m: float(error_of(*projections(x, q, WIDTH, m, 1e-9), x, q)) for m in
             ("closed", "eigsearch", "frank_wolfe", "pca")}
    assert error["closed"] < error["frank_wolfe"] < error["eigsearch"] < error["pca"]
    a, b = projections(x, q, WIDTH, "closed", 1e-9)
    torch.manual_seed(0)
    for part in (0, 1):  # a step in any direction from there is a step up
        moved = [a, b]
        moved[part] = moved[part] + 1e-3 * torch.randn_like(moved[part])
        assert error_of(*moved, x, q) > error["closed"]


def test_the_error_is_the_mean_squared_error_of_scores():
    stored, queries, _ = apart(stored=200, queries=100)
    a, b = maps("eigsearch", stored, queries)
    by_pairs = ((queries @ a.mT) @ (stored @ b.mT).mT - queries @ stored.mT).square().mean()
    assert_close(error_of(a, b, moments(stored), moments(queries)), by_pairs)


def test_eight_bits_keep_the_order_of_scores():
    stored, queries, held_out = apart()
    a, b = maps("closed", stored, queries)
    short = (stored @ b.mT).float()
    scores = [((held_out[:20] @ a.mT).float() @ v.mT).double() for v in
              (short, dequantise(*quantise(short), WIDTH), dequantise(*quantise(short, 4), WIDTH, 4))]
    ranks = [s.argsort(1).argsort(1).double() for s in scores]
    eight, four = (torch.corrcoef(torch.stack([ranks[0].flatten(), r.flatten()]))[0, 1] for r in ranks[1:])
    assert eight >= 0.999 > four


def fitted(method="closed", d_model=8, **arguments):
    torch.manual_seed(0)
    x = torch.randn(300, 5, 2, dtype=torch.float64).cumsum(1) + 3
    encoder = LeanVecEncoder(2, 5, d_model, method=method, **arguments).double()
    encoder.fit(x, None)
    return encoder, x


@pytest.mark.parametrize("method", ["closed", "eigsearch", "frank_wolfe", "pca"])
def test_it_is_what_its_equations_say(method):
    encoder, x = fitted(method)
    rows = x.flatten(1) - x.flatten(1).mean(0)
    stored = torch.cat([rows, -rows.square().sum(1, keepdim=True) / 2], 1)
    asked = torch.cat([rows, torch.ones(300, 1).double()], 1)
    a, b = maps(method, stored, asked, d=8)
    for n in (0, 123):
        assert_close(encoder(x)[n], b @ stored[n])
        assert_close(encoder.query(x)[n], a @ asked[n])
    assert sum(p.numel() for p in encoder.parameters()) == 0
    assert encoder.of_query.numel() == encoder.of_stored.numel() == 8 * (5 * 2 + 1)


def test_with_enough_numbers_scores_rank_by_distance_and_numbers_beyond_are_none():
    encoder, x = fitted(d_model=14)
    score = encoder.query(x[:20]) @ encoder(x).mT
    flat = x.flatten(1)
    assert torch.equal(score.argsort(1, descending=True)[:, :9], torch.cdist(flat[:20], flat).argsort(1)[:, :9])
    assert (encoder(x)[:, 11:] == 0).all()
    few, _ = fitted(d_model=1)
    assert recall((few.query(x[:20]) @ few(x).mT).argsort(1, descending=True)[:, :9],
                  torch.cdist(flat[:20], flat).argsort(1)[:, :9]) < 0.5  # the control


def test_windows_that_are_searched_with_may_be_of_another_kind():
    encoder, x = fitted(d_model=3)
    seen = torch.tensor([True, False]).expand(x.shape)  # today one of the sensors is silent
    told = LeanVecEncoder(2, 5, 3).double()
    told.fit(x, None, x, seen)
    asked = torch.where(seen, x, 0.0).flatten(1)
    truth = top_k(asked, lambda: blocks(x.flatten(1)), 10, "l2")[1]
    found = [recall(top_k(e.query(x, seen), lambda e=e: blocks(e(x)), 10)[1], truth) for e in (told, encoder)]
    assert found[0] > found[1] + 0.1


@pytest.mark.parametrize(("arguments", "words"), [({"method": "svd"}, "method='svd'"), ({"ridge": 0.0}, "ridge=0.0")])
def test_what_cannot_be_is_refused(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        LeanVecEncoder(1, 4, **arguments)
