"""The encoder benchmark by hand: lines to beat, verdicts, what does not apply, and going on where it was stopped."""

import json

import numpy as np
import polars as pl
import pytest
import torch

import tsforge
from tsforge.encoders import ENCODERS
from tsforge.errors import ArgumentError, OutputExistsError, TrainingError, UnknownNameError
from tsforge.estimators import encoder_benchmark as room
from tsforge.estimators.encoder_benchmark import encoder_benchmark
from tsforge.estimators.encoder_benchmark_cells import Measured
from tsforge.estimators.encoder_benchmark_settings import TASKS, StepEncoder, Task, cells_of
from tsforge.estimators.encoder_benchmark_table import by_encoder, markdown, score_rows
from tsforge.evaluation.significance import holm, wilcoxon

SPOTS = {"sunspots": Task({"name": "sunspots"}, {"test": 44, "step": 11}, 11, 22)}
CO2 = {"co2": Task({"name": "co2"}, {"test": 52, "step": 13}, 4, 12, ("month",))}
TINY = {"models": ["dlinear"], "seeds": [0], "max_steps": 2, "tasks": SPOTS}


@pytest.fixture
def shops(tmp_path):
    """Five series with names, of 60 days."""
    rng = np.random.default_rng(0)
    rows = [{"unique_id": f"s{n}", "ds": day, "y": float(n + day % 7 + rng.normal())}
            for n in range(5) for day in range(60)]
    path = tmp_path / "shops.csv"
    pl.DataFrame(rows).write_csv(path)
    return {"shops": Task({"path": str(path), "freq": "1i", "season": 7}, {"test": 7}, 7, 14)}


def run(score: float, *blocks: float, seconds: float = 1.0) -> Measured:
    return Measured(score, list(blocks), seconds, 7)


def test_a_row_has_ratio_wins_and_a_p_by_hand():
    line, own = np.linspace(1, 2, 12), np.linspace(0.9, 1.9, 12) + 0.01 * np.sin(np.arange(12))
    cells = cells_of(SPOTS, ["dlinear"], ["phnn", "muvera"], [0, 1], 2)
    found = {
        "sunspots_dlinear_none": [run(1.0, *line), run(1.2, *line + 0.1, seconds=3.0)],
        "sunspots_dlinear_phnn": [run(0.9, *own, seconds=8.0), run(1.0, *own + 0.1, seconds=8.0)],
        "sunspots_dlinear_muvera": [run(0.8, *line[::-1]), run(1.3, *line[::-1])],
    }
    measured = {f"{name}_seed{seed}": each for name, runs in found.items() for seed, each in enumerate(runs)}
    none, phnn, muvera = score_rows(cells, measured)
    assert (none["encoder"], none["ratio"], none["verdict"], none["p"]) == ("none", 1.0, None, None)
    assert phnn["mae"] == pytest.approx(0.95)
    assert phnn["sd"] == pytest.approx(np.std([0.9, 1.0], ddof=1))
    assert phnn["ratio"] == pytest.approx(0.95 / 1.1)
    assert (phnn["wins"], phnn["time"], phnn["parameters"]) == (2, 4.0, 7)
    plain = [wilcoxon(own + 0.05, line + 0.05).p, wilcoxon(line[::-1], line + 0.05).p]
    assert [phnn["p"], muvera["p"]] == pytest.approx(holm(plain).tolist())
    assert (phnn["verdict"], muvera["verdict"]) == ("helps", "no difference shown")  # one of two seeds is worse
    measured["sunspots_dlinear_phnn_seed1"] = run(1.3, *own + 0.1)
    assert score_rows(cells, measured)[1]["verdict"] == "no difference shown"
    measured |= {f"sunspots_dlinear_phnn_seed{seed}": run(2.0, *line + 1) for seed in (0, 1)}
    assert score_rows(cells, measured)[1]["verdict"] == "hurts"
    assert [row["encoder"] for row in by_encoder(score_rows(cells, measured))] == ["muvera", "phnn"]
    del measured["sunspots_dlinear_phnn_seed1"]  # not whole yet
    assert [row["encoder"] for row in score_rows(cells, measured)] == ["none", "muvera"]


def test_an_encoder_is_summed_up_over_models_and_datasets():
    rows = [
        {"dataset": data, "model": "dlinear", "encoder": "phnn", "ratio": ratio, "time": 2.0, "verdict": verdict}
        for data, ratio, verdict in (("a", 0.5, "helps"), ("b", 2.0, "hurts"), ("c", 1.0, "no difference shown"))
    ]
    assert by_encoder([*rows, rows[0] | {"encoder": "none"}]) == [{
        "encoder": "phnn", "compared": 3, "helps": 1, "hurts": 1, "ratio": pytest.approx(1.0),
        "time": pytest.approx(2.0), "helps_in": "dlinear on a", "hurts_in": "dlinear on b",
    }]
    assert markdown(rows[:1], ("dataset", "ratio")) == "| dataset | ratio |\n| --- | ---: |\n| a | 0.5 |\n"


