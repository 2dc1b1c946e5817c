import pytest

from tsforge.catalog import Catalog, Row
from tsforge.data import DATASETS
from tsforge.errors import PackageError, UnknownNameError


def test_what_a_package_adds_is_not_imported_before_it_is_asked_for_and_then_a_fault_names_the_package(installed):
    installed("broken", {"broken_one.py": "import no_such_module_at_all"}, "broken_set = broken_one:Data")
    assert "broken_set" in DATASETS
    assert DATASETS.row("broken_set").paper == "broken"
    with pytest.raises(PackageError, match="package broken, which cannot be imported: No module named 'no_such_module"):
        DATASETS["broken_set"]


def test_a_name_of_the_table_wins_over_one_that_is_installed(installed):
    installed("thief", {"thief.py": "class Fake: pass"}, "co2 = thief:Fake")
    assert DATASETS["co2"].__module__ == "tsforge.data.co2"
    assert "co2" not in DATASETS.installed


def test_a_catalog_without_a_group_takes_nothing_from_packages(installed):
    installed("other", {"other.py": "class Fake: pass"}, "fake = other:Fake")
    catalog = Catalog("thing", "tsforge.data", {"co2": Row("climate", "CO2", "paper", "summary")})
    assert list(catalog) == ["co2"]
    with pytest.raises(UnknownNameError, match="no thing named 'fake'"):
        catalog["fake"]


def test_rows_may_share_a_file():
    catalog = Catalog("dataset", "tsforge.data", {"air": Row("climate", "CO2", "paper", "summary", file="co2")})
    assert catalog["air"] is DATASETS["co2"]
