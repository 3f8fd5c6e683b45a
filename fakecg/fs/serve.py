"""Who answers requests: one thread, and another one whenever that one is busy for long.

A single thread answers a request two to four times faster than a pool does, since nothing moves between threads and processors; but a long
write would then stall every reader. So one thread, the leader, receives and answers requests; a handler that is going to take long calls
``may_block``, which appoints another leader. The old one goes to rest when it is done, until it is needed again.

After an answer the leader looks for the next request for a few microseconds before it sleeps: waking a sleeping processor costs more than
most answers (measured on 2 virtual processors: open, read and close in 88 us instead of 300 us).
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable
from time import monotonic, perf_counter_ns
from typing import Protocol

from fakecg.fs.logring import LOGGER_NAME

log = logging.getLogger(LOGGER_NAME)

#: How long the leader looks for the next request before it sleeps.
SPIN_NS = 30_000
MAX_RESTING = 4
#: How long stop waits for requests that are being answered.
STOP_WAIT_S = 5


class Channel(Protocol):
    """Where requests come from."""

    def fileno(self) -> int:
        """A non-blocking descriptor that is readable when a request waits."""
        ...

    def make_receiver(self) -> Callable[[], bool | None]:
        """A function for one thread that receives a request and answers it: True; None if none waits; False if the mount is gone."""
        ...


class Server:
    """The threads that serve one channel.

    Attributes:
        stopped: set when they are to end, because of stop or because the mount is gone.
        stop_fd: a descriptor that is readable from then on.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._resting: list[_Worker] = []
        self._workers: set[_Worker] = set()
        self._leader: int | None = None
        self.stop_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.stopped = threading.Event()

    def start(self) -> None:
        """Begin to serve."""
        with self._lock:
            self._appoint()

    def stop(self) -> bool:
        """End after the requests that are being answered; waits for the threads. False if one is still at work after a while."""
        self.end()
        deadline_s = monotonic() + STOP_WAIT_S
        for worker in list(self._workers):
            if worker.ident != threading.get_ident():
                worker.join(timeout=max(0, deadline_s - monotonic()))
        return not any(worker.is_alive() for worker in self._workers)

    def close(self) -> None:
        """Free the descriptor; after stop."""
        if not any(worker.is_alive() for worker in self._workers):
            os.close(self.stop_fd)

    def may_block(self) -> None:
        """Called by a handler that is going to take long: lets another thread receive requests. Cheap when repeated."""
        if self._leader == threading.get_ident():
            with self._lock:
                self._appoint()

    def _appoint(self) -> None:
        if self._resting:
            worker = self._resting.pop()
            self._leader = worker.ident
            worker.turn.set()
            return
        leader, self._leader = self._leader, None  # the new thread takes the seat
        worker = _Worker(self)
        self._workers.add(worker)
        try:
            worker.start()
        except RuntimeError as error:
            self._workers.discard(worker)
            if leader is None:
                raise
            self._leader = leader  # it goes on when it is done, and others wait until then
            log.info("no thread to serve others meanwhile: %s", error)

    def end(self) -> None:
        """Let all threads finish what they are at; does not wait."""
        self.stopped.set()
        os.eventfd_write(self.stop_fd, 1)
        with self._lock:
            for worker in self._resting:
                worker.turn.set()
            self._resting.clear()

    def lead(self, worker: _Worker) -> None:
        """Body of a thread."""
        ident = threading.get_ident()
        self._leader = ident
        poller = select.poll()
        poller.register(self._channel.fileno(), select.POLLIN)
        poller.register(self.stop_fd, select.POLLIN)
        receive = self._channel.make_receiver()
        while True:
            if not self._serve(ident, receive, poller) or self.stopped.is_set():
                return
            with self._lock:
                if len(self._resting) >= MAX_RESTING or self.stopped.is_set():
                    self._workers.discard(worker)
                    return
                worker.turn.clear()
                self._resting.append(worker)
            worker.turn.wait()

    def _serve(self, ident: int, receive: Callable[[], bool | None], poller: select.poll) -> bool:
        """Answer requests as the leader; True when another leader was appointed, False at the end."""
        busy_until = 0
        while self._leader == ident:
            received = receive()
            if received:
                busy_until = perf_counter_ns() + SPIN_NS
            elif received is None:
                if perf_counter_ns() > busy_until:
                    poller.poll()
                    if self.stopped.is_set():
                        return False
            else:
                self.end()
                return False
        return True


class _Worker(threading.Thread):
    def __init__(self, server: Server) -> None:
        super().__init__(name="fakecg-serve", daemon=True)
        self.turn = threading.Event()
        self._server = server

    def run(self) -> None:
        try:
            self._server.lead(self)
        except BaseException:
            log.exception("a serving thread failed")
            self._server.end()
