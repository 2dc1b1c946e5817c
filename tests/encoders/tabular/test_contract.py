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
from tsforge.encoders.tabular.base import TabularEncoder
from tsforge.errors import ArgumentError
from tsforge.layers.stable_hash import mix

NAMES = ENCODERS.family("tabular")
IDS, NUMBERS, WIDTH = 3, 2, 24


def make(name, seed=0, n_numbers=NUMBERS, **arguments):
    return seeded(lambda: ENCODERS[name](IDS, n_numbers, WIDTH, **arguments), seed).eval()


def rows(batch=64):
    ids = mix(torch.arange(batch * IDS) % 17).view(batch, IDS)
    return ids, torch.randn(batch, NUMBERS, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NAMES)
def test_each_row_gets_a_vector(name):
    encoder, (ids, numbers) = make(name), rows()
    assert isinstance(encoder, TabularEncoder)
    assert encoder(ids, numbers).shape == (64, WIDTH)
    assert make(name, n_numbers=0)(ids).shape == (64, WIDTH)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_encoded_alike_alone_and_in_company(name):
    encoder, (ids, numbers) = make(name), rows()
    assert_close(encoder(ids, numbers)[5:6], encoder(ids[5:6], numbers[5:6]))


@pytest.mark.parametrize("name", NAMES)
def test_every_id_and_every_number_counts(name):
    encoder, (ids, numbers) = make(name), rows()
    before = encoder(ids, numbers)
    for column in range(IDS):
        changed = ids.clone()
        changed[:, column] = mix(changed[:, column])
        assert (encoder(changed, numbers) != before).any(1).all()
    for column in range(NUMBERS):
        changed = numbers.clone()
        changed[:, column] += 1
        assert (encoder(ids, changed) != before).any(1).all()


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_what_a_batch_knows_of_the_series(name):
    encoder, (ids, numbers) = make(name), rows()
    nothing = torch.zeros(len(ids), 4, 1)
    batch = Batch(past=nothing, past_mask=nothing.bool(), series=ids[:, 0], static_ids=ids, static_numeric=numbers)
    assert_close(encoder.of_batch(batch), encoder(ids, numbers))
    sizes = {"static_numeric": 2, "static_cardinalities": (5, 9), "h": 1}
    assert ENCODERS[name].given_by(sizes) == {"n_ids": 3, "n_numbers": 2}


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_in_float64_what_it_computes_in_float32(name):
    encoder, (ids, numbers) = make(name), rows()
    single = encoder(ids, numbers)
    double = encoder.double()(ids, numbers.double())
    assert double.dtype == torch.float64
    assert_close(single.double(), double, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name):
    encoder, (ids, numbers) = make(name), rows()
    check_gradients(encoder, encoder(ids, numbers))


@pytest.mark.parametrize("name", NAMES)
def test_weights_can_be_stored_and_copied_and_shapes_are_known_without_them(name):
    encoder, (ids, numbers) = make(name), rows()
    check_copies(encoder, make(name, seed=1), lambda e: e(ids, numbers))
    check_outline(lambda: ENCODERS[name](IDS, NUMBERS, WIDTH), encoder)


@pytest.mark.parametrize(("name", "argument"), arguments_of(NAMES, ENCODERS))
def test_every_argument_changes_something(name, argument):
    ids, numbers = rows()
    check_argument(lambda **changes: make(name, **changes), ENCODERS[name], argument, ids, numbers)


@pytest.mark.parametrize("name", NAMES)
def test_sizes_below_one_are_refused(name):
    for sizes in ((0, 0, WIDTH), (IDS, NUMBERS, 0)):
        with pytest.raises(ArgumentError, match="give at least"):
            ENCODERS[name](*sizes)
