"""Where page contents live: the seam between the model and whatever memory it manages.

Reclaim, zswap and swap see a page's owner only through ``AddressSpace``: read the bytes of some pages, take frames away, give frames back
with bytes, collect the young bits. Nothing above knows whose memory it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from fakecg.mm.arena import release_free_memory

if TYPE_CHECKING:
    from fakecg.mm.mm_struct import MmStruct

Buffer = bytes | memoryview
#: Memory of taken frames goes back to the operating system after this many pages.
_RELEASE_PAGES = 16384


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
    """Pages whose contents follow from a seed.

    A frame is a bytes object: what zswap decompressed or the device read is the frame, without another copy. Touches set the flags in the
    page table themselves, so there is nothing to collect.

    Attributes:
        written: what was written to pages since their first touch, by index; None of it is forgotten when a page is taken.
        node_of: NUMA policy: node of each page by index, or None for the first node with free memory.
        readahead: the window of the last swap readahead: faulting page, size, hits (vm_area_struct.swap_readahead_info).
        ahead: pages read ahead and not used yet (PG_readahead).
        dirty: dirty pages of a file, in the order they were dirtied.
        met_by_reclaim: those of them that reclaim would have freed (PG_reclaim).
    """

    _nr_taken = 0

    def __init__(
        self,
        number: int,
        base: int,
        nr_pages: int,
        mm: MmStruct | None,
        content: Content,
        seed: int,
        *,
        is_file: bool = False,
        name: str = "",
    ) -> None:
        self.number = number
        self.base = base
        self.nr_pages = nr_pages
        self.is_file = is_file
        self.mm = mm
        self.name = name
        self.content = content
        self.seed = seed
        self.written: dict[int, bytes] = {}
        self.node_of: Sequence[int] | None = None
        self.readahead = (0, 0, 4)
        self.ahead: set[int] = set()
        self.dirty: list[int] = []
        self.met_by_reclaim: set[int] = set()
        self._frames: list[Buffer | None] = [None] * nr_pages

    def contents(self, pages: Sequence[int]) -> list[Buffer]:
        """The frames."""
        frames, base = self._frames, self.base
        if isinstance(pages, range):
            return frames[pages.start - base : pages.stop - base]  # type: ignore[return-value]
        return [frames[page - base] for page in pages]  # type: ignore[misc]

    def take(self, pages: Sequence[int]) -> None:
        """Drop the frames; every so often their memory goes back to the operating system."""
        frames, base = self._frames, self.base
        if isinstance(pages, range):
            frames[pages.start - base : pages.stop - base] = [None] * len(pages)
        else:
            for page in pages:
                frames[page - base] = None
        cls = SyntheticAddressSpace
        cls._nr_taken += len(pages)
        if cls._nr_taken >= _RELEASE_PAGES:
            cls._nr_taken = 0
            release_free_memory()

    def give(self, pages: Sequence[int], data: Sequence[Buffer]) -> None:
        """Make the data the frames."""
        frames, base = self._frames, self.base
        if isinstance(pages, range):
            frames[pages.start - base : pages.stop - base] = data
        else:
            for page, item in zip(pages, data, strict=True):
                frames[page - base] = item

    def collect_young(self, pages: Sequence[int]) -> None:
        """Nothing to do."""

    def expected(self, page: int) -> bytes:
        """What a page must contain."""
        index = page - self.base
        data = self.written.get(index)
        return self.content.page(self.seed, index) if data is None else data

    def fill(self, first: int, last: int) -> None:
        """Make frames with the contents that the pages first..last-1 must have."""
        if self.written:
            self.give(range(first, last), [self.expected(page) for page in range(first, last)])
            return
        page, seed, base = self.content.page, self.seed, self.base
        self.give(range(first, last), [page(seed, index) for index in range(first - base, last - base)])

    def store(self, index: int, data: bytes) -> None:
        """A resident page gets other contents; whoever calls touches it for writing."""
        self.written[index] = data
        self._frames[index] = data

    def close(self) -> None:
        """Drop all frames."""
        self._frames.clear()
