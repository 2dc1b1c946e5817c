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
    "autoint": Row("tabular", "AutoIntEncoder", "Song 2019, 1810.11921", "a vector of crosses of ids and numbers"),
    "arm_net": Row("tabular", "ARMNetEncoder", "Cai 2021, 2107.01830", "a vector of products of powers of few fields"),
    "set": Row("irregular", "SetEncoder", "Vinyals 2016, 1511.06391", "a vector of the set of what was observed when"),
    "json_vsa": Row("symbolic", "JsonVSAEncoder", "Gallant 2022, 2202.04771", "a vector of a record with any fields"),
    "kriging": Row("field", "KrigingEncoder", "Dramsch 2020, 2006.13311", "a vector of what places around say is here"),
    "din": Row("ahead", "DINEncoder", "Zhou 2018, 1706.06978", "a vector of the past days that the days ahead ask for"),
    "batchformer": Row("wrapper", "BatchFormerAdapter", "Hou 2022, 2203.01522", "what is inside, trained in company"),
    "convergent": Row("wrapper", "ConvergentEncoder", "Li 2016, 1511.07543", "the units that several encoders share"),
    "mip_hyper": Row(
        "wrapper", "MIPHyperAdapter", "Gonzalez Ortiz 2024, 2304.07645", "what is inside, with weights of the series"
    ),
    "relative": Row("wrapper", "RelativeAdapter", "Moschella 2023, 2209.15430", "how like a window is to others"),
    "flora": Row("adapter", "FLoRAAdapter", "Si 2025, 2405.14739", "the same weights, changed by a few thin factors"),
    "random_subspace": Row(
        "adapter", "RandomSubspaceAdapter", "Li 2018, 1804.08838", "the same weights, moved along dim lines"
    ),
    "task_vectors": Row(
        "adapter", "TaskVectorAdapter", "Zhang 2024, 2407.02880", "the same weights, composed of several runs"
    ),
    "quantized": Row("adapter", "QuantizedAdapter", "Gholami 2021, 2103.13630", "the same weights, a byte for each"),
}, group="tsforge.encoders", by_family=True)
