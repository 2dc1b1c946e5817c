"""Where the trials of a sweep are kept: a journal file, a database server, or optuna's proxy in front of one.

Journal   One line an operation. A process that is killed may leave half a line: it is cut off before the next one is
          written, by whoever holds the lock, so that no reader trips over it.
"""

import os
import re
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from tsforge.errors import ArgumentError, DataNotFoundError, PackageError, WorkerError

SERVERS = {"postgresql": "psycopg", "mysql": "pymysql"}  # and the driver that is taken where the address names none
KINDS = "a file (sweep.journal), postgresql://..., mysql://... or grpc://host:port"


class Journal(JournalFileBackend):
    """optuna's journal, which mends itself.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.lock = JournalFileSymlinkLock(str(path))
        super().__init__(str(path), lock_obj=_Mending(self.lock, path))  # pyright: ignore[reportArgumentType]


class _Mending:
    """The lock of a journal, under which half a line is cut off before anything is written.

    Whoever wrote it is dead: a line is whole before the lock is given back.
    """

    def __init__(self, lock: JournalFileSymlinkLock, path: Path) -> None:
        self.lock, self.path = lock, path

    def acquire(self) -> bool:
        """Waits for the lock."""
        held = self.lock.acquire()
        cut_torn_line(self.path)
        return held

    def release(self) -> None:
        """Gives the lock back."""
        self.lock.release()


def cut_torn_line(path: Path) -> None:
    """Cuts a file after its last newline."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        at = end
        while at > 0:
            step = min(at, 65_536)
            file.seek(at - step)
            newline = file.read(step).rfind(b"\n")
            if newline >= 0:
                at = at - step + newline + 1
                break
            at -= step
        if at < end:
            file.truncate(at)


def open_storage(given: str | Path | None, *, shared: bool = False, exists: bool = False) -> BaseStorage:
    """The storage at a path or an address.

    Args:
        given: A path of a journal, or an address; None is the memory of this process.
        shared: Whether several processes will use it.
        exists: Whether it has to be there already.

    Raises:
        ArgumentError: it is no storage, or one that cannot be shared is to be.
        DataNotFoundError: there is no such file.
        PackageError: the driver of a database is not installed.
        WorkerError: the server does not answer.
    """
    if given is None:
        return InMemoryStorage()
    scheme, found, rest = str(given).partition("://")
    if not found:
        return _journal(Path(given), exists)
    kind = scheme.partition("+")[0]
    if kind == "journal":
        return _journal(Path(rest), exists)
    if kind == "sqlite" and shared:
        raise ArgumentError(
            f"{given}: sqlite is for one worker, since several lock each other out. Give several a journal (a path, as "
            "in --storage sweep.journal), which also works over NFS, or a server: postgresql://user@host/name."
        )
    if kind == "grpc":
        return _proxy(str(given), rest)
    if kind == "sqlite" or kind in SERVERS:
        return _database(str(given), scheme, kind)
    raise ArgumentError(f"storage={str(given)!r}: there is no such kind. Wanted {KINDS}.")


def _journal(path: Path, exists: bool) -> JournalStorage:
    if path.is_dir():
        raise ArgumentError(f"storage: {path} is a folder. Give the file in it, as in {path / 'sweep.journal'}.")
    if exists and not path.is_file():
        raise DataNotFoundError(f"There is no journal at {path}: is the path that of the sweep's --storage?")
    try:
        return JournalStorage(Journal(path))
    except (ValueError, KeyError, AssertionError, TypeError) as error:
        raise ArgumentError(f"storage: {path} is no journal of a sweep ({error}).") from None


def _database(address: str, scheme: str, kind: str) -> BaseStorage:
    driver = SERVERS.get(kind)
    if driver is not None and scheme == kind:
        if find_spec(driver) is None:
            raise PackageError(f"{hidden(address)}: there is no driver. Install it: pip install 'tsforge[postgresql]', "
                               f"or name another one, as in {kind}+DRIVER://...")
        address = address.replace(f"{kind}://", f"{kind}+{driver}://", 1)
    try:
        return RDBStorage(address)
    except ImportError as error:
        raise PackageError(f"{hidden(address)}: its driver cannot be imported ({error}).") from None
    except Exception as error:
        if type(error).__module__.startswith(("sqlalchemy", "optuna", "psycopg")):
            reason = str(error).strip().partition("\n")[0]
            raise WorkerError(f"{hidden(address)}: the database does not answer ({reason}).") from None
        raise


def _proxy(address: str, place: str) -> BaseStorage:
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit():
        raise ArgumentError(f"storage={address!r}: wanted grpc://host:port.")
    if find_spec("grpc") is None:
        raise PackageError(f"{address}: the proxy needs grpcio. Install it: pip install 'tsforge[grpc]'.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        proxy = optuna.storages.GrpcStorageProxy(host=host, port=int(port))
        try:
            proxy.wait_server_ready(timeout=20)
        except Exception as error:  # grpc's own kinds of errors
            raise WorkerError(f"{address}: no proxy answers there ({type(error).__name__}).") from None
    return proxy


def rest(storage: BaseStorage) -> None:
    """Gives back the connections of this thread to a server; the storage makes others when it is used again."""
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


def hidden(address: Any) -> str:
    """An address for messages, without its password."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", str(address))
