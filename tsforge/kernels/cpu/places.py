"""Where compiled kernels are kept: below `TSFORGE_CACHE`, else where the user keeps caches."""

import os
from pathlib import Path


def kernel_cache() -> str:
    """A folder; it need not exist."""
    given = os.environ.get("TSFORGE_CACHE")
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "tsforge"
    return str(base.expanduser() / "kernels")
