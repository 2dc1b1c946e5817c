"""Names of columns and calendar features are flat lists of texts."""

import json
import subprocess
import sys

import polars as pl

import tsforge

GIVEN = {"targets": [["y"]], "past": [3], "future": ["y", None], "calendar": [["dayofweek"]]}
CODE = f"""
import json, polars as pl, tsforge, tsforge.errors
said = []
for role, given in {GIVEN!r}.items():
    try:
        tsforge.Frame(pl.DataFrame({{"ds": [1, 2, 3], "y": [1.0, 2.0, 3.0]}}), **{{role: given}})
    except tsforge.errors.FrameError as error:
        said.append(str(error))
print(json.dumps(said))
"""


def test_a_list_that_is_not_of_names_is_refused():
    # in a process of its own: here a checker of type hints would refuse it first
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert len(said) == len(GIVEN)
    assert all("wanted a name, or a flat list of names" in each for each in said)


def test_one_name_and_a_list_of_it_are_the_same():
    table = pl.DataFrame({"ds": [1, 2, 3], "y": [1.0, 2.0, 3.0]})
    assert tsforge.Frame(table, targets="y").targets == tsforge.Frame(table, targets=["y"]).targets == ("y",)
