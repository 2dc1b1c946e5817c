"""Fitted: everything a fitted estimator knows, and its way into a run folder and back."""

import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch

from tsforge._version import __version__
from tsforge.data.prepare import Preparation, StaticCoding
from tsforge.data.store import Store
from tsforge.encoders.adapter.quantized import Grid
from tsforge.errors import ArtifactError, TsforgeError
from tsforge.estimators.adapt_weights import packed_weights, unpacked_weights
from tsforge.evaluation.conformal import Ranked, Scores
from tsforge.evaluation.intervals import Law
from tsforge.frame.frame import Frame
from tsforge.frame.schema import Schema
from tsforge.local import LOCAL
from tsforge.local.base import LocalModel
from tsforge.local.packing import LocalFit, packed, unpacked
from tsforge.models import MODELS
from tsforge.models.base import Model
from tsforge.scaling import CHUNK, Scaling
from tsforge.training.artifact import FORMAT, PLAIN, read_run, write_run
from tsforge.training.fit import dtype_of
from tsforge.training.network import build_network, state_shapes
from tsforge.training.recipe import RunRecord
from tsforge.training.specs import read_plugs

PARTS = ("targets", "past", "future")
STREAM = "stream/"  # what a streaming network keeps of each series
ERRORS = "errors"
LEARNED = "learned/"  # what a local model learned of each series


@dataclass(frozen=True)
class Fitted:
    """What `fit` learned.

    Args:
        kind: "deep" or "local".
        key: The row of the catalog.
        schema: Roles of the frame it was fitted on.
        input_size: Steps that a window sees; for local models the steps kept as context.
        sizes: Data-given arguments of the network.
        preparation: Scalings and codings.
        trained_until: [series] the last stamp of each series that was looked at.
        law: How outputs are read, with calibration scores.
        context: The past that a forecast after the end of training needs.
        predictor: The network, or the local model with what it learned.
        history: One row per validation.
        steps: Optimiser steps.
        best_step: The step whose weights were kept.
        fingerprint: Digest of the data.
        stream: [series, ...] what a streaming network keeps of the rows it has read, the last of which is the context.
        adapted: How the network was changed after it was fitted, one entry for each time.
        grids: Of weights that lie on a grid, by which a byte of each is stored.
        classes: What the numbers of a classifier stand for.
        errors: Scores of the rows that a detector of anomalies was fitted on, ascending; of many, some.
    """

    kind: Literal["deep", "local"]
    key: str
    schema: Schema
    input_size: int
    sizes: dict[str, Any]
    preparation: Preparation
    trained_until: pl.Series
    law: Law
    context: Frame
    predictor: Model | LocalFit
    history: list[dict[str, Any]]
    steps: int
    best_step: int | None
    fingerprint: str
    stream: dict[str, np.ndarray] | None = None
    adapted: tuple[dict[str, Any], ...] = ()
    grids: Mapping[str, Grid] = field(default_factory=dict)
    classes: tuple[Any, ...] = ()
    errors: np.ndarray | None = None

    @cached_property
    def trained_until_by_id(self) -> pl.DataFrame:
        """`unique_id, ds`."""
        return pl.DataFrame({"unique_id": self.preparation.ids, "ds": self.trained_until})

    def write(
        self, folder: Path, arguments: dict[str, Any], recipe: dict[str, Any] | None, *,
        test: list[dict[str, Any]] | None = None, validation: dict[str, Any] | None = None, overwrite: bool = False,
    ) -> None:
        """Writes the run folder."""
        arrays = _arrays(self)
        prepared = self.preparation
        static = None if prepared.static is None else asdict(prepared.static)
        record = RunRecord(
            format=FORMAT if self.adapted or "task" in self.sizes else PLAIN,
            tsforge=__version__,
            kind=self.kind,
            name=self.key,
            arguments=_plain(arguments),
            recipe=None if recipe is None or self.adapted else _plain(recipe),  # which would make the run it came from
            roles=self.schema.to_dict() | {"month_end": self.context.grid.month_end},
            input_size=self.input_size,
            sizes=_plain(self.sizes),
            preparation={"scaler": prepared.scaler, "scope": prepared.scope, "static": static},
            ids=prepared.ids.to_list(),
            trained_until=self.trained_until.to_physical().cast(pl.Int64).to_list(),
            scores=list(self.law.scores),
            history=self.history,
            steps=self.steps,
            best_step=self.best_step,
            versions=versions(),
            fingerprint=self.fingerprint,
            table_kind=self.context.kind,
            time_dtype=_word(self.context.time_dtype),
            test=test,
            validation=validation,
            adapted=_plain(self.adapted),
            classes=_plain(self.classes),
        )
        write_run(folder, record, arrays, _context_table(self.context), overwrite=overwrite)


