#!/usr/bin/env python3
"""With memory.zswap.max lowered, a burst writes back more than was intended.

A job has cold pages in zswap; an agent wants 1 MiB of compressed memory out of it. It lowers memory.zswap.max by so much, or makes one
proactive write. Then the job allocates 16 MiB, and something has to leave memory: because of memory.high, or because kswapd of a machine
with little memory is woken. All numbers are pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from experiment import MIB, Counters, look, pages_worth, reclaim, table

from fakecg import Host

COLUMNS = ("agent", "burst goes through", "intended", "to disk before the burst", "in the burst", "all", "of them cold entries")
BYTES_WANTED = 1 * MIB
CAUSES = {"memory.high": "1G", "kswapd": "68M"}


@dataclass(frozen=True)
class Outcome:
    """Pages: what the agent intended, and the counters at the start, before and after the burst."""

    intended: int
    start: Counters
    before: Counters
    after: Counters


@cache
def measure(agent: str, cause: str) -> Outcome:
    """One agent (``limit`` or ``write``), one cause of reclaim."""
    with Host(ram=CAUSES[cause], swap="2G", seed=7, zswap={"max_pool_percent": 50}) as host:
        job = host.mkdir("job")
        host.spawn(job, size="64M")
        reclaim(job, "16M")
        host.advance("1h")
        start = look(host, job)
        intended = pages_worth(start, BYTES_WANTED)
        if agent == "limit":
            job["memory.zswap.max"] = start.zswap_bytes - BYTES_WANTED
        else:
            job["memory.zswap.proactive_writeback"] = f"max={intended * 4096} 60"
        before = look(host, job)
        if cause == "memory.high":
            job["memory.high"] = job["memory.current"]
        host.spawn(job, size="16M")
        host.advance("1s")
        return Outcome(intended, start, before, look(host, job))


def main() -> None:
    """Print the table."""
    rows = []
    for cause in CAUSES:
        for agent, name in (("limit", "lowers zswap.max"), ("write", "proactive write")):
            found = measure(agent, cause)
            before, after = found.before, found.after
            in_burst = after.pswpout - before.pswpout
            rows.append((name, cause, found.intended, before.pswpout, in_burst, after.pswpout, after.zswpwb))
    print(table(COLUMNS, rows))


if __name__ == "__main__":
    main()
