"""What the family promises; a new row is tested with no new line."""

import json

import pytest
import torch
from contract import arguments_of, check_argument, check_copies, check_gradients, check_outline, seeded
from torch.testing import assert_close

from tsforge.batch import Batch
from tsforge.encoders import ENCODERS
from tsforge.encoders.symbolic.base import SymbolicEncoder
from tsforge.errors import ArgumentError
from tsforge.layers.stable_hash import stable_hash, stable_hashes

NAMES = ENCODERS.family("symbolic")
WIDTH = 24
RECORDS = {
    "s0": {"town": "Bern", "height": 540.0, "tags": ["lake", "hill"], "owner": {"kind": "state", "since": 1901}},
    "s1": {"town": "Basel", "height": 260.0, "tags": ["river"], "owner": {"kind": "firm", "since": 1990}},
    "17": {"town": "Chur", "height": 590.0, "tags": [], "owner": None, "open": True},
}


def make(name, seed=0, **arguments):
    return seeded(lambda: ENCODERS[name](WIDTH, **{"records": RECORDS, "code_dim": 128, **arguments}), seed).eval()


def ids(*names):
    return torch.stack([stable_hashes(names), stable_hashes("x" for _ in names)], 1)


@pytest.mark.parametrize("name", NAMES)
def test_each_series_gets_the_vector_of_its_record_and_one_without_that_of_nothing(name):
    encoder = make(name)
    assert isinstance(encoder, SymbolicEncoder)
    read = encoder(ids("s1", "s0", 17, "17", "unknown"))
    assert read.shape == (5, WIDTH)
    codes = encoder.transform(list(RECORDS.values())).float()
    assert_close(read, encoder.out(torch.cat([codes[[1, 0, 2, 2]], torch.zeros(1, 128)])))
    assert_close(read[4], encoder.out.bias, atol=0, rtol=0)
    assert len({tuple(row.tolist()) for row in read}) == 4  # the control: different records, different vectors


@pytest.mark.parametrize("name", NAMES)
def test_a_series_is_encoded_alike_alone_and_in_company_and_among_other_records(name):
    encoder = make(name)
    assert_close(encoder(ids("s1", "s0"))[1:], encoder(ids("s0")))
    assert_close(encoder.transform([RECORDS["s0"]])[0], encoder.transform(list(RECORDS.values()))[0])


@pytest.mark.parametrize("name", NAMES)
def test_neither_the_order_of_names_nor_a_name_with_nothing_changes_anything(name):
    encoder, record = make(name), RECORDS["s0"]
    turned = {key: record[key] for key in reversed(record)} | {"gone": None, "lost": float("nan")}
    assert_close(encoder.transform([turned]), encoder.transform([record]), atol=1e-6, rtol=0)
    assert not torch.allclose(encoder.transform([record | {"open": False}]), encoder.transform([record]))  # the control


@pytest.mark.parametrize("name", NAMES)
def test_records_come_as_json_does(name):
    read = json.loads(json.dumps(RECORDS))
    assert_close(make(name, records=read).codes, make(name).codes, atol=0, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_the_name_of_the_series_of_a_batch_and_needs_nothing_of_the_data(name):
    encoder, nothing = make(name), torch.zeros(2, 4, 1)
    batch = Batch(past=nothing, past_mask=nothing.bool(), series=torch.zeros(2).long(), static_ids=ids("s0", "s1"))
    assert_close(encoder.of_batch(batch), encoder(ids("s0", "s1")))
    assert ENCODERS[name].given_by({"static_numeric": 2, "h": 1}) == {}
    assert encoder.keys.tolist() == sorted([*(stable_hash(key) for key in RECORDS), stable_hash(17)])


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_in_float64_what_it_computes_in_float32(name):
    encoder = make(name)
    single, double = encoder(ids("s0", "s1")), encoder.double()(ids("s0", "s1"))
    assert double.dtype == torch.float64
    assert_close(single.double(), double, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name):
    encoder = make(name)
    check_gradients(encoder, encoder(ids("s0", "17")))


@pytest.mark.parametrize("name", NAMES)
def test_weights_can_be_stored_and_copied_and_shapes_are_known_without_them(name):
    encoder = make(name)
    check_copies(encoder, make(name, seed=1), lambda e: e(ids("s0", "s1", "17")))
    check_outline(lambda: ENCODERS[name](WIDTH, records=RECORDS, code_dim=128), encoder)


@pytest.mark.parametrize(("name", "argument"), arguments_of(NAMES, ENCODERS))
def test_every_argument_changes_something(name, argument):
    check_argument(lambda **changes: make(name, **changes), ENCODERS[name], argument, ids("s0", "s1", "17"))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_read_and_what_is_no_record_are_refused(name):
    for wrong in (None, {}):
        with pytest.raises(ArgumentError, match="records="):
            ENCODERS[name](WIDTH, records=wrong)
    with pytest.raises(ArgumentError, match="give at least 1"):
        ENCODERS[name](0, records=RECORDS)
    with pytest.raises(ArgumentError, match=r"tags\.\[\] stands what cannot be read, a set"):
        ENCODERS[name](WIDTH, records={"s0": {"tags": [{1}]}})
