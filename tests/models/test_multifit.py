import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from batches import batch_of
from torch.testing import assert_close

import tsforge
from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.models.multifit import MultiFIT

C, STEPS = 4, 7
SIZES = {"h": 3, "input_size": STEPS, "in_channels": C, "d_model": 3, "hidden": 5}
TWO = {"groups": [[0, 2], [1, 3]]}


def by_rule(model):
    """In eval mode, with weights that follow a fixed, irregular rule."""
    with torch.no_grad():
        for k, weight in enumerate(model.parameters()):
            n = torch.arange(weight.numel(), dtype=torch.float64)
            weight.copy_((0.6 * torch.sin(1.3 * n + k) + 0.2 * torch.cos(0.7 * n * n + k)).view_as(weight))
    return model


def network(**arguments):
    return by_rule(MultiFIT(**{**SIZES, **arguments}).double()).eval()


def windows(count: int = 5, missing: float = 0.4, seed: int = 0) -> Batch:
    """Irregular windows; the second lacks a channel, the third a group, the last everything."""
    generator = torch.Generator().manual_seed(seed)
    past = 3 * torch.randn(count, STEPS, C, dtype=torch.float64, generator=generator) + 1
    mask = torch.rand(count, STEPS, C, generator=generator) >= missing
    gaps = torch.rand(count, STEPS, dtype=torch.float64, generator=generator) * 3 + 0.1
    gaps[:, 0] = 0
    times = gaps.cumsum(1) - gaps.sum(1, keepdim=True)
    mask[0] |= torch.rand(STEPS, C, generator=generator) < 0.5  # every channel at least once
    mask[1 % count, :, 0] = False
    mask[2 % count, :, 1::2] = False
    if count > 1:
        mask[-1] = False
    return batch_of(past * mask, mask, gaps=gaps, times=times)


def signed_log(x: float) -> float:
    return math.copysign(math.log1p(abs(x)), x)


def inputs_of(model, past, mask, times, group):
    """f of the channels of a group on its grid, one event at a time: [grid step][channel] -> [v, mu, m, d]."""
    rows = [t for t in range(len(past)) if any(mask[t, c] for c in group)]
    scaled = signed_log if model.delta_scale == "log" else float
    table = [{c: [] for c in group} for _ in rows]
    for c in group:
        values = [past[t, c].item() for t in rows if mask[t, c]]
        came, last, when, count = [], None, times[rows[0]].item() if rows else 0.0, -1
        for k, t in enumerate(rows):
            if mask[t, c]:
                last, when, count = past[t, c].item(), times[t].item(), 0
                came.append(last)
            known = values if model.mean == "sequence" else came
            mu = sum(known) / len(known) if known else 0.0
            d = times[t].item() - when if model.delta == "time" else count
            table[k][c] = [mu if last is None else last, mu, float(not mask[t, c]), scaled(d)]
            count += 1
    return rows, table, scaled


def run_lstm(u, drive):
    hidden = len(u)
    state = cell = drive.new_zeros(hidden)
    states = []
    for a in drive:
        i, f, o, g = (a + state @ u).chunk(4)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        state = o.sigmoid() * cell.tanh()
        states.append(state)
    return torch.stack(states)


def pooled(model, past, mask, times, g):
    """c_g of one window."""
    group = [c for c in range(C) if model.group[c] == g]
    width = model.attention.shape[1]
    rows, table, scaled = inputs_of(model, past, mask, times, group)
    if not rows:
        return past.new_zeros(width)
    drive = []
    for t, f in zip(rows, table, strict=True):
        a = model.bias[g].clone()
        if model.clock is not None:
            a = a + scaled(-times[t].item()) * model.clock[g]
        for c in group:
            joined = [x for r in [c, *model.support[c].tolist()] for x in (f[r] if r >= 0 else [0.0] * 4)]
            a = a + (model.maps[c] @ past.new_tensor(joined) + model.offsets[c]) @ model.inputs[c]
        drive.append(a)
    ways = torch.stack(drive).chunk(model.lstm.directions, -1)
    states = [run_lstm(model.lstm.recurrent[g, 0], ways[0])]
    if len(ways) == 2:
        states.append(run_lstm(model.lstm.recurrent[g, 1], ways[1].flip(0)).flip(0))
    o = torch.cat(states, 1)
    return (o @ model.attention[g]).softmax(0) @ o


