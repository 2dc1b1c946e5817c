"""What the family promises; a new row is tested with no new line."""

import pytest
import torch
from contract import (
    arguments_of,
    check_argument,
    check_copies,
    check_gradients,
    check_outline,
    seeded,
)
from torch.testing import assert_close

from tsforge.batch import Batch
from tsforge.encoders import ENCODERS
from tsforge.encoders.sequence.base import SequenceEncoder
from tsforge.errors import ArgumentError

NAMES = ENCODERS.family("sequence")
CHANNELS, WIDTH = 4, 24


def make(name, seed=0, in_channels=CHANNELS, **arguments):
    return seeded(lambda: ENCODERS[name](in_channels, WIDTH, **arguments), seed).eval()


def windows(batch=3, time=32, channels=CHANNELS, dtype=torch.float32):
    x = torch.randn(batch, time, channels, generator=torch.Generator().manual_seed(1), dtype=dtype)
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) < 0.7
    mask[:, 3:4] = False
    return x, mask


@pytest.mark.parametrize("channels", [1, CHANNELS, 5])
@pytest.mark.parametrize("time", [1, 7, 32])
@pytest.mark.parametrize("name", NAMES)
def test_each_step_of_a_window_of_any_size_gets_a_token(name, time, channels):
    encoder, (x, mask) = make(name, in_channels=channels), windows(time=time, channels=channels)
    assert isinstance(encoder, SequenceEncoder)
    assert encoder(x, mask).shape == (3, time, WIDTH) == (*x.shape[:2], encoder.d_model)
    assert encoder.pooled(x, mask).shape == (3, WIDTH)


@pytest.mark.parametrize("name", NAMES)
def test_a_window_is_encoded_alike_alone_and_in_company(name):
    encoder, (x, mask) = make(name), windows()
    assert_close(encoder(x, mask)[1:2], encoder(x[1:2], mask[1:2]))


@pytest.mark.parametrize("name", NAMES)
def test_what_a_masked_cell_holds_changes_nothing(name):
    encoder, (x, mask) = make(name), windows()
    for other in (0.0, 1e3, float("nan")):
        changed = torch.where(mask, x, torch.tensor(other))
        assert_close(encoder(changed, mask), encoder(x, mask), atol=0, rtol=0)
        assert_close(encoder.pooled(changed, mask), encoder.pooled(x, mask), atol=0, rtol=0)
    assert not torch.equal(encoder(torch.where(mask, x, 1e3)), encoder(x))  # the control


@pytest.mark.parametrize("name", NAMES)
def test_without_a_mask_everything_was_observed(name):
    encoder, (x, mask) = make(name), windows()
    assert_close(encoder(x), encoder(x, torch.ones_like(mask)))
    assert not torch.allclose(encoder(x), encoder(x, mask))  # the control


@pytest.mark.parametrize("name", NAMES)
def test_a_window_with_nothing_observed_gives_finite_tokens(name):
    encoder, (x, mask) = make(name), windows()
    assert encoder(x, torch.zeros_like(mask)).isfinite().all()
    assert encoder.pooled(x, torch.zeros_like(mask)).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_the_past_of_a_batch(name):
    encoder, (x, mask) = make(name), windows()
    batch = Batch(past=x, past_mask=mask, series=torch.zeros(len(x), dtype=torch.long))
    assert_close(encoder.of_batch(batch), encoder.pooled(x, mask))
    assert ENCODERS[name].given_by({"in_channels": 7, "h": 1}) == {"in_channels": 7}


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_in_float64_what_it_computes_in_float32(name):
    encoder, (x, mask) = make(name), windows()
    single = encoder(x, mask)
    double = encoder.double()(x.double(), mask)
    assert double.dtype == torch.float64
    assert_close(single.double(), double, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name):
    encoder, (x, mask) = make(name), windows()
    check_gradients(encoder, encoder(x, mask))


@pytest.mark.parametrize("name", NAMES)
def test_weights_can_be_stored_and_copied_and_shapes_are_known_without_them(name):
    encoder, (x, mask) = make(name), windows()
    check_copies(encoder, make(name, seed=1), lambda e: e(x, mask))
    check_outline(lambda: ENCODERS[name](CHANNELS, WIDTH), encoder)


@pytest.mark.parametrize(("name", "argument"), arguments_of(NAMES, ENCODERS))
def test_every_argument_changes_something(name, argument):
    x, mask = windows()
    check_argument(lambda **changes: make(name, **changes), ENCODERS[name], argument, x, mask)


@pytest.mark.parametrize("name", NAMES)
def test_sizes_below_one_are_refused(name):
    for sizes in ((0, WIDTH), (CHANNELS, 0)):
        with pytest.raises(ArgumentError, match="give at least 1"):
            ENCODERS[name](*sizes)
