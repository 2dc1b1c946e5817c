"""Chimera: 2-D state spaces over (variate x time), read off at once or run on past the end with their own forecasts.

Paper     Behrouz, Santacatterina & Zabih (2024), "Chimera: Effectively Modeling Multivariate Time Series with
          2-Dimensional State Space Models", arXiv:2406.04320.
Equation  z = blocks(w past + b),   the block as in `tsforge.layers.chimera`
          closed loop   y_k = <u, z_{T+k-1}> + u0,   z_{T+k} = blocks(w y_k + b) with the states after step T + k - 1
          direct        y = <u, M z + m> + u0,   M [h, lookback] along time
          imputation, anomaly   as direct with M [lookback, lookback]: blocks are causal, and M looks ahead
          classification        scores = W mean_{channel, time} z + b, over the steps with something observed
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output]; inside [batch, channel, time, d_model]
Units     those of the scaled targets; each window is normalised by its own mean and deviation, and the forecast back;
          where it streams, each step by the running ones, and the forecast by those of the last step
Differs   No official code was released and the text could not be had: structure as known, formulas reconstructed, see
          docs/models/chimera.md. Where a loss asks for several numbers, each is y, which the loop feeds back, and an
          offset <q, z> + q0 of its own.
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.kernels import GridState
from tsforge.layers.chimera import ChimeraBlock, SelectiveGrid
from tsforge.layers.instance_norm import normalise
from tsforge.layers.last_observed import carried_on
from tsforge.layers.running_norm import running_norm, undone
from tsforge.models.base import Model, State
from tsforge.space import Choice, Declared, Integer, Real

DECODES = ("closed_loop", "direct")
Memory = list[list[list[GridState]]]  # of each block, of each of its state spaces, of each direction


class Chimera(Model):
    """An embedding of each value, blocks that are causal in time, and one of two ways to the horizon.

    2 d + n_layers (2 w S + d (2 d + 5)) + d + 1 parameters, d = d_model, w directions (2, or 1) of S weights as in
    `SelectiveGrid`; (d + 1) outputs more where outputs > 1, and (input_size + 1) h more with `decode="direct"`.

    The forecast depends on the order of the channels: states run along it, from both ends.

    Args:
        d_model: Features of a cell.
        d_state: Size of each of the two states of a feature.
        n_layers: Blocks.
        dropout: Share of the features dropped in each block in training.
        decode: `"direct"`: a linear map from the look-back to the horizon. `"closed_loop"` (the paper's): the time
            states run on with the forecast as input, a step at a time, at several times the cost.
        coupling: How the two states read each other: `"zoh_input"` (bounded for all steps), `"exp"` (as in the paper;
            its steps have a floor, which shortens the memory), `"none"` (each channel by itself).
        transition: `"diagonal"` (2-D Mamba) or `"scalar"` (2-D Mamba-2: one rate for the states of a feature).
        bidirectional: Along the channels from both ends, with weights for each; else from the first to the last.
        selective: Steps, inputs and readouts of the states depend on the input.
        long_step: Longest step of time at which the state spaces of long memory start; the shortest is a tenth.
        seasonal_step: The same of those of short memory.
        streaming: A context that grows from the start of the series, for `decode="closed_loop"`: `update` then reads
            new rows at a constant cost per step. It trains on windows of `input_size` all the same, and therefore
            normalisation and states look back over about `input_size` steps.

    Raises:
        ArgumentError: a size is below 1, a step not above 0, `dropout` not in [0, 1), a word is not known, or
            `streaming` is asked of `decode="direct"`.
    """

    streams: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("forecast", "imputation", "anomaly", "classification")

    space: ClassVar[Declared] = {
        "d_model": Choice(8, 16, 32), "d_state": Choice(8, 16, 32), "n_layers": Integer(1, 3),
        "dropout": Real(0.0, 0.3),
    }

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (), task: str = "forecast", classes: int = 0,
        d_model: int = 16, d_state: int = 16, n_layers: int = 2, dropout: float = 0.1, decode: str = "direct",
        coupling: str = "zoh_input", transition: str = "diagonal", bidirectional: bool = True, selective: bool = True,
        long_step: float = 0.01, seasonal_step: float = 1.0, streaming: bool = False,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        _check(dropout, decode, streaming, task, n_layers=n_layers, d_model=d_model)
        self.streaming, self.task = streaming, task
        self.embedding = nn.Linear(1, d_model)
        self.blocks = nn.ModuleList(
            ChimeraBlock(
                d_model, long_step, seasonal_step, dropout, d_state=d_state, coupling=coupling, transition=transition,
                bidirectional=bidirectional, selective=selective, memory=input_size if streaming else None,
            )
            for _ in range(n_layers)
        )
        self.column = (in_channels, d_model, d_state)
        steps = h or input_size  # beside the forecast the look-back itself is asked for
        self.horizon = nn.Linear(input_size, steps) if decode == "direct" and task != "classification" else None
        self.point = nn.Linear(d_model, 1 if task != "classification" else classes)
        self.offsets = nn.Linear(d_model, outputs) if outputs > 1 and task != "classification" else None

    def forward(self, batch: Batch) -> Float[Tensor, "batch ..."]:
        """What its task asks of each window; covariates and statics are not read."""
        if self.task == "classification":
            return self._classify(batch)
        if self.streaming:
            moments = self.start(len(batch))["moments"]
            x, moments = running_norm(batch.past, batch.past_mask, moments, self.input_size)
            z, memory = self.encode(x.mT)
            return undone(self._read(self.run_on(z[:, :, -1:], memory)), moments)
        x, mean, deviation = normalise(batch.past, batch.past_mask)
        x = x if self.task == "forecast" else x * batch.past_mask  # what is hidden is the mean
        z, memory = self.encode(x.mT)
        z = self.run_on(z[:, :, -1:], memory) if self.horizon is None else self.horizon(z.mT).mT
        return self._read(z) * deviation[..., None] + mean[..., None]

    def _classify(self, batch: Batch) -> Float[Tensor, "batch class"]:
        """Scores of the classes; the windows keep their level, which may tell classes apart."""
        z, _ = self.encode(batch.past.mT)
        seen = batch.past_mask.any(-1).to(z.dtype)[:, None, :, None]
        return self.point((z * seen).sum((1, 2)) / (seen.sum((1, 2)) * z.shape[1]).clamp(min=1))

    def start(self, batch_size: int) -> State:
        """Nothing was seen, and all states are 0."""
        zeros, (channels, d, n) = self.point.weight.new_zeros, self.column
        ways = sum(isinstance(module, SelectiveGrid) for module in self.modules())
        return {
            "last": zeros(batch_size, channels), "moments": zeros(batch_size, 3, channels, dtype=torch.float64),
            "features": zeros(batch_size, channels, d), "grid": zeros(batch_size, 2 * ways, channels, d, n),
        }

    def advance(self, batch: Batch, state: State) -> State:
        """Both states of each state space after these steps, and the features of the last one."""
        past, last = carried_on(batch.past, batch.past_mask, state["last"])
        past, moments = running_norm(past, batch.past_mask, state["moments"], self.input_size)
        z, memory = self.encode(past.mT, self._unpacked(state["grid"]))
        kept = [tensor for block in memory for ssm in block for way in ssm for tensor in way]
        return {"last": last, "moments": moments, "features": z[:, :, -1], "grid": torch.stack(kept, 1)}

    def ahead(
        self, state: State, future_covariates: Float[Tensor, "batch h f"] | None = None
    ) -> Float[Tensor, "batch h channel output"]:
        """The forecast: the states run on with it as their input."""
        z = self.run_on(state["features"][:, :, None], self._unpacked(state["grid"]))
        return undone(self._read(z), state["moments"])

    def _unpacked(self, grid: Float[Tensor, "batch state channel d_model d_state"]) -> Memory:
        tensors = iter(grid.unbind(1))
        return [
            [[GridState(next(tensors), next(tensors)) for _ in ssm.ways] for ssm in (block.long, block.seasonal)]
            for block in self.blocks if isinstance(block, ChimeraBlock)
        ]

    def _read(self, z: Float[Tensor, "batch channel h d_model"]) -> Float[Tensor, "batch h channel output"]:
        y = self.point(z) if self.offsets is None else self.point(z) + self.offsets(z)
        return y.transpose(1, 2)

    def encode(
        self, x: Float[Tensor, "batch channel time"], memory: Memory | None = None
    ) -> tuple[Float[Tensor, "batch channel time d_model"], Memory]:
        """The features of each cell, and the states after the last step; `memory` are those before the first."""
        z, after = self.embedding(x[..., None]), []
        for block, states in zip(self.blocks, memory or [None] * len(self.blocks), strict=True):
            z, states = block(z, states)
            after.append(states)
        return z, after

    def run_on(
        self, z: Float[Tensor, "batch channel 1 d_model"], memory: Memory
    ) -> Float[Tensor, "batch channel h d_model"]:
        """The features that each step ahead is read from, given those of the last step and the states after it."""
        steps = [z]
        for _ in range(self.h - 1):
            z, memory = self.encode(self.point(z)[..., 0], memory)
            steps.append(z)
        return torch.cat(steps, 2)

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Rates, couplings and biases of the steps without weight decay, which would change the memory."""
        grids = [module for module in self.modules() if isinstance(module, SelectiveGrid)]
        free = [weight for grid in grids for weight in (grid.log_a, grid.cross, grid.steps.bias) if weight is not None]
        free += [module.skip for module in self.modules() if isinstance(module, ChimeraBlock)]
        known = {id(weight) for weight in free}
        rest = [weight for weight in self.parameters() if id(weight) not in known]
        return [
            {"params": rest, "lr": learning_rate, "weight_decay": weight_decay},
            {"params": free, "lr": learning_rate, "weight_decay": 0.0},
        ]


def _check(dropout: float, decode: str, streaming: bool, task: str, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least 1.")
    if not 0 <= dropout < 1:
        raise ArgumentError(f"dropout={dropout} is not a share: give a number from 0 to below 1.")
    if decode not in DECODES:
        raise ArgumentError(f"decode={decode!r} is not known: give one of {', '.join(map(repr, DECODES))}.")
    if task != "forecast" and decode != "direct":
        raise ArgumentError(f"decode={decode!r} runs past the end of a window, and {task} asks for nothing there: give "
                            "decode='direct'.")
    if streaming and decode != "closed_loop":
        raise ArgumentError(
            f"streaming=True with decode={decode!r}, which reads a look-back of one length: give decode='closed_loop'."
        )
