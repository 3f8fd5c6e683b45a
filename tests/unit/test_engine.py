"""Long work under the one lock: what a callback may do, who is told of failures, and how work ends early."""

from __future__ import annotations

import logging

import pytest

from fakecg import Host
from fakecg.abi.errors import Interrupted
from fakecg.big_lock import BigLock


def test_the_callback_of_a_write_may_use_the_host() -> None:
    with Host(ram="64M", swap="64M") as host:
        job = host.mkdir("job")
        host.spawn(job, size="16M", content="zero")
        seen: list[int] = []

        def enough() -> bool:
            seen.append(int(job["memory.current"]))
            job["memory.high"] = "max"
            return seen[-1] < 8 << 20

        with pytest.raises(InterruptedError):
            job.write("memory.reclaim", "16M", interrupted=enough)
        assert seen == sorted(seen, reverse=True)
        assert seen[0] > 8 << 20 > seen[-1] > 0
        assert host.verify() == 4096


def test_who_takes_the_lock_twice_is_told_so_instead_of_waiting_for_ever() -> None:
    lock = BigLock()
    with lock, pytest.raises(RuntimeError, match="must not use the host"):
        lock.__enter__()
    with lock:
        pass


def test_a_notice_callback_that_reads_a_file_gets_an_error() -> None:
    with Host(ram="64M") as host:
        job = host.mkdir("job")
        host.on_notify(lambda cgroup, name: job["memory.events"] and None)
        with pytest.raises(RuntimeError, match="must not use the host"):
            job["cgroup.freeze"] = 1


def test_failures_of_devices_are_logged_ten_times_in_five_seconds(caplog: pytest.LogCaptureFixture, no_warnings: list[str]) -> None:
    no_warnings.extend(("swap write failed", "30 more failures"))
    caplog.set_level(logging.ERROR, "fakecg")
    with Host(ram="64M") as host:
        for number in range(40):
            host.report_io_error(f"swap write failed {number}")
        assert [record.getMessage() for record in caplog.records] == [f"swap write failed {number}" for number in range(10)]
        assert host.last_error == "swap write failed 39"
        host.advance("5s")
        caplog.clear()
        host.report_io_error("swap write failed again")
        messages = [record.getMessage() for record in caplog.records]
        assert messages == ["30 more failures of devices were not logged", "swap write failed again"]


def test_a_signal_stops_the_clock_between_two_timers() -> None:
    with Host(ram="64M") as host:
        host.spawn(host.mkdir("job"), size="1M", access="uniform:100/s")
        began_ns = host.clock.now_ns()
        with pytest.raises(Interrupted):
            host.advance("30d", interrupted=lambda: host.clock.now_ns() - began_ns > 3_000_000_000)
        assert 3 < (host.clock.now_ns() - began_ns) / 1e9 < 60
        host.advance("1s")
