"""Where page contents live: the seam between the model and whatever memory it manages.

Reclaim, zswap and swap see a page's owner only through ``AddressSpace``: read the bytes of some pages, take frames away, give frames back
with bytes, collect the young bits. Nothing above knows whose memory it is.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from fakecg.mm.arena import new_arena

if TYPE_CHECKING:
    from fakecg.mm.mm_struct import MmStruct

PAGE_SIZE = 4096
Buffer = bytes | memoryview
#: Freed frames are handed to the operating system in batches of this many pages.
_MADVISE_PAGES = 512


class Content(Protocol):
    """Deterministic page contents."""

    def page(self, seed: int, index: int, generation: int = 0) -> bytes:
        """4096 bytes, a function of the arguments alone."""
        ...


class AddressSpace(Protocol):
    """Owner of a contiguous range of pages.

    Attributes:
        number: its index in Machine.spaces and in PageTable.space.
        base: its first page.
        nr_pages: how many.
        is_file: page cache instead of anonymous memory.
        mm: the memory descriptor that maps it; None for page cache nobody maps.
        name: for messages.
    """

    number: int
    base: int
    nr_pages: int
    is_file: bool
    mm: MmStruct | None
    name: str

    def contents(self, pages: Sequence[int]) -> list[Buffer]:
        """The bytes of resident pages, 4096 each; valid until the pages are taken."""
        ...

    def take(self, pages: Sequence[int]) -> None:
        """Give up the frames of pages; their bytes are gone."""
        ...

    def give(self, pages: Sequence[int], data: Sequence[Buffer]) -> None:
        """Give frames back to pages, with contents."""
        ...

    def collect_young(self, pages: Sequence[int]) -> None:
        """Bring the YOUNG and DIRTY flags of mapped pages up to date with the hardware's bits."""
        ...


class SyntheticAddressSpace:
    """An arena of anonymous memory whose contents follow from a seed.

    Touches set the flags in the page table themselves, so there is nothing to collect.
    """

    def __init__(
        self, number: int, base: int, nr_pages: int, mm: MmStruct | None, content: Content, seed: int, *, is_file: bool = False, name: str = ""
    ) -> None:
        self.number = number
        self.base = base
        self.nr_pages = nr_pages
        self.is_file = is_file
        self.mm = mm
        self.name = name
        self.content = content
        self.seed = seed
        #: How often a page was rewritten, where that is not 0.
        self.generations: dict[int, int] = {}
        #: NUMA policy: node of each page by index, or None for the first node with free memory.
        self.node_of: Sequence[int] | None = None
        #: The window of the last swap readahead: (faulting page, size, hits). Source: vm_area_struct.swap_readahead_info.
        self.readahead = (0, 0, 4)
        #: Pages read ahead and not used yet (PG_readahead).
        self.ahead: set[int] = set()
        #: Dirty pages of a file, in the order they were dirtied.
        self.dirty: list[int] = []
        self._arena = new_arena(nr_pages)
        self._view = memoryview(self._arena)
        self._taken: list[tuple[int, int]] = []
        self._nr_taken = 0

    def contents(self, pages: Sequence[int]) -> list[Buffer]:
        """Views into the arena."""
        view, base = self._view, self.base
        if isinstance(pages, range):
            start = (pages.start - base) << 12
            return [view[offset : offset + PAGE_SIZE] for offset in range(start, start + (len(pages) << 12), PAGE_SIZE)]
        return [view[offset : offset + PAGE_SIZE] for offset in [(page - base) << 12 for page in pages]]

    def take(self, pages: Sequence[int]) -> None:
        """Remember the frames; a batch of them goes back to the operating system at once."""
        runs = self._taken
        if isinstance(pages, range):
            runs.append((pages.start, pages.stop - 1))
        else:
            first = last = pages[0]
            for page in pages[1:]:
                if page == last + 1:
                    last = page
                    continue
                runs.append((first, last))
                first = last = page
            runs.append((first, last))
        self._nr_taken += len(pages)
        if self._nr_taken >= _MADVISE_PAGES:
            self.trim()

    def trim(self) -> None:
        """Give the memory of taken frames back to the operating system."""
        if not self._nr_taken:
            return
        base = self.base
        runs = sorted(self._taken)
        start, end = runs[0]
        for first, last in [*runs[1:], (-1, -1)]:
            if first == end + 1:
                end = last
                continue
            self._arena.madvise(mmap.MADV_DONTNEED, (start - base) * PAGE_SIZE, (end + 1 - start) * PAGE_SIZE)
            start, end = first, last
        self._taken.clear()
        self._nr_taken = 0

    def give(self, pages: Sequence[int], data: Sequence[Buffer]) -> None:
        """Copy contents into the arena."""
        if self._nr_taken:
            self.trim()
        view, base = self._view, self.base
        for page, item in zip(pages, data, strict=True):
            offset = (page - base) << 12
            view[offset : offset + PAGE_SIZE] = item

    def collect_young(self, pages: Sequence[int]) -> None:
        """Nothing to do."""

    def expected(self, page: int) -> bytes:
        """What a page must contain."""
        index = page - self.base
        return self.content.page(self.seed, index, self.generations.get(index, 0))

    def fill(self, first: int, last: int) -> None:
        """Write the initial contents of the pages first..last-1."""
        self.give(range(first, last), [self.expected(page) for page in range(first, last)])

    def close(self) -> None:
        """Unmap the arena."""
        self._view.release()
        self._arena.close()