def transcription(model, batch):
    """The paper's equations, one window, group and step at a time; the forecast starts from the anchor."""
    forecasts = []
    for n in range(len(batch)):
        past, mask, times = batch.past[n], batch.past_mask[n], batch.times[n]
        level = past.new_zeros(C)
        for c in range(C):
            seen = past[mask[:, c], c]
            if len(seen) and model.anchor != "none":
                level[c] = seen[-1] if model.anchor == "last" else seen.mean()
        context = torch.cat([pooled(model, past - level, mask, times, g) for g in range(model.n_groups)])
        y = (model.head.state.weight @ context + model.head.state.bias).view(model.h, C, model.outputs)
        forecasts.append(y + level[:, None])
    return torch.stack(forecasts)


VARIANTS = [
    {}, TWO, {"variant": "fitv", "supports": 2}, {"variant": "fit", "delta": "count"}, {"groups": [[0], [1, 3, 2]]},
    {**TWO, "delta": "count", "delta_scale": "raw"}, {**TWO, "mean": "running", "anchor": "none"},
    {"anchor": "mean", "clock": False}, {**TWO, "bidirectional": False}, {"outputs": 3, "supports": 0},
]


@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_it_equals_its_equations(arguments):
    model, batch = network(**arguments), windows()
    assert_close(model(batch), transcription(model, batch), rtol=1e-9, atol=1e-9)


def test_the_equations_see_one_changed_weight_and_one_changed_convention():
    model, batch = network(**TWO), windows()
    expected = transcription(model, batch)
    for name, value in (("delta", "count"), ("delta_scale", "raw"), ("mean", "running"), ("anchor", "none")):
        before = getattr(model, name)
        setattr(model, name, value)
        assert (model(batch) - expected).abs().max() > 1e-3
        setattr(model, name, before)
    with torch.no_grad():
        model.lstm.recurrent[1, 1, 0, 0] += 1e-3
    assert (model(batch) - expected).abs().max() > 1e-8


@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_it_has_the_parameters_of_its_formula(arguments):
    model = network(**arguments)
    s = 0 if arguments.get("variant") == "fit" else min(arguments.get("supports", 3), C - 1)
    r = 1 if "variant" in arguments else len(arguments.get("groups", [[], []]))
    width = 5 * (1 + arguments.get("bidirectional", True))
    gates = 4 * width
    maps = C * 3 * (4 * (s + 1) + 1)
    lstm = gates * (C * 3 + r * (5 + 1)) + (gates * r if arguments.get("clock", True) else 0)
    head = (width * r + 1) * 3 * C * arguments.get("outputs", 1)
    assert sum(p.numel() for p in model.parameters()) == maps + lstm + width * r + head


def padded(batch: Batch, steps: int) -> Batch:
    """With steps in front that are not there, as a short context has them."""
    count = len(batch)
    front = torch.full((count, steps, C), 1e3, dtype=torch.float64)
    assert batch.times is not None
    return replace(
        batch, past=torch.cat([front, batch.past], 1),
        past_mask=torch.cat([torch.zeros(count, steps, C, dtype=torch.bool), batch.past_mask], 1),
        times=torch.cat([batch.times[:, :1].expand(count, steps), batch.times], 1),
        gaps=torch.zeros(count, STEPS + steps, dtype=torch.float64),
    )


@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_padding_in_front_changes_nothing_alone_or_beside_longer_windows(arguments):
    model, batch = network(**arguments), windows()
    expected = model(batch)
    longer = padded(batch, 4)
    assert_close(model(longer), expected, rtol=1e-10, atol=1e-10)
    mixed = replace(longer, past_mask=longer.past_mask.clone())
    mixed.past_mask[0, :4] = True  # the first window is as long as all of them
    assert_close(model(mixed)[1:], expected[1:], rtol=1e-10, atol=1e-10)
    assert (model(mixed)[0] - expected[0]).abs().max() > 1e-3  # the control


def test_without_supports_fitv_is_fit_and_with_one_group_multifit_is_fitv():
    batch = windows()
    assert_close(network(variant="fitv", supports=0)(batch), network(variant="fit", supports=3)(batch))
    assert_close(network(groups=[[0, 1, 2, 3]])(batch), network(variant="fitv")(batch))
    assert (network(variant="fitv")(batch)[0] - network(groups=[[0, 1], [2, 3]])(batch)[0]).abs().max() > 1e-3


def test_a_group_without_observations_says_0_with_finite_gradients():
    model, batch = network(**TWO), windows()
    context, _ = model.context(batch)
    assert not context[2, 1].any()
    assert context[2, 0].any()
    assert not context[-1].any()
    model(batch).square().sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())


def test_a_group_that_has_no_channel_says_0():
    model, batch = network(n_groups=3), windows()
    context, _ = model.context(batch)
    assert context.shape[1] == 3
    assert not context[:, 1:].any()


