"""What every encoder is: sizes given by the data in, one kind of input read, tokens or a vector out."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.space import Declared


class Encoder(nn.Module):
    """The root of all families. A family states what is read; a paper adds its hyper-parameters with defaults.

    An encoder of windows has `pooled(x, mask)` -> [batch, d_model], too, whatever its output.

    Args:
        d_model: Width of what comes out.

    Raises:
        ArgumentError: `d_model` is below 1.
    """

    reads: ClassVar[Literal["window", "static"]]  # steps and their mask, or ids and numbers of a series
    output: ClassVar[Literal["tokens", "vector"]]
    space: ClassVar[Declared] = {}  # what a sweep may set, unless it is told otherwise
    given: ClassVar[tuple[str, ...]]  # arguments that the data give and users never write
    # In training each window may be read twice, in rows [windows, the same windows]: by itself, and in the company of
    # the batch. This is the weight of the second reading in the loss; None where windows are read once, as is usual.
    twice: float | None = None

    def __init__(self, d_model: int) -> None:
        super().__init__()
        if d_model < 1:
            raise ArgumentError(f"d_model={d_model} leaves nothing to compute: give at least 1.")
        self.d_model = d_model

    @classmethod
    def given_by(cls, sizes: Mapping[str, Any]) -> dict[str, int]:
        """The arguments that the data give, out of the sizes that a model is given."""
        raise NotImplementedError(f"{cls.__name__} does not say what the data give it.")

    def of_batch(self, batch: Batch) -> Float[Tensor, "batch d_model"]:
        """One vector for each window, out of the parts of the batch that the family reads."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it reads of a batch.")

    def fit(self, *inputs: Tensor | None) -> None:
        """Called once before training, of encoders that state it; what is found are buffers.

        Args:
            inputs: What `forward` is given, of windows of the training part.
        """

    def aux_loss(self) -> dict[str, Tensor]:
        """Terms added to the loss in training, of what `forward` was given last; none unless an encoder has some."""
        return {}

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Groups for the optimiser; one group unless an encoder says otherwise."""
        return [{"params": list(self.parameters()), "lr": learning_rate, "weight_decay": weight_decay}]
