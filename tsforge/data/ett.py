"""ETT: load and oil temperature of two electricity transformers, by the hour and by the quarter of an hour.

Source    Zhou et al. (2021), "Informer: Beyond Efficient Transformer for Long Sequence Time-Series Forecasting",
          arXiv:2012.07436; https://github.com/zhouhaoyi/ETDataset. CC BY-ND 4.0, so the files are not shipped.
Frame     unique_id "ETTh1"   ds 2016-07-01 00:00 to 2018-06-26 19:00, 17,420 hours (ETTm: to 19:45, 69,680 quarters)
          HUFL, HULL, MUFL, MULL, LUFL, LULL high, middle, low useful and useless load   OT oil temperature
Units     loads: as published, without a unit.   OT: degrees Celsius.
"""

from tsforge.data.ltsf import LongTerm
from tsforge.frame.split import Split


class ETT(LongTerm):
    """One transformer: a series of seven targets."""

    channels = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")


class ETTh1(ETT):
    """The first transformer, hourly; `published` is 12, 4 and 4 months of 30 days."""

    key, name, relative = "etth1", "ETTh1", "ett/ETTh1.csv"
    freq, season = "1h", 24
    published = Split(train=8_640, val=2_880, test=2_880)


class ETTh2(ETT):
    """The second transformer, hourly; `published` is 12, 4 and 4 months of 30 days."""

    key, name, relative = "etth2", "ETTh2", "ett/ETTh2.csv"
    freq, season = "1h", 24
    published = Split(train=8_640, val=2_880, test=2_880)


class ETTm1(ETT):
    """The first transformer, every 15 minutes; `published` is 12, 4 and 4 months of 30 days."""

    key, name, relative = "ettm1", "ETTm1", "ett/ETTm1.csv"
    freq, season = "15m", 96
    published = Split(train=34_560, val=11_520, test=11_520)


class ETTm2(ETT):
    """The second transformer, every 15 minutes; `published` is 12, 4 and 4 months of 30 days."""

    key, name, relative = "ettm2", "ETTm2", "ett/ETTm2.csv"
    freq, season = "15m", 96
    published = Split(train=34_560, val=11_520, test=11_520)
