import json
import re
from inspect import signature
from pathlib import Path

import polars as pl

import tsforge
from tsforge.encoders import ENCODERS

PAGE = (Path(__file__).parents[2] / "docs" / "encoders.md").read_text(encoding="utf-8")
QUICK = ["--set", "max_steps=3", "--set", "d_model=8", "--set", "accelerator=cpu", "--quiet"]


def block(language: str, first: str) -> str:
    found = re.search(rf"^```{language}\n({re.escape(first)}.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def sales(folder: Path) -> str:
    t = range(60)
    parts = [pl.DataFrame({"unique_id": [shop] * 60, "ds": t, "y": [float(k % 7) for k in t]}) for shop in "ab"]
    pl.concat(parts).write_csv(folder / "sales.csv")
    return str(folder / "sales.csv")


def test_the_encoder_of_the_docs_works_from_an_installed_package(installed, tmp_path, tsforge_says):
    entry = block("toml", "# pyproject.toml").splitlines()[2].replace('"', "")
    installed("mill-tools", {"mill/averages.py": block("python", "# mill/averages.py")}, entry, "tsforge.encoders")
    rows = json.loads(tsforge_says("list", "encoders", "--json")[1])
    assert rows[-1] == {"name": "averages", "class": "AveragesEncoder", "family": "installed", "paper": "mill-tools",
                        "summary": "added by the package mill-tools"}
    code, out, err = tsforge_says("show", "encoder:averages")
    assert (code, "widths" in out, "in_channels" in out) == (0, True, False), err
    words = ["fit", sales(tmp_path), "--model", "timesnet", "--h", "3", "--input-size", "14", "--freq", "1i"]
    words += ["--encoder", "averages", "--set", "encoder.widths=[2, 7]", "--out", "run"]
    code, _, err = tsforge_says(*words, *QUICK)
    assert code == 0, err
    model = tsforge.open(tmp_path / "run")
    assert model.encoder == {"name": "averages", "widths": [2, 7]}
    encoder = model.fitted_.predictor.embedding.value
    assert type(encoder).__module__ == "mill.averages"


def test_the_averages_of_the_docs_are_running_means():
    import torch

    space: dict = {}
    exec(block("python", "# mill/averages.py"), space)
    encoder, x = space["AveragesEncoder"](2, 3, widths=[2, 5]), torch.randn(1, 9, 2)
    padded = torch.cat([torch.zeros(1, 4, 2), x], 1)
    means = [torch.stack([padded[:, t + 5 - w : t + 5].mean(1) for t in range(9)], 1) for w in (2, 5)]
    torch.testing.assert_close(encoder(x), encoder.map(torch.cat([x, *means], -1)))


def test_a_fit_takes_encoders_by_name_and_shows_them(tmp_path, tsforge_says):
    words = ["fit", sales(tmp_path), "--model", "timesnet", "--h", "3", "--input-size", "14", "--freq", "1i"]
    words += ["--encoder", "phnn", "--context", "unified_embedding", "--set", "encoder.n=2"]
    words += ["--set", "context.n_buckets=16"]
    code, _, err = tsforge_says(*words, "--out", "run", *QUICK)
    assert code == 0, err
    model = tsforge.open(tmp_path / "run")
    assert model.encoder == {"name": "phnn", "n": 2}
    assert model.context == {"name": "unified_embedding", "n_buckets": 16}
    shown = tsforge_says("show", "run")[1]
    assert re.search(r"^encoder +\{'name': 'phnn', 'n': 2\}$", shown, re.MULTILINE)
    assert tsforge_says("predict", "run")[0] == 0
    recipe = json.loads((tmp_path / "run" / "run.json").read_text())["recipe"]
    assert (recipe["encoder"], recipe["context"]) == (model.encoder, model.context)


def test_several_contexts_are_a_list(tmp_path, tsforge_says):
    words = ["fit", sales(tmp_path), "--model", "dlinear", "--h", "3", "--input-size", "14", "--freq", "1i"]
    words += ["--context", "phnn", "--context", "unified_embedding", "--out", "run"]
    code, _, err = tsforge_says(*words, "--quiet", "--set", "max_steps=2")
    assert code == 0, err
    assert tsforge.open(tmp_path / "run").context == ["phnn", "unified_embedding"]


def test_faults_end_with_two_and_say_what_to_do(tmp_path, tsforge_says):
    data = sales(tmp_path)
    (tmp_path / "recipe.yaml").write_text("frame: {name: co2}\nmodel: {name: timesnet, h: 3}\n")
    fit = ["fit", data, "--h", "3", "--input-size", "14", "--freq", "1i", "--out", "run", "--quiet", "--model"]
    for words, told in (
        ([*fit, "timesnet", "--encoder", "phn"], "no encoder named 'phn'. Did you mean 'phnn'?"),
        ([*fit, "dlinear", "--encoder", "phnn"], "every neural model takes an encoder as context="),
        ([*fit, "timesnet", "--encoder", "phnn", "--set", "encoder.m=2"], "PHCEncoder has no argument 'm'"),
        (["fit", "recipe.yaml", "--encoder", "phnn"], "change them with --set"),
    ):
        code, out, err = tsforge_says(*words)
        assert (code, out) == (2, "")
        assert told in err
    assert not (tmp_path / "run").exists()


def test_a_row_is_shown_with_its_own_arguments(tsforge_says):
    for name in ENCODERS:
        row = json.loads(tsforge_says("show", f"encoder:{name}", "--json")[1])
        widths = [p.default for p in signature(ENCODERS[name]).parameters.values() if p.name == "d_model"]
        assert [row["arguments"][key] for key in row["arguments"] if key == "d_model"] == widths
        assert bool(widths) == (row["family"] != "adapter")
        assert not set(ENCODERS[name].given) & row["arguments"].keys()
        assert row["documentation"].startswith(ENCODERS[name].__doc__.splitlines()[0])
