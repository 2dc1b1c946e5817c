import logging
import re
import shlex
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import tsforge
from tsforge.cli.list_rows import catalogs
from tsforge.cli.main import app
from tsforge.errors import TsforgeError, UnknownArgumentError
from tsforge.estimators.grid import read_grid
from tsforge.estimators.parameters import OURS
from tsforge.estimators.run import unfitted
from tsforge.estimators.study_checks import check_cells
from tsforge.evaluation.metrics import METRICS
from tsforge.models import MODELS
from tsforge.sweeps.proposal import Proposer
from tsforge.sweeps.settings import read_space, stated_params, trial_recipe
from tsforge.training.arguments import TRAINING
from tsforge.training.recipe import Recipe, check_recipe, read_given, read_recipe

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "bench").glob("*.md"))]
QUICK = ("fit co2", "show ", "predict runs/co2", "report ", "backtest co2")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE)


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands(page: Path) -> list[str]:
    return [line for block in blocks(page, "sh") for line in block.splitlines() if line.startswith("tsforge ")]


SNIPPETS = [
    pytest.param(code, id=f"{named(page)}-{n}") for page in PAGES for n, code in enumerate(blocks(page, "python"))
]
COMMANDS = [line for page in PAGES for line in commands(page)]


@pytest.mark.parametrize("code", SNIPPETS)
def test_python_on_a_page_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "page", "exec"), {})


def parse(line: str) -> None:
    """Parses a command as the program does, and runs nothing."""
    group: Any = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    command = group.commands[words.pop(0)]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context(line, words)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_on_a_page_parses(line):
    parse(line)


@pytest.mark.parametrize("line", ["tsforge fit co2 --modell dlinear", "tsforge fitt co2", "tsforge predict"])
def test_a_command_that_is_wrong_does_not_parse(line):
    with pytest.raises(Exception, match=r"modell|fitt|RUN|run"):
        parse(line)


@pytest.fixture
def logger_kept() -> Iterator[None]:
    """The command line sets up the logger for its process; here it shares one with other tests."""
    logger = logging.getLogger("tsforge")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.mark.usefixtures("logger_kept")
def test_the_journey_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    journey = [line for line in commands(ROOT / "README.md") if line.removeprefix("tsforge ").startswith(QUICK)]
    assert len(journey) == 5
    for line in journey:
        app(shlex.split(line)[1:], standalone_mode=False)
    assert (tmp_path / "co2.csv").read_text().startswith("unique_id,ds,DLinear,DLinear-lo-80,DLinear-hi-80\n")
    written = {path.name for path in (tmp_path / "runs" / "backtest").iterdir()}
    assert written == {"forecasts.parquet", "scores.csv", "backtest.json", "report.html"}
    assert (tmp_path / "runs" / "co2" / "report.html").exists()
    assert "SeasonalNaive" in capsys.readouterr().out


def recipes_of(given: dict[str, Any]) -> list[Recipe]:
    """The recipe, or those of the runs of a study, seen to be different runs whose arguments can be."""
    if "sweep" in given:  # those of the trials that come first
        space, model = read_space(given["sweep"].get("space"), given), given["model"]
        proposer = Proposer(space, minimise=True, seed=0, sampler="random", pruner=None,
                            start=[stated_params(space, s, model) for s in given["sweep"].get("start", [])])
        trials = [proposer.propose(index, []) for index in range(4)]
        return [read_recipe(trial_recipe({k: v for k, v in given.items() if k != "sweep"}, proposer.settings(trial)))
                for trial in trials if check_recipe(given)]
    if "grid" not in given:
        return [read_recipe(given)]
    cells = read_grid(given)
    check_cells(cells)
    assert len({cell.name for cell in cells}) == len(cells)
    return [cell.recipe for cell in cells]


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_reads_and_makes_its_estimator(path):
    for recipe in recipes_of(read_given(path)):
        assert unfitted(recipe, recipe.split.val).key == recipe.model["name"]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_recipe_on_a_page_reads_and_makes_its_estimator(page):
    for block in blocks(page, "yaml"):
        for recipe in recipes_of(yaml.safe_load(block)):
            unfitted(recipe, recipe.split.val)


def test_a_study_with_a_cell_that_is_no_recipe_would_be_seen():
    with pytest.raises(TsforgeError, match="kernel_sise"):
        recipes_of({"model": {"name": "dlinear", "h": 3}, "grid": {"model.kernel_sise": [3, 5]}})


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_between_pages_lead_somewhere(page):
    targets = [t for t in re.findall(r"\]\(([^)\s]+)\)", text_of(page)) if not t.startswith(("http", "#"))]
    assert [t for t in targets if not (page.parent / t.partition("#")[0]).exists()] == []


def cells(line: str) -> list[str]:
    return [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]


def table_rows(text: str) -> list[list[str]]:
    return [cells(line) for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ---")]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_a_page_that_says_when_to_pick_it_what_it_costs_and_what_was_measured(name):
    page = text_of(ROOT / "docs" / "models" / f"{name}.md")
    assert [told for told in ("hen to pick it", "hat it costs", "../results.md") if told not in page] == []


def test_the_readme_names_every_row_as_the_catalogs_do():
    told = table_rows(text_of(ROOT / "README.md"))
    known = catalogs()
    for row in (*known["models"], *known["local"]):
        assert [row["name"], row["class"], row["paper"], row["summary"]] in told
    for row in known["datasets"]:
        assert [row["name"], row["paper"], row["summary"]] in table_rows(text_of(ROOT / "docs" / "datasets.md"))
    for row in known["encoders"]:
        expected = [row[part] for part in ("name", "class", "family", "paper", "summary")]
        assert expected in table_rows(text_of(ROOT / "docs" / "encoders.md"))
    for row in (*known["losses"], *known["metrics"]):
        assert f"`{row['name']}`" in text_of(ROOT / "README.md")


def test_the_page_of_metrics_says_what_the_metrics_say():
    told = table_rows(text_of(ROOT / "docs" / "evaluation.md"))
    for metric in METRICS.values():
        assert next(row[1] for row in told if row[0] == metric.name) == metric.summary


def test_the_page_of_runs_names_every_training_argument():
    told = " ".join(row[0] for row in table_rows(text_of(ROOT / "docs" / "runs.md")))
    assert [name for name in TRAINING if not re.search(rf"\b{name}\b", told)] == []


WORDS = [row for row in table_rows(text_of(ROOT / "docs" / "coming_from.md")) if row[0] != "theirs"]
FACES = {
    "TimesNet": tsforge.TimesNet, "SeasonalNaive": tsforge.SeasonalNaive, "Frame": tsforge.Frame,
    "predict": tsforge.TimesNet.predict, "cross_validation": tsforge.TimesNet.cross_validation,
    "backtest": tsforge.backtest, "WindowSplit": tsforge.WindowSplit,
}
REFUSED = [row for row in WORDS if row[0] in OURS and row[2] in ("TimesNet", "SeasonalNaive")]


@pytest.mark.parametrize(("theirs", "ours", "where"), WORDS)
def test_our_word_for_theirs_is_an_argument_there(theirs, ours, where):
    assert ours in signature(FACES[where]).parameters


@pytest.mark.parametrize(("theirs", "ours", "where"), REFUSED)
def test_their_word_gets_an_error_that_names_ours(theirs, ours, where):
    arguments = {} if theirs == "h" else {"h": 1}
    with pytest.raises(UnknownArgumentError, match=rf"\b{ours}\b"):
        FACES[where](**arguments, **{theirs: 1})
