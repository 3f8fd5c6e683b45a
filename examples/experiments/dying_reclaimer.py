#!/usr/bin/env python3
"""What a reclaimer leaves behind that dies half-way: a lowered limit stays and slows the job down, a proactive write leaves nothing.

A job needs a little more memory than memory.high allows, so some of it lives in zswap. An agent wants seven eighths of what is in zswap
out of it, and is killed while it is at it. Then the job runs on for 30 seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache

from experiment import Counters, look, pages_worth, table

from fakecg import Group, Host

COLUMNS = ("agent", "swap on", "zswap.max afterwards", "pages to disk in 30 s", "read from disk", "stall in 30 s")
DISKS = ("ssd", "hdd")


def no_agent(host: Host, job: Group, start: Counters) -> Iterator[None]:
    """For comparison."""
    yield


def lower_and_restore(host: Host, job: Group, start: Counters) -> Iterator[None]:
    """Lower memory.zswap.max, wait until zswap has shrunk, restore it."""
    job["memory.zswap.max"] = start.zswap_bytes // 8
    while int(job["memory.zswap.current"]) > start.zswap_bytes // 8:
        yield
    job["memory.zswap.max"] = "max"


def write_proactively(host: Host, job: Group, start: Counters) -> Iterator[None]:
    """One proactive write, which finds the signal when it looks the second time, after its first batch."""
    size = pages_worth(start, start.zswap_bytes * 7 // 8) * 4096
    looks = iter((False, True))
    job.write("memory.zswap.proactive_writeback", f"max={size} 1", interrupted=lambda: next(looks))
    yield


@cache
def measure(agent: Callable[[Host, Group, Counters], Iterator[None]], disk: str) -> tuple[str, int, int, float]:
    """The limit afterwards, and pages to the disk, pages from the disk, and milliseconds of stall in the 30 seconds after it."""
    with Host(ram="1G", swap="2G", seed=7, cost=disk) as host:
        job = host.mkdir("job")
        job["memory.high"] = "8M"
        host.spawn(job, size="10M", access="uniform:500/s,write=0.3")
        host.advance("20s")
        steps = agent(host, job, look(host, job))
        with suppress(InterruptedError):  # a killed writer never sees the EINTR that ends its write
            next(steps)  # and never again: the agent was killed
        before, read, stalled = look(host, job), host.vmstat["pswpin"], stall_us(job)
        host.advance("30s")
        after = look(host, job)
        stall_ms = (stall_us(job) - stalled) / 1000
        return job["memory.zswap.max"], after.pswpout - before.pswpout, host.vmstat["pswpin"] - read, stall_ms


def stall_us(job: Group) -> int:
    """Time that tasks of a job waited for memory, microseconds."""
    return int(job["memory.pressure"].partition("\n")[0].rpartition("total=")[2])


def main() -> None:
    """Print the table."""
    rows = []
    agents = (("none", no_agent), ("lowers zswap.max, dies", lower_and_restore), ("proactive write, dies", write_proactively))
    for disk in DISKS:
        for name, agent in agents:
            limit, written, read, stall_ms = measure(agent, disk)
            rows.append((name, disk, limit, written, read, f"{stall_ms:.0f} ms"))
    print(table(COLUMNS, rows))


if __name__ == "__main__":
    main()
