"""Anonymous memory in bulk: address space that takes memory only where it is written."""

from __future__ import annotations

import mmap

PAGE_SIZE = 4096
#: Not in the mmap module; the same number on every Linux architecture but a few that never ran Python 3.11.
_MAP_NORESERVE = 0x4000


def new_arena(nr_pages: int) -> mmap.mmap:
    """A private mapping of at least one page, all zeroes, not reserved."""
    return mmap.mmap(-1, max(1, nr_pages) * PAGE_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
