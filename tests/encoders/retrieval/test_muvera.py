import pytest
import torch
from torch.testing import assert_close

from tsforge.encoders.retrieval.muvera import MuveraEncoder, chamfer, encode
from tsforge.errors import ArgumentError
from tsforge.layers.nearest import best_of


def sets(count, n=24, d=16, seed=0):
    drawn = torch.randn(count, n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn / drawn.norm(dim=2, keepdim=True), torch.ones(count, n, dtype=torch.bool)


def directions(reps, bits, d=16, seed=0):
    return torch.randn(reps, d, bits, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def score(q, p, g):
    one = torch.ones(q.shape[:2], dtype=torch.bool), torch.ones(p.shape[:2], dtype=torch.bool)
    return (encode(q, one[0], g, "query") * encode(p, one[1], g, "stored")).sum(1)


def by_loops(points, there, g, side):
    """The paper's encoding of one set, a bucket at a time."""
    out = []
    for repetition in g:
        signs = [tuple(bool(v > 0) for v in x @ repetition) for x in points]
        for bucket in range(2 ** g.shape[2]):
            wanted = tuple(bool(bucket >> b & 1) for b in range(g.shape[2]))
            members = [x for x, s, t in zip(points, signs, there, strict=True) if t and s == wanted]
            total = sum(members, torch.zeros_like(points[0]))
            if side == "stored" and members:
                total = total / len(members)
            elif side == "stored" and there.any():
                apart = [(sum(a != b for a, b in zip(s, wanted, strict=True)), n) for n, s in enumerate(signs)
                         if there[n]]
                total = points[min(apart)[1]]
            out.append(total)
    return torch.cat(out) / len(g) ** 0.5


@pytest.mark.parametrize("side", ["query", "stored"])
def test_it_is_the_encoding_of_the_paper(side):
    points, there = sets(4, n=6, d=5)
    there[1, 2:5], there[2] = False, False
    points = points * there[..., None]
    g = directions(3, 3, d=5)
    found = encode(points, there, g, side)
    for n in range(4):
        assert_close(found[n], by_loops(points[n], there[n], g, side), atol=1e-12, rtol=0)


def test_the_score_is_never_above_the_similarity_of_the_sets_and_equal_where_each_bucket_holds_one():
    (q, _), (p, _) = sets(60, seed=1), sets(60, seed=2)
    for bits in (1, 4, 6):
        assert (score(q, p, directions(20, bits)) <= chamfer(q, p) + 1e-9).all()
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).double()[None] / 2**0.5
    axes = torch.eye(2, dtype=torch.float64)[None]
    assert_close(score(corners, corners, axes), chamfer(corners, corners))
    sums = torch.ones(60, 24, dtype=torch.bool)  # the control: sums on both sides are above it
    g = directions(20, 1)
    assert ((encode(q, sums, g, "query") * encode(p, sums, g, "query")).sum(1) > chamfer(q, p)).any()


def test_bits_bring_it_nearer_and_repetitions_make_it_steadier_and_no_nearer():
    (q, _), (p, _) = sets(40, seed=1), sets(40, seed=2)
    short = {bits: float((chamfer(q, p) - score(q, p, directions(40, bits))).mean()) / 24 for bits in (2, 4, 6)}
    assert short[2] > short[4] + 0.02 > short[6] + 0.04
    drawn = {reps: torch.stack([score(q, p, directions(reps, 4, seed=s)) for s in range(12)]) for reps in (5, 80)}
    assert drawn[80].std(0).mean() < drawn[5].std(0).mean() / 2
    assert abs(drawn[80].mean() - drawn[5].mean()) < 0.1 * (chamfer(q, p).mean() - drawn[80].mean())


def spearman(a, b):
    return float(torch.corrcoef(torch.stack([a.argsort().argsort(), b.argsort().argsort()]).double())[0, 1])


def test_it_ranks_documents_of_graded_similarity_as_the_exact_score_does():
    found = {1: [], 80: []}
    for seed in range(5):
        (q, _), (noise, _) = sets(1, seed=seed), sets(20, seed=seed + 50)
        share = torch.linspace(0, 1, 20, dtype=torch.float64)[:, None, None]
        p = share * q + (1 - share) * noise
        p = p / p.norm(dim=2, keepdim=True)
        q = q.expand(20, -1, -1)
        for reps in found:
            found[reps].append(spearman(score(q, p, directions(reps, 4, seed=seed)), chamfer(q, p)))
    assert sum(found[80]) / 5 >= 0.9 > sum(found[1]) / 5


def history(steps=96 * 500, seed=0):
    random = torch.Generator().manual_seed(seed)
    noise, y = torch.randn(steps + 200, generator=random), torch.zeros(steps + 200)
    for t in range(2, steps + 200):
        y[t] = 1.6 * y[t - 1] - 0.7 * y[t - 2] + noise[t]
    return y[200:]


def recall_of_copies(seed=0, exact=True, **arguments):
    """Share of noisy, shifted copies for which the window that was copied from comes first, of 500."""
    y = history(seed=seed)
    stored = y.unfold(0, 96, 96)[..., None]
    random = torch.Generator().manual_seed(seed + 1)
    chosen = torch.randperm(480, generator=random)[:40] + 2
    shift = torch.randint(-6, 7, (40,), generator=random)
    copies = torch.stack([y[at : at + 96] for at in (96 * chosen + shift).tolist()])
    copies = copies + 0.1 * copies.std() * torch.randn(copies.shape, generator=random)
    encoder = MuveraEncoder(1, 96, **arguments)
    score = encoder.query(copies[..., None]) @ encoder(stored).mT
    if exact:
        best = score.topk(10, dim=1).indices
        full = encoder.full(stored)[best]
        asked = encoder.full(copies[..., None])[:, None].expand(-1, 10, -1)
        return float((best_of(encoder.likeness(asked, full), best, 1)[1][:, 0] == chosen).double().mean())
    return float((score.argmax(1) == chosen).double().mean())


def test_a_shifted_and_noisy_copy_of_a_window_finds_it():
    assert recall_of_copies(d_model=2048) >= 0.95
    assert recall_of_copies(d_model=2048, n_reps=1, n_bits=1, patch=4, exact=False) < 0.5  # the control


def test_without_a_sketch_the_vector_is_the_encoding_and_with_one_inner_products_are_kept_in_the_mean():
    x = history(1000).unfold(0, 40, 30)[:20, :, None].double()
    whole = MuveraEncoder(1, 40, 3 * 8 * 24 + 5, n_reps=3, n_bits=3)
    assert torch.equal(whole(x)[:, : 3 * 8 * 24], whole.encoded(x))
    assert (whole(x)[:, 3 * 8 * 24 :] == 0).all()
    exact = (whole.encoded(x, side="query") * whole.encoded(x)).sum(1)
    some = [MuveraEncoder(1, 40, 64, n_reps=3, n_bits=3, seed=s) for s in range(60)]
    errors = torch.stack([(e.query(x) * e(x)).sum(1) - (e.encoded(x, side="query") * e.encoded(x)).sum(1)
                          for e in some])
    assert errors.mean(0).abs().max() < 4 * errors.std(0).max() / 60**0.5
    assert errors.std(0).mean() > 0.01 * exact.mean()  # there is a noise that is taken out by the mean


def test_patches_are_of_length_one_and_those_without_observations_or_shape_do_not_count():
    encoder = MuveraEncoder(2, 40, patch=8, stride=8)
    x, mask = torch.randn(3, 40, 2), torch.ones(3, 40, 2, dtype=torch.bool)
    mask[1, 8:16] = False
    mask[1, 16:19] = False
    patches, there = encoder.patches(x, mask)
    assert patches.shape == (3, 5, 16)
    assert there.tolist() == [[True] * 5, [True, False, True, True, True], [True] * 5]
    assert_close(patches.norm(dim=2), there.double())
    x[2, 24:32] = 7.0
    flat = MuveraEncoder(2, 40, patch=8, stride=8, patch_norm="patch")
    assert flat.patches(x)[1].tolist() == [[True] * 5, [True] * 5, [True, True, True, False, True]]


def test_its_similarity_is_that_of_loops():
    (q, _), (p, _) = sets(3, n=5, seed=1), sets(3, n=7, seed=2)
    expected = [sum(max(float(x @ y) for y in ys) for x in xs) for xs, ys in zip(q, p, strict=True)]
    assert_close(chamfer(q, p), torch.tensor(expected).double())
    assert chamfer(q, p, torch.zeros(3, 5).bool(), torch.ones(3, 7).bool()).tolist() == [0, 0, 0]
    assert chamfer(q, p, torch.ones(3, 5).bool(), torch.zeros(3, 7).bool()).tolist() == [0, 0, 0]


def test_it_has_no_parameters_and_as_many_directions_as_stated():
    encoder = MuveraEncoder(2, 40, patch=10, n_bits=3, n_reps=7)
    assert list(encoder.parameters()) == []
    assert encoder.directions.numel() == 7 * 3 * 10 * 2
    assert MuveraEncoder(2, 6).patch == 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"patch": 0}, "patch=0"), ({"stride": 0}, "stride=0"), ({"n_bits": 11}, "n_bits=11"), ({"n_reps": 0}, "n_reps=0"),
     ({"patch_norm": "batch"}, "patch_norm='batch'")],
)
def test_what_cannot_be_is_refused(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        MuveraEncoder(1, 40, **arguments)
