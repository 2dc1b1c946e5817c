import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.encoders.tabular.unified_embedding import UnifiedEmbeddingEncoder
from tsforge.errors import ArgumentError
from tsforge.layers.stable_hash import mix, stable_hashes

VALUES, BUCKETS = 2000, 4096


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def words(count=VALUES):
    return stable_hashes(f"id {k}" for k in range(count))


def test_the_table_has_one_size_whatever_is_read_from_it():
    for n_ids, chunks in ((1, 1), (4, 2), (3, [5, 1, 2])):
        encoder = UnifiedEmbeddingEncoder(n_ids, 2, 16, n_buckets=100, chunk_dim=3, chunks=chunks)
        total = n_ids * chunks if isinstance(chunks, int) else sum(chunks)
        assert encoder.table.numel() == 300
        assert sum(p.numel() for p in encoder.parameters()) == 300 + (3 * total + 2 + 1) * 16


def test_it_is_what_its_equations_say():
    encoder = UnifiedEmbeddingEncoder(2, 1, 5, n_buckets=7, chunk_dim=3, chunks=[2, 1]).double()
    ids, numbers = torch.stack([words(9), words(9).flip(0)], 1), torch.randn(9, 1, dtype=torch.float64)
    for row in range(9):
        parts = []
        for place, (feature, chunk) in enumerate([(0, 0), (0, 1), (1, 0)]):
            salt = stable_hashes([f"unified embedding 0 {feature} {chunk}"])
            mixed = int(mix(ids[row, feature] ^ salt)) % 2**64
            parts.append(encoder.table[(mixed >> 1) % 7])
            assert encoder.rows(ids)[row, place] == (mixed >> 1) % 7
        expected = encoder.out.weight @ torch.cat([*parts, numbers[row]]) + encoder.out.bias
        assert_close(encoder(ids, numbers)[row], expected)


def test_the_rows_that_ids_read_stay_what_they_are():
    encoder = UnifiedEmbeddingEncoder(2, chunks=2)
    assert encoder.rows(words(4).view(2, 2)).tolist() == [[2008, 2439, 3428, 3991], [2202, 2725, 2787, 468]]


@pytest.mark.parametrize("one", [(0, 2), (0, 1)], ids=["features", "chunks of one feature"])
def test_equal_values_read_independent_rows_in_different_places(one):
    rows = UnifiedEmbeddingEncoder(2, n_buckets=512, chunks=2).rows(words(5000)[:, None].expand(-1, 2))
    share, expected = (rows[:, one[0]] == rows[:, one[1]]).double().mean(), 1 / 512
    assert abs(share - expected) < 3 * (expected / 5000) ** 0.5
    encoder = UnifiedEmbeddingEncoder(2, n_buckets=512, chunks=2)
    encoder.salts.zero_()  # the control: without salts they are the same rows
    rows = encoder.rows(words(5000)[:, None].expand(-1, 2))
    assert torch.equal(rows[:, one[0]], rows[:, one[1]])


def colliding(rows):
    """Share of ids all of whose rows another id of the same feature reads, too."""
    _, inverse, counts = rows.unique(dim=0, return_inverse=True, return_counts=True)
    return float((counts[inverse] > 1).double().mean())


def test_a_table_for_all_collides_less_than_tables_for_each_of_the_same_size():
    shared = UnifiedEmbeddingEncoder(4, n_buckets=BUCKETS, chunks=1).rows(words()[:, None].expand(-1, 4))
    split = UnifiedEmbeddingEncoder(4, n_buckets=BUCKETS // 4, chunks=1).rows(words()[:, None].expand(-1, 4))
    for feature in range(4):
        assert colliding(shared[:, [feature]]) <= 0.45
        assert colliding(split[:, [feature]]) >= 0.80
    twice = UnifiedEmbeddingEncoder(4, n_buckets=BUCKETS, chunks=2).rows(words()[:, None].expand(-1, 4))
    for feature in range(4):
        assert colliding(twice[:, 2 * feature : 2 * feature + 2]) < 0.01


class Split(nn.Module):
    """A smaller table of its own for each id: what one table for all is compared with."""

    def __init__(self, n_ids, n_buckets, **sizes):
        super().__init__()
        self.parts = nn.ModuleList(UnifiedEmbeddingEncoder(1, n_buckets=n_buckets // n_ids, **sizes)
                                   for _ in range(n_ids))

    def forward(self, ids):
        return sum(part(column[:, None]) for part, column in zip(self.parts, ids.T, strict=True))


def held_out_fit(encoder, values, effects, rounds=100):
    """R2 on rows never trained on, of a target that adds an effect of each of four ids."""
    drawn = torch.randint(VALUES, (24_000, 4))
    ids, y = values[drawn], sum(effects[f, drawn[:, f]] for f in range(4))
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.05)
    for _ in range(rounds):
        part = torch.randint(20_000, (2048,))
        loss = F.mse_loss(encoder(ids[part])[:, 0], y[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return 1 - float(F.mse_loss(encoder(ids[20_000:])[:, 0], y[20_000:]) / y[20_000:].var())


def test_at_the_same_memory_one_table_fits_held_out_rows_at_least_as_well_as_several():
    sizes = {"d_model": 1, "chunk_dim": 4, "chunks": 1}
    shared, split = [], []
    for seed in range(3):
        torch.manual_seed(seed)
        effects, values = torch.randn(4, VALUES), words()
        shared.append(held_out_fit(UnifiedEmbeddingEncoder(4, n_buckets=4000, **sizes), values, effects))
        split.append(held_out_fit(Split(4, 4000, **sizes), values, effects))
    assert sum(shared) / 3 >= sum(split) / 3 + 0.1


def test_the_table_is_spared_weight_decay():
    table, rest = UnifiedEmbeddingEncoder(1).parameter_groups(1e-3, 0.1)
    assert [p.shape for p in table["params"]] == [(4096, 8)]
    assert (table["weight_decay"], rest["weight_decay"]) == (0.0, 0.1)


def test_seeds_collide_differently():
    rows = [UnifiedEmbeddingEncoder(1, seed=seed).rows(words()[:, None]) for seed in (0, 1)]
    assert (rows[0] == rows[1]).double().mean() < 0.01


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"n_buckets": 0}, "n_buckets=0"), ({"chunk_dim": 0}, "chunk_dim=0"), ({"chunks": 0}, "chunks=0"),
     ({"chunks": [1]}, "there are 2 ids, the series first"), ({"n_ids": 0, "n_numbers": 1}, "n_ids=0 leaves nothing")],
)
def test_what_cannot_be_is_refused(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        UnifiedEmbeddingEncoder(**{"n_ids": 2, **arguments})
