"""Proactive writeback against a bare loop that decompresses the same entries and writes each page with pwrite."""

from __future__ import annotations

import os
import tempfile

import lz4.block

from benchmarks.pairing import PAGE_SIZE, arguments, report, timed
from fakecg import Host
from fakecg.workload.content import ContentSpec


def main() -> None:
    options = arguments(__doc__ or "")
    ours, bare = [], []
    nr_written = 0
    for round_number in range(options.repeat):
        with Host(ram=options.size * 4, swap=options.size * 2, seed=options.seed + round_number) as host:
            job = host.mkdir("job")
            host.spawn(job, size=options.size, content=options.content)
            job["memory.reclaim"] = options.size - options.size // 16
            host.advance("1h")
            before = job.stat["zswpwb"]
            ours.append(timed(lambda: job.__setitem__("memory.zswap.proactive_writeback", "3600")))
            nr_written = job.stat["zswpwb"] - before
        bare.append(timed(_bare(options.content, options.seed, nr_written)))
    report("proactive writeback", nr_written, ours, bare, target="(>= 0.75)")


def _bare(content: str, seed: int, nr_pages: int):  # type: ignore[no-untyped-def]
    spec = ContentSpec.parse(content)
    pool = bytearray()
    entries = []
    for index in range(nr_pages):
        data = lz4.block.compress(spec.page(seed, index), store_size=False)
        entries.append((len(pool), len(pool) + len(data)))
        pool += data
    view = memoryview(pool)
    decompress = lz4.block.decompress
    file = tempfile.TemporaryFile()
    os.ftruncate(file.fileno(), nr_pages * PAGE_SIZE)

    def work() -> None:
        fd = file.fileno()
        offset = 0
        for start, end in entries:
            os.pwrite(fd, decompress(view[start:end], PAGE_SIZE), offset)
            offset += PAGE_SIZE

    return work


if __name__ == "__main__":
    main()
