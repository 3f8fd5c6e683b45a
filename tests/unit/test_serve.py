"""Who answers requests when there are no threads to be had."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from fakecg.fs import serve


class Requests:
    """A channel whose requests are bytes of a pipe, each answered by a function."""

    def __init__(self, answer: Callable[[bytes], None]) -> None:
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK)
        self._answer = answer

    def fileno(self) -> int:
        return self.reader

    def make_receiver(self) -> Callable[[], bool | None]:
        def receive() -> bool | None:
            try:
                request = os.read(self.reader, 1)
            except BlockingIOError:
                return None
            self._answer(request)
            return True

        return receive

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


def test_requests_are_served_one_after_the_other_when_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    answered: list[bytes] = []
    done = threading.Event()

    def answer(request: bytes) -> None:
        server.may_block()
        answered.append(request)
        if len(answered) == 3:
            done.set()

    def no_thread(worker: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    channel = Requests(answer)
    server = serve.Server(channel)
    server.start()
    monkeypatch.setattr(serve._Worker, "start", no_thread)
    os.write(channel.writer, b"abc")
    assert done.wait(timeout=10)
    assert answered == [b"a", b"b", b"c"]
    assert server.stop()
    server.close()
    channel.close()


def test_stop_tells_that_a_request_is_still_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, at_work = threading.Event(), threading.Event()

    def answer(request: bytes) -> None:
        at_work.set()
        assert go_on.wait(timeout=10)

    monkeypatch.setattr(serve, "STOP_WAIT_S", 0.05)
    channel = Requests(answer)
    server = serve.Server(channel)
    server.start()
    os.write(channel.writer, b"a")
    assert at_work.wait(timeout=10)
    assert not server.stop()
    go_on.set()
    monkeypatch.setattr(serve, "STOP_WAIT_S", 10)
    assert server.stop()
    server.close()
    channel.close()
