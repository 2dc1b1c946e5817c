"""Stable 64-bit hashes: the same in every process, on every machine and device, and so fit to be trained on.

Paper     Steele, Lea & Flood (2014), "Fast Splittable Pseudorandom Number Generators", OOPSLA (SplitMix64);
          BLAKE2b of RFC 7693, cut to 8 bytes.
Equation  z = x + G,   z = (z ^ z >> 30) A,   z = (z ^ z >> 27) B,   mix(x) = z ^ z >> 31       (mod 2^64)
Units     hashes are int64, the bits of an unsigned number: torch computes with no other 64-bit integer everywhere
Differs   A word is hashed and not looked up in a vocabulary, so a new one needs no table to be rebuilt.
"""

from collections.abc import Iterable
from hashlib import blake2b

import torch
from jaxtyping import Int
from torch import Tensor

SIGN, WRAP = 1 << 63, 1 << 64
GAMMA, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
MISSING = b"missing"  # a key of its own: no word has this hash by its letters


def signed(number: int) -> int:
    """The int64 with the bits of an unsigned 64-bit number."""
    return (number + SIGN) % WRAP - SIGN


def mix(x: Int[Tensor, "*any"]) -> Int[Tensor, "*any"]:
    """A bijection of 64 bits under which neighbours have nothing in common."""
    z = x + signed(GAMMA)
    z = (z ^ _shifted(z, 30)) * signed(FIRST)
    z = (z ^ _shifted(z, 27)) * signed(SECOND)
    return z ^ _shifted(z, 31)


def _shifted(x: Int[Tensor, "*any"], bits: int) -> Int[Tensor, "*any"]:
    """Zeros come in from the left, as for unsigned numbers."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def buckets(x: Int[Tensor, "*any"], count: int) -> Int[Tensor, "*any"]:
    """Numbers from 0 to count - 1 of hashes; the lowest bit is not used."""
    return _shifted(x, 1) % count


def stable_hashes(values: Iterable[object]) -> Int[Tensor, " value"]:
    """The hash of each value: `mix` of a whole number, BLAKE2b of the text of other values, one of its own for None."""
    return torch.tensor([stable_hash(value) for value in values], dtype=torch.int64)


def stable_hash(value: object) -> int:
    """The hash of one value, as an int64."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int(mix(torch.tensor(signed(value), device="cpu")))
    person = MISSING if value is None else b""
    digest = blake2b(b"" if value is None else str(value).encode(), digest_size=8, person=person).digest()
    return int.from_bytes(digest, "little", signed=True)