@pytest.mark.parametrize("variant", ["fit", "fitv", "multifit"])
def test_the_map_of_every_channel_is_a_parameter_and_learns(variant):
    model, batch = network(variant=variant), windows()
    assert {"maps", "offsets"} <= {name for name, _ in model.named_parameters()}
    model(batch).square().sum().backward()
    assert (model.maps.grad.abs() > 0).all()
    assert (model.offsets.grad.abs() > 0).all()


def test_causal_states_do_not_know_what_comes_later():
    batch = windows()
    later = batch.past.clone()
    later[:, 4:] = 50 * batch.past_mask[:, 4:]
    for arguments, causal in (({}, True), ({"mean": "sequence"}, False), ({"bidirectional": True}, False)):
        model = network(**({**TWO, "mean": "running", "bidirectional": False} | arguments))
        (before, rows), (after, _) = (model.states(p, batch.past_mask, batch.times) for p in (batch.past, later))
        same = torch.equal(before[:, :4] * rows[:, :4, :, None], after[:, :4] * rows[:, :4, :, None])
        assert same == causal


def test_channels_in_another_order_are_forecast_alike():
    model, batch, order = network(**TWO), windows(), torch.tensor([2, 3, 1, 0])
    moved = network(**TWO)
    place = order.argsort()
    moved.group.copy_(model.group[order])
    moved.support.copy_(torch.where(model.support >= 0, place[model.support.clamp(min=0)], -1)[order])
    with torch.no_grad():
        for name in ("maps", "offsets", "inputs"):
            getattr(moved, name).copy_(getattr(model, name)[order])
    other = replace(batch, past=batch.past[..., order], past_mask=batch.past_mask[..., order])
    assert_close(moved.context(other)[0], model.context(batch)[0])
    assert (model.context(other)[0] - model.context(batch)[0]).abs().max() > 1e-3  # the control


def test_a_support_speaks_for_a_channel_that_is_missing():
    batch = windows(missing=0.0)
    batch.past_mask[:, 3:, 0] = False
    changed = batch.past.clone()
    changed[:, 5, 1] += 1
    for supports, told in ((3, True), (0, False)):
        model = network(supports=supports)
        embedded = []
        for past in (batch.past, changed):
            views = model.views(past, batch.past_mask, batch.times, torch.ones_like(batch.past_mask))
            embedded.append(torch.einsum("btcf,cdf->btcd", views, model.maps))
        assert bool((embedded[0][0, 5, 0] - embedded[1][0, 5, 0]).abs().max() > 1e-6) == told


def seen_in_training(count: int = 40) -> list[Batch]:
    """Channels 0 and 2 go together and are observed always; 1 and 3 go together and are observed every third time."""
    generator = torch.Generator().manual_seed(2)
    past = torch.randn(count, 24, C, dtype=torch.float64, generator=generator)
    past[..., 2] = -past[..., 0] + 0.1 * past[..., 2]
    past[..., 3] = past[..., 1] + 0.1 * past[..., 3]
    mask = torch.ones_like(past, dtype=torch.bool)
    mask[:, :, 1::2] = (torch.arange(24) % 3 == 0)[:, None]
    return [batch_of(p * m, m) for p, m in zip(past.split(16), mask.split(16), strict=True)]


def test_groups_and_supports_are_found_in_training_windows():
    model = network(supports=2)
    assert model.group.tolist() == [0] * C
    model.before_fit(seen_in_training())
    assert model.group.tolist() == [0, 1, 0, 1]
    assert model.support.tolist() == [[2, -1], [3, -1], [0, -1], [1, -1]]
    one = network(variant="fitv", supports=1)
    one.before_fit(seen_in_training())
    assert one.group.tolist() == [0] * C
    assert one.support.tolist() == [[2], [3], [0], [1]]
    given = network(groups=[[3, 0], [1, 2]], supports=1)
    given.before_fit(seen_in_training())
    assert given.group.tolist() == [0, 1, 1, 0]
    assert given.support.tolist() == [[3], [2], [1], [0]]


def test_what_was_found_is_saved_with_the_weights():
    model, other, batch = network(supports=2), network(supports=2), windows()
    model.before_fit(seen_in_training())
    assert (model(batch) - other(batch)).abs().max() > 1e-3
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(batch), other(batch))


@pytest.mark.parametrize("arguments", [{"variant": "fit"}, {"variant": "fitv", "supports": 0}, {**TWO, "supports": 0}],
                         ids=str)
def test_where_nothing_is_to_be_found_no_window_is_read(arguments):
    model = network(**arguments)
    before = model.group.clone()
    model.before_fit(1 / 0 for _ in range(1))
    assert torch.equal(model.group, before)


