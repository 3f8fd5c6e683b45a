"""What the experiments share: a job whose cold memory is in zswap, a look at its counters, a printed table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fakecg import Group, Host

PAGE_SIZE = 4096
MIB = 1 << 20


@dataclass(frozen=True)
class Counters:
    """Pages moved since the start, and the compressed bytes that zswap holds now."""

    zswap_bytes: int
    nr_entries: int
    zswpout: int
    zswpwb: int
    pswpout: int

    @property
    def stores(self) -> int:
        """Pages that were offered to zswap: those it took, and those that went to the disk instead."""
        return self.zswpout + self.pswpout - self.zswpwb


def look(host: Host, job: Group) -> Counters:
    """The counters of a job; ``pswpout`` is the machine's, where nobody else swaps."""
    stat = job.stat
    return Counters(stat["zswap"], stat["zswapped"] // PAGE_SIZE, stat["zswpout"], stat["zswpwb"], host.vmstat["pswpout"])


def reclaim(job: Group, amount: str | int) -> bool:
    """memory.reclaim; whether all of the amount was found."""
    try:
        job["memory.reclaim"] = amount
    except BlockingIOError:
        return False
    return True


def pages_worth(counters: Counters, compressed_bytes: int) -> int:
    """How many pages have to leave zswap for so many bytes, by the ratio seen so far; rounded up."""
    return -(-compressed_bytes * counters.nr_entries // counters.zswap_bytes)


def mebibytes(value: int) -> str:
    """Bytes, short."""
    return f"{value / MIB:.2f}M"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Text with aligned columns, the first one to the left."""
    cells = [[str(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for first, *others in cells:
        aligned = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(aligned).rstrip())
    return "\n".join(lines)
