"""Arguments of estimators: read off the constructors of networks, stated once there."""

from collections.abc import Container, Iterable, Mapping
from inspect import Parameter, signature
from typing import Any

from tsforge.errors import UnknownArgumentError, suggest
from tsforge.frame.frame import KNOWN
from tsforge.models.base import FROM_THE_FRAME

# Words of other libraries and scripts, and ours for the same thing.
OURS = {
    "season_length": "season",
    "seasonality": "season",
    "sp": "season",
    "seasonal_periods": "season",
    "horizon": "h",
    "output_chunk_length": "h",
    "pred_len": "h",
    "fh": "h",
    "prediction_length": "h",
    "forecast_horizon": "h",
    "input_chunk_length": "input_size",
    "seq_len": "input_size",
    "context_length": "input_size",
    "lookback": "input_size",
    "window_length": "input_size",
    "n_lags": "input_size",
    "n": "h",
    "futr_df": "future",
    "X_df": "future",
    "futr_exog_list": "future",
    "hist_exog_list": "past",
    "stat_exog_list": "static",
    "target_col": "targets",
    "value_cols": "targets",
    "coverage": "level",
    "n_epochs": "max_epochs",
    "epochs": "max_epochs",
    "train_epochs": "max_epochs",
    "lr": "learning_rate",
    "random_seed": "seed",
    "random_state": "seed",
    "patience": "early_stop_patience",
    "early_stop_patience_steps": "early_stop_patience",
    "val_check_steps": "validate_every",
    "scaler_type": "scaler",
    "windows_batch_size": "batch_size",
    "quantile": "quantiles",
    "period_scope": "periods",
    "enc_in": "in_channels",
}
# What is no argument of a constructor here, and what it is.
ELSEWHERE = {
    **{role: f"a role of the frame: fit(table, {role}=...) or tsforge.Frame(table, {role}=...)" for role in KNOWN},
    "future": "a role of the frame, for what is known ahead, and an argument of predict, which brings its values",
    "level": "an argument of predict: predict(level=[80, 95])",
    "quantiles": "an argument of predict, and of the loss 'quantile'",
    "encoder": "an argument of S4D, TimesNet, iTransformer, EncoderForecaster and AnalogForecaster; every neural model "
               "takes an encoder as context=",
    "context": "an argument of neural models",
    "task": "an argument of TimesNet, Chimera and MultiFIT, which do more than forecast",
    "in_channels": "the number of targets, which the frame says",
    "outputs": "what the loss asks for",
}


def own_arguments(network: type) -> dict[str, Parameter]:
    """The hyper-parameters of a network: what neither the frame nor the loss gives."""
    skip = {"self", *FROM_THE_FRAME}
    return {name: p for name, p in signature(network.__init__).parameters.items() if name not in skip}


def with_tuples(arguments: Mapping[str, Any], own: Container[str]) -> dict[str, Any]:
    """Arguments out of a file, where lists stand for the tuples that the `own` ones of a constructor are."""
    return {name: tuple(v) if name in own and isinstance(v, list) else v for name, v in arguments.items()}


def unknown_argument(owner: str, name: str, known: Iterable[str]) -> UnknownArgumentError:
    """The error for an argument that `owner` does not have: names our word and its place, or the nearest word."""
    known = list(known)
    ours = OURS.get(name, name)
    if ours in known:
        hint = f" tsforge calls it {ours}."
    elif ours in ELSEWHERE:
        hint = f" {'It' if ours == name else f'tsforge calls it {ours}; it'} is {ELSEWHERE[ours]}."
    elif ours != name:
        hint = f" tsforge calls it {ours}, and {owner} has none. There are: {', '.join(known)}."
    else:
        hint = suggest(name, known) or f" There are: {', '.join(known)}."
    return UnknownArgumentError(f"{owner} has no argument {name!r}.{hint}")
