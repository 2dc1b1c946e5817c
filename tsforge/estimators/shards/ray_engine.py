"""The Ray engine: shards in actors of Ray Core, on the cluster that is there or on one of this machine."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from typing import Any

from tsforge.data.workers import cores
from tsforge.errors import PackageError, WorkerError
from tsforge.estimators.shards.crew import Crew, Died, Job
from tsforge.estimators.shards.worker import Worker

STORE = 80 << 20  # bytes of the object store of a cluster of our own: parts go through files, not through it


def run_ray(folder: str, jobs: Sequence[Job], workers: int | None) -> Iterator[dict[str, Any]]:
    """The answers to jobs, as they come, from actors that take a core each.

    Args:
        folder: The work folder, which all machines of the cluster see under this path.
        jobs: Shards in words.
        workers: Actors; None takes one for each core of the cluster.

    Raises:
        PackageError: ray is not installed.
        WorkerError: the cluster has no core.
    """
    ray = import_ray()
    with connected(ray, min(workers or cores(), len(jobs))):
        there = int(ray.cluster_resources().get("CPU", 0))
        if not there:
            raise WorkerError("The Ray cluster has no core: start it with --num-cpus, or add a node to it.")
        made = ray.remote(num_cpus=1, scheduling_strategy="SPREAD")(Worker)
        yield from Crew(jobs, lambda: Actor(ray, made.remote(folder)), min(workers or there, there)).run()


def import_ray() -> Any:
    """The module.

    Raises:
        PackageError: it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise PackageError("engine='ray' needs ray, which is not installed: pip install 'tsforge[ray]'.") from None
    return ray


@contextmanager
def connected(ray: Any, workers: int) -> Iterator[None]:
    """Uses the connection that is there, else that of RAY_ADDRESS, else a cluster of this machine that ends here."""
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "local")
    own = {"num_cpus": workers, "object_store_memory": STORE, "include_dashboard": False}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone without being asked to
    ray.init(address, log_to_driver=False, logging_level="error", **(own if address == "local" else {}))
    try:
        yield
    finally:
        ray.shutdown()


class Actor:
    """A `Worker` in an actor."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self.ray, self.actor, self.there = ray, actor, False

    def wait(self, over: Event) -> bool:
        """Waits until the cluster has a place for it; meanwhile it holds no job, and the others do them."""
        asked = None if self.there else self.actor.ready.remote()
        while not self.there and not over.is_set():
            self.there = bool(self.ray.wait([asked], timeout=0.2)[0])
        return not over.is_set()

    def ask(self, job: Job) -> dict[str, Any]:
        """The answer to a job."""
        try:
            return self.ray.get(self.actor.answer.remote(job))
        except self.ray.exceptions.RayError as error:
            raise Died(f"{type(error).__name__}") from None

    def kill(self) -> None:
        """Ends the actor; the file it was writing stays aside, and is no part."""
        self.ray.kill(self.actor)

    def end(self) -> None:
        """Nothing is held here."""
