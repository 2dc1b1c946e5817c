import json
import re
from datetime import date, timedelta
from pathlib import Path

from tsforge.data.load import load

PAGE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")


def block(language: str, first: str) -> str:
    found = re.search(rf"^```{language}\n({re.escape(first)}.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def test_the_adapter_of_the_docs_works_from_an_installed_package(installed, tmp_path, tsforge_says):
    entry = block("toml", "# pyproject.toml").splitlines()[2].replace('"', "")
    installed("shop-tools", {"shop/sales.py": block("python", "# shop/sales.py")}, entry)
    tills = tmp_path / "tills"
    tills.mkdir()
    days = [date(2024, 1, 1) + timedelta(days=k) for k in range(60)]
    for shop in ("north", "south"):
        rows = [f"{day:%d.%m.%Y};{-1 if day.day == 9 else 10 + day.weekday()}" for day in days]
        (tills / f"{shop}.txt").write_text("\n".join(["day;amount", *rows]))
    frame = load(f"sales:folder={tills}")
    assert (frame.ids.to_list(), frame.targets, frame.season) == (["north", "south"], ("amount",), 7)
    assert frame.table["amount"].null_count() == 4
    rows = json.loads(tsforge_says("list", "datasets", "--json")[1])
    assert rows[-1]["name"] == "sales"
    assert rows[-1]["paper"] == "shop-tools"
    assert tsforge_says("show", "sales")[0] == 0
    code, _, err = tsforge_says("fit", f"sales:folder={tills}", "--model", "seasonal_naive", "--h", "7", "--out",
                                str(tmp_path / "run"))
    assert code == 0, err
