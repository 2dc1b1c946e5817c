import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.encoders.retrieval.matryoshka import MatryoshkaEncoder
from tsforge.errors import ArgumentError
from tsforge.layers.nearest import blocks, funnel, top_k

TIME = 32


def regimes(count, seed, time=TIME, noise=0.7):
    """Windows of five kinds, of any phase, in noise; and their kinds."""
    random = torch.Generator().manual_seed(seed)
    kind = torch.randint(5, (count,), generator=random)
    phase = 6.28 * torch.rand(count, 1, generator=random)
    t = torch.arange(time) / time * 6.28
    x = torch.sin(t * (1 + kind)[:, None] + phase) + noise * torch.randn(count, time, generator=random)
    return x[..., None], kind


def by_neighbours(encoder, size, k=15):
    """Share of held-out windows whose kind most of the nearest training windows have, by the first numbers."""
    (x, kinds), (held_out, truth) = regimes(1500, 0), regimes(400, 1)
    with torch.no_grad():
        stored, asked = (F.normalize(encoder.whole(part)[:, :size], dim=1) for part in (x, held_out))
    index = top_k(asked, lambda: blocks(stored), k)[1]
    return float((F.one_hot(kinds[index], 5).sum(1).argmax(1) == truth).double().mean())


def fitted(seed=0, **arguments):
    encoder = MatryoshkaEncoder(1, TIME, 8, **{"width": 64, "seed": seed} | arguments)
    encoder.fit(regimes(1500, 0)[0], None)
    return encoder.eval()


@pytest.mark.slow
def test_the_first_numbers_are_as_good_as_a_vector_of_their_own_and_those_of_a_plain_vector_are_not():
    found = {"nested": [], "own": [], "plain": []}
    for seed in range(3):
        found["nested"].append(by_neighbours(fitted(seed), 8))
        found["own"].append(by_neighbours(fitted(seed, width=8), 8))
        found["plain"].append(by_neighbours(fitted(seed, nesting=(64,)), 8))
    mean = {name: sum(parts) / 3 for name, parts in found.items()}
    assert mean["nested"] >= mean["own"] - 0.02
    assert mean["nested"] >= mean["plain"] + 0.05


@pytest.mark.slow
def test_longer_prefixes_are_never_worse_and_a_size_never_trained_lies_between_its_neighbours():
    encoder = fitted()
    found = {size: by_neighbours(encoder, size) for size in (8, 16, 24, 32, 64)}
    for short, long in ((8, 16), (16, 24), (24, 32), (32, 64)):
        assert found[long] >= found[short] - 0.02


def correlated(count=400, seed=0):
    random = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(12, 12, generator=random, dtype=torch.float64)).Q
    scale = 0.75 ** torch.arange(12, dtype=torch.float64)
    return (torch.randn(count, 12, generator=random, dtype=torch.float64) * scale @ basis.mT)[..., None]


def residuals(encoder, x):
    """Mean squared error of the best linear map from each prefix."""
    z = encoder.whole(x).detach()
    out = []
    for m in (1, 2, 4, 8):
        design = torch.cat([z[:, :m], torch.ones(len(z), 1).double()], 1)
        left = x[..., 0] - design @ torch.linalg.lstsq(design, x[..., 0]).solution
        out.append(float(left.square().sum(1).mean()))
    return torch.tensor(out)


@pytest.mark.slow
def test_linear_prefixes_are_principal_components_and_those_of_a_plain_autoencoder_are_not():
    x = correlated()
    values = torch.linalg.eigvalsh((x[..., 0] - x[..., 0].mean(0)).mT @ (x[..., 0] - x[..., 0].mean(0)) / len(x))
    best = torch.stack([values[: 12 - m].sum() for m in (1, 2, 4, 8)]).float()
    arguments = {"width": 8, "hidden": 0, "steps": 2500, "learning_rate": 1e-2}
    nested = MatryoshkaEncoder(1, 12, 8, nesting=(1, 2, 4, 8), **arguments).double()
    plain = MatryoshkaEncoder(1, 12, 8, nesting=(8,), **arguments).double()
    for encoder in (nested, plain):
        encoder.fit(x, None)
    assert_close(residuals(nested, x), best, rtol=0.01, atol=0)
    assert (residuals(plain, x)[:3] > 1.1 * best[:3]).all()


