import math

import pytest
import torch
from torch.testing import assert_close

from tsforge.encoders.field.covariance import correlation, distances, likeliest, slope
from tsforge.encoders.field.kriging import KrigingEncoder
from tsforge.errors import ArgumentError

KERNELS = ["matern32", "exponential", "spherical"]


def square(count=25, seed=0):
    """Places and values without any noise, quickly changing."""
    random = torch.Generator().manual_seed(seed)
    places = torch.rand(count, 2, generator=random, dtype=torch.float64)
    return places, torch.sin(9 * places[:, 0]) * torch.cos(7 * places[:, 1])


def fitted(places=None, values=None, **arguments):
    known = square() if places is None else (places, values)
    encoder = KrigingEncoder(known[0].shape[1], 3, **arguments)
    encoder.fit(*known)
    return encoder


def rho(kernel, d):
    """The three kernels, written out for one distance."""
    if kernel == "matern32":
        return (1 + math.sqrt(3) * d) * math.exp(-math.sqrt(3) * d)
    return math.exp(-d) if kernel == "exponential" else (1 - 1.5 * d + 0.5 * d**3 if d < 1 else 0.0)


def covariance(encoder, a, b):
    rows = [[rho(encoder.kernel, float(((s - t) / encoder.lengths).norm())) for t in b] for s in a]
    return encoder.sill * torch.tensor(rows, dtype=torch.float64)


def kriged(encoder, places, values, at):
    """Mean and variance at one place by the system of ordinary kriging with its multiplier."""
    n = len(places)
    system = torch.ones(n + 1, n + 1, dtype=torch.float64)
    system[n, n] = 0
    system[:n, :n] = covariance(encoder, places, places) + encoder.noise * torch.eye(n)
    k = torch.cat([covariance(encoder, places, at[None])[:, 0], torch.ones(1, dtype=torch.float64)])
    solved = torch.linalg.solve(system, k)
    return solved[:n] @ values, encoder.sill - solved @ k


@pytest.mark.parametrize("kernel", KERNELS)
def test_ordinary_kriging_is_the_solution_of_its_system_and_its_weights_sum_to_one(kernel):
    (places, values), at = square(), square(6, seed=5)[0]
    encoder = fitted(kernel=kernel, nugget=0.05)
    features = encoder.features(at)
    for row, place in enumerate(at):
        mean, variance = kriged(encoder, places, values, place)
        assert_close(features[row, :2], torch.stack([mean, variance.sqrt()]), atol=1e-8, rtol=0)
    weights = encoder.weights(at)
    assert_close(weights.sum(1), torch.ones(6).double(), atol=1e-8, rtol=0)
    assert_close(weights[:, :25] @ encoder.values[:25], features[:, 0], atol=1e-8, rtol=0)
    assert (fitted(kernel=kernel, nugget=0.05, ordinary=False).weights(at).sum(1) - 1).abs().max() > 1e-4  # the control


@pytest.mark.parametrize("kernel", KERNELS)
def test_simple_kriging_is_the_posterior_of_a_gaussian_process(kernel):
    (places, values), at = square(), square(6, seed=5)[0]
    encoder = fitted(kernel=kernel, nugget=0.05, ordinary=False)
    noisy = covariance(encoder, places, places) + encoder.noise * torch.eye(25)
    k = covariance(encoder, at, places)
    mean = values.mean() + k @ torch.linalg.solve(noisy, values - values.mean())
    variance = encoder.sill - (k * torch.linalg.solve(noisy, k.T).T).sum(1)
    assert_close(encoder.features(at)[:, :2], torch.stack([mean, variance.sqrt()], 1), atol=1e-8, rtol=0)


def test_without_a_nugget_it_goes_through_the_values_and_is_sure_of_them():
    places, values = square()
    exact, smooth = fitted(nugget=0), fitted(nugget=0.3)
    assert (exact.predicted(places) - values).abs().max() <= 1e-6
    assert exact.features(places)[:, 1].square().max() <= 1e-8
    assert (smooth.predicted(places) - values).abs().max() > 1e-2  # the control


