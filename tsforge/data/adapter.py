"""Adapter: what every dataset is, one source brought to the one frame."""

from typing import Any, ClassVar

import polars as pl

from tsforge.frame.frame import Frame
from tsforge.frame.split import Split


class Adapter:
    """A source of data. Its constructor takes what chooses the data; `roles` states roles that may be overridden.

    Static columns that the source states are an offer: a model that reads none is given the frame without them.
    """

    published: ClassVar[Split | None] = None  # the split that published tables use

    def table(self) -> pl.DataFrame:
        """The long table, its known faults mended."""
        raise NotImplementedError(f"{type(self).__name__} has no table.")

    def roles(self) -> dict[str, Any]:
        """Keywords of `Frame` that this source states."""
        return {}

    def frame(self, **roles: Any) -> Frame:
        """The checked frame; `roles` given here win over those of the source.

        With another step of time (`resample`, `freq`) the season follows that step, and the published split, counted in
        the source's steps, is left out.
        """
        stated, split = self.roles(), self.published
        if roles.get("resample") or roles.get("freq", stated.get("freq")) != stated.get("freq"):
            stated, split = {k: v for k, v in stated.items() if k not in ("freq", "grid", "season")}, None
        frame = Frame(self.table(), **(stated | roles)).with_split(split)
        return frame if "static" in roles else frame.offering()
