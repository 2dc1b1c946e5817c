import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import polars as pl
import pytest

import tsforge
from tsforge.data import DATASETS
from tsforge.encoders import ENCODERS
from tsforge.local import LOCAL
from tsforge.losses import LOSSES
from tsforge.models import MODELS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tsforge"
ROWS = [(catalog, name) for catalog in (MODELS, LOCAL, LOSSES, DATASETS, ENCODERS) for name in catalog]
TORCH = "print('torch' in sys.modules)"


def run(words: list) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)


def run_python(code: str) -> str:
    """What a Python of its own prints on standard output, the last line of it."""
    done = run([sys.executable, "-c", f"import sys\n{code}"])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def command(*words: str) -> str:
    return (
        f"sys.argv = {['tsforge', *words]!r}\nfrom tsforge.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
    )


@pytest.mark.parametrize("code", ["import tsforge", "import tsforge.batch"])
def test_importing_tsforge_brings_no_torch_and_the_probe_would_see_it(code):
    assert run_python(f"{code}\n{TORCH}") == str(code != "import tsforge")


NAMING = [("--help",), ("list", "models"), ("list", "encoders"), ("list", "metrics"), ("fit", "--help"),
          ("adapt", "--help")]


@pytest.mark.parametrize("words", NAMING, ids=" ".join)
def test_what_only_names_things_brings_no_torch(words):
    assert run_python(command(*words) + TORCH) == "False"


def test_opening_a_run_and_forecasting_leaves_lightning_out(tmp_path):
    table = pl.DataFrame({"ds": range(60), "y": [float(n % 7) for n in range(60)]})
    tsforge.DLinear(h=3, input_size=7, max_steps=2).fit(table, freq="1i", season=7).save(tmp_path / "run")
    code = f"import tsforge\ntsforge.open({str(tmp_path / 'run')!r}).predict(level=[50])\n"
    code += "print(*(name in sys.modules for name in ('torch', 'lightning', 'pytorch_lightning')))"
    assert run_python(code) == "True False False"


def test_the_public_names_are_these():
    assert sorted(tsforge.__all__) == sorted([
        "ARIMA", "AnalogForecaster", "Analogs", "Boosting", "CNN1D", "Chimera", "Croston", "DCGAN", "DLinear",
        "DelayEnsemble", "Drift", "ETS", "EchoState", "EncoderForecaster", "Ensemble", "Frame", "GMDH",
        "GRNN", "KernelAR", "LSTM", "LightNet", "MFMGCN", "MLP", "MambaMixer", "Mean", "MultiFIT", "NBEATS", "NHiTS",
        "NLinear", "NVAR", "Naive", "PatchTST", "RandomForest", "Ridge", "S4D", "STLETS", "SVR",
        "SeasonalNaive", "Split", "Theta", "TimesNet", "WindowSplit", "__version__", "adapt", "backtest",
        "compare", "evaluate", "forecasts_to_nixtla", "iTransformer", "leaderboard", "load", "open",
        "ranking", "reconcile", "sweep",
    ])


def test_every_public_name_can_be_imported_and_says_what_it_is():
    for name in tsforge.__all__:
        assert getattr(tsforge, name).__doc__, name


@pytest.mark.parametrize(("catalog", "name"), ROWS, ids=[name for _, name in ROWS])
def test_a_row_names_a_class_in_the_file_called_like_it(catalog, name):
    row = catalog.row(name)
    assert (ROOT / f"{catalog.module_of(name).replace('.', '/')}.py").is_file()
    assert catalog.module_of(name).split(".")[-1] == (row.file or name)
    assert catalog[name].__name__ == row.class_name
    assert catalog[name].__module__ == catalog.module_of(name)
    assert all((row.family, row.paper, row.summary))


def test_the_paths_of_the_architecture_are_there():
    named = paths_in((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_a_path_that_is_not_there_would_be_found():
    assert paths_in("see `tsforge/no_such_room/` and `tsforge/NAME.py`") == ["tsforge/no_such_room/"]


def test_every_room_stands_on_a_floor_of_the_architecture():
    told = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = [path for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()]
    files = [path for path in PACKAGE.glob("*.py") if not path.name.startswith("_")]
    named = [f"tsforge/{path.name}{'/' if path.is_dir() else ''}" for path in (*rooms, *files)]
    assert [name for name in named if f"| `{name}` |" not in told] == []


def test_no_file_of_the_package_can_read_a_pickle():
    found = {str(path): unsafe_names(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "code", ["import pickle", "from joblib import load", "from joblib import Parallel, load", "import joblib",
             "import torch\ntorch.load('x')",
             "import numpy as np\nnp.load('x')",
             "import numpy as np\nnp.load('x', allow_pickle=flag)", "import pandas as pd\npd.read_pickle('x')",
             "eval('1')"],
)
def test_a_planted_way_to_run_code_from_a_file_is_found(code):
    assert unsafe_names(code)


def test_comments_and_texts_may_name_what_is_not_done():
    assert unsafe_names('"""No pickle, no torch.load( here."""\nx = 1  # joblib\n') == []


def test_the_floors_hold():
    done = run([Path(sys.executable).with_name("lint-imports")])
    assert done.returncode == 0, done.stdout[-3000:]


def test_types_are_shipped():
    assert (PACKAGE / "py.typed").exists()


def test_every_dependency_is_pinned_to_what_was_tested():
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(need for extra in extras for need in extra)]
    names = {plain(re.split(r"[\[<>=!~; ]", need)[0]) for need in wanted} - {"tsforge"}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in pins)  # no local version, which no index has
    assert names <= {plain(line.partition("==")[0]) for line in pins}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def paths_in(text: str) -> list[str]:
    """The paths between backticks; NAME stands for any name."""
    return [path for path in re.findall(r"`([\w.]+/[\w./]*|[\w]+\.(?:toml|txt|md))`", text) if "NAME" not in path]


def unsafe_names(code: str) -> list[str]:
    """Imports and calls by which a file could run code; words in comments and texts do not count."""
    modules = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "skops", "marshal", "shelve"}
    processes = {"Parallel", "delayed", "parallel_config"}  # of joblib, which read no file
    calls = {"torch.load", "np.load", "numpy.load", "pd.read_pickle", "eval", "exec", "yaml.load", "yaml.unsafe_load"}
    found = []
    for node in ast.walk(ast.parse(code)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [] if {alias.name for alias in node.names} <= processes else [node.module or ""]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in calls:
            plain = any(word.arg == "allow_pickle" and ast.unparse(word.value) == "False" for word in node.keywords)
            found += [] if plain else [ast.unparse(node.func)]
        found += [name for name in names if name.partition(".")[0] in modules]
    return found
