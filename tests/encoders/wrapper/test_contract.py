"""What the family promises; a new row is tested with no new line."""

from functools import partial

import pytest
import torch
from contract import alternatives, arguments_of, check_copies, check_outline, own_arguments, seeded
from torch.testing import assert_close

from tsforge.batch import Batch
from tsforge.encoders import ENCODERS
from tsforge.encoders.retrieval.matryoshka import MatryoshkaEncoder
from tsforge.encoders.sequence.delays import DelayEncoder
from tsforge.encoders.sequence.phnn import PHCEncoder
from tsforge.encoders.symbolic.json_vsa import JsonVSAEncoder
from tsforge.encoders.wrapper.base import WrapperEncoder
from tsforge.errors import ArgumentError, CapabilityError
from tsforge.layers.stable_hash import stable_hashes

NAMES = ENCODERS.family("wrapper")
CHANNELS, TIME, WIDTH = 3, 12, 8
GIVEN = {"n_ids": 2, "n_numbers": 2, "in_channels": CHANNELS, "input_size": TIME}
SMALL = {"convergent": {"members": 2, "steps": 0}, "mip_hyper": {"hidden": (4, 6), "n_buckets": 16}}


def inside(dropout=0.0):
    return PHCEncoder(CHANNELS, WIDTH, n=2, n_layers=2, dropout=dropout)


def make(name, seed=0, encoder=inside, **arguments):
    made = ENCODERS[name]
    given = {key: GIVEN[key] for key in made.given}
    return seeded(lambda: made(**given, encoder=encoder, d_model=WIDTH, **SMALL.get(name, {}) | arguments), seed).eval()


def read(encoder, x, mask=None, way="forward"):
    """The encoder's output, of series that differ where it reads what is known of them."""
    call = encoder if way == "forward" else encoder.pooled
    return call(x, mask, *statics(len(x))) if encoder.reads == "static" else call(x, mask)


def statics(batch):
    names = stable_hashes(f"s{at % 4}" for at in range(batch))
    kinds = stable_hashes("ab"[at % 2] for at in range(batch))
    return torch.stack([names, kinds], 1), torch.linspace(-1, 1, 2 * batch).view(batch, 2).flip(0)


def windows(batch=6, time=TIME, dtype=torch.float32):
    x = torch.randn(batch, time, CHANNELS, generator=torch.Generator().manual_seed(1), dtype=dtype)
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) < 0.7
    mask[:, 3:4] = False
    return x, mask


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_tokens_around_an_encoder_of_tokens_and_a_vector_around_one_of_vectors(name):
    encoder, (x, mask) = make(name), windows()
    assert isinstance(encoder, WrapperEncoder)
    assert read(encoder, x, mask).shape == (6, TIME, WIDTH)
    assert read(encoder, x, mask, "pooled").shape == (6, WIDTH)
    if name == "batchformer":  # the others take no encoder that is fitted by itself
        flat = make(name, encoder=lambda: MatryoshkaEncoder(CHANNELS, TIME, WIDTH, steps=1))
        assert flat(x, mask).shape == flat.pooled(x, mask).shape == (6, WIDTH)


