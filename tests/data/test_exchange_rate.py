from datetime import date

from tsforge.data.exchange_rate import ExchangeRate
from tsforge.frame.split import Split


def test_the_file_has_the_published_days_without_gaps(shared_data):
    shared_data("exchange_rate/exchange_rate.csv")
    frame = ExchangeRate().frame()
    assert (len(frame), frame.freq, frame.notices) == (7_588, "1d", ())
    assert frame.targets == ("0", "1", "2", "3", "4", "5", "6", "OT")
    assert (frame.table["ds"][0], frame.table["ds"][-1]) == (date(1990, 1, 1), date(2010, 10, 10))
    assert frame.steps is not None
    assert frame.steps.to_list() == list(range(7_588))
    assert frame.table.null_count().sum_horizontal().item() == 0
    assert frame.split == Split(train=5_311, val=760, test=1_517)


def test_rates_are_positive_and_their_order_is_that_of_the_file(shared_data):
    path = shared_data("exchange_rate/exchange_rate.csv")
    table = ExchangeRate().table()
    assert (table.select(ExchangeRate.channels).min() > 0).row(0) == (True,) * 8
    first = path.read_text().splitlines()[1].split(",")[1:]
    assert [str(value) for value in table.select(ExchangeRate.channels).row(0)] == first


def test_no_season_is_stated_where_days_are_nominal(shared_data):
    shared_data("exchange_rate/exchange_rate.csv")
    assert ExchangeRate().frame().season == 1
    assert ExchangeRate().frame(season=5).season == 5
