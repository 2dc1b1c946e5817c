"""MFMGCN: a recurrent network over stations, which hear each other along several graphs.

Paper     Zhu et al. (2023), "Weather2K: A Multivariate Spatio-Temporal Benchmark Dataset for Meteorological Forecasting
          Based on Real-Time Observation Data from Ground Weather Stations", arXiv:2302.10493. Its equations and tables
          were not to hand: the model is reconstructed from its abstract and from common practice.
Equation  graphs: distance and neighbour of the coordinates, one correlation graph a factor   (layers/station_graphs.py)
          h_t = cell([x_t, z_t, known_t, place], h_{t-1}) over the look-back,   h_0 = 0           (layers/graph_gru.py)
          s_k = cell'([y_{k-1}, known_k, place], s_{k-1}) over the horizon,   s_0 = h,   y_0 = the last values
          y_k = last values + s_k W + b, the first term only with `from_last`
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output];   channel c = factor c % F of station c // F
          x [batch, station, F]   h, s [batch, station, hidden]   graphs [graph, station, station]
          z, known: covariates, the same for every station
Units     those of the scaled targets, in and out; coordinates in degrees and metres
Differs   `from_last` is ours. The decoder hears its own forecasts in training too (no scheduled sampling).
          Correlations are those of the training windows, so a step counts in every window that holds it.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.layers.channel_groups import ChannelSums
from tsforge.layers.graph_gru import GraphGRUCell
from tsforge.layers.station_graphs import correlation_graph, distance_graph, neighbour_graph
from tsforge.models.base import Model
from tsforge.space import Choice, Declared


class MFMGCN(Model):
    """An encoder and a decoder of graph-convolutional GRU cells, and one linear map for every station and step.

    A convolution from i to o numbers over R graphs has (R + 1) i o + R + o parameters, and a cell those from i + H to
    2 H and from i + H to H, with e (i + 1 + 2 N) of a dynamic graph. With N stations of F factors, O outputs, f
    covariates known ahead, q known up to the cutoff and p coordinates, i is F + q + f + p in the encoder and
    F O + f + p in the decoder; R = F, 2 more with coordinates, 1 more with `dynamic`. The head has (H + 1) F O.

    Args:
        coordinates: Latitude, longitude and, if wanted, altitude of each station, in the order of the channels: with
            `channels_from="unique_id"` that of the sorted names. None leaves out the graphs that need them.
        factors: Targets of each station; channels are station after station.
        hidden: Width of each station's state.
        links: Stations that each is linked to in the distance and the neighbour graph.
        quantile: Correlations below this quantile of all make no link.
        dynamic: A graph that follows the values, besides.
        embedding: Width of what the dynamic graph learns of each station.
        from_last: Forecast what is added to the last values.

    Raises:
        ArgumentError: a size is out of range, or `coordinates` or `factors` do not fit the channels.
    """

    covariates: ClassVar[tuple[str, ...]] = ("past", "future")
    space: ClassVar[Declared] = {"hidden": Choice(32, 64), "quantile": Choice(0.5, 0.8), "embedding": Choice(4, 8, 16)}

    graphs: Tensor
    place: Tensor

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (),
        coordinates: Sequence[Sequence[float | int]] | None = None, factors: int = 1, hidden: int = 64,
        links: int = 4, quantile: float | int = 0.5, dynamic: bool = True, embedding: int = 8,
        from_last: bool = True,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        _check_sizes(links, quantile, factors=factors, hidden=hidden, embedding=embedding)
        nodes = _stations(in_channels, factors)
        where = _places(coordinates, nodes)
        static = [] if where is None else [distance_graph(where, links), neighbour_graph(where, links)]
        graphs = torch.stack([*static, *torch.eye(nodes, dtype=torch.float64).expand(factors, nodes, nodes)])
        place = torch.zeros(nodes, 0) if where is None else _standardised(where)
        self.factors, self.hidden, self.quantile, self.from_last = factors, hidden, quantile, from_last
        self.register_buffer("graphs", graphs.to(torch.get_default_dtype()))
        self.register_buffer("place", place.to(torch.get_default_dtype()))
        beside, e = future_covariates + place.shape[1], embedding if dynamic else 0
        self.encoder = GraphGRUCell(factors + past_covariates + beside, hidden, len(graphs), nodes, e)
        self.decoder = GraphGRUCell(factors * outputs + beside, hidden, len(graphs), nodes, e)
        self.head = nn.Linear(hidden, factors * outputs)

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window; statics are not read."""
        past = batch.past.unflatten(-1, (-1, self.factors))  # [batch, lookback, node, factor]
        beside = self._beside(batch)
        state = past.new_zeros(*past[:, 0].shape[:2], self.hidden)
        for x in past.unbind(1):
            state = self.encoder(torch.cat([x, next(beside)], -1), state, self.graphs)
        last = past[:, -1].repeat_interleave(self.outputs, -1)  # [batch, node, factor * output]
        value, answers = last, []
        for _ in range(self.h):
            state = self.decoder(torch.cat([value, next(beside)], -1), state, self.graphs)
            value = self.head(state) + last if self.from_last else self.head(state)
            answers.append(value)
        return torch.stack(answers, 1).unflatten(-1, (self.factors, self.outputs)).flatten(2, 3)

    @torch.no_grad()
    def before_fit(self, batches: Iterable[Batch]) -> None:
        """Finds which stations move alike, in each factor.

        Args:
            batches: All training windows, gone through once.
        """
        sums = ChannelSums(self.in_channels)
        for batch in batches:
            steps = torch.arange(batch.past.shape[1], device=batch.past.device).to(batch.past.dtype)
            sums.add(batch.past, batch.past_mask, steps.expand(len(batch), -1))
        r = sums.correlation()
        for factor in range(self.factors):
            own = r[factor :: self.factors, factor :: self.factors]
            self.graphs[factor - self.factors].copy_(correlation_graph(own, self.quantile))

    def _beside(self, batch: Batch) -> Iterator[Float[Tensor, "batch node f"]]:
        """The covariates at each step of look-back and horizon, the same for all stations, and where each lies."""
        place = self.place.expand(len(batch), *self.place.shape)
        for step in range(batch.past.shape[1] + self.h):
            past = batch.past_covariates if step < batch.past.shape[1] else None
            told = [part[:, step, None].expand(-1, place.shape[1], -1)
                    for part in (past, batch.future_covariates) if part is not None]
            yield torch.cat([*told, place], -1)


