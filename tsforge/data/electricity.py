"""Electricity (ECL): what 321 customers in Portugal used, by the hour.

Source    UCI dataset 321, ElectricityLoadDiagrams20112014; the file by Wu et al. (2021), "Autoformer",
          arXiv:2106.13008, after Lai et al. (2018), arXiv:1703.07015.
Frame     unique_id "electricity"   ds 2016-07-01 02:00 to 2019-07-02 01:00, 26,304 hours
          0 to 319 and OT the customers (as_series=True: unique_id the customer, y)
Units     as published, kWh in an hour. ds is nominal: the hours are those of 2012 to 2014.
"""

from tsforge.data.ltsf import Clients, split_by_share


class Electricity(Clients):
    """One series of 321 targets, or with `as_series=True` one series for each of the customers."""

    key, name, relative = "electricity", "electricity", "electricity/electricity.csv"
    channels = (*map(str, range(320)), "OT")
    freq, season = "1h", 24
    published = split_by_share(26_304)
