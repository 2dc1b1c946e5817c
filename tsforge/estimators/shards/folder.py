"""The work folder: what the shards are of, their parts, and a manifest with one line for each part that is whole.

    plan.json       what the forecasts are a function of, and its fingerprint
    frame.arrow     the rows, with series.arrow, static.arrow, roles.json beside it; cutoffs.arrow; future.arrow
    models/         one artifact for each model and fit
    parts/          one parquet file for each shard
    manifest.jsonl  shard, rows, sha256, plan: a line for each part

Workers write parts; the process that hands out the shards, and no other, writes lines. So lines cannot mingle, and a
kill can tear the last one only, whose shard then runs again. A line counts where its part has its hash.
"""

import io
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from tsforge.errors import ArtifactError, OutputExistsError
from tsforge.estimators.shards.aside import clear_asides, write_new
from tsforge.estimators.shards.contract import Shard

FORMAT = 1


class WorkFolder:
    """The place of a sharded computation."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.models, self.parts = self.path / "models", self.path / "parts"

    def begin(self, asked: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Makes the folder for what is asked, or goes on in one that was made for the same.

        Raises:
            ArtifactError: the folder holds parts of something else, and `overwrite` was not given.
            OutputExistsError: it holds other files; these are never thrown away.
        """
        plan = {"format": FORMAT, **json.loads(json.dumps(asked, default=str))}
        plan["fingerprint"] = sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
        there = self._plan_there()
        if there and there != plan:
            if not overwrite:
                other = ", ".join(key for key in plan if key != "fingerprint" and plan[key] != there.get(key))
                raise ArtifactError(
                    f"{self.path} holds parts of other forecasts (they differ in {other or 'format'}), which do not "
                    "go with these. Go on with the command they are of, or delete the folder (--overwrite)."
                )
            shutil.rmtree(self.path)
        for folder in (self.path, self.models, self.parts):
            folder.mkdir(parents=True, exist_ok=True)
            clear_asides(folder)
        write_new(self.path / "plan.json", json.dumps(plan, indent=1).encode())
        vars(self).pop("fingerprint", None)

    def remove(self) -> None:
        """Removes the folder, where it is one."""
        if (self.path / "plan.json").is_file():
            shutil.rmtree(self.path)

    def _plan_there(self) -> dict[str, Any] | None:
        path = self.path / "plan.json"
        if path.is_file():
            try:
                return json.loads(path.read_bytes())
            except ValueError:
                return {"format": None}
        own = ("models", "parts")
        if self.path.exists() and any(e.name not in own and not e.name.endswith(".part") for e in self.path.iterdir()):
            raise OutputExistsError(f"{self.path} holds other files. Choose an empty or a new folder for the parts.")
        return None

    @cached_property
    def fingerprint(self) -> str:
        """Of the plan; a line of the manifest with another one is of other forecasts."""
        return json.loads((self.path / "plan.json").read_bytes())["fingerprint"]

    def artifact(self, shard: Shard) -> Path:
        """The folder of the model of a shard."""
        return self.path / shard.artifact  # a whole path stays one

    def write_part(self, key: str, table: pl.DataFrame) -> dict[str, Any]:
        """Writes the part of a shard; returns its line."""
        content = io.BytesIO()
        table.write_parquet(content)
        write_new(self._part(key), content.getvalue())
        return {"shard": key, "rows": len(table), "sha256": sha256(content.getvalue()).hexdigest(),
                "plan": self.fingerprint}

    def note(self, line: Mapping[str, Any]) -> None:
        """Adds a line to the manifest, after the end of a torn one."""
        with (self.path / "manifest.jsonl").open("ab+") as file:
            file.seek(max(0, file.tell() - 1))
            torn = file.read(1) not in (b"", b"\n")
            file.write((b"\n" if torn else b"") + json.dumps(dict(line)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def lines(self) -> dict[str, dict[str, Any]]:
        """The lines of this plan by their shard; the later of two is the one."""
        path, found = self.path / "manifest.jsonl", {}
        for text in path.read_bytes().split(b"\n") if path.exists() else ():
            try:
                line = json.loads(text)
            except ValueError:  # a kill tore it
                continue
            if isinstance(line, dict) and line.get("plan") == self.fingerprint:
                found[line.get("shard")] = line
        return found

    def finished(self) -> set[str]:
        """Shards that have a line and the part that it speaks of."""
        return {key for key, line in self.lines().items() if self._whole(key, line) is not None}

    def together(self, shards: Sequence[Shard]) -> pl.DataFrame:
        """The parts of these shards, in their order.

        Raises:
            ArtifactError: a part is not there, or was changed.
        """
        lines, tables = self.lines(), []
        for shard in shards:
            content = self._whole(shard.key, lines.get(shard.key, {}))
            if content is None:
                raise ArtifactError(f"{self._part(shard.key)} is not what the manifest says; run the same call again.")
            tables.append(pl.read_parquet(io.BytesIO(content)))
        return pl.concat(tables)

    def _part(self, key: str) -> Path:
        return self.parts / f"{key}.parquet"

    def _whole(self, key: str, line: Mapping[str, Any]) -> bytes | None:
        path = self._part(key)
        content = path.read_bytes() if path.is_file() else None
        return content if content is not None and sha256(content).hexdigest() == line.get("sha256") else None