def test_a_regular_window_is_an_irregular_one_with_a_step_each():
    model, batch = network(**TWO), windows()
    times = torch.arange(1.0 - STEPS, 1, dtype=torch.float64).expand(len(batch), STEPS)
    regular = replace(batch, times=None, gaps=None)
    assert torch.equal(model(regular), model(replace(batch, times=times)))
    assert (model(regular)[0] - model(batch)[0]).abs().max() > 1e-3


def test_the_clock_tells_when_a_lone_channel_was_observed_and_without_it_nothing_does():
    past = torch.randn(2, STEPS, 1, dtype=torch.float64)
    batch = batch_of(past, times=torch.arange(1.0 - STEPS, 1, dtype=torch.float64).expand(2, STEPS))
    slower = replace(batch, times=2 * batch.times)
    for clock, told in ((True, True), (False, False)):
        model = network(in_channels=1, clock=clock)
        assert bool((model(batch) - model(slower)).abs().max() > 1e-3) == told


@pytest.mark.parametrize(("anchor", "follows"), [("last", True), ("mean", True), ("none", False)])
def test_a_window_raised_is_forecast_as_much_higher_where_there_is_an_anchor(anchor, follows):
    model, batch = network(anchor=anchor, **TWO), windows().split([1, 4])[0]
    raised = replace(batch, past=batch.past + 5)
    assert batch.past_mask.any(1).all()
    assert bool((model(raised) - model(batch) - 5).abs().max() < 1e-9) == follows


def test_what_stands_under_a_false_mask_is_never_read():
    model, batch = network(**TWO), windows()
    other = replace(batch, past=torch.where(batch.past_mask, batch.past, 1e6))
    assert torch.equal(model(other), model(batch))


def test_a_window_is_forecast_alike_alone_and_in_company():
    model, batch = network(**TWO), windows()
    together = model(batch)
    for n, alone in enumerate(batch.split([1] * len(batch))):
        assert_close(model(alone)[0], together[n], rtol=1e-10, atol=1e-10)


def test_dropout_acts_in_training_and_never_after():
    model, batch = network(dropout=0.5), windows()
    assert torch.equal(model(batch), model(batch))
    model.train()
    assert not torch.equal(model(batch), model(batch))


@pytest.mark.parametrize(
    "arguments",
    [{"supports": -1}, {"n_groups": 0}, {"d_model": 0}, {"hidden": 0}, {"dropout": 1.0}, {"variant": "fif"},
     {"delta": "steps"}, {"delta_scale": "sqrt"}, {"mean": "median"}, {"anchor": "first"}],
    ids=str,
)
def test_what_cannot_work_is_refused_with_what_to_give(arguments):
    (name, value), = arguments.items()
    with pytest.raises(ArgumentError, match=f"{name}={value!r} .*: give"):
        network(**arguments)


@pytest.mark.parametrize("groups", [[[0, 1], [2]], [[0, 1], [1, 2, 3]], [[0, 1, 2, 3], []], [[1, 2, 3, 4]]], ids=str)
def test_groups_that_do_not_hold_every_channel_once_are_refused(groups):
    with pytest.raises(ArgumentError, match=r"each of 4 channels once. Give lists"):
        network(groups=groups)


def test_groups_beside_a_variant_that_has_one_are_refused():
    with pytest.raises(ArgumentError, match="variant='fitv', which has one group"):
        network(variant="fitv", groups=[[0, 1], [2, 3]])


def irregular(seed: int = 0) -> pl.DataFrame:
    """Two series of two channels at uneven times, the second seldom observed."""
    rng, parts = np.random.default_rng(seed), []
    for name in ("a", "b"):
        minutes = np.cumsum(rng.integers(10, 110, size=90))
        slow = np.where(rng.random(90) < 0.2, np.cos(minutes / 180), np.nan)
        ds = pl.select(pl.datetime(2024, 1, 1) + pl.duration(minutes=pl.Series(minutes))).to_series()
        parts.append(pl.DataFrame({"unique_id": name, "ds": ds, "y": np.sin(minutes / 180), "z": slow}))
    return pl.concat(parts)


