import ast
import subprocess
import sys
import tomllib
from inspect import signature
from pathlib import Path

import pytest

import tsforge
from tsforge.estimators.stubs import PLACE, stub

ROOT = Path(__file__).parents[2]
CODE = """
import tsforge

model = tsforge.TimesNet(h=1, d_model=8).fit([], freq="1d")
model.predict(level=80)
width: int = model.d_model
tsforge.backtest([model, tsforge.SeasonalNaive(h=1)], [])
tsforge.WindowSplit(h=1, time_col="when")
{}
"""
WRONG = {
    "tsforge.TimesNet(h=1, d_modle=3)": 'No parameter named "d_modle"',
    "tsforge.DLinear(kernel_size=3)": 'Argument missing for parameter "h"',
    "tsforge.DLinear(h='1')": "cannot be assigned to parameter \"h\" of type \"int\"",
    "model.fit([], season_length=7)": 'No parameter named "season_length"',
    "model.predict(futr_df=[])": 'No parameter named "futr_df"',
    "tsforge.TimesNett(h=1)": '"TimesNett" is not a known attribute',
}


def test_the_stub_is_what_the_constructors_say():
    assert Path(tsforge.__file__).with_name("__init__.pyi") == PLACE
    assert PLACE.read_text(encoding="utf-8") == stub(), "run python -m tsforge.estimators.stubs"


def test_it_spells_every_public_name_and_every_argument():
    tree = ast.parse(stub())
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    imported = {alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {*classes, *imported} - {None, "_Estimator"} == set(tsforge.__all__)
    for name in classes.keys() - {"_Estimator"}:
        made = next(part for part in classes[name].body if isinstance(part, ast.FunctionDef))
        told = [argument.arg for argument in (*made.args.args[1:], *made.args.kwonlyargs)]
        assert told == list(signature(getattr(tsforge, name)).parameters)


@pytest.mark.parametrize("wrong", [None, "all"])
def test_a_type_checker_finds_what_is_wrong_and_nothing_else(tmp_path, wrong):
    file = tmp_path / "code.py"
    file.write_text(CODE.format("\n".join(WRONG) if wrong else ""), encoding="utf-8")
    words = [str(Path(sys.executable).with_name("pyright")), "--pythonpath", sys.executable, str(file)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    found = [line for line in done.stdout.splitlines() if " - error: " in line]
    if wrong is None:
        assert found == [], done.stdout
        return
    assert len(found) == len(WRONG), done.stdout
    for line, words_of_it in zip(found, WRONG.values(), strict=True):
        assert words_of_it in line


def test_types_and_stub_go_into_the_wheel():
    with (ROOT / "pyproject.toml").open("rb") as file:
        wheel = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["tsforge"]  # all files of the package but those that git ignores
    assert wheel["force-include"] == {"datasets": "tsforge/datasets"}  # where the cards are looked for
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert PLACE.with_name("py.typed").exists()
    assert not {"*.pyi", "*.typed", "py.typed"} & set(ignored)
