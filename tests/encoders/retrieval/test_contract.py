"""What the family promises; a new row is tested with no new line."""

import pytest
import torch
from contract import alternatives, arguments_of, check_copies, check_outline, own_arguments, seeded
from torch.testing import assert_close

from tsforge.batch import Batch
from tsforge.encoders import ENCODERS
from tsforge.encoders.retrieval.base import RetrievalEncoder
from tsforge.errors import ArgumentError

NAMES = ENCODERS.family("retrieval")
CHANNELS, TIME, WIDTH = 3, 30, 24


def windows(batch=40, time=TIME, channels=CHANNELS, seed=1):
    """Noisy sines with gaps, normalised as a caller would have them."""
    random = torch.Generator().manual_seed(seed)
    phase = 6 * torch.rand(batch, 1, channels, generator=random)
    x = torch.sin(torch.arange(time)[:, None] / 3 + phase) + 0.5 * torch.randn(batch, time, channels, generator=random)
    return x, torch.rand(x.shape, generator=random) < 0.8


def make(name, state=0, in_channels=CHANNELS, d_model=WIDTH, fitted=True, **arguments):
    """Fitted, as an encoder with weights by three steps, so that this is quick."""
    arguments = ({"steps": 3} if "steps" in own_arguments(ENCODERS[name]) else {}) | arguments
    encoder = seeded(lambda: ENCODERS[name](in_channels, TIME, d_model, **arguments), state).eval()
    if fitted:
        encoder.fit(*windows(channels=in_channels, seed=state + 5))
    return encoder


def sides(encoder, x, mask=None):
    return torch.cat([encoder(x, mask), encoder.query(x, mask), encoder.full(x, mask)], 1)


@pytest.mark.parametrize("channels", [1, CHANNELS])
@pytest.mark.parametrize("name", NAMES)
def test_a_window_gets_a_vector_on_each_side_and_what_decides_among_candidates(name, channels):
    encoder, (x, mask) = make(name, in_channels=channels), windows(5, channels=channels)
    assert isinstance(encoder, RetrievalEncoder)
    assert encoder(x, mask).shape == encoder.query(x, mask).shape == encoder.pooled(x, mask).shape == (5, WIDTH)
    assert encoder.full(x, mask).shape == (5, encoder.full_width)
    assert_close(encoder.pooled(x, mask), encoder(x, mask), atol=0, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_window_is_encoded_alike_alone_and_in_company(name):
    encoder, (x, mask) = make(name), windows()
    assert_close(sides(encoder, x, mask)[7:8], sides(encoder, x[7:8], mask[7:8]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_masked_cell_holds_changes_nothing_neither_in_fitting_nor_after(name):
    (x, mask), fitted_on = windows(), windows(seed=9)
    encoder = make(name, fitted=False)
    encoder.fit(*fitted_on)
    for other in (0.0, 1e3, float("nan")):
        again = make(name, fitted=False)
        again.fit(torch.where(fitted_on[1], fitted_on[0], other), fitted_on[1])
        changed = torch.where(mask, x, other)
        assert_close(sides(again, changed, mask), sides(encoder, x, mask), atol=0, rtol=0)
    assert not torch.equal(sides(encoder, torch.where(mask, x, 1e3)), sides(encoder, x))  # the control


@pytest.mark.parametrize("name", NAMES)
def test_without_a_mask_everything_was_observed(name):
    encoder, (x, mask) = make(name), windows()
    assert_close(sides(encoder, x), sides(encoder, x, torch.ones_like(mask)))
    assert not torch.allclose(encoder(x), encoder(x, mask))  # the control


@pytest.mark.parametrize("name", NAMES)
def test_a_window_with_nothing_observed_gives_finite_numbers(name):
    encoder, (x, mask) = make(name), windows()
    assert sides(encoder, x, torch.zeros_like(mask)).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_the_window_itself_is_the_likest_of_all_and_likeness_is_of_each_pair_alone(name):
    encoder, (x, mask) = make(name), windows()
    full = encoder.full(x, mask)
    pairs = encoder.likeness(full[:, None].expand(-1, len(x), -1), full.expand(len(x), -1, -1))
    assert pairs.shape == (len(x), len(x))
    assert pairs.dtype == torch.float64
    assert torch.equal(pairs.argmax(1), torch.arange(len(x)))
    assert_close(encoder.likeness(full[3:4], full[8:9]), pairs[3, 8:9], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_the_past_of_a_batch(name):
    encoder, (x, mask) = make(name), windows()
    batch = Batch(past=x, past_mask=mask, series=torch.zeros(len(x), dtype=torch.long))
    assert_close(encoder.of_batch(batch), encoder(x, mask))
    assert ENCODERS[name].given_by({"in_channels": 7, "h": 1, "input_size": 5}) == {"in_channels": 7, "input_size": 5}


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_in_float64_what_it_computes_in_float32(name):
    encoder, (x, mask) = make(name), windows()
    single = sides(encoder, x, mask)
    double = sides(encoder.double(), x.double(), mask)
    assert double.dtype == torch.float64
    assert_close(single.double(), double, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_fitted_can_be_stored_and_copied_and_shapes_are_known_without_it(name):
    encoder, (x, mask) = make(name), windows()
    seed = {"seed": 1} if "seed" in own_arguments(ENCODERS[name]) else {}
    check_copies(encoder, make(name, state=1, **seed), lambda e: sides(e, x, mask))
    check_outline(lambda: ENCODERS[name](CHANNELS, TIME, WIDTH), encoder)


@pytest.mark.parametrize("name", NAMES)
def test_fitting_twice_gives_the_same_and_leaves_the_random_state_alone(name):
    x, mask = windows()
    torch.manual_seed(3)
    encoder, before = make(name), torch.get_rng_state()
    encoder.fit(*windows(seed=5))
    assert torch.equal(torch.get_rng_state(), before)
    assert_close(sides(encoder, x, mask), sides(make(name), x, mask), atol=0, rtol=0)


@pytest.mark.parametrize(("name", "argument"), arguments_of(NAMES, ENCODERS))
def test_every_argument_changes_something(name, argument):
    (x, mask), made = windows(), ENCODERS[name]
    before = sides(make(name), x, mask)
    others = alternatives(own_arguments(made)[argument])
    assert others
    for other in others:
        assert not torch.equal(sides(make(name, **{argument: other}), x, mask), before), other


@pytest.mark.parametrize("name", NAMES)
def test_sizes_below_one_are_refused(name):
    for sizes in ((0, TIME, WIDTH), (CHANNELS, 0, WIDTH), (CHANNELS, TIME, 0)):
        with pytest.raises(ArgumentError, match="give at least 1"):
            ENCODERS[name](*sizes)