def test_far_from_all_places_it_is_the_mean_by_the_covariance_and_as_unsure_as_can_be():
    encoder = fitted(nugget=0.01)
    far = encoder.features(torch.full((1, 2), 1e4, dtype=torch.float64))[0]
    inverse = torch.linalg.inv(covariance(encoder, encoder.places[:25], encoder.places[:25])
                               + encoder.noise * torch.eye(25))
    assert_close(far[0], (inverse @ encoder.values[:25]).sum() / inverse.sum(), atol=1e-8, rtol=0)
    assert_close(far[1].square(), encoder.sill + 1 / inverse.sum(), atol=1e-8, rtol=0)
    assert far[3] > 1e3
    assert torch.equal(far[4:], torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize("ordinary", [True, False])
def test_what_is_said_of_a_place_left_out_is_what_is_said_without_it(ordinary):
    encoder = fitted(nugget=0.05, ordinary=ordinary)
    places, values = encoder.places[:25], encoder.values[:25]
    means, variances = encoder.left_out()
    for out in range(0, 25, 6):
        rest = torch.arange(25) != out
        if ordinary:
            mean, variance = kriged(encoder, places[rest], values[rest], places[out])
        else:
            noisy = covariance(encoder, places[rest], places[rest]) + encoder.noise * torch.eye(24)
            k = covariance(encoder, places[rest], places[out : out + 1])[:, 0]
            mean = encoder.centre + k @ torch.linalg.solve(noisy, values[rest] - encoder.centre)
            variance = encoder.sill - k @ torch.linalg.solve(noisy, k)
        assert_close(means[out], mean, atol=1e-6, rtol=0)
        assert_close(variances[out], variance + encoder.noise, atol=1e-6, rtol=0)


def test_the_residual_is_against_the_others_at_a_known_place_and_against_all_elsewhere():
    places, values = square()
    encoder = fitted(nugget=0.05)
    means, variances = encoder.left_out()
    at = (encoder.places[:25] == places[4]).all(1).nonzero().item()
    own = (values[4] - means[at]) / variances[at].sqrt()
    assert_close(encoder.features(places)[4, 2], own, atol=1e-8, rtol=0)
    given = encoder.features(places, torch.full((25,), 2.0))[4, 2]
    assert_close(given, (2 - means[at]) / variances[at].sqrt(), atol=1e-8, rtol=0)
    new = square(3, seed=5)[0]
    found = encoder.features(new, torch.tensor([2.0, float("nan"), 0.0]))
    sd = (found[:, 1].square() + encoder.noise).sqrt()
    assert_close(found[0, 2], (2 - found[0, 0]) / sd[0], atol=1e-8, rtol=0)
    assert found[1, 2] == 0
    assert torch.equal(encoder.features(new)[:, 2], torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_slope_is_that_of_the_mean(kernel):
    encoder, at = fitted(kernel=kernel), square(6, seed=5)[0]
    for column in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[column] = 1e-6
        rise = (encoder.predicted(at + step) - encoder.predicted(at - step)) / 2e-6
        assert_close(encoder.features(at)[:, 4 + column], rise, atol=1e-4, rtol=1e-4)
    d = torch.tensor([[0.0, 0.4, 1.5]], dtype=torch.float64)
    assert slope(kernel, d).isfinite().all()
    assert_close(correlation(kernel, d), torch.tensor([[rho(kernel, float(x)) for x in d[0]]]).double())


def test_the_nearest_place_is_told_in_lengths():
    encoder, at = fitted(), square(6, seed=5)[0]
    expected = [min(float(((s - t) / encoder.lengths).norm()) for t in square()[0]) for s in at]
    assert_close(encoder.features(at)[:, 3], torch.tensor(expected, dtype=torch.float64), atol=1e-9, rtol=0)


def log_likelihood(places, y, lengths, nugget):
    """Of the normal law of the values, its mean and sill the likeliest."""
    shape = correlation("matern32", distances(places, places, lengths)) + nugget * torch.eye(len(y))
    solved = torch.linalg.solve(shape, torch.stack([y, torch.ones_like(y)], 1))
    mean = solved[:, 0].sum() / solved[:, 1].sum()
    sill = (y - mean) @ (solved[:, 0] - mean * solved[:, 1]) / len(y)
    law = torch.distributions.MultivariateNormal(mean.expand(len(y)), sill * shape)
    return float(law.log_prob(y))


def test_lengths_are_likelier_than_those_that_the_values_were_drawn_with():
    random = torch.Generator().manual_seed(3)
    places = torch.rand(60, 2, generator=random, dtype=torch.float64) * torch.tensor([1.0, 100.0])
    true, nugget = torch.tensor([0.2, 80.0], dtype=torch.float64), 0.01
    shape = correlation("matern32", distances(places, places, true)) + nugget * torch.eye(60)
    y = torch.linalg.cholesky(shape) @ torch.randn(60, generator=random, dtype=torch.float64)
    lengths, noise = likeliest(places, y, "matern32", None, True)
    assert log_likelihood(places, y, lengths, noise) >= log_likelihood(places, y, true, nugget)
    assert lengths[1] > 100 * lengths[0]  # metres beside kilometres
    equal, noise = likeliest(places, y, "matern32", None, False)
    assert equal[0] == equal[1]
    assert log_likelihood(places, y, equal, noise) < log_likelihood(places, y, true, nugget) - 3  # the control


def test_units_of_a_coordinate_do_not_matter_where_each_has_a_length():
    (places, values), at = square(), square(6, seed=5)[0]
    scale = torch.tensor([1.0, 1000.0], dtype=torch.float64)
    assert_close(fitted(places * scale, values).predicted(at * scale), fitted().predicted(at), atol=1e-3, rtol=0)
    other = fitted(places * scale, values, anisotropic=False).predicted(at * scale)
    assert (other - fitted(anisotropic=False).predicted(at)).abs().max() > 0.05  # the control


def test_of_more_places_than_are_kept_those_stay_that_are_far_from_each_other():
    random = torch.Generator().manual_seed(0)
    crowd = 0.01 * torch.rand(40, 2, generator=random, dtype=torch.float64)
    corners = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    encoder = fitted(torch.cat([crowd, corners]), torch.arange(43.0), max_places=6)
    assert encoder.there.all()
    assert all((encoder.places == corner).all(1).any() for corner in corners)
    assert ((encoder.places < 0.01).all(1)).sum() == 3


@pytest.mark.parametrize("ordinary", [True, False])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_one_place_or_the_same_value_everywhere_gives_finite_numbers(count, ordinary):
    places = square(count)[0]
    encoder = fitted(places, torch.full((count,), 3.0), ordinary=ordinary)
    found = encoder.features(torch.cat([places, places + 5]), torch.full((2 * count,), 3.0))
    assert found.isfinite().all()
    assert_close(found[:, 0], torch.full((2 * count,), 3.0).double(), atol=1e-4, rtol=0)
    assert encoder(places, torch.full((count,), 4.0)).isfinite().all()


def test_the_parameters_are_those_of_the_map_and_what_is_kept_has_one_size():
    encoder = KrigingEncoder(3, 7, max_places=20)
    before = {name: buffer.shape for name, buffer in encoder.named_buffers()}
    assert sum(p.numel() for p in encoder.parameters()) == (5 + 3) * 7
    encoder.fit(torch.rand(9, 3), torch.rand(9))
    assert {name: buffer.shape for name, buffer in encoder.named_buffers()} == before


def test_what_is_fitted_stays_in_float64_wherever_the_network_goes():
    encoder, at = fitted(nugget=0), square(6, seed=5)[0]
    before = encoder.features(at)
    assert_close(encoder.float().double().half().float().features(at), before, atol=0, rtol=0)
    assert encoder.out.weight.dtype == torch.float32
    assert encoder(at).dtype == torch.float32
    again = KrigingEncoder(2, 3).float()
    again.fit(*square())
    assert again.inverse.dtype == torch.float64
    with torch.device("meta"):
        outline = KrigingEncoder(2, 3)
    assert outline.to_empty(device="cpu").inverse.dtype == torch.float64


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"kernel": "gaussian"}, "kernel='gaussian'"), ({"kernel": "spherical", "n_coordinates": 4}, "none in 4"),
     ({"nugget": -1}, "nugget=-1"), ({"max_places": 0}, "max_places=0")], ids=str,
)
def test_what_cannot_be_is_refused(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        KrigingEncoder(**{"n_coordinates": 2, **arguments})


def test_places_that_nearly_coincide_need_a_nugget():
    places = torch.tensor([[0.0], [1e-9], [1.0], [2.0]], dtype=torch.float64)
    with pytest.raises(ArgumentError, match="Give one"):
        fitted(places, torch.tensor([0.0, 1.0, 2.0, 1.0]), nugget=0)
    assert fitted(places, torch.tensor([0.0, 1.0, 2.0, 1.0]), nugget=1e-3).predicted(places).isfinite().all()
