import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import tsforge
from tsforge.encoders.sequence.base import SequenceEncoder
from tsforge.encoders.sequence.phnn import PHCEncoder
from tsforge.encoders.wrapper.convergent import ConvergentEncoder
from tsforge.encoders.wrapper.matching import Moments, clusters, matched, sparse_code
from tsforge.errors import ArgumentError

WIDTH = 24


class Given(SequenceEncoder):
    """Units that are a fixed linear map of a window's channels."""

    def __init__(self, weight, bias=0.0):
        super().__init__(weight.shape[0], weight.shape[1])
        self.weight, self.bias = nn.Parameter(weight), bias

    def forward(self, x, mask=None):
        return x @ self.weight + self.bias


def wrapped(*members, **arguments):
    """Around members that come trained."""
    given = iter(members)
    return ConvergentEncoder(lambda: next(given), members[0].d_model, members=len(members), steps=0, **arguments)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def permuted():
    """A network, and the same one with its units in another order, stretched and shifted."""
    weight, order = drawn(6, WIDTH, seed=1), torch.randperm(WIDTH, generator=torch.Generator().manual_seed(2))
    stretch = 0.5 + torch.rand(WIDTH, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return Given(weight), Given((weight * stretch)[:, order], bias=3.0), order


def split(noise=0.05, shared=18, seed=0):
    """Networks of channels that are common, with noise, and of channels that each has for itself."""
    weights = torch.zeros(2, WIDTH * 3, WIDTH, dtype=torch.float64)
    for network in range(2):
        for unit in range(WIDTH):
            own = WIDTH * (1 + network) + unit
            weights[network, own, unit] = noise if unit < shared else 1.0
            if unit < shared:
                weights[network, unit, unit] = 1.0
    order = torch.randperm(WIDTH, generator=torch.Generator().manual_seed(seed))
    return Given(weights[0]), Given(weights[1][:, order]), order


@pytest.mark.parametrize("match", ["bipartite", "semi"])
def test_a_permuted_copy_is_recognised_unit_by_unit_and_comes_out_as_the_original(match):
    first, second, order = permuted()
    made, x = wrapped(first, second, match=match), drawn(40, 20, 6)
    made.fit(x)
    assert torch.equal(order[made.partners[1]], torch.arange(WIDTH))
    assert made.scores.min() >= 0.999
    units = first(x).flatten(0, 1)
    standard = (first(x) - units.mean(0)) / units.std(0, correction=0)
    assert_close(made(x), standard, atol=1e-5, rtol=1e-5)
    plain = (first(x) + second(x)) / 2  # the control: the mean of units that are not matched
    assert not torch.allclose((plain - plain.mean((0, 1))) / plain.std((0, 1)), standard, atol=0.5)
    assert made.report()["gap"] == pytest.approx(0, abs=1e-9)


def test_of_planted_units_those_are_kept_that_are_shared_and_no_others():
    first, second, order = split()
    made, x = wrapped(first, second), drawn(40, 20, 3 * WIDTH)
    made.fit(x)
    assert made.keep.tolist() == [unit < 18 for unit in range(WIDTH)]
    assert torch.equal(order[made.partners[1, :18]], torch.arange(18))
    assert made.scores[18:].max() < 0.3
    assert made.kept(x).shape == (40, 20, 18)
    assert not made(x)[..., 18:].any()
    unrelated = wrapped(Given(drawn(72, WIDTH, seed=4)), Given(drawn(72, WIDTH, seed=5)))
    unrelated.fit(x)
    assert not unrelated.keep.any()  # the control


def test_the_best_partners_are_at_least_as_good_as_those_of_a_matching_and_equal_where_one_is_perfect():
    networks = Given(drawn(6, WIDTH, seed=4)), Given(drawn(6, WIDTH, seed=5))
    scores = {}
    for match in ("semi", "bipartite"):
        made = wrapped(*copy.deepcopy(networks), match=match, threshold=0.9)
        made.fit(drawn(40, 20, 6))
        scores[match] = made.scores.mean()
        assert len(set(made.partners[1].tolist())) == WIDTH or match == "semi"
        assert made.report()["gap"] >= 0
    assert scores["semi"] > scores["bipartite"]


def test_matching_is_that_of_all_permutations():
    correlation = torch.tensor([[0.9, 0.8, 0.0], [0.85, 0.1, 0.0], [0.2, 0.0, 0.1]], dtype=torch.float64)
    assert matched(correlation, "bipartite").tolist() == [1, 0, 2]
    assert matched(correlation, "semi").tolist() == [0, 0, 0]


def test_a_unit_turned_over_is_another_one_unless_signs_do_not_count():
    weight, x = drawn(6, 4, seed=1), drawn(40, 20, 6)
    turned = weight * torch.tensor([1.0, -1.0, 1.0, -1.0])
    signed, free = wrapped(Given(weight), Given(turned)), wrapped(Given(weight), Given(turned), signed=False)
    for made in (signed, free):
        made.fit(x)
    assert signed.keep.tolist() == [True, False, True, False]
    assert free.keep.all()
    assert free.signs[1].tolist() == [1, -1, 1, -1]
    first = wrapped(Given(weight), Given(turned), signed=False, reduce="first")
    first.fit(x)
    assert_close(free(x), first(x), atol=1e-6, rtol=0)


def test_a_dead_unit_is_nobodys_partner():
    weight, x = drawn(6, 5, seed=1), drawn(40, 20, 6)
    weight[:, 2] = 0
    made = wrapped(Given(weight, bias=7.0), Given(weight, bias=-7.0), threshold=1e-6)
    made.fit(x)
    assert made.keep.tolist() == [True, True, False, True, True]
    assert made.scores[2] == 0
    assert made(x).isfinite().all()


def test_correlations_are_those_of_all_samples_whatever_the_batches():
    units = drawn(2, 500, 7)
    moments = Moments.empty(2, 7)
    for part in units.split([3, 200, 297], dim=1):
        moments.add(part)
    wanted = torch.corrcoef(torch.cat([units[0], units[1]], 1).T)
    assert_close(moments.correlations()[0], wanted[:7, :7], atol=1e-9, rtol=0)
    assert_close(moments.correlations()[1], wanted[:7, 7:], atol=1e-9, rtol=0)


def test_steps_at_which_nothing_was_observed_do_not_count():
    first, second, _ = permuted()
    x, mask = drawn(40, 20, 6), torch.rand(40, 20, 1, generator=torch.Generator().manual_seed(3)) < 0.5
    seen = mask.expand(-1, -1, 6)
    made, other = wrapped(first, second), wrapped(*copy.deepcopy((first, second)))
    made.fit(torch.where(seen, x, 0.0), seen)
    other.fit(torch.where(seen, x, 1e3), seen)
    assert_close(made.mean, other.mean, atol=0, rtol=0)
    assert_close(made.scores, other.scores, atol=0, rtol=0)
    other.fit(torch.where(seen, x, 1e3), None)  # the control
    assert not torch.allclose(made.mean, other.mean)


def test_a_unit_made_of_two_has_a_sparse_code_of_these_and_subspaces_are_found():
    basis = drawn(800, 10)
    unit = basis[:, 3] - 2 * basis[:, 7] + 0.05 * drawn(800, seed=9)
    code = sparse_code(unit, basis)
    assert set(code.nonzero()[:, 0].tolist()) == {3, 7}
    assert code[3] > 0 > code[7]
    assert (sparse_code(unit, basis, penalty=0.0).abs() > 0).sum() == 10  # the control: without the penalty
    planes = [drawn(800, 2, seed=seed) @ drawn(2, 6, seed=seed + 5) for seed in (1, 2)]
    found = clusters(torch.cat([planes[0][:, :3], planes[1], planes[0][:, 3:]], 1), 2).tolist()
    assert len(set(found)) == 2
    assert found == [found[0]] * 3 + [found[3]] * 6 + [found[0]] * 3


def season(n=64, time=24, seed=0):
    random = torch.Generator().manual_seed(seed)
    phase = 6.28 * torch.rand(n, 1, 1, generator=random)
    t = torch.arange(time)[:, None]
    x = torch.sin(t / 2 + phase) + 0.5 * torch.sin(t / 5 + 2 * phase) + 0.3 * torch.randn(n, time, 2, generator=random)
    return x, torch.rand(x.shape, generator=random) < 0.9


def learner(seed=0, width=8, **arguments):
    torch.manual_seed(seed)
    return ConvergentEncoder(lambda: PHCEncoder(2, width, n=2, n_layers=1, dropout=0.1), width,
                             **{"members": 2, "steps": 10, "learning_rate": 1e-2} | arguments)


def test_fitting_trains_the_members_repeats_and_leaves_the_random_state_alone():
    (x, mask), before = season(), torch.get_rng_state()
    made = learner()
    weights = copy.deepcopy(made.state_dict())
    torch.set_rng_state(before)
    made.fit(x, mask)
    assert torch.equal(torch.get_rng_state(), before)
    changed = {name for name, tensor in made.state_dict().items() if not torch.equal(tensor, weights[name])}
    assert {name for name, _ in made.named_parameters()} <= changed
    assert not any(weight.requires_grad for weight in made.parameters())
    again = learner()
    again.fit(x, mask)
    assert_close(again.eval()(x, mask), made.eval()(x, mask), atol=0, rtol=0)
    made.train()
    assert torch.equal(made(x, mask), made(x, mask))  # members drop nothing in a forecaster's training


def test_every_argument_of_fitting_changes_what_is_found():
    x, mask = season()

    def found(**arguments):
        made = learner(**{"threshold": 0.2} | arguments)
        made.fit(x, mask)
        return made(x, mask)

    before = found()
    for change in ({"steps": 12}, {"learning_rate": 0.02}, {"hide": 0.6}, {"seed": 1}, {"threshold": 0.95},
                   {"members": 3}):
        assert not torch.equal(found(**change), before), change


def test_members_are_matched_on_windows_that_did_not_train_them():
    x, mask = season()
    made, other = learner(), learner()
    made.fit(x, mask)
    x[48:] = 1.7 * x[48:].flip(0) + 1  # the last quarter
    other.fit(x, mask)
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), other.parameters(), strict=True))
    assert not torch.equal(made.mean, other.mean)