def test_a_cell_is_a_fit_scored_on_standardised_values(tmp_path):
    found = encoder_benchmark(tmp_path, encoders=["phnn"], **TINY)
    frame = tsforge.load("sunspots")
    y = frame.table["sunspots"].to_numpy()
    scaled = (y - y[:-44].mean()) / y[:-44].std()
    cells = {cell.encoder: cell for cell in found.cells}
    for encoder in (None, "phnn"):
        model = tsforge.DLinear(
            h=11, input_size=22, context=encoder, max_steps=2, val_size=0, loss="mae", learning_rate=5e-3,
            schedule="cosine", accelerator="cpu", seed=0,
        ).fit(frame.rows(pl.col("ds") <= 1700 + len(y) - 45))
        ends = [len(y) - 45 + 11 * k for k in range(4)]
        at = pl.DataFrame({"unique_id": "Sunspots", "cutoff": [1700 + end for end in ends]})
        forecast = model.predict_at(frame, at)["DLinear"].to_numpy().reshape(4, 11)
        forecast = (forecast - y[:-44].mean()) / y[:-44].std()
        truth = np.stack([scaled[end + 1 : end + 12] for end in ends])
        kept = found.measured[cells[encoder].name]
        assert kept.blocks == pytest.approx(np.abs(forecast - truth).mean(1), rel=1e-5)
        assert kept.score == pytest.approx(np.abs(forecast - truth).mean(), rel=1e-5)
        assert kept.parameters == sum(weight.numel() for weight in model.fitted_.predictor.parameters())


def test_of_more_series_than_windows_a_series_is_a_block_and_ids_are_read(tmp_path, shops):
    found = encoder_benchmark(tmp_path / "out", encoders=["unified_embedding"], **TINY | {"tasks": shops})
    assert [len(each.blocks) for each in found.measured.values()] == [5, 5]
    assert not found.refused


def test_the_line_of_encoder_forecaster_is_a_linear_map_of_each_step(tmp_path):
    found = encoder_benchmark(tmp_path, encoders=["phnn"], **TINY | {"models": ["encoder_forecaster"]})
    none, phnn = found.table
    assert none["parameters"] == (22 + 1) * 11 + (64 + 1) + 2 * 64
    assert phnn["parameters"] > none["parameters"]
    assert phnn["mae"] != none["mae"]


def test_the_plain_encoder_reads_no_masked_cell_and_no_other_step():
    encoder, x = StepEncoder(3, 5), torch.randn(2, 4, 3)
    mask = torch.ones(2, 4, 3, dtype=torch.bool)
    mask[:, 1] = False
    other = torch.where(mask, x, 7.0)
    assert torch.equal(encoder(x, mask), encoder(other, mask))
    assert not torch.equal(encoder(x), encoder(other))  # the control
    changed = torch.cat([x[:, :3], x[:, 3:] + 1], 1)
    assert torch.equal(encoder(x)[:, :3], encoder(changed)[:, :3])


def test_what_does_not_apply_is_listed_with_its_reason_and_not_trained(tmp_path):
    asked = ["unified_embedding", "flora", "muvera", "din"]
    found = encoder_benchmark(tmp_path, encoders=asked, **TINY | {"models": ["dlinear", "encoder_forecaster"]})
    said = {(row["encoder"], row["models"]): row["reason"] for row in found.not_applied}
    assert "one series" in said["unified_embedding", "dlinear, encoder_forecaster"]
    assert "docs/adapters.md" in said["flora", "dlinear, encoder_forecaster"]
    assert "a token for each step" in said["muvera", "encoder_forecaster"]
    assert "known ahead" in said["din", "dlinear"]
    assert {row["encoder"] for row in found.table} == {"none", "muvera"}
    assert {row["model"] for row in found.table} == {"dlinear", "encoder_forecaster"}  # no line with a calendar
    assert pl.read_csv(tmp_path / "refused.csv")["reason"].to_list() == [row["reason"] for row in found.not_applied]


def test_what_asks_with_the_calendar_has_a_line_to_which_it_is_given_too(tmp_path):
    found = encoder_benchmark(
        tmp_path, encoders=["din", "phnn"], models=["mlp", "dlinear"], seeds=[0], max_steps=2, tasks=CO2,
    )
    assert [(row["model"], row["encoder"]) for row in found.table] == [
        ("mlp", "none"), ("mlp", "phnn"), ("mlp, calendar", "none"), ("mlp, calendar", "din"), ("dlinear", "none"),
        ("dlinear", "phnn"),
    ]
    lines = {row["model"]: row for row in found.table if row["encoder"] == "none"}
    assert lines["mlp"]["mae"] != lines["mlp, calendar"]["mae"]
    assert found.table[3]["ratio"] == found.table[3]["mae"] / lines["mlp, calendar"]["mae"]
    assert [(row["encoder"], row["models"]) for row in found.not_applied] == [("din", "dlinear")]


