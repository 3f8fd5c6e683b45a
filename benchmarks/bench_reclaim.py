"""memory.reclaim into zswap against a bare loop that compresses the same buffers and copies the results into an arena.

The first line's bare loop compresses as zswap does here (see fakecg/mm/lz4_kernel.py), the second's with lz4.block.
"""

from __future__ import annotations

import lz4.block
import lz4.frame

from benchmarks.pairing import PAGE_SIZE, arguments, report, timed
from fakecg import Host
from fakecg.mm.arena import new_arena
from fakecg.workload.content import ContentSpec


def main() -> None:
    options = arguments(__doc__ or "")
    nr_pages = options.size // PAGE_SIZE
    ours, bare, block = [], [], []
    for round_number in range(options.repeat):
        with Host(ram=options.size * 4, swap=options.size * 2, seed=options.seed + round_number) as host:
            job = host.mkdir("job")
            host.spawn(job, size=options.size, content=options.content)
            # The first reclaim after a fill only clears young bits: that is not what is measured.
            job["memory.reclaim"] = "4K"
            before = job.stat["zswpout"]
            ours.append(timed(lambda: job.__setitem__("memory.reclaim", options.size // 2)))
            nr_stored = job.stat["zswpout"] - before
        bare.append(timed(_bare(options.content, options.seed, nr_stored, same_compressor=True)))
        block.append(timed(_bare(options.content, options.seed, nr_stored, same_compressor=False)))
    report("reclaim into zswap", nr_pages // 2, ours, bare, target="(>= 0.8)")
    report("  against lz4.block", nr_pages // 2, ours, block)


def _bare(content: str, seed: int, nr_pages: int, *, same_compressor: bool):  # type: ignore[no-untyped-def]
    spec = ContentSpec.parse(content)
    pages = new_arena(nr_pages)
    for index in range(nr_pages):
        pages[index * PAGE_SIZE : (index + 1) * PAGE_SIZE] = spec.page(seed, index)
    pool = memoryview(new_arena(nr_pages + 16))
    view = memoryview(pages)
    block, frame = lz4.block.compress, lz4.frame.compress

    def with_block() -> None:
        end = 0
        for start in range(0, nr_pages * PAGE_SIZE, PAGE_SIZE):
            data = block(view[start : start + PAGE_SIZE], store_size=False)
            pool[end : end + len(data)] = data
            end += len(data)

    def with_frame() -> None:
        end = 0
        for start in range(0, nr_pages * PAGE_SIZE, PAGE_SIZE):
            data = frame(view[start : start + PAGE_SIZE], store_size=False)
            pool[end : end + len(data) - 15] = data[11:-4]
            end += len(data) - 15

    return with_frame if same_compressor else with_block


if __name__ == "__main__":
    main()
