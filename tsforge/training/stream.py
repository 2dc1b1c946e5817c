"""Streaming networks over prepared series: one pass over each, however many cutoffs there are."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from tsforge.data.prepare import Prepared
from tsforge.data.windows import Cutoffs, Windows
from tsforge.models.base import Model, State

CHUNK = 256  # steps read in one call
ABREAST = 128  # series read side by side


def streamed_forecasts(
    network: Model, windows: Windows, at_once: int, device: torch.device
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Numbers of windows and their forecasts, each from the whole context of its series."""
    series, rows = windows.index.locate(np.arange(len(windows)))
    found = states_at(network, windows.prepared, series, rows, device)
    for numbers, state in _together(found, at_once):
        yield numbers, forecasts_from(network, state, windows.prepared, Cutoffs(series[numbers], rows[numbers]))


def forecasts_from(network: Model, state: State, prepared: Prepared, cutoffs: Cutoffs) -> Tensor:
    """The forecasts after cutoffs, given the states there."""
    windows = Windows(prepared, cutoffs, 1, network.h, filled=False, targets=False)
    known = windows.gather(np.arange(len(cutoffs))).future_covariates
    return network.ahead(state, None if known is None else known[:, 1:].to(state["last"].device))


def states_at(
    network: Model, prepared: Prepared, series: np.ndarray, rows: np.ndarray, device: torch.device, *,
    begins: np.ndarray | None = None, states: State | None = None,
) -> Iterator[tuple[np.ndarray, State]]:
    """Numbers of cutoffs and the states there, in the order in which they are come to.

    Args:
        network: One that streams.
        prepared: Scaled rows.
        series: Of each cutoff.
        rows: Of each cutoff; none lies before `begins`.
        device: Where the network is.
        begins: [series] the first row that is read; None is the first of each series.
        states: [series, ...] the states before these rows; None where nothing was read before.
    """
    begins = prepared.starts if begins is None else begins
    wanted, reach = rows - begins[series] + 1, np.zeros(len(begins), dtype=np.int64)
    np.maximum.at(reach, series, wanted)
    longest = np.argsort(-reach, kind="stable")[: np.count_nonzero(reach)]
    place = np.empty(len(begins), dtype=np.int64)
    place[longest] = np.arange(len(longest))
    order = np.lexsort((wanted, place[series] // ABREAST))
    edges = np.searchsorted(place[series[order]] // ABREAST, np.arange(-(-len(longest) // ABREAST) + 1))
    for number, (low, high) in enumerate(pairwise(edges)):
        group, mine = longest[number * ABREAST : (number + 1) * ABREAST], order[low:high]
        chosen = torch.from_numpy(group)
        first = network.start(len(group)) if states is None else {name: s[chosen] for name, s in states.items()}
        due, places = wanted[mine], place[series[mine]] - number * ABREAST
        for at, state in _side_by_side(network, prepared, group, begins, reach[group], np.unique(due), first, device):
            low, high = np.searchsorted(due, at), np.searchsorted(due, at, side="right")
            yield mine[low:high], {name: s[torch.from_numpy(places[low:high])] for name, s in state.items()}


def _side_by_side(
    network: Model, prepared: Prepared, group: np.ndarray, begins: np.ndarray, reach: np.ndarray, due: np.ndarray,
    state: State, device: torch.device,
) -> Iterator[tuple[int, State]]:
    """The states of some series, the longest first, after each of the steps in `due`; one that has ended falls out."""
    at = 0
    for stop in np.unique(np.append(due, np.arange(CHUNK, reach[0], CHUNK))):
        active = group[: np.searchsorted(-reach, -stop, side="right")]
        cutoffs = Cutoffs(active, begins[active] + stop - 1)
        steps = Windows(prepared, cutoffs, int(stop - at), 0, filled=False, targets=False)
        state = {name: tensor[: len(active)] for name, tensor in state.items()}
        state, at = network.advance(steps.gather(np.arange(len(active))).to(device), state), stop
        if due[np.searchsorted(due, stop)] == stop:
            yield stop, state


def final_states(
    network: Model, prepared: Prepared, ends: np.ndarray, device: torch.device, *, begins: np.ndarray | None = None,
    states: State | None = None,
) -> State:
    """[series, ...] the states after the row before `ends`; arguments as in `states_at`."""
    with torch.inference_mode():
        out = network.start(len(ends))
        found = states_at(network, prepared, np.arange(len(ends)), ends - 1, device, begins=begins, states=states)
        for numbers, state in found:
            for name, tensor in state.items():
                out[name][torch.from_numpy(numbers)] = tensor
    return out


def _together(parts: Iterator[tuple[np.ndarray, State]], least: int) -> Iterator[tuple[np.ndarray, State]]:
    """Parts put together until they are so many."""
    kept: list[tuple[np.ndarray, State]] = []
    for part in parts:
        kept.append(part)
        if sum(len(numbers) for numbers, _ in kept) >= least:
            yield _joined(kept)
            kept = []
    if kept:
        yield _joined(kept)


def _joined(parts: list[tuple[np.ndarray, State]]) -> tuple[np.ndarray, State]:
    states = {name: torch.cat([state[name] for _, state in parts]) for name in parts[0][1]}
    return np.concatenate([numbers for numbers, _ in parts]), states
