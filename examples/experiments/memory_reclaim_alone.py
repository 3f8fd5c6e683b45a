#!/usr/bin/env python3
"""How little of zswap memory.reclaim writes back in steady state.

A job has 16 MiB in zswap for an hour and 32 MiB in memory. One request is made of it, with and without zswap's dynamic shrinker. What
memory.reclaim finds is memory to compress, so zswap grows; only a request for more than there is drives reclaim so far that the shrinker
gives zswap away, and then it is all of it.
"""

from __future__ import annotations

from functools import cache

from experiment import Counters, look, mebibytes, reclaim, table

from fakecg import Host

COLUMNS = ("request", "shrinker", "answer", "zswap before", "zswap after", "written back", "entries before")
REQUESTS = ("1M", "4M", "16M", "1G")


@cache
def measure(request: str, shrinker: str) -> tuple[bool, Counters, Counters]:
    """Whether the request was met, and the counters before and after."""
    with Host(ram="1G", swap="2G", seed=7) as host:
        job = host.mkdir("job")
        host.spawn(job, size="48M")
        reclaim(job, "16M")
        host.advance("1h")
        host.write_system("sys/module/zswap/parameters/shrinker_enabled", shrinker)
        before = look(host, job)
        done = reclaim(job, request)
        return done, before, look(host, job)


def main() -> None:
    """Print the table."""
    rows = []
    for shrinker in ("N", "Y"):
        for request in REQUESTS:
            done, before, after = measure(request, shrinker)
            answer = "done" if done else "EAGAIN"
            sizes = mebibytes(before.zswap_bytes), mebibytes(after.zswap_bytes)
            rows.append((request, shrinker, answer, *sizes, after.zswpwb, before.nr_entries))
    print(table(COLUMNS, rows))


if __name__ == "__main__":
    main()