def _stations(channels: int, factors: int) -> int:
    if channels % factors:
        raise ArgumentError(
            f"factors={factors} does not divide {channels} channels: give the number of targets of each station, or 1 "
            "to take each channel for a station."
        )
    return channels // factors


def _places(coordinates: Sequence[Sequence[float | int]] | None, nodes: int) -> Tensor | None:
    if coordinates is None:
        return None
    widths = {len(place) for place in coordinates}
    if len(coordinates) != nodes or widths not in ({2}, {3}):
        raise ArgumentError(
            f"coordinates= has {len(coordinates)} entries of {sorted(widths)} numbers: wanted [latitude, longitude] or "
            f"[latitude, longitude, altitude] for each of {nodes} stations, in the order of the channels."
        )
    for place in coordinates:
        if not all(isfinite(number) for number in place) or abs(place[0]) > 90 or abs(place[1]) > 360:
            raise ArgumentError(
                f"coordinates: {list(place)} lies nowhere: wanted degrees north from -90 to 90, degrees east from -360 "
                "to 360, metres."
            )
    return torch.tensor([[float(number) for number in place] for place in coordinates], dtype=torch.float64)


def _standardised(where: Float[Tensor, "node place"]) -> Float[Tensor, "node place"]:
    """Coordinates as inputs, over the stations; one that is the same everywhere is 0."""
    centred = where - where.mean(0)
    sd = centred.square().mean(0).sqrt()
    return centred / torch.where(sd > 1e-9, sd, 1.0)


def _check_sizes(links: int, quantile: float | int, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least 1.")
    if links < 0:
        raise ArgumentError(f"links={links}: give 0 (none) or more.")
    if not 0 <= quantile <= 1:
        raise ArgumentError(f"quantile={quantile} is not a share: give a number from 0 to 1.")
