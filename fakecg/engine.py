"""Long work under the one lock: run step by step, interrupted, reported.

Work is a generator: the lock is held for one step of it, others come in between two steps, and EINTR is thrown into it at the points where
a kernel looks for signals. Below this module nothing locks.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from fakecg.abi.errors import ControlError, Interrupted
from fakecg.big_lock import BigLock
from fakecg.cgroup.cftype import SIGNAL_POINT
from fakecg.sched.clock import NSEC_PER_SEC, Clock

log = logging.getLogger("fakecg")
Result = TypeVar("Result")

_RATELIMIT_INTERVAL_NS = 5 * NSEC_PER_SEC
_RATELIMIT_BURST = 10


class Engine:
    """Base of the host.

    Attributes:
        works: kernel threads that have something to do; each gets a step beside every step of other work.
        last_error: reason of the last refusal or failure.
        internal_errors: bugs that were met.
        closed: the machine is gone.
        clock: the machine's.
    """

    clock: Clock

    def __init__(self) -> None:
        self.lock = BigLock()
        self.works: list[Generator[None, None, None]] = []
        self.last_error = ""
        self.internal_errors = 0
        self.closed = False
        self._quiet_until_ns = self._nr_said = self._nr_unsaid = 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock; what is refused meanwhile is kept as the last error.

        Raises:
            ValueError: the host is closed.
        """
        with self.lock:
            if self.closed:
                raise ValueError("the host is closed")
            try:
                yield
            except ControlError as error:
                self.last_error = error.reason
                log.info("%s", error)
                raise

    def drive(self, steps: Generator[Any, None, Result], interrupted: Callable[[], bool] | None = None) -> Result:
        """Run work to its end, step by step; the lock is held in each step, but not while ``interrupted`` is asked."""
        try:
            pause = next(steps)
            while True:
                if pause is SIGNAL_POINT and interrupted is not None and self.ask(interrupted):
                    pause = steps.throw(Interrupted("a signal came while the write was at work"))
                    continue
                self._step_works()
                self.lock.cond_resched()
                pause = next(steps)
        except StopIteration as stop:
            self.finish_works()
            return stop.value  # type: ignore[no-any-return]

    def ask(self, interrupted: Callable[[], bool]) -> bool:
        """Whether a signal came; the lock, which is held, is let go for the question, so that it may use the host."""
        with self.lock.released():
            return interrupted()

    def _step_works(self) -> None:
        """One step of each kernel thread that has something to do."""
        works = self.works
        for work in list(works):
            try:
                next(work)
            except StopIteration:
                works.remove(work)

    def finish_works(self) -> None:
        """Run the kernel threads until they rest."""
        while self.works:
            self._step_works()
            self.lock.cond_resched()

    def report_bug(self, error: BaseException) -> None:
        """An unexpected exception: logged with its traceback and counted."""
        self.internal_errors += 1
        self.last_error = f"internal error: {type(error).__name__}: {error}"
        log.error("internal error: %s", "".join(traceback.format_exception(error)))

    def report_io_error(self, message: str) -> None:
        """A device failed: kept as the last error, and logged unless that happens too often.

        Source: include/linux/ratelimit_types.h: ten messages in five seconds.
        """
        self.last_error = message
        now_ns = self.clock.now_ns()
        if now_ns >= self._quiet_until_ns:
            if self._nr_unsaid:
                log.error("%d more failures of devices were not logged", self._nr_unsaid)
            self._quiet_until_ns = now_ns + _RATELIMIT_INTERVAL_NS
            self._nr_said = self._nr_unsaid = 0
        if self._nr_said < _RATELIMIT_BURST:
            self._nr_said += 1
            log.error("%s", message)
        else:
            self._nr_unsaid += 1
