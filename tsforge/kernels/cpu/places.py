"""Where compiled kernels are kept: below `TSFORGE_CACHE`, else where the user keeps caches."""

import hashlib
import os
from pathlib import Path


def kernel_cache() -> str:
    """A folder for the code of this folder as it stands; it need not exist.

    numba looks at the file of a kernel alone, and would go on with one whose helpers in another file have changed.
    """
    given = os.environ.get("TSFORGE_CACHE")
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "tsforge"
    sources = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return str(base.expanduser() / "kernels" / hashlib.sha256(sources).hexdigest()[:16])
