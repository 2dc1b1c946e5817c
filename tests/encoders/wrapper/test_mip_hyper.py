import logging
import re

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.testing import assert_close

from tsforge.encoders.sequence.phnn import PHCEncoder
from tsforge.encoders.wrapper.mip_hyper import MIPHyperAdapter, encoded_context
from tsforge.errors import ArgumentError
from tsforge.layers.hypernetwork import Hypernetwork
from tsforge.layers.stable_hash import stable_hashes

WIDTH, HIDDEN = 8, (4, 6)


def inside():
    return PHCEncoder(2, WIDTH, n=2, n_layers=1, dropout=0.0)


def adapter(n_ids=1, n_numbers=3, seed=0, **arguments):
    torch.manual_seed(seed)
    return MIPHyperAdapter(n_ids, n_numbers, inside, WIDTH, **{"hidden": HIDDEN} | arguments).double().eval()


def windows(batch=5):
    random = torch.Generator().manual_seed(1)
    return (torch.randn(batch, 6, 2, generator=random, dtype=torch.float64),
            torch.rand(batch, 3, generator=random, dtype=torch.float64))


def test_an_encoded_context_has_the_same_norm_wherever_it_lies():
    gamma = torch.rand(1000, 7, generator=torch.Generator().manual_seed(0))
    assert_close(encoded_context(gamma).square().sum(1), torch.full((1000,), 7.0), atol=1e-5, rtol=0)
    assert gamma.square().sum(1).std() > 0.5  # the control: the context itself


def test_numbers_beyond_those_of_training_count_as_the_outermost_and_one_line_says_so(caplog):
    made, (x, numbers) = adapter(), windows(20)
    made.fit(x, None, None, numbers)
    low, high = numbers.amin(0, keepdim=True), numbers.amax(0, keepdim=True)
    with caplog.at_level(logging.WARNING, "tsforge"):
        inner = made.context(None, torch.cat([low, high]))
        assert_close(inner, torch.tensor([[0.0] * 3, [1.0] * 3]).double())
        assert caplog.messages == []
        for _ in range(2):
            assert_close(made.context(None, torch.cat([low - 9, high + 9])), inner)
    assert [line for line in caplog.messages if "beyond those of training" in line] == caplog.messages
    assert len(caplog.messages) == 1


def test_numbers_are_read_by_their_rank_each_series_once_and_constant_ones_are_in_the_middle():
    made = adapter(n_numbers=2)
    numbers = torch.stack([10.0 ** torch.arange(5), torch.full((5,), 3.0)], 1).double()
    many = numbers[[0, 0, 0, 0, 1, 2, 3, 4]]  # a series with more windows counts as others do
    made.fit(torch.zeros(8, 6, 2).double(), None, None, many)
    wanted = torch.stack([torch.linspace(0, 1, 5), torch.full((5,), 0.5)], 1).double()
    assert_close(made.context(None, numbers), wanted, atol=1e-6, rtol=0)
    assert_close(made.context(None, torch.tensor([[1.0, 99.0]]).double())[0, 1], torch.tensor(0.5).double())


