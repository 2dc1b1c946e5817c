"""What the family promises; a new row is tested with no new line."""

import pytest
import torch
from contract import alternatives, arguments_of, check_copies, check_gradients, check_outline, own_arguments, seeded
from torch.testing import assert_close

from tsforge.batch import Batch
from tsforge.encoders import ENCODERS
from tsforge.encoders.field.base import FieldEncoder
from tsforge.errors import ArgumentError

NAMES = ENCODERS.family("field")
COORDINATES, WIDTH = 2, 24


def known(count=30, seed=1, coordinates=COORDINATES):
    """Places in a square, and a smooth function with a little noise."""
    random = torch.Generator().manual_seed(seed)
    places = torch.rand(count, coordinates, generator=random)
    return places, torch.sin(5 * places[:, 0]) + places[:, -1] + 0.05 * torch.randn(count, generator=random)


def make(name, seed=0, fitted=True, coordinates=COORDINATES, **arguments):
    encoder = seeded(lambda: ENCODERS[name](coordinates, WIDTH, **arguments), seed).eval()
    if fitted:
        encoder.fit(*known(seed=seed + 1, coordinates=coordinates))
    return encoder


@pytest.mark.parametrize("coordinates", [1, COORDINATES, 3])
@pytest.mark.parametrize("name", NAMES)
def test_each_place_gets_a_vector_known_or_not_fitted_or_not(name, coordinates):
    places, values = known(7, seed=9, coordinates=coordinates)
    for fitted in (False, True):
        encoder = make(name, fitted=fitted, coordinates=coordinates)
        assert isinstance(encoder, FieldEncoder)
        assert encoder(places, values).shape == encoder(places).shape == (7, WIDTH)
        assert encoder(places, values).isfinite().all()
        assert encoder.predicted(places).shape == (7,)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_measured_around_is_told_better_than_by_the_mean(name):
    encoder, (places, values) = make(name), known(50, seed=9)
    missed = (encoder.predicted(places) - values).square().mean()
    assert missed < 0.2 * values.var()
    encoder.fit(places, values[torch.randperm(50, generator=torch.Generator().manual_seed(0))])
    assert (encoder.predicted(places) - values).square().mean() > 0.2 * values.var()  # the control: values elsewhere


@pytest.mark.parametrize("name", NAMES)
def test_a_place_is_encoded_alike_alone_and_in_company(name):
    encoder, (places, values) = make(name), known(9, seed=9)
    assert_close(encoder(places, values)[3:4], encoder(places[3:4], values[3:4]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_known_places_changes_nothing_and_what_was_not_observed_is_left_out(name):
    encoder, (places, values), at = make(name), known(), known(9, seed=9)[0]
    before, order = encoder(at), torch.randperm(30, generator=torch.Generator().manual_seed(0))
    encoder.fit(places[order], values[order])
    assert_close(encoder(at), before, atol=1e-4, rtol=1e-4)
    encoder.fit(torch.cat([places, at]), torch.cat([values, torch.full((9,), float("nan"))]))
    assert_close(encoder(at), before, atol=1e-4, rtol=1e-4)
    encoder.fit(torch.cat([places, at]), torch.cat([values, torch.full((9,), 5.0)]))
    assert not torch.allclose(encoder(at), before, atol=1e-2)  # the control


@pytest.mark.parametrize("name", NAMES)
def test_many_values_of_one_place_count_as_their_mean(name):
    encoder, (places, values), at = make(name), known(), known(9, seed=9)[0]
    before = encoder(at)
    encoder.fit(places.repeat(2, 1), torch.cat([values - 0.5, values + 0.5]))
    assert_close(encoder(at), before, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_static_numbers_and_the_mean_of_what_was_observed(name):
    encoder, (places, _) = make(name), known(3, seed=9)
    past, mask = torch.randn(3, 6, 2), torch.rand(3, 6, 2) < 0.6
    mask[1] = False
    batch = Batch(past=past, past_mask=mask, series=torch.zeros(3).long(), static_numeric=places)
    expected = torch.stack([x[seen].mean() for x, seen in zip(past, mask, strict=True)])
    assert expected[1].isnan()
    assert_close(encoder.of_batch(batch), encoder(places, expected), atol=1e-5, rtol=1e-5)
    assert encoder.of_batch(batch).isfinite().all()
    assert ENCODERS[name].given_by({"static_numeric": 2, "h": 1}) == {"n_coordinates": 2}


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_in_float64_what_it_computes_in_float32(name):
    encoder, (places, values) = make(name), known(9, seed=9)
    single, double = encoder(places, values), encoder.double()(places.double(), values.double())
    assert double.dtype == torch.float64
    assert_close(single.double(), double, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name):
    encoder, (places, values) = make(name), known(9, seed=9)
    check_gradients(encoder, encoder(places, values))


@pytest.mark.parametrize("name", NAMES)
def test_what_was_fitted_can_be_stored_and_copied_and_shapes_are_known_without_it(name):
    encoder, (places, values) = make(name), known(9, seed=9)
    check_copies(encoder, make(name, seed=1), lambda e: e(places, values))
    check_outline(lambda: ENCODERS[name](COORDINATES, WIDTH), encoder)


@pytest.mark.parametrize("name", NAMES)
def test_fitting_leaves_the_random_state_alone_and_works_where_gradients_are_off(name):
    encoder, at = make(name), known(9, seed=9)[0]
    before, state = encoder(at), torch.get_rng_state()
    with torch.no_grad():
        encoder.fit(*known())
    assert torch.equal(torch.get_rng_state(), state)
    assert_close(encoder(at), before, atol=0, rtol=0)


@pytest.mark.parametrize(("name", "argument"), arguments_of(NAMES, ENCODERS))
def test_every_argument_changes_something(name, argument):
    places, values = known(9, seed=9)
    before, others = make(name)(places, values), alternatives(own_arguments(ENCODERS[name])[argument])
    assert others
    for other in others:
        assert not torch.allclose(make(name, **{argument: other})(places, values), before, atol=1e-5), other


@pytest.mark.parametrize("name", NAMES)
def test_sizes_below_one_and_fitting_on_nothing_are_refused(name):
    for sizes in ((0, WIDTH), (COORDINATES, 0)):
        with pytest.raises(ArgumentError, match="give at least 1"):
            ENCODERS[name](*sizes)
    with pytest.raises(ArgumentError, match="values that were observed"):
        make(name).fit(torch.zeros(2, 2), torch.full((2,), float("nan")))
