"""Faults on pages in zswap against a bare loop that decompresses the same entries.

The bare loop keeps the pages, as a fault does, in memory the process did not have before: freed pages are given back to the operating
system here. Two more lines compare with one that throws each page away at once (its results share one buffer in the cache) and with one
that copies them into an arena.
"""

from __future__ import annotations

from collections import deque

import lz4.block

from benchmarks.pairing import PAGE_SIZE, arguments, compressed_pages, report, timed
from fakecg import Host
from fakecg.mm.arena import new_arena, release_free_memory
from fakecg.mm.memory import touch_range


def main() -> None:
    options = arguments(__doc__ or "")
    nr_pages = options.size // PAGE_SIZE
    ours, kept, thrown_away, copied = [], [], [], []
    nr_loaded = 0
    for round_number in range(options.repeat):
        with Host(ram=options.size * 4, swap=options.size * 4, seed=options.seed + round_number) as host:
            job = host.mkdir("job")
            task = host.spawn(job, size=options.size, content=options.content)
            job["memory.reclaim"] = options.size - options.size // 16
            space = task.mm.spaces[0]
            before = job.stat["zswpin"]

            ours.append(timed(deque, touch_range(host.machine, task.mm, space, 0, nr_pages), 0))
            nr_loaded = job.stat["zswpin"] - before
        view, entries = compressed_pages(options.content, options.seed, nr_loaded)
        arena = memoryview(new_arena(nr_loaded))
        release_free_memory()
        for times, bare in ((kept, _keep), (thrown_away, _throw_away), (copied, _copy)):
            times.append(timed(bare, view, entries, arena))
    report("fault in from zswap", nr_loaded, ours, kept, target="(>= 0.7)")
    report("  against decompress and forget", nr_loaded, ours, thrown_away)
    report("  against decompress and copy", nr_loaded, ours, copied)


def _keep(view: memoryview, entries: list[tuple[int, int]], arena: memoryview) -> list[bytes]:
    decompress = lz4.block.decompress
    pages = []
    for start, end in entries:
        pages.append(decompress(view[start:end], PAGE_SIZE))
    return pages


def _throw_away(view: memoryview, entries: list[tuple[int, int]], arena: memoryview) -> None:
    decompress = lz4.block.decompress
    for start, end in entries:
        decompress(view[start:end], PAGE_SIZE)


def _copy(view: memoryview, entries: list[tuple[int, int]], arena: memoryview) -> None:
    decompress = lz4.block.decompress
    offset = 0
    for start, end in entries:
        arena[offset : offset + PAGE_SIZE] = decompress(view[start:end], PAGE_SIZE)
        offset += PAGE_SIZE


if __name__ == "__main__":
    main()