@torch.no_grad()
def test_without_the_layers_out_it_is_the_encoder_inside():
    made, (x, numbers) = adapter(), windows()
    assert not torch.allclose(made(x, None, None, numbers), made.encoder(x), atol=1e-2)  # the control
    for head in made.h.heads:
        nn.init.zeros_(head.weight)
    assert_close(made(x, None, None, numbers), made.encoder(x), atol=1e-12, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("targets", ["norm_bias_out", "all", "filters"])
def test_each_window_is_encoded_by_the_weights_of_the_papers_equations(targets):
    made, (x, numbers) = adapter(targets=targets), windows()
    x, numbers = torch.cat([x, x[:1]]), torch.cat([numbers, numbers[:1]])  # a context that comes twice
    output = made(x, None, None, numbers)
    first, second = made.h.layers
    for window, known, found in zip(x, made.context(None, numbers), output, strict=True):
        a = torch.cat([torch.cos(torch.pi / 2 * known), torch.sin(torch.pi / 2 * known)])
        for layer in (first, second):
            inner = layer.weight @ a + layer.bias
            a = torch.where(inner > 0, inner, 0.01 * inner)
        weights = {}
        for name, head in zip(made.shapes, made.h.heads, strict=True):
            weights[name] = made.encoder.get_parameter(name) + (head.weight @ a).view(made.shapes[name])
        assert_close(functional_call(made.encoder, weights, (window[None],))[0], found, atol=1e-6, rtol=1e-6)
        one = made(window[None], None, None, numbers[:1])
        assert one.shape == (1, 6, WIDTH)
    assert_close(output[0], output[-1])
    assert not torch.allclose(made(x, None, None, numbers.flip(0)), output, atol=1e-2)  # the control: other contexts


def test_what_is_changed_is_chosen_by_kind_or_by_name_and_counted():
    chosen = {"norm_bias_out": r"bias|norms|layers\.0\.filters", "all": "", "lift": "lift"}
    for targets, pattern in chosen.items():
        made = adapter(targets=targets)
        shapes = {name: weight.shape for name, weight in made.encoder.named_parameters() if re.search(pattern, name)}
        assert made.shapes == shapes
        numbers = sum(shape.numel() for shape in shapes.values())
        count = (2 * 3 + 1) * HIDDEN[0] + (HIDDEN[0] + 1) * HIDDEN[1] + HIDDEN[1] * numbers
        assert sum(weight.numel() for weight in made.h.parameters()) == count
    with pytest.raises(ArgumentError, match="fits no weight of PHCEncoder"):
        adapter(targets="nowhere")
    with pytest.raises(ArgumentError, match="no pattern of names"):
        adapter(targets="(")


def test_a_change_of_low_rank_has_that_rank():
    def wide():
        return PHCEncoder(2, WIDTH, n=1, n_layers=1, kernel_size=1)

    for rank, ranks in ((1, 1), (3, 3), (None, 8)):
        torch.manual_seed(0)
        made = MIPHyperAdapter(1, 3, wide, WIDTH, rank=rank).double()
        change = made.changes(torch.rand(4, 3).double())["layers.0.filters"].detach()
        assert {int(torch.linalg.matrix_rank(each.view(WIDTH, WIDTH), rtol=1e-9)) for each in change} == {ranks}


def sizes(network, contexts):
    return torch.cat(network(contexts), 1).norm(dim=1).detach()


def test_plain_weights_grow_with_the_context_and_these_do_not():
    torch.manual_seed(0)
    plain = Hypernetwork(3, (16, 64), [40, 8]).double()
    gamma = torch.rand(50, 3).double() / 2
    assert_close(sizes(plain, 2 * gamma) / sizes(plain, gamma), torch.full((50,), 2.0).double(), atol=1e-4, rtol=0)
    mip = Hypernetwork(6, (16, 64), [40, 8]).double()
    ratio = sizes(mip, encoded_context(2 * gamma)) / sizes(mip, encoded_context(gamma))
    assert ratio.max() < 1.6


@pytest.mark.parametrize("m", [1, 2, 4])
def test_the_size_of_weights_varies_at_most_half_as_much_as_plain(m):
    varies = {"plain": [], "mip": []}
    for seed in range(8):
        torch.manual_seed(seed)
        gamma = torch.rand(400, m)
        plain, mip = Hypernetwork(m, (16, 64), [100]), Hypernetwork(2 * m, (16, 64), [100])
        for name, found in (("plain", sizes(plain, gamma)), ("mip", sizes(mip, encoded_context(gamma)))):
            varies[name].append(float(found.std() / found.mean()))
    assert sum(varies["mip"]) <= 0.5 * sum(varies["plain"]), {k: sum(v) / 8 for k, v in varies.items()}


def test_names_count_where_they_are_asked_for_and_categories_always():
    x, _ = windows(2)
    ids = torch.stack([stable_hashes(["s0", "s1"]), stable_hashes(["a", "a"])], 1)
    kinds = torch.stack([ids[:, 0], stable_hashes(["a", "b"])], 1)
    same = adapter(2, 0)
    assert same.context(ids).shape == (2, 4)
    assert torch.equal(same.context(ids)[0], same.context(ids)[1])
    assert not torch.equal(same.context(kinds)[0], same.context(kinds)[1])
    named = adapter(2, 0, series=True)
    assert named.context(ids).shape == (2, 8)
    assert not torch.equal(named.context(ids)[0], named.context(ids)[1])
    assert not torch.equal(named(x, None, ids)[0], named(x[[1, 1]], None, ids)[0])


def test_weight_decay_is_for_the_hypernetwork_alone():
    made = adapter(2, 1)
    spared, decayed = made.parameter_groups(1e-3, 0.1)
    assert (spared["weight_decay"], decayed["weight_decay"]) == (0.0, 0.1)
    assert {id(weight) for weight in decayed["params"]} == {id(weight) for weight in made.h.parameters()}
    assert {id(weight) for weight in spared["params"]} >= {id(weight) for weight in made.encoder.parameters()}


def test_what_cannot_be_is_refused_with_what_to_do():
    with pytest.raises(ArgumentError, match="give static columns, or series=True"):
        adapter(1, 0)
    for wrong in ({"hidden": ()}, {"hidden": (4, 0)}, {"rank": 0}, {"id_dim": 0}, {"n_buckets": 0}):
        with pytest.raises(ArgumentError, match="give at least 1"):
            adapter(**wrong)
    with pytest.raises(ArgumentError, match="change fewer weights, or give rank=4"):
        MIPHyperAdapter(1, 1, lambda: PHCEncoder(2, 64), 64, targets="all", hidden=(16, 20_000))


@pytest.mark.slow
def test_where_sites_differ_it_has_a_third_less_error_than_the_same_encoder_told_of_nothing():
    random = torch.Generator().manual_seed(0)
    gamma = torch.rand(50, 2, generator=random).repeat(8, 1)
    t = torch.arange(16.0)
    trend = torch.randn(400, 1, generator=random) * (t - 8) / 8
    season = torch.sin(6.283 * t / 8 + 6.283 * torch.rand(400, 1, generator=random))
    x = (trend + season)[..., None]
    y = (2 * gamma[:, 0] - 1) * trend[:, -1] + (2 * gamma[:, 1] - 1) * season[:, -1]

    def plain():
        return PHCEncoder(1, WIDTH, n=1, n_layers=1, dropout=0.0)

    def error(told):
        torch.manual_seed(0)
        encoder, head = MIPHyperAdapter(1, 2, plain, WIDTH) if told else plain(), nn.Linear(WIDTH, 1)
        if told:
            encoder.fit(x, None, None, gamma)
        rows = torch.Generator().manual_seed(1)
        optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=5e-3)
        losses = []
        for _ in range(150):
            at = torch.randint(400, (64,), generator=rows)
            encoded = encoder(x[at], None, None, gamma[at]) if told else encoder(x[at])
            loss = (head(encoded[:, -1])[:, 0] - y[at]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return sum(losses[-20:])

    assert error(True) <= 0.7 * error(False)  # 0.35 of it
