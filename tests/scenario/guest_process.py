"""A recorded process: what it mapped, touched and was told, done by a synthetic task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fakecg.abi.stat import NR_FILE_MAPPED, PGFAULT
from fakecg.mm import filemap
from fakecg.mm.address_space import SyntheticAddressSpace
from fakecg.mm.folio_batch import PAGEVEC_SIZE, LruBatches
from fakecg.mm.page_table import MAP, MAPPED, RESIDENT, UNMAP
from fakecg.sched.task import Task
from fakecg.workload.content import ContentSpec

if TYPE_CHECKING:
    from guest import Guest

PAGES_PER_M = 256
#: Anonymous pages of a recorded process before its first command, and what the first one adds: stack, libc, buffers.
OWN_PAGES = 15
OWN_PAGES_LATER = 4
#: Pages of kernel memory of a process: stack, page tables, mappings; and of a mapping, the page tables apart.
KERNEL_PAGES = 17
_PAGES_PER_TABLE = 512
#: Pages of a file that one fault maps.
_FAULT_AROUND = 16


class Process:
    """A recorded process: pages of its own, and mappings in the order they were made."""

    def __init__(self, guest: Guest, group: str, own: int, own_content: str, oom_score_adj: int, active: int, idle: int) -> None:
        self.guest = guest
        self._own_pages = own
        host = guest.host
        cgroup = host.lookup(group)
        with host.lock:
            self.task: Task = host._new_task(cgroup, "memhog")
        self.task.oom_score_adj = oom_score_adj
        self._memcg = self.task.mm.memcg
        self._nr_kernel_pages = 0
        self._charge_kernel(KERNEL_PAGES)
        if idle:
            self._touch(self._new_space(idle, own_content, 2), 0, idle, write=True)
        self.own = [self._new_space(OWN_PAGES - idle, own_content)]
        self._touch(self.own[0], 0, OWN_PAGES - idle, write=True)
        self.maps: list[SyntheticAddressSpace] = []
        self._mapped_file: SyntheticAddressSpace | None = None
        self.activate_own(active)

    @property
    def alive(self) -> bool:
        return self.task.is_alive

    def _charge_kernel(self, nr_pages: int) -> None:
        """The emulator has no kernel memory but compressed pages; what a process needs of it counts against limits all the same."""
        with self.guest.host.lock:
            self.guest.machine.account_kernel_pages(self._memcg, nr_pages)
        self._nr_kernel_pages += nr_pages

    def reap(self) -> None:
        """Free what the kernel kept for a process that ended."""
        if not self.alive:
            self.release_kernel()
            self._unmap_file()

    def release_kernel(self) -> None:
        """Free what the kernel keeps for the process."""
        self._charge_kernel(-self._nr_kernel_pages)

    def _new_space(self, nr_pages: int, content: str, seed: int = 0) -> SyntheticAddressSpace:
        return self.guest.host.task_memory.create_space(self.task, nr_pages, ContentSpec.parse(content), seed)

    def _touch(self, space: SyntheticAddressSpace, start: int, stop: int, *, write: bool = False, limit_s: float | None = None) -> bool:
        return self.guest.run(self.guest.host.task_memory.touch_range(self.task, space, start, stop, write), limit_s)

    def activate_own(self, nr_pages: int) -> None:
        """The kernel used pages of the process for itself, as exec does with the stack."""
        batches = LruBatches(self.guest.machine)
        for page in range(self.own[0].base, self.own[0].base + nr_pages):
            filemap.mark_accessed(self.guest.machine, page, batches)
            filemap.mark_accessed(self.guest.machine, page, batches)
        batches.drain()

    def command(self) -> None:
        """The process reads a command and answers: it uses its own pages."""
        if len(self.own) == 1:
            self.own.append(self._new_space(self._own_pages - OWN_PAGES, "rec:eighth", 1))
        for space in self.own:
            if self.alive:
                self._touch(space, 0, space.nr_pages)
                self._touch(space, 0, space.nr_pages, write=True)

    def map(self, nr_pages: int, kind: str, *, waiting: int | None = None, moved: int = 0, limit_s: float | None = None) -> bool:
        """Map memory and write it; returns False if the time limit comes first.

        Args:
            waiting: so many pages are in the CPU's batch afterwards.
            moved: the process moved to another CPU before it wrote the last so many pages.
        """
        space = self._new_space(nr_pages, f"rec:{kind}", len(self.maps))
        self.maps.append(space)
        self._charge_kernel(nr_pages // _PAGES_PER_TABLE)
        self.command()
        if waiting is not None:
            before = (nr_pages - moved - waiting) % PAGEVEC_SIZE
            self._touch(space, 0, before, write=True)
            self.task.mm.batches.drain()
        if moved:
            self._touch(space, 0, nr_pages - moved, write=True)
            self.task.mm.batches = LruBatches(self.guest.machine)
        return self.alive and self._touch(space, 0, nr_pages, write=True, limit_s=limit_s)

    def go_on(self) -> None:
        """Do the rest of what took too long."""
        assert self.guest.unfinished is not None
        self.guest.run(self.guest.unfinished)

    def read(self, index: int = 0, start: int = 0, stop: int | None = None, *, limit_s: float | None = None) -> bool:
        """Read one byte of each page of a mapping."""
        self.command()
        space = self.maps[index]
        return self._touch(space, start, space.nr_pages if stop is None else stop, limit_s=limit_s)

    def write(self, index: int = 0, start: int = 0, stop: int | None = None) -> None:
        """Read and change one byte of each page: the fault is that of the read."""
        self.read(index, start, stop)
        space = self.maps[index]
        stop = space.nr_pages if stop is None else stop
        self._touch(space, start, stop, write=True)
        for page in range(start, stop):
            data = space.expected(space.base + page)
            if not data[0]:
                # It matters in pages of zeroes alone: in others the length stays the same.
                space.store(page, b"\1" + data[1:])

    def fill(self, page: int, kind: str) -> None:
        """Write a whole page of the first mapping, without a look at it before."""
        self.command()
        space = self.maps[0]
        self._touch(space, page, page + 1, write=True)
        space.store(page, ContentSpec.parse(f"rec:{kind}").page(space.seed, page))

    def nr_resident(self, space: SyntheticAddressSpace, start: int, stop: int) -> int:
        """Pages that mincore(2) reports."""
        flags = self.guest.machine.table.flags
        return sum(1 for page in range(space.base + start, space.base + stop) if flags[page] & RESIDENT)

    def read_pages(self, indices: Sequence[int], index: int = 0) -> None:
        """Read pages in an order."""
        self.command()
        self.guest.run(self.guest.host.task_memory.touch_pages(self.task, self.maps[index], indices))

    def read_file(self, file: SyntheticAddressSpace) -> None:
        """read(2) of a whole file."""
        self.command()
        self.guest.run(self.guest.host.task_memory.read_cache(self.task, file, 0, file.nr_pages))

    def write_file(self, file: SyntheticAddressSpace) -> None:
        """write(2) of a whole file."""
        self.command()
        self.guest.run(self.guest.host.task_memory.write_cache(self.task, file, 0, file.nr_pages))

    def map_file(self, file: SyntheticAddressSpace) -> None:
        """mmap(2) a file that is all in the cache, and read a byte of each page: a fault for each 16 pages.

        The emulator's tasks do not map files: here the pages get what a mapping gives them.
        """
        self.command()
        machine = self.guest.machine
        self._mapped_file = file
        with self.guest.host.lock:
            machine.table.apply(range(file.base, file.base + file.nr_pages), MAP)
            self._memcg.rstat.add(self._memcg.lruvecs[0].stat_base + NR_FILE_MAPPED, file.nr_pages)
            self._memcg.rstat.add(PGFAULT, file.nr_pages // _FAULT_AROUND)

    def _unmap_file(self) -> None:
        file, machine = self._mapped_file, self.guest.machine
        if file is not None:
            pages = [page for page in range(file.base, file.base + file.nr_pages) if machine.table.flags[page] & MAPPED]
            machine.table.apply(pages, UNMAP)
            self._memcg.rstat.add(self._memcg.lruvecs[0].stat_base + NR_FILE_MAPPED, -len(pages))
            self._mapped_file = None

    def pageout(self, index: int = 0, start: int = 0, stop: int | None = None) -> None:
        """madvise(MADV_PAGEOUT)."""
        self.command()
        space = self.maps[index]
        self.guest.run(self.guest.host.task_memory.pageout(self.task, space, start, space.nr_pages if stop is None else stop))

    def zap(self, index: int = 0, start: int = 0, stop: int | None = None) -> None:
        """madvise(MADV_DONTNEED)."""
        self.command()
        space = self.maps[index]
        with self.guest.host.lock:
            self.guest.machine.spaces.zap(space, start, space.nr_pages if stop is None else stop)

    def unmap(self, index: int = 0) -> None:
        self.command()
        with self.guest.host.lock:
            self.guest.machine.spaces.destroy(self.maps[index])

    def move(self, group: str) -> None:
        """Write the process's id to another cgroup's cgroup.procs."""
        assert not self.guest.write(group, "cgroup.procs", str(self.task.pid))

    def exit(self) -> None:
        if self.alive:
            self.command()
        with self.guest.host.lock:
            if self.alive:
                self.task.kill()
        self.reap()
