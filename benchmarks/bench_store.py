"""zswap itself: storing and loading batches of 128 pages against bare loops that compress into an arena and decompress out of one."""

from __future__ import annotations

import lz4.block

from benchmarks.pairing import PAGE_SIZE, arguments, compressed_pages, report, timed
from fakecg import Host
from fakecg.mm.arena import new_arena, release_free_memory
from fakecg.mm.zswap import Zswap
from fakecg.workload.content import ContentSpec

BATCH_PAGES = 128


def main() -> None:
    options = arguments(__doc__ or "")
    nr_pages = options.size // PAGE_SIZE // BATCH_PAGES * BATCH_PAGES
    spec = ContentSpec.parse(options.content)
    pages = [spec.page(options.seed, index) for index in range(nr_pages)]
    stores, loads, bare_stores, bare_loads = [], [], [], []
    for _ in range(options.repeat):
        with Host(ram=options.size * 8, swap=options.size * 2) as host:
            memcg = host.machine.root_memcg
            batches = [
                (range(first + 1, first + 1 + BATCH_PAGES), pages[first : first + BATCH_PAGES]) for first in range(0, nr_pages, BATCH_PAGES)
            ]
            zswap = host.machine.zswap
            stores.append(timed(_store, zswap, memcg, batches))
            loads.append(timed(_load, zswap, batches))
        arena = memoryview(new_arena(nr_pages + 1))
        bare_stores.append(timed(_compress, pages, arena))
        view, entries = compressed_pages(options.content, options.seed, nr_pages)
        release_free_memory()
        bare_loads.append(timed(_decompress, view, entries))
    report("store", nr_pages, stores, bare_stores, target="(>= 0.85)")
    report("load", nr_pages, loads, bare_loads, target="(>= 0.7)")


def _store(zswap: Zswap, memcg, batches) -> None:  # type: ignore[no-untyped-def]
    for slots, data in batches:
        zswap.store(memcg, 0, slots, data)


def _load(zswap: Zswap, batches) -> list[list[bytes]]:  # type: ignore[no-untyped-def]
    return [zswap.load(slots) for slots, _ in batches]


def _compress(pages: list[bytes], arena: memoryview) -> None:
    compress = lz4.block.compress
    end = 0
    for page in pages:
        data = compress(page, store_size=False)
        arena[end : end + len(data)] = data
        end += len(data)


def _decompress(view: memoryview, entries: list[tuple[int, int]]) -> list[bytes]:
    decompress = lz4.block.decompress
    pages = []
    for start, end in entries:
        pages.append(decompress(view[start:end], PAGE_SIZE))
    return pages


if __name__ == "__main__":
    main()
