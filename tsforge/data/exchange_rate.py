"""Exchange rates: what the money of eight countries is worth in US dollars, by the day.

Source    Lai et al. (2018), "Modeling Long- and Short-Term Temporal Patterns with Deep Neural Networks",
          arXiv:1703.07015; https://github.com/laiguokun/multivariate-time-series-data, with dates by Wu et al. (2021).
Frame     unique_id "exchange_rate"   ds 1990-01-01 to 2010-10-10, 7,588 days   0 to 6 and OT the countries
Units     US dollars. ds is nominal: trading days were given consecutive dates, so weekdays mean nothing
          and no season is stated.
"""

from tsforge.data.ltsf import LongTerm, split_by_share


class ExchangeRate(LongTerm):
    """One series of eight targets; OT is column 6 of the original file, counted from 0, and column 6 its column 7."""

    key, name, relative = "exchange_rate", "exchange_rate", "exchange_rate/exchange_rate.csv"
    channels = ("0", "1", "2", "3", "4", "5", "6", "OT")
    freq, season = "1d", 1
    published = split_by_share(7_588)
