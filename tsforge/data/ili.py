"""ILI: patients with an influenza-like illness in the United States, by the week.

Source    Centers for Disease Control and Prevention, outpatient surveillance (ILINet); the file by Wu et al. (2021),
          "Autoformer", arXiv:2106.13008.
Frame     unique_id "ILI"   ds 2002-01-01 to 2020-06-30, 966 weeks   seven columns, called as in the file
Units     % WEIGHTED ILI, %UNWEIGHTED ILI: percent of visits.   AGE 0-4, AGE 5-24, ILITOTAL: patients with the illness.
          NUM. OF PROVIDERS: reporting practices.   OT: all patients.
"""

from tsforge.data.ltsf import LongTerm, split_by_share


class ILI(LongTerm):
    """One series of seven targets with a wave each winter."""

    key, name, relative = "ili", "ILI", "ili/national_illness.csv"
    channels = ("% WEIGHTED ILI", "%UNWEIGHTED ILI", "AGE 0-4", "AGE 5-24", "ILITOTAL", "NUM. OF PROVIDERS", "OT")
    freq, season = "1w", 52
    published = split_by_share(966)
