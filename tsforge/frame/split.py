"""Split: how many steps of each series train, validate and test, as published tables count them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Split:
    """Steps of the training, validation and test part, counted from the start of each series; the rest is unused.

    Validation and test windows reach back `input_size` steps, so that the first target is the first step of the part.
    """

    train: int
    val: int
    test: int