@pytest.mark.parametrize("heads", ["separate", "tied"])
@pytest.mark.parametrize("hidden", [0, 7])
def test_it_is_what_its_equations_say_and_has_as_many_parameters(heads, hidden):
    torch.manual_seed(0)
    encoder = MatryoshkaEncoder(2, 5, 3, width=6, nesting=(2, 4), hidden=hidden, heads=heads).double()
    x, mask = torch.randn(4, 5, 2, dtype=torch.float64), torch.rand(4, 5, 2) < 0.7
    read = torch.cat([(x * mask).flatten(1), mask.flatten(1).double()], 1)
    maps = list(encoder.inner) if hidden else [encoder.inner]
    z = read @ maps[0].weight.T + maps[0].bias
    z = F.gelu(z) @ maps[2].weight.T + maps[2].bias if hidden else z
    assert_close(encoder(x, mask), z[:, :3] / z[:, :3].norm(dim=1, keepdim=True))
    assert_close(encoder.full(x, mask), z / z.norm(dim=1, keepdim=True))
    loss = 0.0
    for n, m in enumerate((2, 4, 6)):
        head = encoder.heads[0 if heads == "tied" else n]
        error = (z[:, :m] @ head.weight[:, :m].T + head.bias - (x * mask).flatten(1)).square() * mask.flatten(1)
        loss = loss + error.sum() / mask.sum()
    assert_close(encoder.objective(x, mask), loss)
    inner = (2 * 10 + 1) * hidden + (hidden + 1) * 6 if hidden else (2 * 10 + 1) * 6
    outer = (6 + 1) * 10 if heads == "tied" else (2 + 1 + 4 + 1 + 6 + 1) * 10
    assert sum(p.numel() for p in encoder.parameters()) == inner + outer


def test_tied_heads_are_the_first_columns_of_one():
    encoder = MatryoshkaEncoder(1, 5, 4, width=8, nesting=(2, 4), heads="tied")
    z = torch.randn(3, 8)
    before = encoder.rebuilt(z, 4)
    with torch.no_grad():
        encoder.heads[0].weight[:, 3] += 1.0
    assert_close(encoder.rebuilt(z, 4) - before, z[:, 3:4].expand(-1, 5), atol=1e-5, rtol=1e-5)
    assert not torch.equal(encoder.rebuilt(z, 8), encoder.rebuilt(z, 4))


def test_every_prefix_is_at_length_one():
    encoder, (x, _) = MatryoshkaEncoder(1, TIME, 24, width=64), regimes(9, 0)
    assert_close(encoder(x).norm(dim=1), torch.ones(9))
    assert_close(encoder(x), F.normalize(encoder.full(x)[:, :24], dim=1))
    assert (encoder.full(x)[:, :24].norm(dim=1) < 0.99).all()  # the control: a cut alone is shorter


@pytest.mark.slow
def test_a_funnel_finds_what_the_whole_search_finds_at_a_tenth_of_the_multiplications():
    encoder = fitted(width=128, steps=600)
    with torch.no_grad():
        stored, asked = (encoder.whole(regimes(n, s, noise=0.4)[0]) for n, s in ((10_000, 3), (100, 4)))
    truth = funnel(asked, stored, (128,), (10,))[1]

    def recall(sizes, keep):
        found = funnel(asked, stored, sizes, keep)[1]
        return sum(len(set(a.tolist()) & set(b.tolist())) for a, b in zip(found, truth, strict=True)) / truth.numel()

    assert 10_000 * 8 + 200 * 32 + 50 * 128 <= 0.1 * 10_000 * 128
    assert recall((8, 32, 128), (200, 50, 10)) >= 0.95 > recall((8,), (10,)) + 0.2


def test_fitting_changes_no_flag_and_needs_none():
    encoder = MatryoshkaEncoder(1, TIME, 8, width=16, steps=3).requires_grad_(False)
    before = encoder.heads[0].weight.clone()
    with torch.no_grad():
        encoder.fit(regimes(50, 0)[0], None)
    assert not torch.equal(encoder.heads[0].weight, before)
    assert not any(p.requires_grad or p.grad is not None for p in encoder.parameters())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"d_model": 17}, "d_model from 1 to width"), ({"hidden": -1}, "hidden=-1"), ({"steps": 0}, "steps=0"),
     ({"nesting": (0, 4)}, "nesting"), ({"learning_rate": 0.0}, "positive rate"), ({"heads": "one"}, "heads='one'")],
)
def test_what_cannot_be_is_refused(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        MatryoshkaEncoder(1, 8, **{"d_model": 4, "width": 16} | arguments)