def read_fitted(folder: Path, classes: Iterable[type] = ()) -> tuple[Fitted, RunRecord]:
    """The inverse of `Fitted.write`; `classes` are those encoders that no catalog has.

    Raises:
        ArtifactError: the folder is not a whole, unchanged run of a format this version reads.
    """
    record, arrays, table = read_run(folder)
    try:
        return _fitted(record, arrays, table, tuple(classes)), record
    except ArtifactError:
        raise
    except (
        TsforgeError,
        KeyError,
        ValueError,
        TypeError,
        IndexError,
        RuntimeError,
        pl.exceptions.PolarsError,
    ) as error:
        raise ArtifactError(f"{folder}: its parts do not fit together ({error}).") from None


def _arrays(fitted: Fitted) -> dict[str, np.ndarray]:
    arrays = {}
    for part in PARTS:
        scaling = getattr(fitted.preparation, part)
        if scaling is not None:
            arrays |= {f"scaling/{part}/loc": scaling.loc, f"scaling/{part}/scale": scaling.scale}
    for number, scores in enumerate(fitted.law.scores.values()):
        for name in ("pooled", "own"):
            ranked = getattr(scores, name)
            arrays |= {f"scores/{number}/{name}/values": ranked.values,
                       f"scores/{number}/{name}/counts": ranked.counts}
    if isinstance(fitted.predictor, Model):
        arrays |= packed_weights(fitted.predictor, fitted.grids)
        arrays |= {f"{STREAM}{name}": array for name, array in (fitted.stream or {}).items()}
        arrays |= {} if fitted.errors is None else {ERRORS: fitted.errors}
    else:
        arrays |= {f"{LEARNED}{name}": array for name, array in packed(fitted.predictor.states).items()}
    return arrays


def _fitted(
    record: RunRecord, arrays: Mapping[str, np.ndarray], table: pl.DataFrame, classes: tuple[type, ...]
) -> Fitted:
    schema = Schema.from_dict(record.roles)
    frame = Frame.stored(
        table, schema, month_end=record.roles["month_end"], kind=record.table_kind, time_dtype=_dtype(record.time_dtype)
    )
    static = record.preparation["static"]
    parts = {
        p: Scaling(arrays[f"scaling/{p}/loc"], arrays[f"scaling/{p}/scale"]) if f"scaling/{p}/loc" in arrays else None
        for p in PARTS
    }
    ids = pl.Series("unique_id", record.ids, dtype=table.schema["unique_id"])
    preparation = Preparation(ids, record.preparation["scaler"], record.preparation["scope"], parts["targets"],  # pyright: ignore[reportArgumentType]
                              parts["past"], parts["future"], None if static is None else StaticCoding.read(static))
    scores = {
        (pair[0], pair[1]): Scores(
            *(Ranked(arrays[f"scores/{n}/{p}/values"], arrays[f"scores/{n}/{p}/counts"]) for p in ("pooled", "own"))
        )
        for n, pair in enumerate(record.scores)
    }
    weights, grids = unpacked_weights(arrays)
    predictor, quantiles = _deep(record, weights, classes) if record.kind == "deep" else (_local(record, arrays), ())
    until = pl.Series("ds", record.trained_until, dtype=pl.Int64).cast(frame.table.schema["ds"])
    return Fitted(
        record.kind,
        record.name,
        schema,
        record.input_size,
        record.sizes,
        preparation,
        until,
        Law(quantiles, scores),  # pyright: ignore[reportArgumentType]
        frame,
        predictor,
        record.history,
        record.steps,
        record.best_step,
        record.fingerprint,
        _stream(predictor, arrays, len(ids)),
        tuple(record.adapted),
        grids,
        tuple(record.classes),
        _errors(record, arrays),
    )


