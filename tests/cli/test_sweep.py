"""`tsforge sweep` prints the best, writes what is left of it, goes on when asked; `worker` joins, `dashboard` shows."""

import json
import threading
import urllib.request
from pathlib import Path

import polars as pl
import pytest
import yaml

RECIPE = {
    "frame": {"name": "sunspots"}, "split": {"test": 22}, "model": {"name": "seasonal_naive", "h": 11},
    "sweep": {"trials": 3, "space": {"season": [9, 10, 11]}, "sampler": "brute_force"},
}


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(RECIPE, sort_keys=False))


def test_a_sweep_of_a_recipe_prints_the_best_and_leaves_a_run_a_recipe_a_table_and_a_report(tsforge_says, recipe):
    code, out, err = tsforge_says("sweep", "small.yaml", "--out", "s")
    assert code == 0
    assert "model.season" in out
    assert "SeasonalNaive" in out
    assert "trial 2 (3 of 3): mse" in err
    assert {path.name for path in Path("s").iterdir()} == {
        "best", "best.yaml", "report.html", "sweep.journal", "trials.parquet"}
    trials = pl.read_parquet("s/trials.parquet")
    assert sorted(trials["model.season"]) == [9, 10, 11]
    best = yaml.safe_load(Path("s/best.yaml").read_text())
    assert best["model"]["season"] == trials.sort("mse")["model.season"][0]
    assert best["validation"] == {"metric": "mse"}
    code, out, err = tsforge_says("fit", "s/best.yaml", "--out", "again", "--json")
    assert code == 0
    assert json.loads(out)["validation"]["value"] == trials["mse"].min()
    assert Path("s/report.html").read_text().count("plot-history") >= 1


def test_more_trials_are_added_when_asked(tsforge_says, recipe):
    assert tsforge_says("sweep", "small.yaml", "--out", "s", "-q", "--trials", "2")[0] == 0
    code, _, err = tsforge_says("sweep", "small.yaml", "--out", "s")
    assert code == 2
    assert "--resume" in err
    code, out, err = tsforge_says("sweep", "small.yaml", "--out", "s", "--resume", "--json")
    assert code == 0
    assert "2 of 3 trials are there already." in err
    assert [row["trial"] for row in json.loads(out)["trials"]] == [0, 1, 2]


def test_data_and_models_are_swept_as_they_are_named(tsforge_says):
    code, out, err = tsforge_says("sweep", "sunspots", "--model", "naive", "--model", "seasonal_naive", "--h", "11",
                                  "--set", "split.test=22", "--trials", "4", "--sampler", "random", "--out", "s",
                                  "--json")
    assert code == 0
    told = json.loads(out)
    assert {row["model.name"] for row in told["trials"]} == {"naive", "seasonal_naive"}
    assert told["metric"] == "mse"
    assert "best" in err
    code, out, _ = tsforge_says("sweep", "sunspots", "--model", "seasonal_naive", "--h", "11", "--space",
                                "season=10,11", "--windows", "2", "--step", "5", "--metric", "mae", "--trials", "2",
                                "--out", "t", "-q")
    assert code == 0
    assert out.startswith("mae ")


def test_a_worker_does_the_trials_that_are_left(tsforge_says, recipe):
    assert tsforge_says("sweep", "small.yaml", "--out", "s", "-q", "--timeout", "0")[0] == 2, "there is no best yet"
    code, out, err = tsforge_says("worker", "--storage", "s/sweep.journal")
    assert (code, out) == (0, "")
    assert err.count("trial ") == 4, "three, and the words at the end"
    code, out, err = tsforge_says("sweep", "small.yaml", "--out", "s", "--resume")
    assert code == 0
    assert "3 of 3 trials are there already" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sweep", "sunspots", "--h", "3"], "sweep needs a model"),
        (["sweep", "small.yaml", "--h", "3"], "A recipe states its model"),
        (["sweep", "small.yaml", "--space", "season"], "wanted key=16,32,64"),
        (["sweep", "small.yaml", "--storage", "sqlite:///s.db", "--workers", "2"], "sqlite is for one worker"),
        (["worker", "--storage", "none.journal"], "There is no journal"),
        (["dashboard", "none.journal"], "There is no journal"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_is_one_paragraph(tsforge_says, recipe, words, said):
    code, out, err = tsforge_says(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
    assert not Path("runs").exists() or not list(Path("runs").glob("*/best"))


def test_the_dashboard_serves_the_trials_of_a_sweep(tsforge_says, recipe):
    pytest.importorskip("optuna_dashboard")
    from tsforge.sweeps import dashboard

    assert tsforge_says("sweep", "small.yaml", "--out", "s", "-q")[0] == 0
    ready, servers = threading.Event(), []
    real = dashboard.make_server

    def kept(host, port, app):
        servers.append(real(host, 0, app))
        return servers[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dashboard, "make_server", kept)
        thread = threading.Thread(target=dashboard.serve, args=("s/sweep.journal", "127.0.0.1", 0, ready.set))
        thread.start()
        assert ready.wait(30)
        with urllib.request.urlopen(f"http://127.0.0.1:{servers[0].server_port}/api/studies") as answer:
            studies = json.loads(answer.read())
        servers[0].shutdown()
        thread.join()
    assert [study["study_name"] for study in studies["study_summaries"]] == ["sweep"]
