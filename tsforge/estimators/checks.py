"""What is refused before an estimator works: a horizon, a frame beyond its model's card, other channels."""

from typing import Any

import numpy as np

from tsforge.errors import ArgumentError, CapabilityError, FrameError
from tsforge.frame.frame import Frame
from tsforge.frame.schema import list_names


def check_h(h: Any) -> int:
    """h as a whole number.

    Raises:
        ArgumentError: it is none, or below 1.
    """
    if isinstance(h, bool) or not isinstance(h, int | np.integer) or h < 1:
        raise ArgumentError(f"h={h!r}: wanted the number of steps to forecast, a whole number, 1 or more.")
    return int(h)


def check_card(network: Any, frame: Frame, able: dict[str, list[str]], *, static_read: bool = False) -> None:
    """Raises CapabilityError where the frame has what a model's card lacks; `able` names the models that have it.

    Static columns are taken where an encoder reads them, `static_read`.
    """
    schema = frame.schema
    asked = {"past": schema.past, "future": (*schema.future, *schema.calendar), "static": schema.static}
    for role, columns in asked.items():
        if columns and role not in network.covariates and not (role == "static" and static_read):
            others = (
                f"{', '.join(able[role])} {'does' if len(able[role]) == 1 else 'do'}"
                if able[role]
                else "no model here does"
            )
            raise CapabilityError(
                f"{network.__name__} takes no {role} covariates ({', '.join(columns)}); {others}. Leave them out "
                f"({role}=(), or in Python frame.without_covariates()), or take a model that has them."
            )
    if schema.irregular and not network.irregular:
        others = ", ".join(able["irregular"]) or "no model here does"
        raise CapabilityError(
            f"{network.__name__} does not take irregular steps ({others}). Bring the frame onto a grid with "
            "Frame(..., resample='1h', how='last')."
        )


def refuse_other_channels(wanted: tuple[Any, ...], given: tuple[Any, ...]) -> None:
    """Raises FrameError: a frame whose channels are series has others than the one that was fitted."""
    absent, new = [c for c in wanted if c not in given], [c for c in given if c not in wanted]
    raise FrameError(
        f"channels_from='unique_id': the model was fitted on {len(wanted)} series as channels. Missing here: "
        f"{list_names(absent)}; not there then: {list_names(new)}. Give the same series, or fit anew."
    )
