"""Encoders: one paper, one file, one row; a family is a folder with one contract."""

from tsforge.catalog import Catalog, Row

ENCODERS = Catalog("encoder", __name__, {
    # file, below its family's folder; class, paper, what comes out
    "phnn": Row("sequence", "PHCEncoder", "Grassucci 2022, 2110.04176", "tokens, of one filter bank for all channels"),
    "delays": Row("sequence", "DelayEncoder", "Takens 1981; Cao 1997", "tokens, the delay vectors of each step"),
    "unified_embedding": Row(
        "tabular", "UnifiedEmbeddingEncoder", "Coleman 2023, 2305.12102", "a vector of any ids, from one hashed table"
    ),
}, group="tsforge.encoders", by_family=True)
