#!/usr/bin/env python3
"""How many stores it takes until a lowered memory.zswap.max is met, on 1, 2 and 4 nodes, against one proactive write.

A store above the limit looks at one entry for each node. The proposal concludes that it writes back at most one entry a node, and that
converging takes pages-above-the-limit / nodes stores. The machine here has fresh entries in zswap, evenly on all nodes, and goes on to
store cold pages of the same job until the limit is met, or until it has seen four times as many stores as there were entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from experiment import PAGE_SIZE, look, pages_worth, reclaim, table

from fakecg import Host

COLUMNS = (
    "kernel",
    "nodes",
    "entries",
    "above",
    "above/nodes",
    "stores needed",
    "of them to disk",
    "written back",
    "one proactive write",
)
MACHINES = (("v6.12", 1), ("v6.12", 2), ("v6.12", 4), ("v7.1", 1))
NR_ROUNDS = 4
STORES_A_STEP = 32


@dataclass(frozen=True)
class Outcome:
    """One machine; all numbers are pages.

    Attributes:
        nr_entries: in zswap at the start.
        nr_above: of them above the limit, by the ratio.
        stores: until the limit was met, or until the experiment gave up.
        is_met: whether it was met.
        to_disk: stores that were refused, so that the page went to the disk.
        zswpwb: entries written back on the way.
        proactive: entries that one proactive write took to meet the limit.
        is_met_proactively: whether that met it.
    """

    profile: str
    nr_nodes: int
    nr_entries: int
    nr_above: int
    stores: int
    is_met: bool
    to_disk: int
    zswpwb: int
    proactive: int
    is_met_proactively: bool


def _machine(profile: str, nr_nodes: int) -> Host:
    """A machine with 2048 entries, less what reclaim leaves, and much cold memory that can be stored next."""
    host = Host(ram="1G", swap="2G", seed=7, nodes=nr_nodes, profile=profile)
    job = host.mkdir("job")
    for node in range(nr_nodes):
        host.spawn(job, size=f"{8 // nr_nodes}M", node=node)
    reclaim(job, "7M")
    for node in range(nr_nodes):
        host.spawn(job, size=f"{72 // nr_nodes}M", node=node)
    host.advance("1h")
    return host


@cache
def measure(profile: str, nr_nodes: int) -> Outcome:
    """Lower the limit to half, and store."""
    with _machine(profile, nr_nodes) as host:
        job = host.group("job")
        start = look(host, job)
        job["memory.zswap.max"] = start.zswap_bytes // 2
        limit_pages = int(job["memory.zswap.max"]) // PAGE_SIZE
        now = start
        while now.zswap_bytes // PAGE_SIZE > limit_pages and now.stores - start.stores < NR_ROUNDS * start.nr_entries:
            reclaim(job, STORES_A_STEP * PAGE_SIZE)
            now = look(host, job)
    with _machine(profile, nr_nodes) as host:
        job = host.group("job")
        above = pages_worth(start, start.zswap_bytes - limit_pages * PAGE_SIZE)
        job["memory.zswap.proactive_writeback"] = f"max={above * PAGE_SIZE} 60"
        after = look(host, job)
    return Outcome(
        profile=profile,
        nr_nodes=nr_nodes,
        nr_entries=start.nr_entries,
        nr_above=above,
        stores=now.stores - start.stores,
        is_met=now.zswap_bytes // PAGE_SIZE <= limit_pages,
        to_disk=now.pswpout - now.zswpwb,
        zswpwb=now.zswpwb,
        proactive=after.zswpwb,
        is_met_proactively=after.zswap_bytes // PAGE_SIZE <= limit_pages,
    )


def main() -> None:
    """Print the table."""
    rows = []
    for profile, nr_nodes in MACHINES:
        found = measure(profile, nr_nodes)
        stores = found.stores if found.is_met else f"not met by {found.stores}"
        proactive = f"{found.proactive} pages{', met' if found.is_met_proactively else ''}"
        expected = found.nr_above // nr_nodes
        rows.append((profile, nr_nodes, found.nr_entries, found.nr_above, expected, stores, found.to_disk, found.zswpwb, proactive))
    print(table(COLUMNS, rows))


if __name__ == "__main__":
    main()
