"""Timing in pairs: ours and a bare loop over the same bytes, in turn, so that a drifting machine hits both alike."""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable

import lz4.block

from fakecg.abi.units import parse_size
from fakecg.workload.content import ContentSpec

PAGE_SIZE = 4096


def compressed_pages(content: str, seed: int, nr_pages: int) -> tuple[memoryview, list[tuple[int, int]]]:
    """Compressed pages side by side, and where each starts and ends: what a bare loop reads."""
    spec = ContentSpec.parse(content)
    pool = bytearray()
    entries = []
    for index in range(nr_pages):
        data = lz4.block.compress(spec.page(seed, index), store_size=False)
        entries.append((len(pool), len(pool) + len(data)))
        pool += data
    return memoryview(pool), entries


def arguments(description: str, *, size: str = "64M", repeat: int = 5) -> argparse.Namespace:
    """The options every benchmark has; ``size`` becomes bytes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=parse_size, default=parse_size(size))
    parser.add_argument("--repeat", type=int, default=repeat)
    parser.add_argument("--content", default="text", help="page contents, as for fakecg spawn")
    return parser.parse_args()


def timed(work: Callable[..., object], *arguments: object) -> float:
    """Seconds one call takes, without garbage collection in between."""
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        work(*arguments)
        return time.perf_counter() - start
    finally:
        gc.enable()


def report(name: str, nr_operations: int, ours_s: list[float], bare_s: list[float], *, target: str = "") -> float:
    """One line: name, n, microseconds an operation (best and median of ours), and the median ratio bare/ours of the pairs."""
    ratio = statistics.median(bare / ours for ours, bare in zip(ours_s, bare_s, strict=True))
    scale = 1e6 / nr_operations
    print(
        f"{name:<34} n={nr_operations:<8} best {min(ours_s) * scale:8.4f} us  median {statistics.median(ours_s) * scale:8.4f} us"
        f"  bare {statistics.median(bare_s) * scale:8.4f} us  speed {ratio:5.2f} of bare  {target}"
    )
    return ratio
