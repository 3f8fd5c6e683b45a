"""Proactive writeback against a bare loop that decompresses the same entries and writes each page with pwrite.

The second line's bare loop keeps the pages, in memory the process did not have before: as on a kernel, written-back pages are in the swap
cache until the next reclaim drops them.
"""

from __future__ import annotations

import os
import tempfile

import lz4.block

from benchmarks.pairing import PAGE_SIZE, arguments, compressed_pages, report, timed
from fakecg import Host
from fakecg.mm.arena import release_free_memory


def main() -> None:
    options = arguments(__doc__ or "")
    ours, forgetting, keeping = [], [], []
    nr_written = 0
    for round_number in range(options.repeat):
        with Host(ram=options.size * 4, swap=options.size * 2, seed=options.seed + round_number) as host:
            job = host.mkdir("job")
            host.spawn(job, size=options.size, content=options.content)
            job["memory.reclaim"] = options.size - options.size // 16
            host.advance("1h")
            before = job.stat["zswpwb"]
            ours.append(timed(job.__setitem__, "memory.zswap.proactive_writeback", "3600"))
            nr_written = job.stat["zswpwb"] - before
        view, entries = compressed_pages(options.content, options.seed, nr_written)
        for times, keep in ((forgetting, False), (keeping, True)):
            with tempfile.TemporaryFile() as file:
                os.ftruncate(file.fileno(), nr_written * PAGE_SIZE)
                release_free_memory()
                times.append(timed(_write, file.fileno(), view, entries, keep))
    report("proactive writeback", nr_written, ours, forgetting, target="(>= 0.75)")
    report("  against keeping the pages", nr_written, ours, keeping)


def _write(fd: int, view: memoryview, entries: list[tuple[int, int]], keep: bool) -> None:
    decompress, pwrite = lz4.block.decompress, os.pwrite
    pages = []
    offset = 0
    for start, end in entries:
        page = decompress(view[start:end], PAGE_SIZE)
        pwrite(fd, page, offset)
        offset += PAGE_SIZE
        if keep:
            pages.append(page)


if __name__ == "__main__":
    main()