def test_what_cannot_be_is_refused_with_what_to_do():
    for wrong in ({"members": 1}, {"threshold": 0}, {"threshold": 1.1}, {"steps": -1}, {"learning_rate": 0.0},
                  {"hide": 1.0}, {"match": "any"}, {"reduce": "sum"}):
        with pytest.raises(ArgumentError, match="wanted"):
            learner(**wrong)


def test_it_is_fitted_in_the_place_of_an_embedding_and_stays_as_it_is_while_the_forecaster_trains():
    spec = {"name": "convergent", "members": 2, "steps": 3, "threshold": 0.1, "encoder": {"name": "phnn", "n": 2}}

    def fitted(steps):
        model = tsforge.EncoderForecaster(h=4, input_size=12, d_model=8, encoder=spec, max_steps=steps)
        return model.fit(tsforge.load("sunspots")).fitted_.predictor

    short, long = fitted(1), fitted(3)
    assert isinstance(short.encoder, ConvergentEncoder)
    assert short.encoder.mean.any()
    states = short.encoder.state_dict(), long.encoder.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(short.head.weight, long.head.weight)  # the control


def ridge(train, target, test):
    """The forecast of a ridge regression."""
    a, b = (torch.cat([part, torch.ones(len(part), 1)], 1).double() for part in (train, test))
    ridge = a.T @ a / len(a) + 0.01 * torch.eye(a.shape[1]).double()
    return b @ torch.linalg.solve(ridge, a.T @ target.double() / len(a))


