"""Who a worker is, and whether it still lives: a process of this machine is looked up, of others a heartbeat is told.

Clock     Times of other machines are never compared with ours: what counts is how long a heartbeat stays the same here.
"""

import os
import socket
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

Identity = dict[str, Any]  # host, pid, started


def myself() -> Identity:
    """This process."""
    return {"host": _host(), "pid": os.getpid(), "started": _started(os.getpid())}


@cache
def _host() -> str:
    """The machine since it was switched on, and the pids that are meant: containers have their own."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return ":".join(parts)


def _started(pid: int) -> str | None:
    """When a process began, in ticks since the machine was switched on; None where that cannot be known.

    Raises:
        ProcessLookupError: there is no such process, or it has ended and nobody has asked how.
    """
    stat = Path(f"/proc/{pid}/stat")
    try:
        fields = stat.read_text().rpartition(")")[2].split()  # a name may hold spaces and brackets
    except (FileNotFoundError, ProcessLookupError):
        if not Path("/proc/self/stat").exists():  # a system without them
            with suppress(PermissionError):
                os.kill(pid, 0)
            return None
        raise ProcessLookupError(pid) from None
    if fields[0] in "ZX":
        raise ProcessLookupError(pid)
    return fields[19]


class Watch:
    """Tells the dead from the living.

    Args:
        grace: Seconds without a heartbeat after which a worker of another machine counts as dead.
    """

    def __init__(self, grace: float | int) -> None:
        self.grace = grace
        self._beats: dict[int, tuple[Any, float]] = {}

    def dead(self, number: int, worker: Identity | None, beat: Any) -> bool:
        """Whether the worker of a running trial is dead, as far as can be seen from here.

        Args:
            number: The trial.
            worker: Who runs it.
            beat: Its last heartbeat.
        """
        if worker is not None and worker.get("host") == _host():
            try:
                return _started(worker["pid"]) != worker["started"]
            except ProcessLookupError:
                return True
        now = time.monotonic()
        known, since = self._beats.get(number, (None, None))
        if since is None or known != beat:
            self._beats[number] = (beat, now)
            return False
        return now - since > self.grace
