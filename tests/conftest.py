"""Places for every test: data beside the repository where there is some, and a cache of the session's own."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small tensors: a second thread costs more than it gives
BESIDE = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSFORGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        if "TSFORGE_DATA" not in os.environ and BESIDE.is_dir():
            patch.setenv("TSFORGE_DATA", str(BESIDE))
        yield


@pytest.fixture(scope="session")
def shared_data(places: None) -> Callable[[str], Path]:
    """`shared_data("ett/ETTh1.csv")` is the file, or skips the test and says why."""
    from tsforge.data.places import data_folder

    def find(relative: str) -> Path:
        path = data_folder() / relative
        if not path.exists():
            pytest.skip(f"needs the data file {path}; TSFORGE_DATA names the folder that holds {relative}")
        return path

    return find


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Installs a package as pip would: its files, and a folder that says what it adds."""
    monkeypatch.syspath_prepend(str(tmp_path))
    from tsforge.data import DATASETS

    DATASETS.__dict__.pop("installed", None)

    def install(name: str, files: dict[str, str], added: str) -> None:
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(text)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[tsforge.datasets]\n{added}\n")

    yield install
    DATASETS.__dict__.pop("installed", None)
