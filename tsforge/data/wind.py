"""Wind: where it comes from, as degrees, as a point of the compass, as sine and cosine.

Degrees count from north over east: 90 is a wind from the east. 359 and 1 are near, which only the components say.
"""

import polars as pl

from tsforge.errors import ArgumentError, FrameError
from tsforge.frame.schema import list_names

POINTS = ("N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE", "S", "SSW", "SW", "WSW", "W", "WNW", "NW", "NNW")


def check_wind(wind: str) -> str:
    """The word, checked.

    Raises:
        ArgumentError: directions are asked for as neither degrees nor components.
    """
    if wind not in ("degrees", "sincos"):
        raise ArgumentError(f"wind={wind!r}: wanted 'degrees', or 'sincos' for sine and cosine.")
    return wind


def wind_names(column: str, wind: str) -> tuple[str, ...]:
    """The columns that stand for a direction."""
    return (column,) if wind == "degrees" else (f"{column}_sin", f"{column}_cos")


def wind_components(
    table: pl.DataFrame, column: str, *, keep: bool = False, calm: int | float | None = None,
) -> pl.DataFrame:
    """The table with sine and cosine of a direction in degrees, under `wind_names`; missing stays missing.

    Args:
        table: Any table.
        column: Directions in degrees.
        keep: Whether the column of degrees stays.
        calm: The number that stands for a calm, which has no direction: both components are missing.
    """
    degrees = pl.col(column).cast(pl.Float64)
    angle = (degrees if calm is None else degrees.replace(calm, None)).radians()
    sine, cosine = wind_names(column, "sincos")
    names, place = table.columns, table.columns.index(column)
    parts = (angle.sin().alias(sine), angle.cos().alias(cosine))
    return table.select(*names[: place + keep], *parts, *names[place + 1 :])


def compass_degrees(table: pl.DataFrame, column: str) -> pl.DataFrame:
    """The table with 16 points of the compass turned into degrees; missing stays missing.

    Raises:
        FrameError: a text is no point of the compass.
    """
    unknown = table[column].drop_nulls().unique().sort()
    unknown = unknown.filter(~unknown.is_in(POINTS))
    if len(unknown):
        raise FrameError(
            f"Column {column!r} holds {list_names(unknown.to_list())}: wanted points of the compass such as "
            f"{list_names(POINTS)}."
        )
    degrees = {point: 22.5 * number for number, point in enumerate(POINTS)}
    return table.with_columns(pl.col(column).replace_strict(degrees, return_dtype=pl.Float64))
