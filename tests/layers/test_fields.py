import pytest
import torch
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.layers.fields import FieldEmbedding
from tsforge.layers.stable_hash import mix, stable_hashes


def words(count):
    return stable_hashes(f"id {k}" for k in range(count))


def test_tokens_are_what_the_equations_say_and_the_parameters_as_many():
    torch.manual_seed(0)
    fields = FieldEmbedding(2, 3, 5, n_buckets=7).double()
    ids, numbers = torch.stack([words(9), words(9).flip(0)], 1), torch.randn(9, 3, dtype=torch.float64)
    tokens = fields(ids, numbers)
    assert tokens.shape == (9, 5, 5)
    for field in range(2):
        row = [(int(mix(i ^ stable_hashes([f"field 0 {field}"]))) % 2**64 >> 1) % 7 for i in ids[:, field]]
        assert_close(tokens[:, field], fields.table[row], atol=0, rtol=0)
    for field in range(3):
        assert_close(tokens[:, 2 + field], numbers[:, field, None] * fields.directions[field], atol=0, rtol=0)
    assert sum(p.numel() for p in fields.parameters()) == (7 + 3) * 5


def test_the_rows_that_ids_read_stay_what_they_are():
    assert FieldEmbedding(2, 0, 1).rows(words(4).view(2, 2)).tolist() == [[3620, 350], [3427, 1276]]


def test_a_number_of_zero_is_a_token_of_zeros_and_one_alone_needs_no_table():
    fields = FieldEmbedding(0, 1, 4)
    assert fields.table is None
    assert torch.equal(fields(None, torch.zeros(3, 1)), torch.zeros(3, 1, 4))


def test_equal_ids_in_two_places_read_rows_that_have_nothing_to_do_with_each_other():
    fields, same = FieldEmbedding(2, 0, 1, n_buckets=512), words(5000)[:, None].expand(-1, 2)
    share = (fields.rows(same)[:, 0] == fields.rows(same)[:, 1]).double().mean()
    assert abs(share - 1 / 512) < 3 * (1 / 512 / 5000) ** 0.5
    fields.salts.zero_()  # the control: without salts they are the same rows
    assert torch.equal(fields.rows(same)[:, 0], fields.rows(same)[:, 1])


@pytest.mark.parametrize("wrong", [{"n_buckets": 0}, {"embed_dim": 0}], ids=str)
def test_sizes_below_one_are_refused(wrong):
    with pytest.raises(ArgumentError, match="give at least 1"):
        FieldEmbedding(**{"n_ids": 1, "n_numbers": 1, "embed_dim": 2, **wrong})
