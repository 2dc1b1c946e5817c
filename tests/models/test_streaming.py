from importlib import import_module
from itertools import pairwise

import pytest
import torch

from tsforge.batch import Batch
from tsforge.data.windows import carried_forward
from tsforge.errors import ArgumentError
from tsforge.kernels import GridState
from tsforge.layers.chimera import SelectiveGrid
from tsforge.layers.running_norm import running_norm, undone
from tsforge.layers.s4d import DiagonalSSM
from tsforge.models import MODELS

SIZES = {"h": 4, "input_size": 12, "in_channels": 3, "d_model": 5, "d_state": 6, "n_layers": 2}
COVARIATES = {"past_covariates": 2, "future_covariates": 1}
NETWORKS = [
    ("s4d", {}), ("s4d", {"channels": "independent", "discretisation": "bilinear"}), ("s4d", {"outputs": 3}),
    ("s4d", COVARIATES), ("s4d", {"channels": "independent", **COVARIATES}), ("s4d", {"past_covariates": 2}),
    ("s4d", {"future_covariates": 1}),
    *(("chimera", {"decode": "closed_loop", **more}) for more in (
        {}, {"outputs": 3}, {"coupling": "exp", "n_layers": 1}, {"coupling": "none"}, {"bidirectional": False},
        {"transition": "scalar", "selective": False},
    )),
]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def network(name, dtype=torch.float64, **arguments):
    """In eval mode, with weights that follow a fixed, irregular rule."""
    model = MODELS[name](**{**SIZES, "streaming": True, **arguments}).to(dtype)
    with torch.no_grad():
        for rank, (key, weight) in enumerate(model.named_parameters(), start=1):
            angle = torch.arange(weight.numel(), dtype=torch.float64) * 12.9898 + rank * 78.233
            drawn = (angle.sin() * 43758.5453 % 1 - 0.5).view_as(weight)
            weight.copy_(drawn - 2 if key.endswith("log_dt") else 2 * drawn)
    return model.eval()


def context(model, steps=12, missing=0.3, dtype=torch.float64):
    """`steps` steps of three series; covariates known ahead go on over the horizon."""
    past, mask = torch.randn(3, steps, 3, dtype=dtype), torch.rand(3, steps, 3) >= missing
    more = {}
    if model.past_covariates:
        more["past_covariates"] = torch.randn(3, steps, model.past_covariates, dtype=dtype)
    if model.future_covariates:
        more["future_covariates"] = torch.randn(3, steps + model.h, model.future_covariates, dtype=dtype)
    return Batch(past=past * mask, past_mask=mask, series=torch.zeros(3, dtype=torch.long), **more)


def steps_of(batch, low, high, series=slice(None)):
    parts = {name: part[series, low:high] for name, part in vars(batch).items() if part is not None and part.ndim == 3}
    return Batch(**parts, series=batch.series[series])


def streamed(model, batch, cuts, forget=False):
    """The forecast after the whole context, read in pieces."""
    state, known = model.start(len(batch)), batch.future_covariates
    for low, high in pairwise(cuts):
        state = model.advance(steps_of(batch, low, high), model.start(len(batch)) if forget else state)
    return model.ahead(state, None if known is None else known[:, -model.h :])


def filled(batch):
    return Batch(**{**vars(batch), "past": carried_forward(batch.past, batch.past_mask)})


@pytest.mark.parametrize(("name", "arguments"), NETWORKS, ids=str)
def test_read_in_pieces_it_forecasts_as_the_forward_of_the_whole(name, arguments):
    for dtype, bound in ((torch.float64, 1e-10), (torch.float32, 2e-5)):
        model = network(name, dtype, **arguments)
        batch = context(model, dtype=dtype)
        whole = model(filled(batch))
        for cuts in ([0, 12], list(range(13)), [0, 3, 6, 9, 12], [0, 10, 11, 12]):
            assert (streamed(model, batch, cuts) - whole).abs().max() < bound
        assert (streamed(model, batch, [0, 6, 12], forget=True) - whole).abs().max() > 1e-2  # the planted fault


@pytest.mark.parametrize(("name", "arguments"), NETWORKS, ids=str)
def test_of_a_long_context_it_forecasts_as_the_forward_of_one_window_that_long(name, arguments):
    model = network(name, **arguments)
    batch = context(model, steps=600)
    assert (streamed(model, batch, [0, 256, 512, 600]) - model(filled(batch))).abs().max() < 1e-10


@pytest.mark.parametrize(("name", "arguments"), NETWORKS, ids=str)
def test_a_series_is_read_alike_alone_and_in_company(name, arguments):
    model = network(name, **arguments)
    batch = context(model)
    alone = steps_of(batch, None, None, slice(1, 2))
    assert (streamed(model, alone, [0, 5, 12]) - streamed(model, batch, [0, 5, 12])[1:2]).abs().max() < 1e-12


