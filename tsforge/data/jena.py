"""Jena: the weather at one station in 2020, every ten minutes; the Weather set of the forecasting literature.

Source    Max Planck Institute for Biogeochemistry, Jena; the file by Wu et al. (2021), "Autoformer", arXiv:2106.13008.
Frame     unique_id "Jena"   ds 2020-01-01 00:10 to 2021-01-01 00:00, 52,695 stamps, 9 more are absent
          20 columns with their unit in the name   OT carbon dioxide
Units     as the names say.   OT: parts per million.   wd: degrees, where the wind comes from.
"""

import polars as pl

from tsforge.data.ltsf import LongTerm
from tsforge.frame.split import Split

SENTINEL = -9999


class Jena(LongTerm):
    """One series of 21 targets.

    `published` starts its parts at the stamps where 70, 10 and 20 percent of the 52,696 rows do. Counted in steps,
    training has 8 more than the 36,887 rows: 9 are absent, 1 row is written twice.
    """

    key, name, relative = "jena", "Jena", "station_weather/jena_2020.csv.gz"
    channels = (
        "p (mbar)", "T (degC)", "Tpot (K)", "Tdew (degC)", "rh (%)", "VPmax (mbar)", "VPact (mbar)", "VPdef (mbar)",
        "sh (g/kg)", "H2OC (mmol/mol)", "rho (g/m**3)", "wv (m/s)", "max. wv (m/s)", "wd (deg)", "rain (mm)",
        "raining (s)", "SWDR (W/m²)", "PAR (µmol/m²/s)", "max. PAR (µmol/m²/s)", "Tlog (degC)", "OT",
    )
    freq, season = "10m", 144
    published = Split(train=36_895, val=5_270, test=10_539)

    def mended(self, table: pl.DataFrame) -> pl.DataFrame:
        """Lost letters of names put back, -9999 made missing, one of two equal rows left out."""
        broken = {old: new for old, new in zip(table.columns[1:], self.channels, strict=False) if "\ufffd" in old}
        table = table.rename(broken).unique(maintain_order=True)
        return table.with_columns(pl.col(pl.Float64, pl.Int64).replace(SENTINEL, None))
