"""The contract of the family: the past, and covariates known over it and over the horizon, in; one vector out.

What is known ahead is the question, and the past is where the answer is looked for. Nothing observed after the cutoff
is read: no target, and no covariate that is not known ahead.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from jaxtyping import Bool, Float
from torch import Tensor

from tsforge.batch import Batch
from tsforge.encoders.base import Encoder
from tsforge.errors import ArgumentError, CapabilityError

Window = Float[Tensor, "batch time channel"]
Mask = Bool[Tensor, "batch time channel"]
Covariates = Float[Tensor, "batch steps n_covariates"]


class AheadEncoder(Encoder):
    """An encoder of windows and of covariates known ahead, for `context=`.

    What a masked cell holds changes nothing, and no window depends on its batch-mates once training is over.

    Args:
        in_channels: Channels of a window.
        input_size: Steps of a window.
        h: Steps of the horizon.
        n_covariates: Covariates known ahead, over `input_size` + `h` steps; those of a calendar are such.
        d_model: Width of the vector.

    Raises:
        ArgumentError: a size is below 1.
    """

    reads: ClassVar[Literal["window", "static"]] = "window"
    output: ClassVar[Literal["tokens", "vector"]] = "vector"
    given: ClassVar[tuple[str, ...]] = ("in_channels", "input_size", "h", "n_covariates")

    def __init__(self, in_channels: int, input_size: int, h: int, n_covariates: int, d_model: int) -> None:
        super().__init__(d_model)
        for name, size in (("in_channels", in_channels), ("input_size", input_size), ("h", h)):
            if size < 1:
                raise ArgumentError(f"{name}={size} leaves nothing to read: give at least 1.")
        if n_covariates < 1:
            raise ArgumentError(
                f"{type(self).__name__} asks with what is known ahead, and n_covariates={n_covariates}: give at least "
                "1, by the role future= of the frame or its calendar=."
            )
        self.in_channels, self.input_size, self.h, self.n_covariates = in_channels, input_size, h, n_covariates

    @classmethod
    def given_by(cls, sizes: Mapping[str, Any]) -> dict[str, int]:
        """The targets, the look-back, the horizon and the covariates known ahead.

        Raises:
            CapabilityError: they are those of a model's embedding, which sees no horizon.
        """
        if "future_covariates" not in sizes:
            raise CapabilityError(
                f"{cls.__name__} asks with what is known of the horizon, and an embedding sees the look-back alone. "
                "Name it in context=."
            )
        own = {name: sizes[name] for name in ("in_channels", "input_size", "h")}
        return own | {"n_covariates": sizes["future_covariates"]}

    def forward(self, x: Window, covariates: Covariates, mask: Mask | None = None) -> Float[Tensor, "batch d_model"]:
        """The vector of each window.

        Args:
            x: Targets of the look-back.
            covariates: Known over look-back and horizon.
            mask: Where targets were observed; everywhere unless given.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward.")

    def of_batch(self, batch: Batch) -> Float[Tensor, "batch d_model"]:
        """The look-back of the targets, and what is known ahead."""
        assert batch.future_covariates is not None
        return self(batch.past, batch.future_covariates, batch.past_mask)
