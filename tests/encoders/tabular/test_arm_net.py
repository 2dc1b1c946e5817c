import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.encoders.tabular.arm_net import ARMNetEncoder
from tsforge.errors import ArgumentError
from tsforge.layers.entmax import entmax
from tsforge.layers.stable_hash import mix

FIELDS, UP, DOWN = 10, (1, 2), 7


def rows(batch=6, n_ids=2, n_numbers=3):
    random = torch.Generator().manual_seed(1)
    return mix(torch.randint(9, (batch, n_ids), generator=random)), torch.rand(
        batch, n_numbers, generator=random, dtype=torch.float64)


@pytest.mark.parametrize("numeric", ["linear", "log"])
def test_it_is_what_its_equations_say(numeric):
    torch.manual_seed(0)
    encoder = ARMNetEncoder(2, 3, 5, embed_dim=4, neurons=3, hidden=6, numeric=numeric).double().eval()
    encoder.norm.running_mean.normal_()
    encoder.norm.running_var.uniform_(0.5, 2)
    ids, numbers = rows()
    encoder.fit(ids, numbers - 0.5)
    share = (numbers - 0.5 - encoder.low) / (encoder.high - encoder.low)
    assert share.min() == 0
    assert share.max() == 1
    held = share.clamp(1e-3, 1)
    tokens = encoder.fields(ids, held.log() if numeric == "log" else held)
    for row, e in enumerate(tokens):
        neurons = []
        for k in range(2):
            for i in range(3):
                scores = e @ (encoder.form[k] @ encoder.queries[k, i]) / 4**0.5
                exponent = (entmax(scores, 1.7) * encoder.orders[k, i])[:, None] * e
                n, at = exponent.sum(0).exp(), 3 * k + i
                n = (n - encoder.norm.running_mean[at]) / (encoder.norm.running_var[at] + 1e-5).sqrt()
                neurons.append(n * encoder.norm.weight[at] + encoder.norm.bias[at])
        parts = ((encoder.out, torch.cat(neurons)), (encoder.plus, e.flatten()))
        expected = sum(m[2].weight @ F.relu(m[0].weight @ x + m[0].bias) + m[2].bias for m, x in parts)
        assert_close(encoder(ids, numbers - 0.5)[row], expected, atol=1e-6, rtol=1e-6)


def test_the_parameters_are_as_many_as_the_formula_says():
    def count(**changes):
        encoder = ARMNetEncoder(2, 3, 11, n_buckets=50, embed_dim=4, neurons=5, hidden=6, **changes)
        return sum(p.numel() for p in encoder.parameters())

    gates = 2 * 4**2 + 2 * 5 * (4 + 5)
    alone = (50 + 3) * 4 + gates + 2 * 2 * 5 + (2 * 5 * 4 + 1) * 6 + (6 + 1) * 11
    assert count(plus_mlp=False) == alone
    assert count() == alone + (5 * 4 + 1) * 6 + (6 + 1) * 11


def test_through_a_logarithm_a_neuron_is_a_monomial_and_a_field_of_a_closed_gate_has_no_part_in_it():
    torch.manual_seed(0)
    encoder = ARMNetEncoder(0, 4, 3, embed_dim=2, neurons=8, numeric="log").double()
    numbers = 0.1 + 0.4 * torch.rand(5, 4, dtype=torch.float64)
    encoder.fit(None, torch.cat([numbers, torch.ones(1, 4)]))
    orders = encoder.cross_features(None, numbers)
    closed = orders[..., 1] == 0
    assert 0 < closed.double().mean() < 1
    scaled = numbers.clone()
    scaled[:, 1] *= 1.7
    before, after = (encoder.neurons(encoder.tokens(None, x), orders) for x in (numbers, scaled))
    assert_close(after / before, 1.7 ** (orders[..., 1:2] * encoder.fields.directions[1]), atol=1e-5, rtol=0)
    assert_close(after[closed], before[closed], atol=0, rtol=0)
    assert (after[~closed] != before[~closed]).all()


def test_what_is_outside_the_range_of_training_counts_as_its_ends_and_unseen_ids_read_a_row():
    encoder = ARMNetEncoder(1, 2, 3, numeric="log").eval()
    ids, numbers = mix(torch.arange(20))[:, None], torch.rand(20, 2)
    numbers[:, 1] = 4.0  # a constant
    encoder.fit(ids, numbers)
    ends = torch.stack([numbers.amin(0), numbers.amax(0)])
    beyond = torch.tensor([[-1e30, 4.0], [1e30, 4.0]])
    new = mix(torch.tensor([[777], [778]]))
    y = encoder(new, beyond)
    assert y.isfinite().all()
    assert not torch.allclose(y[0], y[1])
    assert_close(y[1], encoder(new, ends)[1], atol=0, rtol=0)
    assert encoder.low[0] == 0  # above 0 throughout: divided, not shifted


