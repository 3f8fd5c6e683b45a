"""What a large tree costs: mkdir and rmdir, and the root's memory.stat, at 100 and at 10,000 cgroups; bookkeeping bytes a page."""

from __future__ import annotations

import resource
import statistics
import tracemalloc

from benchmarks.pairing import arguments, timed
from fakecg import Host
from fakecg.mm.page_table import PageTable

_SMALL, _LARGE = 100, 10_000
_ROUNDS = 200


def main() -> None:
    options = arguments(__doc__ or "")
    figures = {nr_cgroups: _measure(nr_cgroups, options.repeat) for nr_cgroups in (_SMALL, _LARGE)}
    for position, name in enumerate(("mkdir and rmdir", "root memory.stat, 100 cgroups changed")):
        small, large = figures[_SMALL][position], figures[_LARGE][position]
        print(f"{name:<40} at {_SMALL}: {small * 1e6:8.1f} us   at {_LARGE}: {large * 1e6:8.1f} us   ratio {large / small:5.2f}  (<= 2)")
    tracemalloc.start()
    table = PageTable()
    table.alloc_range(4_000_000, 1)
    print(f"bookkeeping of 4,000,000 pages: {tracemalloc.get_traced_memory()[0] / 4_000_000:.1f} bytes a page and 8 for its frame  (<= 64)")
    del table
    print(f"peak resident memory of this benchmark: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


def _measure(nr_cgroups: int, repeat: int) -> tuple[float, float]:
    with Host(ram="1G", swap="64M") as host:
        groups = [host.mkdir(f"c{number}") for number in range(nr_cgroups)]

        def mkdir_and_rmdir() -> None:
            for number in range(_ROUNDS):
                host.mkdir(f"new{number}")
                host.rmdir(f"new{number}")

        made = statistics.median(timed(mkdir_and_rmdir) / _ROUNDS for _ in range(repeat))
        root = host.hierarchy.root
        read = []
        for _ in range(repeat * 5):
            for group in groups[:100]:
                group.cgroup.css["memory"].rstat.add(0, 1)  # type: ignore[attr-defined]
            read.append(timed(lambda: host.read(root, "memory.stat")))
        return made, statistics.median(read)


if __name__ == "__main__":
    main()
