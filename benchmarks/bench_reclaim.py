"""memory.reclaim into zswap against a bare loop that compresses the same buffers and copies the results into an arena."""

from __future__ import annotations

import lz4.block

from benchmarks.pairing import arguments, report, timed
from fakecg import Host
from fakecg.mm.arena import new_arena
from fakecg.workload.content import ContentSpec


def main() -> None:
    options = arguments(__doc__ or "")
    ours, bare = [], []
    nr_stored = 0
    for round_number in range(options.repeat):
        with Host(ram=options.size * 4, swap=options.size * 2, seed=options.seed + round_number) as host:
            job = host.mkdir("job")
            host.spawn(job, size=options.size, content=options.content)
            # The first reclaim after a fill only clears young bits: that is not what is measured.
            job["memory.reclaim"] = "4K"
            before = job.stat["zswpout"]
            ours.append(timed(job.__setitem__, "memory.reclaim", options.size // 2))
            nr_stored = job.stat["zswpout"] - before
        spec = ContentSpec.parse(options.content)
        pages = [spec.page(options.seed, index) for index in range(nr_stored)]
        arena = memoryview(new_arena(nr_stored + 1))
        bare.append(timed(_compress, pages, arena))
    report("reclaim into zswap", nr_stored, ours, bare, target="(>= 0.8)")


def _compress(pages: list[bytes], arena: memoryview) -> None:
    compress = lz4.block.compress
    end = 0
    for page in pages:
        data = compress(page, store_size=False)
        arena[end : end + len(data)] = data
        end += len(data)


if __name__ == "__main__":
    main()
