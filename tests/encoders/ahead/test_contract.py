"""What the family promises; a new row is tested with no new line."""

import pytest
import torch
from contract import arguments_of, check_argument, check_copies, check_gradients, check_outline, seeded
from torch.testing import assert_close

from tsforge.batch import Batch
from tsforge.encoders import ENCODERS
from tsforge.encoders.ahead.base import AheadEncoder
from tsforge.errors import ArgumentError, CapabilityError

NAMES = ENCODERS.family("ahead")
SIZES = {"in_channels": 2, "input_size": 26, "h": 7, "n_covariates": 3}
WIDTH = 24


def make(name, seed=0, **arguments):
    return seeded(lambda: ENCODERS[name](**{**SIZES, "d_model": WIDTH, **arguments}), seed).eval()


def windows(batch=5, input_size=26, h=7):
    random = torch.Generator().manual_seed(1)
    x, covariates = torch.randn(batch, input_size, 2, generator=random), torch.randn(
        batch, input_size + h, 3, generator=random)
    return x, covariates, torch.rand(x.shape, generator=random) < 0.7


@pytest.mark.parametrize(("input_size", "h"), [(26, 7), (1, 1), (5, 60), (60, 1), (48, 24)])
@pytest.mark.parametrize("name", NAMES)
def test_windows_and_horizons_of_any_size_get_a_vector(name, input_size, h):
    encoder, (x, covariates, mask) = make(name, input_size=input_size, h=h), windows(input_size=input_size, h=h)
    assert isinstance(encoder, AheadEncoder)
    assert encoder(x, covariates, mask).shape == encoder(x, covariates).shape == (5, WIDTH)
    assert encoder.train()(x, covariates, mask).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_known_of_each_step_ahead_counts(name):
    encoder, (x, covariates, mask) = make(name), windows()
    before = encoder(x, covariates, mask)
    for step in range(26, 33):
        changed = covariates.clone()
        changed[:, step] += 1
        assert (encoder(x, changed, mask) != before).any(1).all()


@pytest.mark.parametrize("name", NAMES)
def test_what_a_masked_cell_holds_changes_nothing(name):
    encoder, (x, covariates, mask) = make(name), windows()
    for other in (0.0, 1e3, float("nan")):
        changed = torch.where(mask, x, torch.tensor(other))
        assert_close(encoder(changed, covariates, mask), encoder(x, covariates, mask), atol=0, rtol=0)
    assert not torch.equal(encoder(torch.where(mask, x, 1e3), covariates), encoder(x, covariates))  # the control
    assert encoder(x, covariates, torch.zeros_like(mask)).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_without_a_mask_everything_was_observed(name):
    encoder, (x, covariates, mask) = make(name), windows()
    assert_close(encoder(x, covariates), encoder(x, covariates, torch.ones_like(mask)))
    assert not torch.allclose(encoder(x, covariates), encoder(x, covariates, mask))  # the control


@pytest.mark.parametrize("name", NAMES)
def test_a_window_is_encoded_alike_alone_and_in_company(name):
    encoder, (x, covariates, mask) = make(name), windows()
    assert_close(encoder(x, covariates, mask)[1:2], encoder(x[1:2], covariates[1:2], mask[1:2]))


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_of_a_batch_nothing_that_is_observed_after_the_cutoff(name):
    encoder, (x, covariates, mask) = make(name), windows()
    parts = {"past": x, "past_mask": mask, "series": torch.zeros(5).long(), "future_covariates": covariates}
    batch = Batch(**parts, future=torch.randn(5, 7, 2), future_mask=torch.ones(5, 7, 2).bool())
    assert_close(encoder.of_batch(batch), encoder(x, covariates, mask))
    assert_close(encoder.of_batch(Batch(**parts)), encoder.of_batch(batch), atol=0, rtol=0)
    sizes = {"in_channels": 2, "input_size": 26, "h": 7, "future_covariates": 3, "static_numeric": 0}
    assert ENCODERS[name].given_by(sizes) == SIZES
    with pytest.raises(CapabilityError, match="context="):
        ENCODERS[name].given_by({"in_channels": 2, "input_size": 26})


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_in_float64_what_it_computes_in_float32(name):
    encoder, (x, covariates, mask) = make(name), windows()
    single = encoder(x, covariates, mask)
    double = encoder.double()(x.double(), covariates.double(), mask)
    assert double.dtype == torch.float64
    assert_close(single.double(), double, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name):
    encoder = make(name)
    check_gradients(encoder, encoder(*windows()))


@pytest.mark.parametrize("name", NAMES)
def test_weights_can_be_stored_and_copied_and_shapes_are_known_without_them(name):
    encoder, seen = make(name), windows()
    check_copies(encoder, make(name, seed=1), lambda e: e(*seen))
    check_outline(lambda: ENCODERS[name](**SIZES, d_model=WIDTH), encoder)


@pytest.mark.parametrize(("name", "argument"), arguments_of(NAMES, ENCODERS))
def test_every_argument_changes_something(name, argument):
    check_argument(lambda **changes: make(name, **changes), ENCODERS[name], argument, *windows())


@pytest.mark.parametrize("name", NAMES)
def test_sizes_below_one_are_refused(name):
    for size in (*SIZES, "d_model"):
        with pytest.raises(ArgumentError, match=f"{size}=0"):
            make(name, **{size: 0})
