import pytest

from tsforge.data.electricity import Electricity
from tsforge.data.exchange_rate import ExchangeRate
from tsforge.data.ili import ILI
from tsforge.data.jena import Jena
from tsforge.data.ltsf import split_by_share
from tsforge.data.traffic import Traffic


@pytest.mark.parametrize(("rows", "parts"), [
    (7_588, (5_311, 760, 1_517)), (966, (676, 97, 193)), (52_696, (36_887, 5_270, 10_539)),
    (26_304, (18_412, 2_632, 5_260)), (17_544, (12_280, 1_756, 3_508)), (10, (7, 1, 2)),
])
def test_training_and_test_are_rounded_down_and_validation_takes_the_rest(rows, parts):
    split = split_by_share(rows)
    assert (split.train, split.val, split.test) == parts
    assert sum(parts) == rows


@pytest.mark.parametrize(("adapter", "rows"), [
    (ExchangeRate, 7_588), (ILI, 966), (Electricity, 26_304), (Traffic, 17_544), (Jena, 52_704),
])
def test_the_published_parts_use_every_step(adapter, rows):
    split = adapter.published
    assert split.train + split.val + split.test == rows
