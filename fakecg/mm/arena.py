"""Memory in bulk: address space that takes memory only where it is written, and memory that goes back to the operating system."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
from functools import cache

from fakecg.abi.errors import UsageError
from fakecg.abi.units import PAGE_SIZE

#: Not in the mmap module; the same number on every Linux architecture but a few that never ran Python 3.11.
_MAP_NORESERVE = 0x4000
_MADV_POPULATE_WRITE = 23


def new_arena(nr_pages: int) -> mmap.mmap:
    """A private mapping of at least one page, all zeroes, not reserved.

    Raises:
        UsageError: this machine has no room for it in a process (exit code 1).
    """
    try:
        return mmap.mmap(-1, max(1, nr_pages) * PAGE_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
    except (OSError, OverflowError) as error:
        raise UsageError(f"no address space for {nr_pages * PAGE_SIZE} bytes of memory: {getattr(error, 'strerror', error)}", 1) from None


def populate(arena: mmap.mmap, first_page: int, nr_pages: int) -> None:
    """Map pages of an arena before they are written. Kernels before 5.14 map them one by one when they are."""
    with contextlib.suppress(OSError):
        arena.madvise(_MADV_POPULATE_WRITE, first_page * PAGE_SIZE, nr_pages * PAGE_SIZE)


@cache
def _malloc_trim() -> ctypes._NamedFuncPointer | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        # Not the GNU C library: freed memory goes back when its allocator thinks fit.
        return None


def release_free_memory() -> None:
    """Give what the allocator holds in reserve back to the operating system. Cost: a walk over the free chunks."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)
