"""Everything tsforge raises on purpose: what was given, what was wanted, what to do.

Each class is also the built-in exception a caller would expect, so `except ValueError` keeps working.
"""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches


class TsforgeError(Exception):
    """Base of all; the command line ends with exit code 2 and its text."""


class FrameError(TsforgeError, ValueError):
    """A table cannot be read as series: names the series, column, time, count and fix."""


class DataNotFoundError(TsforgeError, FileNotFoundError):
    """A file or a folder of data is not where it was looked for."""


class PackageError(TsforgeError, ImportError):
    """A package is not installed, or what it adds cannot be imported: names it and what to do."""


class UnknownNameError(TsforgeError, LookupError):
    """No row of a catalog has this name."""


class UnknownArgumentError(TsforgeError, TypeError):
    """A class or a recipe has no such argument."""


class ArgumentError(TsforgeError, ValueError):
    """An argument has a value that cannot work."""


class ShapeError(TsforgeError, ValueError):
    """Sizes do not fit together."""


class CapabilityError(TsforgeError, ValueError):
    """A model was asked for what its card says it lacks."""


class TrainingError(TsforgeError, RuntimeError):
    """Training cannot start or go on, for example after a loss that is not finite."""


class CalibrationError(TsforgeError, ValueError):
    """Too few held-back windows for an interval of this level."""


class LeakError(TsforgeError, ValueError):
    """A score would be taken on rows the model was fitted on."""


class ArtifactError(TsforgeError, ValueError):
    """A run folder is not what its checksums, its format or its schema say."""


class RecipeError(TsforgeError, ValueError):
    """A recipe or an override cannot be read: names the key, what was given and what was wanted."""


class WorkerError(TsforgeError, RuntimeError):
    """Processes or actors that do parts of a job end before they are done, or fail for a reason of their own."""


class OutputExistsError(TsforgeError, FileExistsError):
    """The output is there already and `overwrite` was not asked for."""


def suggest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the nearest known name, with a leading space; empty where none is near."""
    folded = {candidate.lower(): candidate for candidate in known}
    near = get_close_matches(name.lower(), folded, n=len(folded) or 1, cutoff=0.6)
    if not near:
        return ""
    alike = {candidate: SequenceMatcher(None, candidate, name.lower()).ratio() for candidate in folded}
    best = max(near, key=lambda candidate: (alike[candidate], -list(folded).index(candidate)))  # of equals the first
    return f" Did you mean {folded[best]!r}?"
