"""`tsforge bench encoders` prints tables, goes on where it was stopped, and says what does not apply."""

import json

import pytest

SMALL = ["--dataset", "lorenz", "--set", "frame.n=300", "--set", "split.test=110", "--model", "dlinear",
         "--encoder", "phnn", "--encoder", "unified_embedding", "--max-steps", "3", "--out", "enc"]


def test_it_prints_the_table_the_encoders_and_what_does_not_apply(tsforge_says, tmp_path):
    code, out, err = tsforge_says("bench", "encoders", *SMALL, "--seeds", "0,1")
    assert code == 0
    table, each, refused = (part.splitlines() for part in out.split("\n\n"))
    assert table[1].split()[:4] == ["dataset", "model", "encoder", "mae"]
    assert [row.split()[:3] for row in table[2:]] == [["lorenz", "dlinear", "none"], ["lorenz", "dlinear", "phnn"]]
    assert [row.count("±") for row in table[2:]] == [1, 1]
    assert each[2].split()[:2] == ["phnn", "1"]
    assert refused[2].startswith("unified_embedding")
    assert "lorenz_dlinear_phnn_seed1 (4 of 4" in err
    assert {path.name for path in (tmp_path / "enc").glob("*.csv")} == {"table.csv", "encoders.csv", "refused.csv"}
    code, out, err = tsforge_says("bench", "encoders", *SMALL, "--seeds", "0,1", "--markdown")
    assert code == 0
    assert "4 of 6 cells are there already" in err
    assert out == (tmp_path / "enc" / "tables.md").read_text()
    code, out, _ = tsforge_says("bench", "encoders", *SMALL, "--seeds", "1", "--json", "--quiet")
    told = json.loads(out)
    assert [row["seeds"] for row in told["table"]] == [1, 1]
    assert told["refused"][0]["encoder"] == "unified_embedding"


@pytest.mark.parametrize(("words", "said"), [
    (["--seeds", "0,x"], "--seeds '0,x'"), (["--dataset", "loren"], "lorenz"), (["--encoder", "phn"], "phnn"),
    (["--max-steps", "0"], "max_steps=0"), (["--set", "train.steps=3"], "steps"),
])
def test_what_cannot_be_is_refused_in_words(tsforge_says, words, said):
    code, _, err = tsforge_says("bench", "encoders", *SMALL, *words)
    assert code == 2
    assert said in err
    assert "seed0" not in err  # nothing was trained for it


def test_a_failed_training_ends_with_2_after_the_tables(tsforge_says):
    code, out, err = tsforge_says("bench", "encoders", *SMALL, "--seeds", "0", "--set", "train.learning_rate=1e30")
    assert code == 2
    assert "does not apply" in out
    assert "trainings failed" in err