def test_exponents_are_held_so_that_nothing_overflows():
    encoder = ARMNetEncoder(0, 2, 3)
    huge = encoder.neurons(torch.full((1, 2, 10), 1e4), torch.ones(1, 1, 2))
    assert_close(huge, torch.full((1, 1, 10), 15.0).exp())


def drawn(count, random, additive):
    x = torch.rand(count, FIELDS, generator=random) * 1.5 + 0.5
    if additive:
        return x, x[:, 1].square() + torch.sin(3 * x[:, 2]) - x[:, 7] - 1.2
    return x, x[:, 1] * x[:, 2] / x[:, 7] - 1.2


class Additive(nn.Module):
    """A perceptron for each field, and their sum."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 1)) for _ in range(FIELDS))

    def forward(self, ids, x):
        return sum(part(x[:, [field]]) for field, part in enumerate(self.parts))


def fitted(make, seed=0, additive=False, steps=300):
    """A model, its error on rows it has not seen, and these rows."""
    torch.manual_seed(seed)
    model, random = make(), torch.Generator().manual_seed(seed)
    if isinstance(model, ARMNetEncoder):
        model.fit(None, drawn(2000, random, additive)[0])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        x, y = drawn(256, random, additive)
        loss = F.mse_loss(model(None, x)[:, 0], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    x, y = drawn(3000, torch.Generator().manual_seed(99), additive)
    with torch.no_grad():
        return model, float(F.mse_loss(model.eval()(None, x)[:, 0], y)), x


def multiplying(neurons, embed_dim, plus_mlp=False):
    return ARMNetEncoder(0, FIELDS, 1, n_heads=1, neurons=neurons, embed_dim=embed_dim, hidden=8, numeric="log",
                         plus_mlp=plus_mlp)


@pytest.mark.slow
def test_it_finds_a_planted_product_that_no_sum_of_fields_can_say_and_names_its_fields():
    encoder, error, x = fitted(lambda: multiplying(2, 2))
    assert error <= 0.5 * fitted(Additive)[1]
    with torch.no_grad():
        assert set(encoder.importance(None, x).topk(3).indices.tolist()) == {*UP, DOWN}


@pytest.mark.slow
def test_a_single_neuron_that_learned_a_quotient_has_the_orders_of_a_quotient():
    encoder, _, x = min((fitted(lambda: multiplying(1, 1), seed, steps=200) for seed in range(2)), key=lambda f: f[1])
    with torch.no_grad():
        orders = encoder.cross_features(None, x).mean(0)[0] * encoder.fields.directions[:, 0]
        assert set(encoder.importance(None, x).topk(3).indices.tolist()) == {*UP, DOWN}
    assert_close(orders[1] / orders[2], torch.tensor(1.0), atol=0.15, rtol=0)
    assert_close(orders[1] / orders[7], torch.tensor(-1.0), atol=0.15, rtol=0)
    others = [field for field in range(FIELDS) if field not in (*UP, DOWN)]
    assert (orders[others].abs() < 0.1 * orders[1].abs()).all()


@pytest.mark.slow
def test_on_sums_of_fields_it_is_no_worse_than_a_model_that_can_say_nothing_else():
    error = fitted(lambda: multiplying(8, 4, plus_mlp=True), additive=True)[1]
    assert error <= 1.1 * fitted(Additive, additive=True)[1]


def test_the_table_is_spared_weight_decay():
    table, rest = ARMNetEncoder(2, 1).parameter_groups(1e-3, 0.1)
    assert [p.shape for p in table["params"]] == [(4096, 10)]
    assert (table["weight_decay"], rest["weight_decay"]) == (0.0, 0.1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"n_heads": 0}, "n_heads=0"), ({"neurons": 0}, "neurons=0"), ({"hidden": 0}, "hidden=0"),
     ({"alpha": 2.5}, r"alpha=2\.5"), ({"numeric": "cubic"}, "numeric='cubic'"), ({"floor": 0.0}, r"floor=0\.0")],
    ids=str,
)
def test_what_cannot_be_is_refused(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        ARMNetEncoder(1, 1, **arguments)
