"""A task's view of the memory model: map, touch, read files. What workloads drive."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from fakecg.mm import filemap, madvise, memory
from fakecg.mm.address_space import Content, SyntheticAddressSpace
from fakecg.mm.machine import Machine
from fakecg.sched.task import Task

Touch = Generator[int | None, None, int]


class TaskMemory:
    """Operations on behalf of tasks; each generator yields as memory.touch_range."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def create_space(self, task: Task, nr_pages: int, content: Content, seed: int) -> SyntheticAddressSpace:
        """A mapping of anonymous memory, nothing of it touched."""
        return self.machine.spaces.create(task.mm, nr_pages, content, seed)

    def create_file(self, nr_pages: int, content: Content, seed: int) -> SyntheticAddressSpace:
        """A file, nothing of it cached."""
        return self.machine.spaces.create(None, nr_pages, content, seed, is_file=True)

    def touch_range(self, task: Task, space: SyntheticAddressSpace, start: int, stop: int, write: bool = False) -> Touch:
        """Touch the pages start..stop-1; returns the cost in nanoseconds."""
        return memory.touch_range(self.machine, task.mm, space, start, stop, write)

    def touch_pages(self, task: Task, space: SyntheticAddressSpace, indices: Sequence[int], write: bool = False) -> Touch:
        """Touch pages in the order given; returns the cost in nanoseconds."""
        return memory.touch_pages(self.machine, task.mm, space, indices, write)

    def pageout(self, task: Task, space: SyntheticAddressSpace, start: int, stop: int) -> Generator[None, None, int]:
        """Have the pages start..stop-1 reclaimed now, as by MADV_PAGEOUT; returns how many were freed."""
        return madvise.pageout(self.machine, task.mm, space, start, stop)

    def read_cache(self, task: Task, mapping: SyntheticAddressSpace, start: int, stop: int) -> Touch:
        """Read pages of a file; returns the cost in nanoseconds."""
        return filemap.read_cache(self.machine, task.mm, mapping, start, stop)

    def write_cache(self, task: Task, mapping: SyntheticAddressSpace, start: int, stop: int) -> Touch:
        """Write pages of a file; returns the cost in nanoseconds."""
        return filemap.read_cache(self.machine, task.mm, mapping, start, stop, write=True)
