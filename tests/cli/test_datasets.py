import json

import polars as pl
import pytest

from tsforge.data import DATASETS
from tsforge.data.card import read_card

ARGUMENTS = {"chaos": "system=Henon,n=60", "dysts_benchmark": "system=Lorenz", "ucr": "name=ArrowHead"}
ROWS = {  # as the sources count them
    "etth1": 17_420, "exchange_rate": 7_588, "ili": 966, "nn5": 791 * 74, "beijing_air": 4 * 35_064,
    "nyc_weather": 26_115, "air_passengers": 144, "activity": 16_485,
}
SIZES = {  # h, input_size, what is added to the name
    "nn5": (14, 56, ""), "atm_india": (7, 28, ""), "chaos": (20, 40, ":system=Lorenz,n=600"), "ili": (24, 36, ""),
    "physionet2012": (4, 12, ":resample=1h"), "weather2k": (8, 16, ""),
}


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in ("atm", "weather2k")])
def test_every_dataset_is_shown_and_exported_with_all_its_rows(name, tsforge_says, shared_data, tmp_path):
    for file in read_card(name).files[: 1 if name == "m4" else None]:  # of its parts the first is read by default
        file.package or shared_data(file.path)
    assert tsforge_says("show", name)[0] == 0
    source = f"{name}:{ARGUMENTS[name]}" if name in ARGUMENTS else name
    code, out, err = tsforge_says("data", "export", source, "--out", "table.parquet", "--json", "--quiet")
    assert (code, err) == (0, "")
    told = json.loads(out)
    table = pl.read_parquet(tmp_path / "table.parquet")
    assert (len(table), table["unique_id"].n_unique()) == (told["rows"], told["series"])
    assert len(table) == ROWS.get(name, len(table))


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_it_is_fitted_forecast_and_backtested_from_the_command_line(
    name, tsforge_says, shared_data, weather2k_file, tmp_path
):
    h, input_size, more = SIZES[name]
    source = f"{name}{more}"
    if name == "weather2k":
        source = f"{name}:path={weather2k_file(13, stations=4, days=50)}"
    else:
        for file in read_card(name).files:
            file.package or shared_data(file.path)
    sizes = ("--h", str(h), "--input-size", str(input_size), "--set", "max_steps=10", "--quiet")
    code, _, err = tsforge_says("fit", source, "--model", "dlinear", *sizes, "--out", "run")
    assert (code, err) == (0, "")
    code, out, err = tsforge_says("predict", "run", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)
    models = ("--model", "dlinear", "--model", "naive")
    code, out, err = tsforge_says("backtest", source, *models, *sizes, "--windows", "2", "--out", "backtest")
    assert (code, err) == (0, "")
    assert "DLinear" in out
    assert (tmp_path / "backtest" / "report.html").exists()