def test_an_irregular_frame_is_fitted_forecast_and_opened_without_a_grid_of_its_own(tmp_path):
    frame = tsforge.Frame(irregular(), targets=["y", "z"], freq="irregular", grid="1h", season=1)
    model = tsforge.MultiFIT(h=3, input_size=12, hidden=8, max_steps=5, batch_size=16, accelerator="cpu").fit(frame)
    assert model.fitted_.predictor.group.tolist() == [0, 1]
    forecasts = model.predict()
    assert len(forecasts) == 2 * 2 * 3
    assert forecasts["MultiFIT"].is_finite().all()
    ends = frame.table.group_by("unique_id").agg(pl.col("ds").max().alias("end"))
    ahead = forecasts.filter(target="y").join(ends, on="unique_id").select(pl.col("ds") - pl.col("end"))["ds"]
    assert ahead.dt.total_minutes().to_list() == [60, 120, 180] * 2
    model.save(tmp_path / "run")
    assert tsforge.open(tmp_path / "run").predict().equals(forecasts)
    alone = model.predict(frame.table.filter(pl.col("unique_id") == "b"))
    together = forecasts.filter(pl.col("unique_id") == "b")
    np.testing.assert_allclose(alone["MultiFIT"], together["MultiFIT"], atol=1e-5)
    stretched = frame.table.filter(pl.col("unique_id") == "b").with_columns(
        ds=pl.col("ds").max() - (pl.col("ds").max() - pl.col("ds")) * 2
    )
    moved = model.predict(stretched)
    assert (moved["MultiFIT"] - together["MultiFIT"]).abs().max() > 1e-4  # it knows when


def without(frame, share: float, seed: int):
    """The frame with this share of its points taken out at random."""
    taken = np.random.default_rng(seed).random((len(frame), len(frame.targets))) < share
    gone = [pl.when(pl.Series(~taken[:, c])).then(pl.col(name)).alias(name) for c, name in enumerate(frame.targets)]
    return tsforge.Frame(frame.table.select("unique_id", "ds", *gone), targets=frame.targets, freq=frame.freq)


def error_on_etth1(share: float) -> float:
    """Squared error, in deviations, over all points of 65 windows, of a small network that saw the rest of them."""
    rows = tsforge.load("etth1").table.head(3000)
    targets = [name for name in rows.columns if name not in ("unique_id", "ds")]
    frame = without(tsforge.Frame(rows, targets=targets, freq="1h"), share, seed=1)
    model = tsforge.MultiFIT(h=12, input_size=48, hidden=32, max_steps=150, val_size=200, calibration_share=0.0,
                             learning_rate=3e-3, accelerator="cpu", threads=1)
    model.fit(frame.rows(pl.col("ds") <= rows["ds"][2200]))
    cutoffs = pl.DataFrame({"unique_id": rows["unique_id"][0], "cutoff": rows["ds"][2200:2980:12]})
    truth = rows.unpivot(index=["unique_id", "ds"], variable_name="target", value_name="y")
    sd = rows.head(2000).select(pl.col(targets).std()).unpivot(variable_name="target", value_name="sd")
    scored = model.predict_at(frame, cutoffs).drop("y").join(truth, on=["unique_id", "ds", "target"])
    return scored.join(sd, on="target").select(((pl.col("MultiFIT") - pl.col("y")) / pl.col("sd")).pow(2).mean()).item()


@pytest.mark.slow
def test_with_30_percent_of_the_points_missing_it_forecasts_nearly_as_well_as_from_all(shared_data, monkeypatch):
    """A small comparison; that on all of ETTh1, 96 hours ahead, is bench/missing.py."""
    shared_data("ett/ETTh1.csv")
    whole = error_on_etth1(0.0)
    assert error_on_etth1(0.3) <= 1.15 * whole
    monkeypatch.setattr(MultiFIT, "context", lambda self, batch, read=MultiFIT.context: read(
        self, replace(batch, past_mask=torch.ones_like(batch.past_mask))))
    assert error_on_etth1(0.3) > 1.5 * whole  # the control: what is missing read as 0


@pytest.mark.parametrize("arguments", [{}, TWO, {"variant": "fit", "delta": "count"}], ids=str)
def test_it_classifies_by_its_equations_from_values_as_they_are(arguments):
    model, batch = network(task="classification", classes=4, h=0, **arguments), windows()
    expected = torch.stack([
        model.head.weight @ torch.cat([pooled(model, batch.past[n], batch.past_mask[n], batch.times[n], g)
                                       for g in range(model.n_groups)]) + model.head.bias
        for n in range(len(batch))
    ])
    assert_close(model(batch), expected, rtol=1e-9, atol=1e-9)
    width = model.head.in_features
    assert sum(p.numel() for p in model.head.parameters()) == (width + 1) * 4
    raised = batch_of(batch.past + batch.past_mask, batch.past_mask, gaps=batch.gaps, times=batch.times)
    assert (model(raised) - expected)[:-1].abs().max() > 1e-3  # the level tells classes apart
