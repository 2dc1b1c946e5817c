"""optuna's dashboard on the storage of a sweep."""

from collections.abc import Callable
from importlib.util import find_spec
from wsgiref.simple_server import make_server

from tsforge.errors import ArgumentError, PackageError
from tsforge.sweeps.storage import open_storage


def serve(storage: str, host: str, port: int, ready: Callable[[], None]) -> None:
    """Serves the dashboard until it is interrupted.

    Args:
        storage: A path of a journal, or an address.
        host: Where to listen.
        port: Where to listen.
        ready: Called when it does.

    Raises:
        PackageError: the dashboard is not installed.
        ArgumentError: somebody else listens there.
    """
    if find_spec("optuna_dashboard") is None:
        raise PackageError("The dashboard is not installed: pip install 'tsforge[dashboard]'.")
    from optuna_dashboard import wsgi

    app = wsgi(open_storage(storage, exists=True))
    try:
        server = make_server(host, port, app)
    except OSError as error:
        raise ArgumentError(f"--host {host} --port {port}: {error.strerror or error}. Choose another port.") from None
    with server:
        ready()
        server.serve_forever()
