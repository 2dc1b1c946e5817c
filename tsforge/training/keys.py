"""Seeds keyed by what they are for, so that a draw never depends on what was drawn before."""

from hashlib import blake2b


def key(seed: int, *purpose: object) -> int:
    """A seed for one purpose: `key(0, "step", 17)`. Equal arguments give equal seeds on every machine."""
    words = "\x1f".join(map(str, (seed, *purpose)))
    return int.from_bytes(blake2b(words.encode(), digest_size=7).digest(), "big")
