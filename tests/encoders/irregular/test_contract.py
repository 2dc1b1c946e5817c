"""What the family promises; a new row is tested with no new line."""

from dataclasses import fields

import pytest
import torch
from contract import arguments_of, check_argument, check_copies, check_gradients, check_outline, seeded
from torch.testing import assert_close

from tsforge.batch import Batch
from tsforge.encoders import ENCODERS
from tsforge.encoders.irregular.base import IrregularEncoder, Observations
from tsforge.errors import ArgumentError

NAMES = ENCODERS.family("irregular")
CHANNELS, TIME, WIDTH = 3, 20, 24


def make(name, seed=0, in_channels=CHANNELS, **arguments):
    return seeded(lambda: ENCODERS[name](in_channels, TIME, WIDTH, **arguments), seed).eval()


def windows(batch=5, time=TIME, channels=CHANNELS):
    """Values, where they were observed, and when: at random."""
    random = torch.Generator().manual_seed(1)
    x = torch.randn(batch, time, channels, generator=random)
    times = -torch.rand(batch, time, generator=random).sort(-1, descending=True).values * TIME
    return x, torch.rand(x.shape, generator=random) < 0.6, times - times[:, -1:]


def changed(observations, change):
    return Observations(*(change(getattr(observations, f.name)) for f in fields(observations)))


@pytest.mark.parametrize("channels", [1, CHANNELS])
@pytest.mark.parametrize("time", [1, 7, TIME])
@pytest.mark.parametrize("name", NAMES)
def test_a_window_of_any_size_gets_a_vector_on_a_grid_and_off_it(name, time, channels):
    encoder, (x, mask, times) = make(name, in_channels=channels), windows(time=time, channels=channels)
    assert isinstance(encoder, IrregularEncoder)
    assert encoder(x, mask, times).shape == encoder(x, mask).shape == encoder(x).shape == (5, WIDTH)
    assert_close(encoder.pooled(x, mask), encoder(x, mask), atol=0, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_observations_changes_nothing(name):
    encoder, seen = make(name), Observations.of_window(*windows())
    before = encoder.encode(seen)
    for seed in range(3):
        order = torch.randperm(seen.age.shape[1], generator=torch.Generator().manual_seed(seed))
        assert_close(encoder.encode(changed(seen, lambda part, order=order: part[:, order])), before,
                     atol=1e-5, rtol=0)
    swapped = Observations(seen.age[:, order], seen.channel, seen.value, seen.there)
    assert not torch.allclose(encoder.encode(swapped), before, atol=1e-3)  # the control: ages went to other values


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_there_changes_nothing_whatever_it_holds_and_however_much_of_it_there_is(name):
    encoder, seen = make(name), Observations.of_window(*windows())
    before = encoder.encode(seen)
    for filler in (0.0, 7.0, float("nan")):
        more = changed(seen, lambda part, filler=filler: torch.cat(
            [part.new_full((5, 11), filler if part.is_floating_point() else 0), part], 1))
        assert_close(encoder.encode(more), before, atol=1e-6, rtol=0)
    more.value[:, 0], more.age[:, 0], more.there[:, 0] = 3.0, 1.5, True
    assert not torch.allclose(encoder.encode(more), before, atol=1e-4)  # the control


@pytest.mark.parametrize("name", NAMES)
def test_steps_at_which_nothing_was_observed_are_nothing(name):
    encoder, (x, mask, times) = make(name), windows()
    mask[:, [2, 5]] = False
    left = [step for step in range(TIME) if step not in (2, 5)]
    assert_close(encoder(x[:, left], mask[:, left], times[:, left]), encoder(x, mask, times), atol=1e-5, rtol=0)
    other = torch.where(mask, x, float("nan"))
    assert_close(encoder(other, mask, times), encoder(x, mask, times), atol=0, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_without_times_steps_are_one_unit_apart_and_times_are_read(name):
    encoder, (x, mask, times) = make(name), windows()
    grid = torch.arange(1.0 - TIME, 1).expand(5, -1)
    assert_close(encoder(x, mask, grid), encoder(x, mask), atol=0, rtol=0)
    assert not torch.allclose(encoder(x, mask, times), encoder(x, mask), atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_window_is_encoded_alike_alone_and_in_company(name):
    encoder, (x, mask, times) = make(name), windows()
    assert_close(encoder(x, mask, times)[1:2], encoder(x[1:2], mask[1:2], times[1:2]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_window_with_nothing_observed_gives_finite_numbers(name):
    encoder, (x, mask, times) = make(name), windows()
    assert encoder(x, torch.zeros_like(mask), times).isfinite().all()
    nothing = changed(Observations.of_window(x, mask), lambda part: part[:, :0])
    assert_close(encoder.encode(nothing), encoder(x, torch.zeros_like(mask)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_the_past_of_a_batch_and_is_fitted_on_windows(name):
    encoder, (x, mask, times) = make(name), windows()
    batch = Batch(past=x, past_mask=mask, series=torch.zeros(len(x), dtype=torch.long), times=times)
    assert_close(encoder.of_batch(batch), encoder(x, mask, times))
    assert ENCODERS[name].given_by({"in_channels": 7, "h": 1, "input_size": 5}) == {"in_channels": 7, "input_size": 5}
    encoder.fit(x, mask, 10 * times)
    assert encoder(x, mask, 10 * times).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_in_float64_what_it_computes_in_float32(name):
    encoder, (x, mask, times) = make(name), windows()
    single = encoder(x, mask, times)
    double = encoder.double()(x.double(), mask, times.double())
    assert double.dtype == torch.float64
    assert_close(single.double(), double, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name):
    encoder, (x, mask, times) = make(name), windows()
    check_gradients(encoder, encoder(x, mask, times))


@pytest.mark.parametrize("name", NAMES)
def test_weights_can_be_stored_and_copied_and_shapes_are_known_without_them(name):
    encoder, seen = make(name), windows()
    check_copies(encoder, make(name, seed=1), lambda e: e(*seen))
    check_outline(lambda: ENCODERS[name](CHANNELS, TIME, WIDTH), encoder)


@pytest.mark.parametrize(("name", "argument"), arguments_of(NAMES, ENCODERS))
def test_every_argument_changes_something(name, argument):
    check_argument(lambda **changes: make(name, **changes), ENCODERS[name], argument, *windows())


@pytest.mark.parametrize("name", NAMES)
def test_sizes_below_one_are_refused(name):
    for sizes in ((0, TIME, WIDTH), (CHANNELS, 0, WIDTH), (CHANNELS, TIME, 0)):
        with pytest.raises(ArgumentError, match="give at least 1"):
            ENCODERS[name](*sizes)