def test_a_measured_cell_is_taken_and_a_missing_one_comes_to_the_same(tmp_path, monkeypatch):
    trained = []
    measure = room.measure

    def counted(cell, ground):
        trained.append(cell.name)
        return measure(cell, ground)

    monkeypatch.setattr(room, "measure", counted)
    first = encoder_benchmark(tmp_path, encoders=["phnn"], **TINY)
    assert trained == ["sunspots_dlinear_none_seed0", "sunspots_dlinear_phnn_seed0"]
    assert encoder_benchmark(tmp_path, encoders=["phnn"], **TINY).measured == first.measured
    assert len(trained) == 2
    (tmp_path / "sunspots_dlinear_phnn_seed0.json").unlink()
    again = encoder_benchmark(tmp_path, encoders=["phnn"], **TINY)
    assert trained[2:] == ["sunspots_dlinear_phnn_seed0"]
    assert [row["mae"] for row in again.table] == [row["mae"] for row in first.table]
    assert pl.read_csv(tmp_path / "table.csv").to_dicts() == again.table
    with pytest.raises(OutputExistsError, match="other settings"):
        encoder_benchmark(tmp_path, encoders=["phnn"], **TINY | {"max_steps": 3})
    assert len(trained) == 3
    encoder_benchmark(tmp_path, encoders=["phnn"], overwrite=True, **TINY | {"max_steps": 3})
    assert len(trained) == 5
    told = json.loads((tmp_path / "sunspots_dlinear_phnn_seed0.json").read_text())
    assert told["recipe"]["train"]["max_steps"] == 3


def test_a_training_that_fails_is_said_and_tried_again(tmp_path, monkeypatch):
    def fails(cell, ground):
        if cell.encoder == "phnn":
            raise TrainingError("the loss is not finite")
        return run(1.0, 1.0, 2.0, 3.0, 4.0)

    with monkeypatch.context() as patch:
        patch.setattr(room, "measure", fails)
        found = encoder_benchmark(tmp_path, encoders=["phnn", "muvera"], **TINY)
    assert found.failed == {"sunspots_dlinear_phnn_seed0": "the loss is not finite"}
    assert [row["encoder"] for row in found.table] == ["none", "muvera"]
    again = encoder_benchmark(tmp_path, encoders=["phnn", "muvera"], **TINY)
    assert not again.failed
    assert again.measured["sunspots_dlinear_muvera_seed0"] == run(1.0, 1.0, 2.0, 3.0, 4.0)


def test_a_stopped_benchmark_leaves_the_table_of_what_is_there(tmp_path, monkeypatch):
    def stopped(cell, ground):
        if cell.encoder == "phnn":
            raise KeyboardInterrupt
        return run(1.0, 1.0, 2.0)

    monkeypatch.setattr(room, "measure", stopped)
    with pytest.raises(KeyboardInterrupt):
        encoder_benchmark(tmp_path, encoders=["muvera", "phnn"], **TINY)
    assert pl.read_csv(tmp_path / "table.csv")["encoder"].to_list() == ["none", "muvera"]


def test_what_cannot_be_asked_is_refused_in_words(tmp_path):
    with pytest.raises(UnknownNameError, match="etth1"):
        encoder_benchmark(tmp_path, datasets=["eth1"])
    with pytest.raises(UnknownNameError, match="phnn"):
        encoder_benchmark(tmp_path, encoders=["phn"], **TINY)
    with pytest.raises(UnknownNameError, match="dlinear"):
        encoder_benchmark(tmp_path, **TINY | {"models": ["dlinera"]})
    with pytest.raises(ArgumentError, match="each once"):
        encoder_benchmark(tmp_path, **TINY | {"seeds": [0, 0]})


def test_the_four_datasets_read_and_name_each_cell_once():
    cells = cells_of(TASKS, ["encoder_forecaster", "dlinear", "timesnet"], list(ENCODERS), [0, 1, 2], 300)
    assert len({cell.name for cell in cells}) == len(cells)
    assert {cell.encoder for cell in cells} == {None, *ENCODERS}
    for cell in cells:
        ways = (cell.encoder, None) if cell.model == "encoder_forecaster" else (None, cell.encoder)
        assert (cell.recipe.encoder, cell.recipe.context) == ways


@pytest.mark.slow
def test_every_row_of_the_catalog_is_measured_or_says_why_not(tmp_path, shops):
    found = encoder_benchmark(tmp_path / "out", **TINY | {"tasks": shops})
    assert not found.failed
    assert {row["encoder"] for row in [*found.table, *found.not_applied]} == {"none", *ENCODERS}
    assert all(row["reason"] for row in found.not_applied)
