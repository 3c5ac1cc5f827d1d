"""A Delta write that waits before its commit, so that something else happens in between, and not by chance.

Delta's own tests hold a transaction at a lock in each of its phases, and the classes for that are in its jar.
A transaction is watched by an observer of the thread that runs it, so the writes of other threads go on.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from pyspark.sql import SparkSession

from medallion.errors import MedallionError

# All but the commit
_PHASES = ("analysis", "initial", "prepare", "backfill", "postCommit")
_SECONDS = 60


class Paused:
    """A write in a thread of its own. Its data files are written; its commit is not, until `finish()`.

    As a context manager it refuses a write that has no commit. When the block ends, also by an error, no
    write waits any more.
    """

    def __init__(self, spark: SparkSession, work: Callable[[], Any]) -> None:
        jvm: Any = spark._jvm
        delta = jvm.org.apache.spark.sql.delta
        phases = delta.fuzzer.OptimisticTransactionPhases.forName("paused")
        for name in _PHASES:
            getattr(phases, f"{name}Phase")().entryBarrier().unblock()
        self._commit = phases.commitPhase()
        observer = delta.fuzzer.PhaseLockingTransactionExecutionObserver(phases)
        # What the thread begins after this transaction is not watched: OPTIMIZE tries again after a conflict
        phases.postCommitPhase().exitBarrier().unblock()
        observer.setNextObserver(delta.TransactionExecutionObserver.getObserver(), True)
        self._error: Exception | None = None
        self._released = False

        def watch() -> None:
            delta.TransactionExecutionObserver.setObserver(observer)

        self._thread = threading.Thread(target=self._run, args=(watch, work), daemon=True)
        self._thread.start()
        try:
            self._wait_for_commit()
        except BaseException:  # Ctrl-C too: nobody has this object, so nobody could let the write go on
            self._let_go()
            raise

    def __enter__(self) -> Self:
        if not self.held:
            raise MedallionError("The write has ended without coming to a commit.") from self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._let_go()
        self._thread.join(_SECONDS)

    def _run(self, watch: Callable[[], None], work: Callable[[], Any]) -> None:
        watch()
        try:
            work()
        except Exception as error:
            self._error = error

    def _wait_for_commit(self) -> None:
        """Return when the write has come to its commit, or has ended without one.

        Raises MedallionError when it does neither in time.
        """
        end = time.monotonic() + _SECONDS
        while self._thread.is_alive() and not self._commit.hasReached():
            if time.monotonic() > end:
                raise MedallionError(f"The write did not come to its commit within {_SECONDS} seconds.")
            time.sleep(0.01)

    def _let_go(self) -> None:
        if not self._released:  # Delta refuses it a second time
            self._released = True
            self._commit.entryBarrier().unblock()

    @property
    def held(self) -> bool:
        """Whether the write waits at its commit now."""
        return self._thread.is_alive() and not self._commit.hasEntered()

    def finish(self) -> Exception | None:
        """Let the write commit, wait for its end, and return its error; None when it has committed.

        Raises MedallionError when it does not end in time.
        """
        if self._thread.is_alive():
            self._let_go()
            self._thread.join(_SECONDS)
        if self._thread.is_alive():
            raise MedallionError(f"The write did not end within {_SECONDS} seconds.")
        return self._error


def before_commit(spark: SparkSession, work: Callable[[], Any]) -> Paused:
    """Run `work` in a thread up to the commit of its first Delta transaction, and hold it there."""
    return Paused(spark, work)
