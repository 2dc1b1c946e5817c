"""Encoders: one paper, one file, one row; a family is a folder with one contract."""

from tsforge.catalog import Catalog, Row

ENCODERS = Catalog("encoder", __name__, {
    # file, below its family's folder; class, paper, what comes out
    "phnn": Row("sequence", "PHCEncoder", "Grassucci 2022, 2110.04176", "tokens, of one filter bank for all channels"),
    "delays": Row("sequence", "DelayEncoder", "Takens 1981; Cao 1997", "tokens, the delay vectors of each step"),
    "leanvec": Row("retrieval", "LeanVecEncoder", "Tepper 2024, 2312.16335", "a short vector that keeps distances"),
    "muvera": Row("retrieval", "MuveraEncoder", "Dhulipala 2024, 2405.19504", "a vector for a set of patches"),
    "matryoshka": Row("retrieval", "MatryoshkaEncoder", "Kusupati 2022, 2205.13147", "a vector of nested prefixes"),
    "activation_code": Row("retrieval", "ActivationCodeEncoder", "He 2021, 2101.05490", "bits: which units are on"),
    "unified_embedding": Row(
        "tabular", "UnifiedEmbeddingEncoder", "Coleman 2023, 2305.12102", "a vector of any ids, from one hashed table"
    ),
}, group="tsforge.encoders", by_family=True)
