"""Faults on pages in zswap against a bare loop that decompresses the same entries.

The bare loop keeps the pages, as a fault does, in memory the process did not have before: freed pages are given back to the operating
system here. Two more lines compare with one that throws each page away at once (its results share one buffer in the cache) and with one
that copies them into an arena.
"""

from __future__ import annotations

import lz4.block

from benchmarks.pairing import PAGE_SIZE, arguments, report, timed
from fakecg import Host
from fakecg.mm.arena import new_arena, release_free_memory
from fakecg.mm.memory import touch_range
from fakecg.workload.content import ContentSpec


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

            def touch_all(host: Host = host, task=task, space=space) -> None:  # type: ignore[no-untyped-def]
                for _ in touch_range(host.machine, task.mm, space, 0, nr_pages):
                    pass

            ours.append(timed(touch_all))
            nr_loaded = job.stat["zswpin"] - before
        for times, what in ((kept, "keep"), (thrown_away, "throw away"), (copied, "copy")):
            times.append(timed(_bare(options.content, options.seed, nr_loaded, what)))
    report("fault in from zswap", nr_loaded, ours, kept, target="(>= 0.7)")
    report("  against decompress and forget", nr_loaded, ours, thrown_away)
    report("  against decompress and copy", nr_loaded, ours, copied)


def _bare(content: str, seed: int, nr_pages: int, what: str):  # type: ignore[no-untyped-def]
    spec = ContentSpec.parse(content)
    pool = bytearray()
    entries = []
    for index in range(nr_pages):
        data = lz4.block.compress(spec.page(seed, index), store_size=False)
        entries.append((len(pool), len(pool) + len(data)))
        pool += data
    view = memoryview(pool)
    decompress = lz4.block.decompress
    pages: list[bytes] = []
    arena = memoryview(new_arena(nr_pages))
    release_free_memory()

    def keep() -> None:
        for start, end in entries:
            pages.append(decompress(view[start:end], PAGE_SIZE))

    def throw_away() -> None:
        for start, end in entries:
            decompress(view[start:end], PAGE_SIZE)

    def copy() -> None:
        offset = 0
        for start, end in entries:
            arena[offset : offset + PAGE_SIZE] = decompress(view[start:end], PAGE_SIZE)
            offset += PAGE_SIZE

    return {"keep": keep, "throw away": throw_away, "copy": copy}[what]


if __name__ == "__main__":
    main()
