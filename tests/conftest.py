"""Places for every test: data beside the repository where there is some, and a cache of the session's own."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
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
    from tsforge.encoders import ENCODERS

    def forget() -> None:
        for catalog in (DATASETS, ENCODERS):
            catalog.__dict__.pop("installed", None)

    forget()

    def install(name: str, files: dict[str, str], added: str, group: str = "tsforge.datasets") -> None:
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(text)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{added}\n")

    yield install
    forget()


WEATHER = {
    13: ("lat", "lon", "alt", "ap", "t", "mxt", "mnt", "rh", "p3", "wd", "ws", "mwd", "mws"),
    23: ("lat", "lon", "alt", "ap", "t", "mxt", "mnt", "dt", "rh", "wvp", "p1", "p2", "p3", "p4", "p5", "wd", "ws",
         "mwd", "mws", "st", "hv1", "hv2", "vv"),
}


def _weather(variables: int, stations: int, days: int, seed: int) -> np.ndarray:
    """[station, variable, step] as Weather2K has it: a travelling wave, days and years, and what follows from them."""
    rng, hours = np.random.default_rng(seed), 3 if variables == 13 else 1
    hour = np.arange(0, 24 * days, hours, dtype=float)[None]
    lat, lon, alt = (rng.uniform(*span, (stations, 1)) for span in ((18, 53), (75, 135), (0, 4500)))
    wave = np.sin(2 * np.pi * (hour / 96 - lon / 20)) + 0.3 * rng.normal(size=(stations, hour.size))
    year, day = np.cos(2 * np.pi * (hour / 8766 - 0.55)), np.cos(2 * np.pi * (hour - 14 + (120 - lon) / 15) / 24)
    t = 28 - 0.6 * (lat - 18) - 0.0055 * alt + 11 * year + 5 * day + 3 * wave
    rh = np.clip(65 - 15 * day + 12 * wave, 5, 100)
    gamma = np.log(rh / 100) + 17.62 * t / (243.12 + t)  # Magnus
    ws = np.abs(2.5 + 1.5 * wave + rng.normal(size=t.shape))
    wd = np.where(ws <= 0.2, 0.0, (180 + 150 * wave + 360 * rng.random((stations, 1))) % 360)
    p1 = np.where(wave > 1.2, rng.gamma(0.7, 2.0, t.shape), 0.0)
    rain = {f"p{k}": np.stack([np.convolve(own, np.ones(n))[: own.size] for own in p1])
            for k, n in ((1, 1), (2, 3), (3, 1 if hours == 3 else 6), (4, 12), (5, 24))}
    mnt, mxt = t - rng.uniform(0, 1, t.shape) * hours, t + rng.uniform(0, 1, t.shape) * hours
    visible = np.minimum(35_000 * np.exp(-3 * (rh / 100) ** 4) * rng.uniform(0.7, 1, t.shape), 30_000)
    parts = {"lat": lat, "lon": lon, "alt": alt, "ap": 1013.25 * np.exp(-alt / 8000) + 4 * wave, "t": t, "mxt": mxt,
             "mnt": mnt, "dt": 243.12 * gamma / (17.62 - gamma), "rh": rh,
             "wvp": 6.112 * np.exp(17.62 * t / (243.12 + t)) * rh / 100, **rain, "wd": wd, "ws": ws,
             "mwd": (wd + 5) % 360, "mws": ws * 1.4, "st": t + 4 * day, "hv1": visible, "hv2": visible * 0.98,
             "vv": np.minimum(visible / 3, 10_000)}
    return np.stack([np.broadcast_to(parts[name], t.shape) for name in WEATHER[variables]], axis=1)


@pytest.fixture(scope="session")
def weather2k_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`weather2k_file(23, stations=4, days=10)`: a small file with the layout of Weather2K (13 or 23 variables)."""

    def make(variables: int = 13, *, stations: int = 4, days: int = 10, seed: int = 0, dtype: str = "float64") -> Path:
        path = tmp_path_factory.mktemp("weather2k") / "weather2k.npy"
        np.save(path, _weather(variables, stations, days, seed).astype(dtype))
        return path

    return make