def _errors(record: RunRecord, arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
    if record.sizes.get("task") != "anomaly":
        return None
    errors = arrays[ERRORS]
    if errors.ndim != 1 or not len(errors) or not np.isfinite(errors).all() or (np.diff(errors) < 0).any():
        raise ArtifactError("The scores of the rows that it was fitted on are not numbers in ascending order.")
    return errors


def _stream(
    predictor: Model | LocalFit, arrays: Mapping[str, np.ndarray], n_series: int
) -> dict[str, np.ndarray] | None:
    if not isinstance(predictor, Model) or not predictor.streaming:
        return None
    kept = {name.removeprefix(STREAM): array for name, array in arrays.items() if name.startswith(STREAM)}
    wanted = {name: ((n_series, *s.shape[1:]), s.numpy().dtype) for name, s in predictor.start(1).items()}
    if {name: (array.shape, array.dtype) for name, array in kept.items()} != wanted:
        raise ArtifactError("The states of the stream do not have the shapes that the model and its series give.")
    if not all(np.isfinite(array).all() for array in kept.values()):
        raise ArtifactError("The states of the stream are not finite.")
    return kept


def _deep(
    record: RunRecord, weights: Mapping[str, torch.Tensor], classes: tuple[type, ...]
) -> tuple[Model, tuple[float, ...]]:
    from tsforge.estimators.parameters import own_arguments
    from tsforge.losses.spec import make_loss

    network_class = MODELS[record.name]
    loss = make_loss(record.arguments["loss"])
    own = {name: record.arguments[name] for name in own_arguments(network_class)}
    sizes = {name: tuple(size) if isinstance(size, list) else size for name, size in record.sizes.items()}
    sizes |= {"outputs": loss.outputs}
    plugs = read_plugs(network_class, record.arguments.get("encoder"), record.arguments.get("context"), classes)
    with torch.device("meta"):  # no memory is taken on the word of a file before its shapes are seen to fit
        shapes = state_shapes(build_network(network_class, sizes, own, plugs), weights)
    if shapes != {name: tensor.shape for name, tensor in weights.items()}:
        raise ArtifactError("The weights do not have the shapes that the arguments of the model give.")
    with torch.random.fork_rng(devices=[]):
        network = build_network(network_class, sizes, own, plugs).to(dtype_of(record.arguments["precision"]))
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False), loss.quantiles


def _local(record: RunRecord, arrays: Mapping[str, np.ndarray]) -> LocalFit:
    sizes = {name: tuple(size) if isinstance(size, list) else size for name, size in record.sizes.items()}
    model: LocalModel = LOCAL[record.name](**sizes)
    states = unpacked({n.removeprefix(LEARNED): array for n, array in arrays.items() if n.startswith(LEARNED)})
    if len(states) != len(record.ids):
        raise ArtifactError("What was learned is of another number of series.")
    for state in states:
        if state is not None:
            model.check(state, arrays["scaling/targets/loc"].shape[1])
    return LocalFit(model, states)


def _context_table(context: Frame) -> pl.DataFrame:
    if context.static is None:
        return context.table
    return context.table.join(context.static, on="unique_id", how="left", maintain_order="left")


def _word(dtype: Any) -> str:
    """`Datetime[ns]`, `Date`, `Int64`, `String`: what the time column was."""
    return f"Datetime[{dtype.time_unit}]" if isinstance(dtype, pl.Datetime) else str(dtype.base_type())


def _dtype(word: str) -> Any:
    """The inverse of `_word`, as far as a forecast is given back by it."""
    units: dict[str, Any] = {f"Datetime[{unit}]": pl.Datetime(unit) for unit in ("ms", "us", "ns")}
    return {**units, "Date": pl.Date(), "String": pl.String()}.get(word, pl.Int64())


def _plain(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {str(k): _plain(v) for k, v in values.items()}
    if isinstance(values, list | tuple):
        return [_plain(v) for v in values]
    values = values.item() if isinstance(values, np.generic) else values
    if values is None or isinstance(values, bool | int | float | str):
        return values
    raise ArtifactError(f"A run folder holds numbers and words, and an argument is {values!r}: leave it out to save.")


def versions() -> dict[str, str]:
    """What a result depends on besides its arguments."""
    names = ("torch", "lightning", "polars", "numpy", "scikit-learn")
    return {"python": platform.python_version(), "tsforge": __version__, **{name: version(name) for name in names}}


def fingerprint_of(store: Store) -> str:
    """A digest of all values, covariates, names and stamps of a store."""
    digest = blake2b(digest_size=16)
    for array in (store.offsets, store.values, store.past, store.future, store.first.to_physical().to_numpy()):
        if array is None:
            continue
        for low in range(0, len(array), CHUNK):  # rows of a block are read as they are hashed
            digest.update(np.ascontiguousarray(array[low : low + CHUNK]).data)
    digest.update("\x1f".join(map(str, store.ids.to_list())).encode())
    return digest.hexdigest()
