import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.encoders.tabular.autoint import AutoIntEncoder
from tsforge.errors import ArgumentError
from tsforge.layers.fields import FieldEmbedding
from tsforge.layers.stable_hash import mix

FIELDS, PAIR = 8, (2, 5)


def rows(batch=6, n_ids=2, n_numbers=3):
    random = torch.Generator().manual_seed(1)
    ids = mix(torch.randint(9, (batch, n_ids), generator=random))
    return ids, torch.randn(batch, n_numbers, generator=random, dtype=torch.float64)


@pytest.mark.parametrize("relu", [True, False])
def test_it_is_what_its_equations_say(relu):
    torch.manual_seed(0)
    encoder = AutoIntEncoder(2, 3, 5, embed_dim=4, attn_dim=6, n_heads=3, mlp_hidden=(7,), relu_qkv=relu).double()
    ids, numbers = rows()
    bend = F.relu if relu else lambda x: x
    for row in range(len(ids)):
        first = encoder.fields(ids, numbers)[row]
        e = first
        for layer in encoder.layers:
            w_q, w_k, w_v = layer.qkv.weight.chunk(3)
            q, k, v = bend(e @ w_q.T), bend(e @ w_k.T), bend(e @ w_v.T)
            heads = []
            for h in range(3):
                part = slice(2 * h, 2 * h + 2)
                scores = q[:, part] @ k[:, part].T / 2**0.5
                heads.append(scores.exp() / scores.exp().sum(1, keepdim=True) @ v[:, part])
            z = F.relu(torch.cat(heads, 1) + F.relu(e @ layer.residual.weight.T))
            z = (z - z.mean(1, keepdim=True)) / (z.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
            e = z * layer.norm.weight + layer.norm.bias
        hidden, last = encoder.mlp[0], encoder.mlp[2]
        expected = encoder.out.weight @ e.flatten() + encoder.out.bias
        expected += last.weight @ F.relu(hidden.weight @ first.flatten() + hidden.bias) + last.bias
        assert_close(encoder(ids, numbers)[row], expected, atol=1e-6, rtol=1e-6)


def test_the_parameters_are_as_many_as_the_formula_says():
    encoder = AutoIntEncoder(2, 3, 11, n_buckets=50, embed_dim=4, attn_dim=6, n_layers=3, mlp_hidden=(7,))
    table, layers, out = (50 + 3) * 4, 4 * 4 * 6 + 2 * (4 * 6 * 6) + 3 * 2 * 6, (5 * 6 + 1) * 11
    perceptron = (5 * 4 + 1) * 7 + (7 + 1) * 11
    assert sum(p.numel() for p in encoder.parameters()) == table + layers + out + perceptron


def test_fields_in_another_order_have_the_same_attention_and_tokens_in_that_order():
    torch.manual_seed(0)
    layers = AutoIntEncoder(0, 6, 3, embed_dim=5).double().layers
    x, order = torch.randn(4, 6, 5, dtype=torch.float64), torch.tensor([3, 0, 5, 1, 4, 2])
    y, swapped = x, x[:, order]
    for layer in layers:
        y, attention = layer(y)
        swapped, moved = layer(swapped)
        assert_close(swapped, y[:, order], atol=1e-5, rtol=0)
        assert_close(moved, attention[:, :, order][..., order], atol=1e-5, rtol=0)
        assert not torch.allclose(moved, attention)  # the control


def test_a_number_of_zero_is_an_exactly_zero_token_and_its_field_still_reads_the_others():
    encoder = AutoIntEncoder(1, 2, 3)
    ids, numbers = mix(torch.arange(4))[:, None], torch.tensor([[0.0, 1.0]]).expand(4, -1)
    assert torch.equal(encoder.fields(ids, numbers)[:, 1], torch.zeros(4, 16))
    assert encoder.attention(ids, numbers).shape == (2, 4, 2, 3, 3)
    assert_close(encoder.attention(ids, numbers).sum(-1), torch.ones(2, 4, 2, 3))


def crossed(count, random):
    """Ids of eight fields with two values each; the target is the product of the signs of two of them."""
    drawn = torch.randint(2, (count, FIELDS), generator=random)
    signs = 2.0 * drawn - 1
    return mix(drawn), signs[:, PAIR[0]] * signs[:, PAIR[1]]


class Additive(nn.Module):
    """The same tokens without an interacting layer."""

    def __init__(self):
        super().__init__()
        self.fields, self.out = FieldEmbedding(FIELDS, 0, 8, n_buckets=256), nn.Linear(8 * FIELDS, 1)

    def forward(self, ids):
        return self.out(self.fields(ids).flatten(1))


def fitted(make, seed, steps=150):
    torch.manual_seed(seed)
    model, random = make(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        ids, y = crossed(128, random)
        loss = F.mse_loss(model(ids)[:, 0], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def r_squared(y_hat, y):
    return 1 - float(F.mse_loss(y_hat[:, 0], y) / y.var())


@pytest.fixture(scope="module")
def crossing():
    return fitted(lambda: AutoIntEncoder(FIELDS, 0, 1, n_buckets=256, embed_dim=8, attn_dim=16), 0)


def test_it_finds_a_planted_cross_that_no_sum_of_fields_can_say(crossing):
    ids, y = crossed(2000, torch.Generator().manual_seed(9))
    additive = fitted(Additive, 0)
    with torch.no_grad():
        assert r_squared(crossing(ids), y) >= 0.9
        assert r_squared(additive(ids), y) <= 0.1  # the control


def test_of_all_pairs_the_planted_one_is_the_one_that_cannot_be_cut(crossing):
    ids, y = crossed(500, torch.Generator().manual_seed(9))
    pairs = [(i, j) for i in range(FIELDS) for j in range(i)]
    with torch.no_grad():
        left = {pair: r_squared(crossing.cut(pair, ids), y) for pair in pairs}
        assert min(left, key=left.get) == PAIR[::-1]
        assert left[PAIR[::-1]] < 0.5
        assert_close(crossing.cut(PAIR, ids), crossing.cut(PAIR[::-1], ids), atol=0, rtol=0)


def test_the_table_is_spared_weight_decay():
    table, rest = AutoIntEncoder(2, 1).parameter_groups(1e-3, 0.1)
    assert [p.shape for p in table["params"]] == [(4096, 16)]
    assert (table["weight_decay"], rest["weight_decay"]) == (0.0, 0.1)
    (only,) = AutoIntEncoder(0, 1).parameter_groups(1e-3, 0.1)
    assert only["weight_decay"] == 0.1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"attn_dim": 0}, "attn_dim=0"), ({"n_layers": 0}, "n_layers=0"), ({"n_heads": 0}, "n_heads=0"),
     ({"attn_dim": 6, "n_heads": 4}, "not a multiple"), ({"dropout": 1.0}, r"dropout=1\.0"),
     ({"mlp_hidden": (4, 0)}, "mlp_hidden=0"), ({"n_buckets": 0}, "n_buckets=0"), ({"embed_dim": 0}, "embed_dim=0")],
    ids=str,
)
def test_what_cannot_be_is_refused(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        AutoIntEncoder(1, 1, **arguments)