@pytest.mark.parametrize("way", ["forward", "pooled"])
@pytest.mark.parametrize("name", NAMES)
def test_a_window_is_encoded_alike_alone_and_in_company(name, way):
    encoder, (x, mask) = make(name), windows()
    whole = read(encoder, x, mask, way)
    ids, numbers = statics(6)
    call = encoder if way == "forward" else encoder.pooled
    alone = (x[4:5], mask[4:5], *((ids[4:5], numbers[4:5]) if encoder.reads == "static" else ()))
    assert_close(call(*alone), whole[4:5], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_masked_cell_holds_changes_nothing(name):
    encoder, (x, mask) = make(name), windows()
    for way in ("forward", "pooled"):
        for other in (0.0, 1e3, float("nan")):
            changed = torch.where(mask, x, other)
            assert_close(read(encoder, changed, mask, way), read(encoder, x, mask, way), atol=0, rtol=0)
    assert not torch.equal(read(encoder, torch.where(mask, x, 1e3)), read(encoder, x))  # the control


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_the_past_of_a_batch_and_what_it_needs_of_the_series(name):
    encoder, (x, mask) = make(name), windows()
    ids, numbers = statics(len(x))
    batch = Batch(past=x, past_mask=mask, series=torch.zeros(6).long(), static_ids=ids, static_numeric=numbers)
    assert_close(encoder.of_batch(batch), read(encoder, x, mask, "pooled"))
    sizes = {"in_channels": 7, "input_size": 4, "h": 1, "static_numeric": 2, "static_cardinalities": (3,)}
    assert set(ENCODERS[name].given_by(sizes)) == set(ENCODERS[name].given)


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_in_float64_what_it_computes_in_float32(name):
    encoder, (x, mask) = make(name), windows()
    single = read(encoder, x, mask)
    ids, numbers = statics(6)
    known = (ids, numbers.double()) if encoder.reads == "static" else ()
    double = encoder.double()(x.double(), mask, *known)
    assert double.dtype == torch.float64
    assert_close(single.double(), double, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter_that_trains_and_the_optimiser_has_each_once(name):
    encoder, (x, mask) = make(name).train(), windows()
    output = read(encoder, x, mask)
    trains = {key: weight for key, weight in encoder.named_parameters() if weight.requires_grad}
    if trains:
        (output * torch.randn_like(output)).sum().backward()
    assert [key for key, weight in trains.items() if weight.grad is None or not weight.grad.abs().sum() > 0] == []
    grouped = [id(weight) for group in encoder.parameter_groups(1e-3, 0.1) for weight in group["params"]]
    assert sorted(grouped) == sorted(id(weight) for weight in encoder.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_weights_can_be_stored_and_copied_and_shapes_are_known_without_them(name):
    encoder, (x, mask) = make(name), windows()
    check_copies(encoder, make(name, seed=1), lambda e: read(e, x, mask))
    given = {key: GIVEN[key] for key in ENCODERS[name].given}
    check_outline(partial(ENCODERS[name], **given, encoder=inside, d_model=WIDTH, **SMALL.get(name, {})), encoder)


OTHERS = {"heads": [2], "hidden": [(4,)], "targets": ["all", "lift"], "rank": [1], "reduce": ["first"],
          "similarity": ["inner"]}
# Arguments that act in `fit` or on the loss have tests of their own in the file of the paper.
ELSEWHERE = {"convergent": {"threshold", "match", "signed", "steps", "learning_rate", "hide", "seed"},
             "batchformer": {"mix"}, "mip_hyper": set(), "relative": {"through_anchors"}}
CASES = [case for case in arguments_of(NAMES, ENCODERS)
         if case.values[1] != "encoder" and case.values[1] not in ELSEWHERE.get(case.values[0], set())]


@pytest.mark.parametrize(("name", "argument"), CASES)
def test_every_argument_changes_something(name, argument):
    x, mask = windows()

    def output(**arguments):
        return seeded(partial(read, make(name, **arguments).train(), x, mask))

    before = output()
    for other in OTHERS.get(argument) or alternatives(own_arguments(ENCODERS[name])[argument]):
        assert not torch.equal(output(**{argument: other}), before), other


@pytest.mark.parametrize("name", NAMES)
def test_another_encoder_inside_changes_something(name):
    x, mask = windows()
    other = make(name, encoder=lambda: PHCEncoder(CHANNELS, WIDTH, n=4, n_layers=1))
    assert not torch.equal(read(make(name), x, mask), read(other, x, mask))


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_stand_inside_is_refused_with_what_to_do(name):
    with pytest.raises(ArgumentError, match="has nothing inside: give encoder="):
        make(name, encoder=None)
    with pytest.raises(ArgumentError, match="Give both the same width"):
        make(name, encoder=lambda: PHCEncoder(CHANNELS, 2 * WIDTH))
    with pytest.raises(CapabilityError, match="an encoder of windows that reads nothing else"):
        make(name, encoder=lambda: JsonVSAEncoder(WIDTH, records={"s0": 1}, code_dim=16))
    with pytest.raises(CapabilityError, match="or a wrapper itself"):
        make(name, encoder=lambda: make("batchformer"))
    if name != "batchformer":
        with pytest.raises(CapabilityError, match="DelayEncoder states `fit`"):
            make(name, encoder=lambda: DelayEncoder(CHANNELS, WIDTH))
