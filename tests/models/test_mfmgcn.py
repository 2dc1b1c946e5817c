import itertools

import pytest
import torch
from batches import batch_of, random_batch
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.models.mfmgcn import MFMGCN

WHERE = [[0.0, 0.0, 10.0], [0.0, 1.0, 50.0], [2.0, 1.0, 0.0], [3.0, 3.0, 900.0], [1.0, 5.0, 20.0]]


def network(stations=5, factors=1, outputs=1, h=3, lookback=6, known=0, seen=0, seed=0, **own) -> MFMGCN:
    torch.manual_seed(seed)
    own = {"hidden": 4, "links": 2, "embedding": 3} | own
    sizes = {"past_covariates": seen, "future_covariates": known}
    return MFMGCN(h, lookback, stations * factors, outputs, factors=factors, **sizes, **own).double()


def past_of(channels=5, windows=3, lookback=6, seed=1):
    return torch.randn(windows, lookback, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gc(conv, x, graphs):
    """One window: sum_r softmax(w)_r A_r x W_r + x W_0 + b, a node and an output at a time."""
    mix, nodes, out = conv.mix.exp() / conv.mix.exp().sum(), len(x), conv.own.out_features
    z = x.new_zeros(nodes, out)
    for i, o in itertools.product(range(nodes), range(out)):
        z[i, o] = conv.own.bias[o] + sum(conv.own.weight[o, c] * x[i, c] for c in range(x.shape[1]))
        for r, graph in enumerate(graphs):
            heard = sum(graph[i, j] * x[j] for j in range(nodes))
            z[i, o] += mix[r] * (heard * conv.weight[r, :, o]).sum()
    return z


def step(cell, x, h, graphs):
    if cell.dynamic is not None:
        g = x @ cell.dynamic.read.weight.mT + cell.dynamic.read.bias
        scores = torch.tanh(g * cell.dynamic.takes) @ torch.tanh(g * cell.dynamic.sends).T
        scores = torch.where(scores > 0, scores, 0.0).exp()
        graphs = [*graphs, scores / scores.sum(1, keepdim=True)]
    both = 1 / (1 + torch.exp(-gc(cell.gates, torch.cat([x, h], 1), graphs)))
    r, u = both[:, : h.shape[1]], both[:, h.shape[1] :]
    return u * h + (1 - u) * torch.tanh(gc(cell.candidate, torch.cat([x, r * h], 1), graphs))


def transcription(model, batch):
    answers = []
    for b, window in enumerate(batch.past):
        known = None if batch.future_covariates is None else batch.future_covariates[b]
        nodes = model.place.shape[0]

        def beside(t, b=b, known=known, nodes=nodes):
            told = [model.place] if known is None else [known[t].expand(nodes, -1), model.place]
            if batch.past_covariates is not None and t < model.input_size:
                told = [batch.past_covariates[b, t].expand(nodes, -1), *told]
            return torch.cat(told, 1)

        state = window.new_zeros(nodes, model.hidden)
        for t, x in enumerate(window):
            state = step(model.encoder, torch.cat([x.view(nodes, -1), beside(t)], 1), state, list(model.graphs))
        last = window[-1].view(nodes, -1).repeat_interleave(model.outputs, 1)
        y, steps = last, []
        for k in range(model.h):
            state = step(model.decoder, torch.cat([y, beside(len(window) + k)], 1), state, list(model.graphs))
            y = state @ model.head.weight.T + model.head.bias + (last if model.from_last else 0)
            steps.append(y.view(nodes * model.factors, model.outputs))
        answers.append(torch.stack(steps))
    return torch.stack(answers)


@pytest.mark.parametrize(
    "own",
    [{"coordinates": WHERE[:3]}, {"dynamic": False},
     {"factors": 2, "outputs": 3, "known": 2, "seen": 1, "from_last": False}],
    ids=["coordinates", "static", "factors"],
)
def test_it_equals_its_equations(own):
    model = network(stations=3, **own)
    sizes = {name: getattr(model, name) for name in ("past_covariates", "future_covariates")}
    batch = random_batch(2, model.in_channels, 6, 3, **sizes)
    for weight in model.parameters():  # the shares of the graphs start equal
        weight.data += 0.1 * torch.randn_like(weight)
    model.before_fit([batch])
    assert_close(model(batch), transcription(model, batch), rtol=1e-9, atol=1e-9)
    model.encoder.gates.mix.data[0] += 1.0
    other = model(batch)
    model.encoder.gates.mix.data[0] -= 1.0
    assert model.encoder.gates.mix.numel() == 1 or (other - transcription(model, batch)).abs().max() > 1e-6


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(("where", "known"), [(None, 0), (WHERE, 2)])
def test_it_has_as_many_parameters_as_it_says(where, known, dynamic):
    n, f, o, h, e, p = 5, 2, 3, 4, 3, 0 if where is None else 3
    model = network(n, f, o, known=known, seen=known, coordinates=where, dynamic=dynamic)
    r = f + (0 if where is None else 2) + dynamic

    def conv(i, out):
        return (r + 1) * i * out + r + out

    def cell(i):
        return conv(i + h, 2 * h) + conv(i + h, h) + dynamic * e * (i + 1 + 2 * n)

    expected = cell(f + 2 * known + p) + cell(f * o + known + p) + (h + 1) * f * o
    assert sum(weight.numel() for weight in model.parameters()) == expected


def permuted(model, order):
    other = network(coordinates=[WHERE[i] for i in order])
    other.load_state_dict(model.state_dict())
    other.graphs.copy_(model.graphs[:, order][:, :, order])
    other.place.copy_(model.place[order])
    for cell in (other.encoder, other.decoder):
        for embedding in (cell.dynamic.sends, cell.dynamic.takes):
            embedding.data = embedding.data[order]
    return other


def test_permuting_the_stations_permutes_the_forecasts():
    model, past, order = network(coordinates=WHERE), past_of(), torch.tensor([3, 0, 4, 1, 2])
    model.before_fit([batch_of(past)])
    other = permuted(model, order)
    assert_close(other(batch_of(past[..., order])), model(batch_of(past))[:, :, order])
    other.graphs.copy_(model.graphs)  # the control: graphs that stay as they were
    assert (other(batch_of(past[..., order])) - model(batch_of(past))[:, :, order]).abs().max() > 1e-4


def heard(model, past, of):
    """The largest gradient of one station's forecast by each station's past."""
    past = past.clone().requires_grad_()
    model(batch_of(past))[:, :, of].sum().backward()
    assert past.grad is not None
    return past.grad.abs().amax((0, 1))


def test_on_graphs_of_single_stations_they_are_independent():
    model, past = network(dynamic=False), past_of()
    assert (model.graphs == torch.eye(5)).all()  # before correlations are known
    alone = network(stations=1, dynamic=False)
    alone.load_state_dict({**model.state_dict(), "graphs": alone.graphs, "place": alone.place})
    for station in range(5):
        assert_close(model(batch_of(past))[:, :, [station]], alone(batch_of(past[..., [station]])))
    assert (heard(model, past, 0) > 0).tolist() == [True, False, False, False, False]
    assert (heard(network(coordinates=WHERE, dynamic=False), past, 0) > 0).sum() > 1  # the control


def test_no_message_reaches_an_isolated_station_on_static_graphs():
    model, past = network(coordinates=WHERE, dynamic=False), past_of()
    model.graphs[:, 2] = torch.eye(5, dtype=torch.float64)[2]
    assert (heard(model, past, 2) > 0).tolist() == [False, False, True, False, False]
    dynamic = network(coordinates=WHERE)  # the control: a dynamic graph links everybody
    dynamic.graphs[:, 2] = torch.eye(5, dtype=torch.float64)[2]
    assert (heard(dynamic, past, 2) > 0).all()


def test_the_dynamic_graph_follows_the_values_and_learns():
    model, past = network(), past_of()
    graph = model.encoder.dynamic
    one, other = graph(past[:, 0, :, None]), graph(past[:, 1, :, None])
    assert_close(one.sum(-1), torch.ones(3, 5, dtype=torch.float64))
    assert (one - other).abs().max() > 1e-3
    model(batch_of(past)).square().sum().backward()
    for weight in (graph.sends, graph.takes, graph.read.weight):
        assert weight.grad.abs().max() > 0


def test_correlation_graphs_are_those_of_each_factor_in_training():
    model, past = network(stations=3, factors=2, quantile=0.0), past_of(6, windows=40)
    past[..., 2] = past[..., 0]  # factor 0 of stations 0 and 1
    past[..., 5] = -past[..., 1]  # factor 1 of stations 0 and 2
    mask = torch.ones_like(past, dtype=torch.bool)
    mask[0], past[0] = False, 1e6  # missing: not read
    model.before_fit([batch_of(past[:20], mask[:20]), batch_of(past[20:], mask[20:])])
    assert_close(model.graphs[0, 0, 1], model.graphs[0, 0, 0])
    assert model.graphs[1, 0, 2] == 0
    assert model.graphs[1, 0, 1] != model.graphs[0, 0, 1]


def ring(steps, stations=12, seed=0):
    """A wave along the equator: each station has next what the one before it has now, but for some noise."""
    noise = torch.randn(steps, stations, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    values = [noise[0]]
    for fresh in noise[1:]:
        values.append(0.95 * values[-1].roll(1) + 0.3 * fresh)
    return torch.stack(values), [[0.0, 360.0 * i / stations] for i in range(stations)]


def windows(values, lookback=4):
    seen = values.unfold(0, lookback + 1, 1).transpose(1, 2)
    return seen[:, :lookback], seen[:, lookback:]


def trained(model, past, future, steps=200):
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for number in range(steps):
        rows = torch.arange(number * 16, number * 16 + 16) % len(past)
        optimiser.zero_grad()
        (model(batch_of(past[rows]))[..., 0] - future[rows]).abs().mean().backward()
        optimiser.step()
    return model


@pytest.mark.slow
def test_a_wave_that_travels_on_a_ring_is_seen_coming_where_each_station_alone_does_not():
    values, where = ring(400)
    past, future = windows(values)
    flat = past.transpose(1, 2).flatten(0, 1)[: 300 * 12]
    design = torch.cat([flat, torch.ones(len(flat), 1)], 1)
    coefficients = torch.linalg.lstsq(design, future[:300].flatten()[:, None]).solution[:, 0]
    linear = (past[300:].mT @ coefficients[:4] + coefficients[4] - future[300:, 0]).abs().mean()
    own = {"hidden": 16, "links": 2, "dynamic": False, "from_last": False}
    error = {}
    for kind, links in (("ring", 2), ("nobody", 0)):
        torch.manual_seed(0)
        model = MFMGCN(1, 4, 12, coordinates=where, **own | {"links": links}).double()
        trained(model, past[:300], future[:300])
        with torch.no_grad():
            error[kind] = (model(batch_of(past[300:]))[..., 0] - future[300:]).abs().mean()
    assert error["ring"] < 0.8 * linear
    assert error["nobody"] > 0.9 * linear  # the control: the same network without the graph


@pytest.mark.parametrize(
    ("own", "word"),
    [({"factors": 2}, "does not divide 5"), ({"coordinates": WHERE[:4]}, "for each of 5 stations"),
     ({"coordinates": [[91.0, 0.0]] * 5}, "lies nowhere"), ({"coordinates": [[0.0]] * 5}, "wanted .latitude"),
     ({"hidden": 0}, "hidden=0"), ({"factors": 0}, "factors=0"), ({"links": -1}, "links=-1"),
     ({"quantile": 1.5}, "quantile=1.5")],
)
def test_arguments_out_of_range_are_refused(own, word):
    with pytest.raises(ArgumentError, match=word):
        MFMGCN(3, 6, 5, **own)
