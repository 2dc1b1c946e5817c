import hashlib

import torch

from tsforge.layers.stable_hash import GAMMA, buckets, mix, signed, stable_hash


def test_it_is_splitmix64_as_published():
    states = torch.tensor([0, signed(GAMMA), signed(2 * GAMMA % 2**64)])
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]  # the first draws from the seed 0
    assert mix(states).tolist() == [signed(number) for number in published]


def test_the_hashes_are_the_same_in_every_process():  # which Python's own hash is not
    golden = {"": -5426141060434712860, "station 7": 1221496532313534586, 7: 7191089600892374487,
              None: -5401965219328618732}
    assert {value: stable_hash(value) for value in golden} == golden
    digest = hashlib.blake2b("Ω".encode(), digest_size=8).digest()
    assert stable_hash("Ω") == int.from_bytes(digest, "little", signed=True)


def test_a_number_its_word_nothing_and_the_empty_word_are_four_things():
    assert len({stable_hash(value) for value in (7, "7", None, "", "None", "missing")}) == 6


def test_mixing_loses_nothing_and_leaves_nothing_of_neighbours():
    x = torch.arange(-5000, 5000)
    assert len(mix(x).unique()) == len(x)
    places = buckets(mix(x), 64)
    counts = torch.bincount(places, minlength=64).double()
    assert ((counts - 156.25).square() / 156.25).sum() < 63 + 4 * (2 * 63) ** 0.5  # chi square, 4 sigma
    together = (places[1:] == places[:-1]).double().mean()
    assert abs(together - 1 / 64) < 4 * (1 / 64 / len(x)) ** 0.5
    plain = x % 64  # the control: plain remainders of neighbours are never equal
    assert not (plain[1:] == plain[:-1]).any()


def test_buckets_are_places_in_a_table():
    places = buckets(mix(torch.arange(1000)), 7)
    assert set(places.tolist()) == set(range(7))