@pytest.mark.parametrize(("name", "arguments"), NETWORKS, ids=str)
def test_the_state_is_of_one_size_and_every_part_of_it_matters(name, arguments):
    model = network(name, **arguments)
    batch = context(model, missing=1.0)
    seen = steps_of(context(model, missing=0.0), 0, 12)
    state = model.advance(seen, model.start(3))
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in model.start(3).items()}
    later = steps_of(batch, 0, 1)  # nothing observed: what was last seen is carried on
    known = None if batch.future_covariates is None else batch.future_covariates[:, -model.h :]

    def after(state):
        return model.ahead(state, known), model.ahead(model.advance(later, state), known)

    for part in state:
        changed = zip(after({**state, part: state[part] + 0.5}), after(state), strict=True)
        assert max((a - b).abs().max() for a, b in changed) > 1e-6, part


def systems_of(model):
    return [module for module in model.modules() if isinstance(module, DiagonalSSM | SelectiveGrid)]


@pytest.mark.parametrize(
    ("name", "arguments"), [pair for pair in NETWORKS if pair[1].get("coupling") != "exp"],  # which never remembers
    ids=str,
)
def test_what_it_saw_many_input_sizes_ago_it_has_forgotten_however_slow_its_weights_are(name, arguments):
    model = network(name, **arguments)
    for system in systems_of(model):
        (system.log_dt if name == "s4d" else system.steps.bias).data.fill_(-9)
    here = context(model, steps=300, missing=0.0)

    def apart():
        there = steps_of(context(model, steps=300, missing=0.0), 0, 300 - 20 * 12)
        parts = {name: torch.cat([getattr(there, name), part[:, 60:]], 1) for name, part in vars(here).items()
                 if part is not None and part.ndim == 3}
        return (streamed(model, Batch(**parts, series=here.series), [0, 300]) - streamed(model, here, [0, 300])).abs()

    assert apart().max() < 1e-6
    for system in systems_of(model):
        system.least_decay = 0.0
    assert apart().max() > 1e-4  # the control


@pytest.mark.parametrize(("name", "arguments"), NETWORKS, ids=str)
def test_but_for_normalisation_and_bounded_memory_it_is_the_network_that_does_not_stream(name, arguments, monkeypatch):
    model, other = network(name, **arguments), network(name, **arguments, streaming=False)
    batch = filled(context(model))
    assert (other(batch) - model(batch)).abs().max() > 1e-3

    def running(x, mask):
        x, moments = running_norm(x, mask, model.start(3)["moments"], 12)
        ends = undone(torch.tensor([0.0, 1.0]).expand(3, 1, 3, 2).double(), moments)
        return x, ends[..., 0], ends[..., 1] - ends[..., 0]

    monkeypatch.setattr(import_module(type(model).__module__), "normalise", running)
    for mine, its in zip(systems_of(model), systems_of(other), strict=True):
        its.least_decay = mine.least_decay
    assert (other(batch) - model(batch)).abs().max() < 1e-12


def test_those_that_stream_say_so_and_others_have_no_state():
    able = [name for name in MODELS if MODELS[name].streams]
    assert able == [name for name in MODELS if name in {name for name, _ in NETWORKS}]
    model = MODELS["dlinear"](h=2, input_size=4, in_channels=1)
    assert not model.streaming
    for call in (lambda: model.start(1), lambda: model.advance(context(model), {}), lambda: model.ahead({})):
        with pytest.raises(NotImplementedError, match="DLinear does not stream"):
            call()


def test_what_reads_a_look_back_of_one_length_does_not_stream():
    with pytest.raises(ArgumentError, match=r"streaming=True with decode='direct'.*decode='closed_loop'"):
        MODELS["chimera"](**SIZES, streaming=True)


def test_an_uncoupled_time_state_is_gone_after_its_memory_and_a_memory_of_nothing_is_refused():
    x, state = torch.zeros(1, 2, 12, 3), GridState(torch.ones(1, 2, 3, 4), torch.zeros(1, 2, 3, 4))
    for memory, most, least in ((12, 0.05, 0.0), (None, 1.0, 0.9)):  # the second is the control
        grid = SelectiveGrid(3, 4, (1e-4, 1e-3), coupling="none", memory=memory)
        left = grid(x, state)[1][0]
        assert left.max() <= most
        assert left.min() >= least
    with pytest.raises(ArgumentError, match="memory=0"):
        SelectiveGrid(3, 4, (0.1, 1.0), memory=0)
