"""All address spaces and files: made, looked into, torn down.

Mirrors the unmapping parts of mm/memory.c and mm/mmap.c.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from fakecg.abi.errors import DataLost
from fakecg.abi.stat import NR_ANON_MAPPED, NR_FILE_DIRTY, NR_FILE_PAGES, NR_SWAPCACHE, NR_WRITEBACK
from fakecg.abi.units import PAGE_SIZE
from fakecg.mm.address_space import Content, SyntheticAddressSpace
from fakecg.mm.folio_batch import lru_add_drain_all
from fakecg.mm.mm_struct import MmStruct
from fakecg.mm.page_table import ACTIVE, DIRTY, MAPPED, RESIDENT, WRITEBACK

if TYPE_CHECKING:
    from fakecg.mm.machine import Machine
    from fakecg.sched.task import Task


class AddressSpaces:
    """The machine's address spaces.

    Attributes:
        by_number: each under the number that PageTable.space has for its pages; None for a number that is free, 0 among them.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.by_number: list[SyntheticAddressSpace | None] = [None]

    def verify(self, space: SyntheticAddressSpace, owner: str, start: int = 0, stop: int | None = None) -> int:
        """Compare pages of a space with what they must contain, without disturbing them; returns how many were compared.

        Raises:
            DataLost: a page differs or cannot be read.
        """
        machine = self.machine
        table, swap, zswap = machine.table, machine.swap, machine.zswap
        nr_checked = 0
        for page in range(space.base + start, space.base + min(space.nr_pages, space.nr_pages if stop is None else stop)):
            slot = table.slot[page]
            if table.flags[page] & RESIDENT:
                data, where = bytes(space.contents((page,))[0]), "memory"
            elif not slot:
                continue
            elif zswap.has(slot):
                data, where = zswap.decompress(slot), f"zswap, slot {slot}"
            elif swap.zeromap[slot]:
                data, where = bytes(PAGE_SIZE), f"the zero map, slot {slot}"
            else:
                data, where = swap.device_of(slot).read(slot), f"swap, slot {slot}"
            if data != space.expected(page):
                raise DataLost(f"{owner} page {page - space.base} in {where} has other contents than it was given")
            nr_checked += 1
        return nr_checked

    def create(
        self, mm: MmStruct | None, nr_pages: int, content: Content, seed: int, *, is_file: bool = False, name: str = ""
    ) -> SyntheticAddressSpace:
        """A mapping (or, is_file, a file) of untouched pages."""
        machine = self.machine
        spaces = self.by_number
        number = next((index for index, space in enumerate(spaces) if space is None and index), len(spaces))
        base = machine.table.alloc_range(nr_pages, number)
        space = SyntheticAddressSpace(number, base, nr_pages, mm, content, seed, is_file=is_file, name=name)
        if number == len(spaces):
            spaces.append(space)
        else:
            spaces[number] = space
        if mm is not None and not is_file:
            mm.spaces.append(space)
        return space

    def zap(self, space: SyntheticAddressSpace, start: int, stop: int) -> None:
        """Free pages, wherever their contents are: munmap, exit, truncation. Source: memory.c:zap_pte_range."""
        machine = self.machine
        table = machine.table
        flags, slot_of = table.flags, table.slot
        if machine.lru_batches:
            lru_add_drain_all(machine)
        lru_base = 2 if space.is_file else 0
        slots = []
        resident = []
        for page in range(space.base + start, space.base + stop):
            if slot_of[page]:
                slots.append(slot_of[page])
            if flags[page] & RESIDENT:
                resident.append(page)
        for (memcg_id, node), group in groupby(resident, key=lambda page: (table.memcg[page], table.node[page])):
            batch = list(group)
            memcg = machine.memcgs[memcg_id]
            lruvec = memcg.lruvecs[node]
            rstat, base = memcg.rstat, lruvec.stat_base
            for page in batch:
                lruvec.remove(table, lru_base + (1 if flags[page] & ACTIVE else 0), page)
            if space.is_file:
                rstat.add(base + NR_FILE_PAGES, -len(batch))
                rstat.add(base + NR_FILE_DIRTY, -sum(1 for page in batch if flags[page] & DIRTY))
            else:
                rstat.add(base + NR_ANON_MAPPED, -sum(1 for page in batch if flags[page] & MAPPED))
                rstat.add(base + NR_SWAPCACHE, -sum(1 for page in batch if slot_of[page]))
                rstat.add(base + NR_WRITEBACK, -sum(1 for page in batch if flags[page] & WRITEBACK))
            machine.frames.free(memcg, node, batch)
        if slots:
            # The lists of zswap entries are found through the pages' nodes: free the entries before the pages forget them.
            machine.swap_cache.release_slots(slots)
            for page in range(space.base + start, space.base + stop):
                slot_of[page] = 0
        space.ahead.clear()

    def destroy(self, space: SyntheticAddressSpace) -> None:
        """Free a mapping or file with all its pages."""
        machine = self.machine
        self.zap(space, 0, space.nr_pages)
        machine.table.free_range(space.base, space.nr_pages)
        self.by_number[space.number] = None
        if space.mm is not None and space in space.mm.spaces:
            space.mm.spaces.remove(space)
        space.close()

    def new_mm(self, task: Task) -> MmStruct:
        """Memory for a task."""
        mm = task.mm = MmStruct(self.machine, task)
        return mm

    def exit_mm(self, mm: MmStruct) -> None:
        """A task ends: its mappings go, files stay."""
        mm.is_dying = True
        for space in list(mm.spaces):
            self.destroy(space)

    def count(self, mm: MmStruct) -> tuple[int, int, int]:
        """Pages of a task in memory, in zswap, and in swap otherwise."""
        machine = self.machine
        table = machine.table
        nr_resident = nr_zswapped = nr_swapped = 0
        for space in mm.spaces:
            for page in range(space.base, space.base + space.nr_pages):
                if table.flags[page] & RESIDENT:
                    nr_resident += 1
                elif table.slot[page]:
                    if machine.zswap.has(table.slot[page]):
                        nr_zswapped += 1
                    else:
                        nr_swapped += 1
        return nr_resident, nr_zswapped, nr_swapped

    def close(self) -> None:
        """Drop all contents."""
        for space in self.by_number:
            if space is not None:
                space.close()
        self.by_number = [None]
