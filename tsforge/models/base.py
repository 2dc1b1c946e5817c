"""What every neural forecaster is: data-given sizes in, `forward(batch)` out, a card, and optional hooks."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tsforge.batch import Batch
from tsforge.errors import CapabilityError
from tsforge.layers.embedding import Embedding
from tsforge.space import Declared

State = dict[str, Tensor]  # what a streaming network keeps of the steps it has read, each [batch, ...]
FROM_THE_FRAME = (
    "h", "input_size", "in_channels", "outputs",
    "past_covariates", "future_covariates", "static_numeric", "static_cardinalities", "task", "classes",
)


class Model(nn.Module):
    """A function from the last `input_size` steps of some channels to the next `h`.

    The arguments are given by the data and the loss, never written by users; a model adds its
    hyper-parameters after them as keyword-only arguments with defaults.

    Args:
        h: Steps ahead.
        input_size: Past steps the model sees.
        in_channels: Target columns of a series.
        outputs: Numbers per cell of the forecast, as the loss asks for.
        past_covariates: Columns known up to the cutoff.
        future_covariates: Columns known ahead, calendar features among them.
        static_numeric: Static numbers per series.
        static_cardinalities: Number of codes of each static category, 0 (unseen) included.

    A model with several `tasks` on its card takes two more: `task`, which says what comes out, and `classes`, how many
    there are in classification. Beside "forecast" there is no horizon, and `h` is 0:

    | task | out |
    | --- | --- |
    | forecast | [batch, h, channel, output] |
    | imputation, anomaly | [batch, lookback, channel, output], the look-back itself |
    | classification | [batch, classes], scores before the softmax |
    """

    # The card: what it takes and what it is.
    covariates: ClassVar[tuple[str, ...]] = ()  # of "past", "future", "static"
    missing: ClassVar[Literal["filled", "mask"]] = "filled"  # carried forward inside the window, or read from the mask
    irregular: ClassVar[bool] = False
    samples: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    variable_channels: ClassVar[bool] = False
    tasks: ClassVar[tuple[str, ...]] = ("forecast",)
    # steps to tokens, each channel to a vector, or the whole window to a vector
    encoder_takes: ClassVar[Literal["steps", "channel", "window"] | None] = None
    encoder_default: ClassVar[str | None] = None  # the row of the encoder where the user names none
    embedding_at: ClassVar[str] = ""  # the submodule that an encoder takes the place of
    drawn: ClassVar[bool] = True  # whether the seed has a part in what it learns
    grown: ClassVar[tuple[str, ...]] = ()  # buffers whose rows the fit counts, all the same number
    reads_ids: bool = False  # whether `Batch.static_ids` is read
    space: ClassVar[Declared] = {}  # what a sweep may set, unless it is told otherwise
    streams: ClassVar[bool] = False  # whether it has the mode `streaming=True`
    mixes_windows: bool = False  # whether a forecast depends on the batch it is made in
    streaming: bool = False  # whether it is in that mode: then `start`, `advance` and `ahead` go on from step to step

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.h, self.input_size, self.in_channels, self.outputs = h, input_size, in_channels, outputs
        self.past_covariates, self.future_covariates = past_covariates, future_covariates
        self.static_numeric, self.static_cardinalities = static_numeric, static_cardinalities

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window."""
        raise NotImplementedError(f"{type(self).__name__} has no forward.")

    def start(self, batch_size: int) -> State:
        """The state before the first step of so many series; of streaming networks."""
        raise NotImplementedError(f"{type(self).__name__} does not stream.")

    def advance(self, batch: Batch, state: State) -> State:
        """The state after some more steps, at a cost that does not depend on how many there were before.

        Args:
            batch: `past` (not filled), `past_mask` and covariates of these steps; of no horizon.
            state: The state before them.
        """
        raise NotImplementedError(f"{type(self).__name__} does not stream.")

    def ahead(
        self, state: State, future_covariates: Float[Tensor, "batch h f"] | None = None
    ) -> Float[Tensor, "batch h channel output"]:
        """The forecast after the steps that led to a state.

        `forward` is this after `start` and an `advance` over the look-back, so training never goes step by step.
        """
        raise NotImplementedError(f"{type(self).__name__} does not stream.")

    def plug(self, make: Callable[[int, int], nn.Module]) -> None:
        """Puts an encoder in the place of the plain embedding, for models whose card says what it takes.

        Args:
            make: Builds it from the channels that it reads and the width of what comes out. It is called as the
                embedding is, with (x, mask [batch, time, channel]).

        Raises:
            CapabilityError: it streams: an encoder reads whole windows.
        """
        if self.streaming:
            raise CapabilityError(
                f"{type(self).__name__}(streaming=True) reads a series step by step, and an encoder reads whole "
                "windows. Leave one of them out."
            )
        plain = self.get_submodule(self.embedding_at)
        assert isinstance(plain, Embedding)
        self.set_submodule(self.embedding_at, make(plain.in_channels, plain.d_model))

    def sample(
        self, batch: Batch, n: int, generators: Sequence[torch.Generator]
    ) -> Float[Tensor, "batch n h channel"]:
        """`n` paths of each window, each window from a generator of its own; of models with `samples` on the card."""
        raise NotImplementedError(f"{type(self).__name__} makes no sample paths.")

    def generate(
        self, length: int, generators: Sequence[torch.Generator]
    ) -> tuple[Float[Tensor, "path length channel"], Int[Tensor, " path"]]:
        """Series of its own, one for each generator, and the training series in whose units each is."""
        raise NotImplementedError(f"{type(self).__name__} generates no series.")

    def critic_parameters(self) -> list[nn.Parameter]:
        """Those that are trained against the rest; with any, `learn` and `critic_loss` are trained in turn."""
        return []

    def learn(self, batch: Batch) -> tuple[Float[Tensor, "batch h channel output"], Float[Tensor, ""]]:
        """The forecast as `forward` in training, and what is added to its loss; of models with a critic."""
        raise NotImplementedError(f"{type(self).__name__} has no critic.")

    def critic_loss(self, batch: Batch) -> Float[Tensor, ""]:
        """What the critic makes small."""
        raise NotImplementedError(f"{type(self).__name__} has no critic.")

    def after_step(self) -> None:
        """Called after each step of the critic."""

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Groups for the optimiser; one group unless a model says otherwise."""
        return [{"params": list(self.parameters()), "lr": learning_rate, "weight_decay": weight_decay}]

    def before_fit(self, batches: Iterable[Batch]) -> None:
        """Called once with all training windows in order, before a training begins. Results are buffers.

        A training that goes on from a checkpoint has them from there.

        Args:
            batches: A loader or a list; it may be gone through several times.
        """

    def after_fit(self, batches: Iterable[Batch]) -> None:
        """Called once with all training windows in order, after the best weights are back. Results are buffers.

        Args:
            batches: A loader or a list; it may be gone through several times.
        """
