"""`tsforge generate` writes series of a run, and refuses runs that make none."""

import io
import json

import numpy as np
import polars as pl
import pytest

import tsforge


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("runs")
    table = pl.DataFrame({"ds": range(60), "y": 5 + np.sin(np.arange(60))})
    for name, made in (("paths", tsforge.DCGAN), ("points", tsforge.DLinear)):
        made(h=3, input_size=6, max_steps=2, accelerator="cpu").fit(table, freq="1i", season=6).save(folder / name)
    return {name: str(folder / name) for name in ("paths", "points")}


def test_it_writes_as_many_series_as_are_asked_for_and_they_can_be_fitted_on(tsforge_says, runs):
    code, out, err = tsforge_says("generate", runs["paths"], "--n", "5", "--length", "40", "--out", "made.parquet")
    assert (code, out) == (0, "")
    assert "200 rows are in made.parquet" in err
    made = pl.read_parquet("made.parquet")
    assert made.columns == ["unique_id", "ds", "y"]
    assert made["unique_id"].n_unique() == 5
    assert np.isfinite(made["y"].to_numpy()).all()
    tsforge.SeasonalNaive(h=3).fit(made, freq="1i", season=6)
    assert tsforge_says("generate", runs["paths"], "--n", "5", "--out", "made.parquet")[0] == 2  # it is there already


def test_predict_gives_paths_where_they_are_asked_for(tsforge_says, runs):
    code, out, _ = tsforge_says("predict", runs["paths"], "--samples", "4", "-q")
    assert code == 0
    paths = pl.read_csv(io.StringIO(out))
    assert paths.columns == ["ds", "sample", "DCGAN"]
    assert paths["sample"].n_unique() == 4
    code, _, err = tsforge_says("predict", runs["points"], "--samples", "4")
    assert (code, "makes no sample paths" in err) == (2, True)
    assert "in one process" in tsforge_says("predict", runs["paths"], "--samples", "4", "--engine", "local")[2]
    assert tsforge_says("predict", runs["paths"], "--samples", "4", "--level", "80")[0] == 2


def test_without_a_file_it_prints_and_the_seed_decides(tsforge_says, runs):
    first = tsforge_says("generate", runs["paths"], "--n", "2", "-q")
    assert first[0] == 0
    assert pl.read_csv(io.StringIO(first[1])).shape == (6, 3)
    assert tsforge_says("generate", runs["paths"], "--n", "2", "-q") == first
    other = tsforge_says("generate", runs["paths"], "--n", "2", "--seed", "1", "--json")
    assert len(json.loads(other[1])) == 6
    assert json.loads(other[1])[0]["y"] != pl.read_csv(io.StringIO(first[1]))["y"][0]


def test_a_model_that_makes_no_paths_is_refused_with_the_names_of_those_that_do(tsforge_says, runs):
    code, _, err = tsforge_says("generate", runs["points"])
    assert code == 2
    assert "DLinear makes no sample paths; DCGAN does" in err
    assert tsforge_says("generate", runs["paths"], "--n", "0")[0] == 2
