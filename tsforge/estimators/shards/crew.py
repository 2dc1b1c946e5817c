"""The crew: workers that share a list of jobs. Who they are, processes or actors, is not known here."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any, Protocol, runtime_checkable

from tsforge.errors import WorkerError

Job = dict[str, Any]


class Died(Exception):
    """A worker is gone, for a reason that is no error of its job: it was killed, or its machine is down."""


@runtime_checkable
class Hand(Protocol):
    """A worker as the crew sees it."""

    def wait(self, over: threading.Event) -> bool:
        """Whether it is there; waits for it, but no longer than until `over`."""
        ...

    def ask(self, job: Job) -> dict[str, Any]:
        """Its answer; raises Died."""
        ...

    def kill(self) -> None:
        """Ends it at once; may be called from another thread."""
        ...

    def end(self) -> None:
        """Lets it go, and frees what it holds here."""
        ...


class Crew:
    """Does jobs with several workers, one thread each, which waits for its answers.

    Args:
        jobs: What there is to do. One whose worker dies is given to another, once.
        employ: Makes a worker.
        workers: How many.
    """

    def __init__(self, jobs: Sequence[Job], employ: Callable[[], Hand], workers: int) -> None:
        self.jobs, self.employ, self.workers = list(jobs), employ, min(workers, len(jobs))
        self.waiting, self.again = deque(self.jobs), set[str]()
        self.answers: SimpleQueue[dict[str, Any] | BaseException] = SimpleQueue()
        self.over, self.hands = threading.Event(), list[Hand]()

    def run(self) -> Iterator[dict[str, Any]]:
        """The answers as they come. Whatever ends this generator ends the workers.

        Raises:
            WorkerError: two workers died at one job.
        """
        threads = [threading.Thread(target=self._thread, daemon=True) for _ in range(self.workers)]
        for thread in threads:
            thread.start()
        try:
            for _ in self.jobs:
                answer = self.answers.get()
                if isinstance(answer, BaseException):
                    raise answer
                yield answer
        finally:
            self.over.set()
            self.waiting.clear()
            for hand in list(self.hands):
                hand.kill()
            for thread in threads:
                thread.join()

    def _thread(self) -> None:
        hand: Hand | None = None
        try:
            while not self.over.is_set():
                if hand is None:
                    hand = self.employ()
                    self.hands.append(hand)
                if not hand.wait(self.over):
                    return
                job = self._next()
                if job is None:
                    return
                hand = hand if self._done(job, hand) else self._without(hand)
        except BaseException as error:
            self.answers.put(error)
        finally:
            if hand is not None:
                self._without(hand)

    def _next(self) -> Job | None:
        try:
            return self.waiting.popleft()
        except IndexError:  # nothing is left to do
            return None

    def _done(self, job: Job, hand: Hand) -> bool:
        """Has a worker do a job; whether it lives on after it."""
        try:
            self.answers.put(hand.ask(job))
            return True
        except Died as died:
            if job["key"] in self.again:
                self.answers.put(WorkerError(
                    f"Two workers ended in the middle of shard {job['key']} ({died}), as they do where memory does "
                    "not suffice. What is done stays: the same call goes on, and fewer workers take less memory."
                ))
            self.again.add(job["key"])
            self.waiting.appendleft(job)
            return False

    def _without(self, hand: Hand) -> None:
        self.hands.remove(hand)
        hand.kill()
        hand.end()
