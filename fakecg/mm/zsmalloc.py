"""Allocator of compressed pages: size classes over an arena of real memory.

Mirrors mm/zsmalloc.c: sizes are rounded up to a class, objects of a class share a zspage of 1 to 8 pages, and classes that would pack alike
are merged into the largest of them. Memory of a zspage goes back to the operating system when its last object is freed.

Simplified: a zspage's pages are neighbours in the arena (the kernel chains single pages), and there is no compaction.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fakecg.abi.errors import NoSpace
from fakecg.abi.units import PAGE_SHIFT, PAGE_SIZE
from fakecg.mm.arena import new_arena, populate

ZS_MIN_ALLOC_SIZE = 32
ZS_SIZE_CLASS_DELTA = 16
ZS_HANDLE_SIZE = 8
#: CONFIG_ZSMALLOC_CHAIN_SIZE.
CHAIN_SIZE = 8
_MADVISE_BATCH = 1024
_POPULATE_PAGES = 64


def _pages_per_zspage(class_size: int) -> int:
    """Chain length with the least waste. Source: zsmalloc.c:calculate_zspage_chain_size."""
    if class_size & (class_size - 1) == 0:
        return 1
    best, least = 1, PAGE_SIZE
    for nr_pages in range(1, CHAIN_SIZE + 1):
        waste = nr_pages * PAGE_SIZE % class_size
        if waste < least:
            best, least = nr_pages, waste
    return best


class SizeClass:
    """Objects of one size.

    Attributes:
        object_bytes: size of an object, handle included.
        nr_pages: pages of a zspage.
        nr_objects: objects of a zspage.
        current: free objects of the zspage that allocation takes from; empty when it is full.
        partial: first pages of other zspages with free objects.
        empty: first pages of zspages that were emptied: their memory is given back, their object lists are ready for use.
        nr_zspages: zspages with objects.
    """

    __slots__ = ("current", "empty", "nr_objects", "nr_pages", "nr_zspages", "object_bytes", "partial")

    def __init__(self, object_bytes: int, nr_pages: int) -> None:
        self.object_bytes = object_bytes
        self.nr_pages = nr_pages
        self.nr_objects = nr_pages * PAGE_SIZE // object_bytes
        self.current: list[int] = []
        self.partial: dict[int, None] = {}
        self.empty: list[int] = []
        self.nr_zspages = 0


def _build_classes() -> tuple[list[SizeClass], list[SizeClass]]:
    """All classes, and the class of every length from 0 to 4096. Source: zs_create_pool."""
    sizes = list(range(ZS_MIN_ALLOC_SIZE, PAGE_SIZE + 1, ZS_SIZE_CLASS_DELTA))
    classes: list[SizeClass] = []
    class_of_size: dict[int, SizeClass] = {}
    # Downwards, because a class joins the next larger one when both pack the same number of objects into the same number of pages.
    for size in reversed(sizes):
        nr_pages = _pages_per_zspage(size)
        last = classes[-1] if classes else None
        if last is None or (last.nr_pages, last.nr_objects) != (nr_pages, nr_pages * PAGE_SIZE // size):
            classes.append(SizeClass(size, nr_pages))
        class_of_size[size] = classes[-1]
    class_of_length = []
    for length in range(PAGE_SIZE + 1):
        needed = max(ZS_MIN_ALLOC_SIZE, min(length + ZS_HANDLE_SIZE, PAGE_SIZE))
        rounded = -(-(needed - ZS_MIN_ALLOC_SIZE) // ZS_SIZE_CLASS_DELTA) * ZS_SIZE_CLASS_DELTA + ZS_MIN_ALLOC_SIZE
        class_of_length.append(class_of_size[rounded])
    return classes, class_of_length


@dataclass(frozen=True, slots=True)
class ClassUse:
    """How much of a size class is in use.

    Attributes:
        object_bytes: size of an object.
        nr_zspages, nr_pages: zspages with objects, and their pages.
        nr_room, nr_free: objects they have room for, and those of them that are free.
    """

    object_bytes: int
    nr_zspages: int
    nr_pages: int
    nr_room: int
    nr_free: int


class ZsPool:
    """The pool. A handle is the byte offset of an object in the arena.

    Attributes:
        nr_pages: pages of all zspages (pool_total_size / 4096, nr_zspages of vmstat).
        view: the arena's bytes.
    """

    def __init__(self, max_pages: int) -> None:
        """``max_pages``: size of the arena; only pages in use take memory."""
        self.classes, self._class_of_length = _build_classes()
        self.nr_pages = 0
        self._arena = new_arena(max_pages)
        self.view = memoryview(self._arena)
        self._max_pages = max_pages
        self._end_page = 0
        self._populated_page = 0
        # By page of the arena: the first page of its zspage; by first page of a zspage: its class and free objects.
        self._first_page: list[int] = []
        self._class_of: dict[int, SizeClass] = {}
        self._free_objects: dict[int, list[int]] = {}
        self._to_madvise: list[tuple[int, int]] = []

    def store(self, data: Sequence[bytes | memoryview]) -> list[int]:
        """Copy objects in; returns their handles.

        Raises:
            NoSpace: the arena is full; nothing of the batch was stored.
        """
        arena = self._arena
        handles: list[int] = []
        try:
            for item, size_class in zip(data, map(self._class_of_length.__getitem__, map(len, data)), strict=True):
                objects = size_class.current or self._next_zspage(size_class)
                handle = objects.pop()
                arena[handle : handle + len(item)] = item
                handles.append(handle)
        except NoSpace:
            self.free(handles)
            raise
        return handles

    def _next_zspage(self, size_class: SizeClass) -> list[int]:
        """Go on with a partly filled zspage, or a new one."""
        if size_class.partial:
            first = size_class.partial.popitem()[0]
        else:
            first = size_class.empty.pop() if size_class.empty else self._grow(size_class)
            if self._to_madvise:
                # Its memory is not to be given back any more.
                self.trim()
            size_class.nr_zspages += 1
            self.nr_pages += size_class.nr_pages
        size_class.current = self._free_objects[first]
        return size_class.current

    def _grow(self, size_class: SizeClass) -> int:
        """Lay out a new zspage."""
        nr_pages = size_class.nr_pages
        first = self._end_page
        if first + nr_pages > self._max_pages:
            first = self._take_empty(nr_pages)
        else:
            self._end_page += nr_pages
            self._first_page.extend([first] * nr_pages)
            if self._end_page > self._populated_page:
                self._populate()
        self._first_page[first : first + nr_pages] = [first] * nr_pages
        size = size_class.object_bytes
        start = first * PAGE_SIZE
        self._free_objects[first] = list(range(start + (size_class.nr_objects - 1) * size, start - 1, -size))
        self._class_of[first] = size_class
        return first

    def _populate(self) -> None:
        """Have the operating system map a batch of pages at once: one call instead of a fault for each."""
        nr_pages = min(max(_POPULATE_PAGES, self._end_page - self._populated_page), self._max_pages - self._populated_page)
        populate(self._arena, self._populated_page, nr_pages)
        self._populated_page += nr_pages

    def _take_empty(self, nr_pages: int) -> int:
        """Pages of another class's emptied zspages, when the arena is at its end."""
        for size_class in sorted(self.classes, key=lambda each: each.nr_pages):
            if size_class.nr_pages >= nr_pages and size_class.empty:
                first = size_class.empty.pop()
                del self._free_objects[first], self._class_of[first]
                return first
        raise NoSpace(f"zsmalloc: no {nr_pages} neighbouring pages left of {self._max_pages}")

    def free(self, handles: Sequence[int]) -> None:
        """Free objects; a zspage without any gives its memory back."""
        first_page = self._first_page
        free_objects = self._free_objects
        class_of = self._class_of
        for handle in handles:
            first = first_page[handle >> PAGE_SHIFT]
            objects = free_objects[first]
            objects.append(handle)
            nr_free = len(objects)
            size_class = class_of[first]
            if nr_free == size_class.nr_objects:
                if objects is size_class.current:
                    size_class.current = []
                else:
                    size_class.partial.pop(first, None)
                size_class.empty.append(first)
                size_class.nr_zspages -= 1
                self.nr_pages -= size_class.nr_pages
                self._to_madvise.append((first, size_class.nr_pages))
            elif nr_free == 1 and objects is not size_class.current:
                size_class.partial[first] = None
        if len(self._to_madvise) >= _MADVISE_BATCH:
            self.trim()

    @property
    def nr_objects(self) -> int:
        """Live objects."""
        capacity = sum((each.nr_zspages + len(each.empty)) * each.nr_objects for each in self.classes)
        return capacity - sum(map(len, self._free_objects.values()))

    def class_use(self) -> list[ClassUse]:
        """The classes in use, smallest objects first. Cost: O(zspages)."""
        nr_free: Counter[SizeClass] = Counter()
        for first, objects in self._free_objects.items():
            if len(objects) < self._class_of[first].nr_objects:
                nr_free[self._class_of[first]] += len(objects)
        return [
            ClassUse(each.object_bytes, each.nr_zspages, each.nr_zspages * each.nr_pages, each.nr_zspages * each.nr_objects, nr_free[each])
            for each in reversed(self.classes)
            if each.nr_zspages
        ]

    def zspages_of(self, handles: Sequence[int]) -> list[int]:
        """The zspage of each object, by its first page."""
        first_page = self._first_page
        return [first_page[handle >> PAGE_SHIFT] for handle in handles]

    def zspage_use(self, zspages: Iterable[int]) -> dict[int, tuple[int, int]]:
        """Live objects and pages of zspages."""
        use = {}
        for first in zspages:
            size_class = self._class_of[first]
            use[first] = (size_class.nr_objects - len(self._free_objects[first]), size_class.nr_pages)
        return use

    def trim(self) -> None:
        """Give the memory of emptied zspages back to the operating system."""
        start = end = 0
        for first, nr_pages in [*sorted(self._to_madvise), (0, 0)]:
            if first == end and nr_pages:
                end += nr_pages
                continue
            if end > start:
                self._arena.madvise(mmap.MADV_DONTNEED, start * PAGE_SIZE, (end - start) * PAGE_SIZE)
            start, end = first, first + nr_pages
        self._to_madvise.clear()

    def close(self) -> None:
        """Unmap the arena."""
        self.view.release()
        self._arena.close()
