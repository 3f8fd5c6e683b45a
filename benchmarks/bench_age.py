"""Age queries at 10,000 and at 1,000,000 entries, and the bookkeeping of a zswap entry beside its compressed bytes."""

from __future__ import annotations

import statistics
import tracemalloc
from random import Random

from benchmarks.pairing import arguments, timed
from fakecg import Host
from fakecg.mm.age_index import AgeIndex

_SMALL, _LARGE = 10_000, 1_000_000
_BATCH = 32
_HOUR_NS = 3_600_000_000_000
_QUERIES = 200


def main() -> None:
    options = arguments(__doc__ or "")
    small, large = _query_s(_SMALL, options.seed), _query_s(_LARGE, options.seed)
    print(f"age query  at {_SMALL}: {small * 1e6:7.1f} us   at {_LARGE}: {large * 1e6:7.1f} us   ratio {large / small:5.2f}  (<= 3)")
    print(f"zswap bookkeeping: {_bytes_per_entry(options.seed):.0f} bytes an entry beside its compressed bytes  (<= 200)")


def _query_s(nr_entries: int, seed: int) -> float:
    """One query; the entries were stored over an hour, in batches of 32."""
    index = AgeIndex()
    nr_batches = nr_entries // _BATCH
    for batch in range(nr_batches):
        index.add(batch * _HOUR_NS // nr_batches, _BATCH, _BATCH * 1800)
    random = Random(seed)
    cutoffs = [random.randrange(_HOUR_NS) for _ in range(_QUERIES)]

    def query() -> None:
        for cutoff_ns in cutoffs:
            index.stored_until(cutoff_ns)

    return statistics.median(timed(query) for _ in range(5)) / _QUERIES


def _bytes_per_entry(seed: int) -> float:
    with Host(ram="1G", swap="1G", seed=seed) as host:
        job = host.mkdir("job")
        host.spawn(job, size="64M", content="text")
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        job["memory.reclaim"] = "48M"
        # Frames that were dropped were not traced; what is left is bookkeeping. The arena is not traced either.
        used = tracemalloc.get_traced_memory()[0] - before
        nr_entries = job.stat["zswapped"] // 4096
        tracemalloc.stop()
        assert nr_entries
        return used / nr_entries


if __name__ == "__main__":
    main()
