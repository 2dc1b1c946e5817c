import json

import pytest

NAIVE = ["--model", "naive", "--system", "Lorenz", "--system", "Rossler"]


@pytest.fixture(autouse=True)
def data(shared_data) -> None:
    shared_data("dysts/results_test_univariate__pts_per_period_15__periods_12.json.gz")


def test_the_chaos_benchmark_prints_one_table_with_the_published_models(tsforge_says, tmp_path):
    systems = [word for name in ("Lorenz", "Rossler", "SprottK") for word in ("--system", name)]
    words = ["--model", "naive", "--model", "ridge", "--set", "ridge.lags=6", *systems, "--out", "chaos"]
    code, out, err = tsforge_says("bench", "chaos", *words)
    assert code == 0
    first, second = out.split("\n\n")
    title, head, *rows = first.splitlines()
    assert title == "sMAPE of 3 systems, 15 points of a period, column: published"
    assert head.split() == ["model", "fitted", "median", "mean", "wins", "p"]
    assert len(rows) == 18
    assert {"Naive", "Ridge", "NBEATSModel"} <= {row.split()[0] for row in rows}
    assert "lyapunov_separation" in second
    assert "chaos/report.html" in err
    assert (tmp_path / "chaos" / "scores.csv").exists()
    assert tsforge_says("bench", "chaos", "--model", "naive", *systems, "--out", "chaos")[0] == 2  # it is there


def test_its_numbers_are_there_as_json(tsforge_says):
    words = ["--model", "naive", "--system", "Lorenz", "--system", "Rossler", "--exponent", "lyapunov_qr"]
    code, out, _ = tsforge_says("bench", "chaos", *words, "--json", "--quiet")
    told = json.loads(out)
    assert code == 0
    naive = next(row for row in told["table"] if row["fitted"] == "here")
    assert naive["median"] == pytest.approx(sum(row["Naive"] for row in told["scores"]) / 2)
    assert told["exponent"] == "lyapunov_qr"


@pytest.mark.parametrize(("words", "said"), [
    (["--points", "30"], "15 and for 100"), (["--train", "--model", "naive"], "train trajectory"),
    (["--model", "naiv"], "naive"), (["--exponent", "largest", *NAIVE], "lyapunov_qr"),
    (["--system", "Lorentz", *NAIVE], "Lorenz"), (["--system", "Lorenz", *NAIVE[:2]], "2 systems"),
])
def test_what_cannot_be_is_refused_in_words(tsforge_says, words, said):
    code, _, err = tsforge_says("bench", "chaos", *words)
    assert code == 2
    assert said in err
    assert "note: Naive" not in err  # nothing was fitted for it