@pytest.mark.slow
def test_a_forecast_read_from_the_shared_units_varies_less_from_seed_to_seed_than_that_of_one_member():
    def series(seed):
        random = torch.Generator().manual_seed(seed)
        phases = 6.28 * torch.rand(2, 160, 1, 1, generator=random)
        t = torch.arange(13)[:, None]
        x = torch.sin(t / 2 + phases[0]) + 0.7 * torch.sin(t / 5 + phases[1])
        x = x + 0.3 * torch.randn(x.shape, generator=random)
        return x[:, :-1], x[:, -1, 0]

    (x, y), (other, truth) = series(0), series(1)
    forecasts, errors = {"shared": [], "one": []}, {"shared": [], "one": []}

    def read(kind, encode):
        forecast = ridge(encode(x)[:, -1], y, encode(other)[:, -1])
        forecasts[kind].append(forecast)
        errors[kind].append(float((forecast - truth).square().mean()))

    for group in range(3):
        torch.manual_seed(100 + group)
        made = ConvergentEncoder(lambda: PHCEncoder(1, 8, n=1, n_layers=1, dropout=0.0), 8, members=4, steps=40,
                                 learning_rate=1e-2, threshold=0.3, seed=group)
        made.fit(x)
        read("shared", made)
        with torch.no_grad():
            for member in made.members:
                read("one", member)
    spread = {kind: float(torch.stack(found).std(0).mean()) for kind, found in forecasts.items()}
    assert spread["shared"] < spread["one"]  # 0.09 and 0.13
    assert sum(errors["shared"]) / 3 < sum(errors["one"]) / 12  # nor is it bought with a worse forecast
