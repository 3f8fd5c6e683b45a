#!/usr/bin/env python3
"""Lowering memory.zswap.max in steady state writes nothing back until the next store.

A job's cold half has been in zswap for an hour and nothing else happens. One agent lowers memory.zswap.max to half of what zswap holds and
waits another hour; another one asks for the same with one proactive write.
"""

from __future__ import annotations

from functools import cache

from experiment import Counters, look, mebibytes, pages_worth, reclaim, table

from fakecg import Host

COLUMNS = ("step", "zswap.current", "entries", "stores", "written back", "pages to disk")


@cache
def measure() -> list[tuple[str, Counters]]:
    """What the counters say after each step."""
    seen = []
    with Host(ram="1G", swap="2G", seed=7) as host:
        job = host.mkdir("job")
        host.spawn(job, size="32M", content="text")
        reclaim(job, "16M")
        seen.append(("half of the job is in zswap", look(host, job)))
        host.advance("1h")
        goal = look(host, job).zswap_bytes // 2
        job["memory.zswap.max"] = goal
        seen.append(("zswap.max lowered to half of it", look(host, job)))
        host.advance("1h")
        seen.append(("an hour later", look(host, job)))
        reclaim(job, "4096")
        seen.append(("the next stores: memory.reclaim of 4096", look(host, job)))

        job["memory.zswap.max"] = "max"
        before = look(host, job)
        nr_pages = pages_worth(before, before.zswap_bytes - goal)
        job["memory.zswap.proactive_writeback"] = f"max={nr_pages * 4096} 3600"
        seen.append((f"instead, one proactive write of {nr_pages} pages", look(host, job)))
    return seen


def main() -> None:
    """Print the table."""
    rows = [(step, mebibytes(now.zswap_bytes), now.nr_entries, now.stores, now.zswpwb, now.pswpout) for step, now in measure()]
    print(table(COLUMNS, rows))


if __name__ == "__main__":
    main()
