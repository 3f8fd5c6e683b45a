"""What things take: latencies of memory operations, in nanoseconds of emulated time.

Costs come from this table and never from how fast the emulator happens to run. The presets follow datasheet and microbenchmark orders of
magnitude for the swap device; they are round numbers on purpose and not a claim about a product.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

from fakecg.abi.errors import UsageError
from fakecg.abi.units import parse_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Latencies in nanoseconds, each for one page unless said otherwise.

    Attributes:
        touch_ns: access to a page that is present.
        minor_fault_ns: fault served from memory: a new zero page, a swap cache or page cache hit.
        zswap_store_ns: compress and store.
        zswap_load_ns: find and decompress.
        zero_fill_ns: swap in of an all-zero page, which is nowhere stored.
        swap_read_ns: latency of one read of the swap device; later pages of one readahead window cost swap_read_page_ns.
        swap_read_page_ns: transfer time of one more page of the same read.
        swap_write_ns: what submitting a write costs whoever reclaims; the device writes in the background.
        file_read_ns: latency of one read of a file that is not cached; more pages of the same read cost file_read_page_ns.
        file_read_page_ns: transfer time of one more page.
        scan_ns: looking at a page on an LRU list.
        reclaim_ns: unmapping and freeing a page, without what its backing store costs.
        migrate_ns: attaching a task to another cgroup, whole call.
        rotational: the swap device is, or claims to be, a turning disk: readahead follows its slots.
    """

    touch_ns: int = 100
    minor_fault_ns: int = 700
    zswap_store_ns: int = 4_000
    zswap_load_ns: int = 2_500
    zero_fill_ns: int = 800
    swap_read_ns: int = 90_000
    swap_read_page_ns: int = 2_000
    swap_write_ns: int = 3_000
    file_read_ns: int = 90_000
    file_read_page_ns: int = 2_000
    scan_ns: int = 100
    reclaim_ns: int = 500
    migrate_ns: int = 20_000
    rotational: bool = False

    def __post_init__(self) -> None:
        for column in fields(self):
            if getattr(self, column.name) < 0:
                raise UsageError(f"cost model: {column.name} must not be negative")

    def file_in_ns(self, nr_pages: int) -> int:
        """One read of ``nr_pages`` neighbouring file pages."""
        return self.file_read_ns + self.file_read_page_ns * (nr_pages - 1)

    @classmethod
    def parse(cls, spec: str) -> CostModel:
        """A preset, numbers, or both: ``nvme``, ``ssd,zswap_load=4us``, ``swap_read=80us``.

        Fields are named without their ``_ns``; values are durations (``ns us ms s``).

        Raises:
            UsageError: unknown preset or field, not a duration.
        """
        words = [word.strip() for word in spec.split(",") if word.strip()]
        model = cls()
        if words and "=" not in words[0]:
            model = preset(words.pop(0))
        known = {column.name.removesuffix("_ns"): column.name for column in fields(cls)}
        changes: dict[str, Any] = {}
        for word in words:
            name, separator, value = word.partition("=")
            if not separator or name not in known:
                raise UsageError(f"cost model: unknown field {name!r}{_did_you_mean(name, list(known))}")
            if name == "rotational":
                if value not in ("0", "1"):
                    raise UsageError(f"cost model: rotational is 0 or 1, not {value!r}")
                changes[name] = value == "1"
            else:
                changes[known[name]] = parse_duration(value)
        return replace(model, **changes)


_NOTHING: dict[str, Any] = {column.name: 0 for column in fields(CostModel) if column.name.endswith("_ns")}
PRESETS: dict[str, CostModel] = {
    "nvme": CostModel(),
    "ssd": CostModel(swap_read_ns=160_000, swap_read_page_ns=8_000, swap_write_ns=5_000, file_read_ns=160_000, file_read_page_ns=8_000),
    "hdd": CostModel(
        swap_read_ns=8_000_000,
        swap_read_page_ns=25_000,
        swap_write_ns=8_000,
        file_read_ns=8_000_000,
        file_read_page_ns=25_000,
        rotational=True,
    ),
    "virtio": CostModel(rotational=True),
    "instant": replace(CostModel(), **_NOTHING),
}


def preset(name: str) -> CostModel:
    """The cost model of a kind of swap device: nvme (the default), ssd (SATA), hdd; virtio is as fast as nvme but claims to turn, as disks
    of virtual machines do by default; ``instant`` makes everything free.

    Raises:
        UsageError: unknown name.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise UsageError(f"cost model: unknown preset {name!r}{_did_you_mean(name, list(PRESETS))}") from None


def _did_you_mean(word: str, known: list[str]) -> str:
    close = get_close_matches(word, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f" ({hint}known: {', '.join(known)})"
