"""Pages on their way out of memory, to swap, and back.

Mirrors mm/page_io.c. On the way out a page that is all zeroes is only noted, then zswap is asked, then the device; on the way in the same
three are looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fakecg.abi.stat import NR_SWAPCACHE, NR_WRITEBACK, PSWPIN, PSWPOUT, SWPIN_ZERO, SWPOUT_ZERO
from fakecg.mm.columns import as_run, column
from fakecg.mm.folio_batch import PAGEVEC_SIZE
from fakecg.mm.lruvec import LRU_INACTIVE_ANON
from fakecg.mm.page_table import (
    ACTIVE,
    DIRTIED,
    DIRTY,
    MAPPED,
    RESIDENT,
    WRITE_ENDED,
    WRITE_ENDED_EARLY,
    WRITE_STARTED,
)
from fakecg.mm.zswap import ZERO_PAGE

if TYPE_CHECKING:
    from fakecg.mm.address_space import Buffer
    from fakecg.mm.folio_batch import LruBatches
    from fakecg.mm.machine import Machine
    from fakecg.mm.memcontrol import MemCgroup


def _runs(slots: Sequence[int], borders: Collection[int]) -> list[tuple[int, int]]:
    """Positions start..stop-1 of neighbouring slots of one device. ``borders``: first slots of devices."""
    if isinstance(slots, range) and not any(border in slots[1:] for border in borders):
        return [(0, len(slots))]
    runs = []
    start = 0
    for position in range(1, len(slots) + 1):
        if position == len(slots) or slots[position] != slots[position - 1] + 1 or slots[position] in borders:
            runs.append((start, position))
            start = position
    return runs


@dataclass(slots=True)
class WriteOutcome:
    """What became of dirty pages: ``nr_written`` handed over; ``kept`` stay in memory (under I/O, refused, or failed)."""

    nr_written: int = 0
    kept: list[int] = field(default_factory=list)


@dataclass(slots=True)
class ReadOutcome:
    """What a read took, in nanoseconds, waiting for the device included (io_ns); whether a page of the workingset came back."""

    cost_ns: int = 0
    io_ns: int = 0
    restored: bool = False


class PageIo:
    """Swap traffic of one machine.

    Attributes:
        holds_batch: reclaim has pages isolated; see end_writeback.
        nr_early_writes: of each 31 pages from zswap so many are written while they still wait for their list, and keep their place there;
            the others go to the tail.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._under_io: list[tuple[MemCgroup, int, Sequence[int]]] = []
        # Pages from zswap that leave memory as soon as they are written.
        self._written_back: list[tuple[MemCgroup, Sequence[int]]] = []
        self.holds_batch = False
        self.nr_early_writes = 0
        self._batch_position = 0

    # -- out --------------------------------------------------------------------------------------------------------------------------

    def write_pages(self, memcg: MemCgroup, node: int, pages: Sequence[int]) -> WriteOutcome:
        """Write dirty, unmapped pages of one memcg to their slots. Source: page_io.c:swap_writepage."""
        machine = self.machine
        table, swap = machine.table, machine.swap
        outcome = WriteOutcome()
        data = machine.frames.contents(pages)
        slots = as_run(table.slots_of(pages))
        charged = self.machine.swap_cache.swap_owner(memcg)
        zeroes = [index for index, item in enumerate(data) if item == ZERO_PAGE] if ZERO_PAGE in data else []
        if zeroes:
            for index in zeroes:
                swap.zeromap[slots[index]] = 1
                swap.on_disk[slots[index]] = 0
                table.flags[pages[index]] &= ~DIRTY
            charged.rstat.add(SWPOUT_ZERO, len(zeroes))
            machine.vm.swpout_zero += len(zeroes)
            outcome.nr_written += len(zeroes)
            is_zero = set(zeroes)
            rest = [index for index in range(len(pages)) if index not in is_zero]
            pages, slots, data = [pages[i] for i in rest], [slots[i] for i in rest], [data[i] for i in rest]
        if pages:
            stored = machine.zswap.store(charged, node, slots, data)
            swap.forget(slots)
            nr_stored = stored.count(True)
            outcome.nr_written += nr_stored
            machine.charge_cost(nr_stored * machine.cost.zswap_store_ns)
            if nr_stored < len(pages):
                refused = [index for index, done in enumerate(stored) if not done]
                rest_pages = [pages[index] for index in refused]
                outcome.kept = rest_pages
                if memcg.zswap_writeback_enabled():
                    outcome.nr_written += self._write_to_disk(charged, rest_pages, [slots[i] for i in refused], [data[i] for i in refused])
                else:
                    for page in rest_pages:
                        table.flags[page] |= ACTIVE
        machine.vm.nr_vmscan_write += outcome.nr_written
        return outcome

    def _write_to_disk(self, memcg: MemCgroup, pages: Sequence[int], slots: Sequence[int], data: list[Buffer]) -> int:
        """Start writes of resident pages, neighbours together; returns how many succeeded. Source: page_io.c:__swap_writepage."""
        machine = self.machine
        table, swap = machine.table, machine.swap
        nr_written = 0
        resident = machine.memcgs[table.memcg[pages[0]]]
        for start, stop in _runs(slots, [device.first_slot for device in swap.devices]):
            batch, first = pages[start:stop], slots[start]
            try:
                swap.device_of(first).write(first, data[start:stop])
            except OSError as error:
                # The pages stay in memory, dirty: nothing is lost.
                machine.report_io_error(f"swap write failed, {stop - start} pages from slot {first} stay in memory: {error}")
                table.apply(batch, DIRTIED)
                continue
            table.apply(batch, WRITE_STARTED)
            swap.on_disk[first : first + stop - start] = b"\1" * (stop - start)
            for node, group in machine.frames.by_node(batch):
                self._under_io.append((resident, node, group))
                resident.rstat.add(resident.lruvecs[node].stat_base + NR_WRITEBACK, len(group))
            nr_written += stop - start
        if nr_written:
            memcg.rstat.add(PSWPOUT, nr_written)
            machine.vm.pswpout += nr_written
            machine.vm.pgpgout += 4 * nr_written
            machine.charge_cost(nr_written * swap.device_of(slots[0]).cost.swap_write_ns)
            machine.account_io(resident, nr_written, True)
        return nr_written

    def end_writeback(self) -> None:
        """The device finished: written pages go to the tail of the inactive list, where the next scan frees them.

        Not while reclaim holds a batch of pages off its list: those are no faster written than the batch is gone through.

        Source: filemap.c:folio_end_writeback, swap.c:folio_rotate_reclaimable.
        """
        if self.holds_batch or not (self._under_io or self._written_back):
            return
        machine = self.machine
        table = machine.table
        under_io, self._under_io = self._under_io, []
        for memcg, node, batch in under_io:
            lruvec = memcg.lruvecs[node]
            lruvec.remove_all(table, LRU_INACTIVE_ANON, batch)
            table.apply(batch, WRITE_ENDED)
            lruvec.add_tail(table, LRU_INACTIVE_ANON, batch)
            memcg.rstat.add(lruvec.stat_base + NR_WRITEBACK, -len(batch))
            machine.vm.pgrotated += len(batch)
        written_back, self._written_back = self._written_back, []
        for memcg, batch in written_back:
            self._drop_behind(memcg, batch)

    def add_written_back(self, memcg: MemCgroup, slots: Sequence[int], data: list[bytes]) -> None:
        """Pages from zswap enter the swap cache on their way to the disk. Source: zswap.c:zswap_writeback_entry."""
        pages = as_run(column(self.machine.swap.page, slots))
        self.machine.swap_cache.add_resident(memcg, pages, data, 0)
        nr_before = len(self._under_io)
        self._write_to_disk(self.machine.swap_cache.swap_owner(memcg), pages, slots, list(data))
        if self.nr_early_writes:
            self._end_early(nr_before)
        if self.machine.features.profile.drops_behind:
            self._written_back.append((memcg, pages))
        self.end_writeback()

    def _end_early(self, nr_before: int) -> None:
        """Some of the writes that began last end at once. Source: swap.c:folio_rotate_reclaimable, for a page that is on no list yet."""
        started = self._under_io[nr_before:]
        del self._under_io[nr_before:]
        for memcg, node, batch in started:
            first, self._batch_position = self._batch_position, (self._batch_position + len(batch)) % PAGEVEC_SIZE
            is_early = [(first + index) % PAGEVEC_SIZE < self.nr_early_writes for index in range(len(batch))]
            early = [page for page, ended in zip(batch, is_early, strict=True) if ended]
            late = [page for page, ended in zip(batch, is_early, strict=True) if not ended]
            self.machine.table.apply(early, WRITE_ENDED_EARLY)
            memcg.rstat.add(memcg.lruvecs[node].stat_base + NR_WRITEBACK, -len(early))
            if late:
                self._under_io.append((memcg, node, late))

    def _drop_behind(self, memcg: MemCgroup, pages: Sequence[int]) -> None:
        """Clean pages nobody maps leave memory as soon as they are written. Source: filemap.c:folio_end_dropbehind."""
        machine = self.machine
        flags = machine.table.flags
        clean = as_run([page for page in pages if flags[page] & (RESIDENT | DIRTY | MAPPED) == RESIDENT])
        if not clean:
            return
        for node, batch in machine.frames.by_node(clean):
            lruvec = memcg.lruvecs[node]
            lruvec.remove_all(machine.table, LRU_INACTIVE_ANON, batch)
            memcg.rstat.add(lruvec.stat_base + NR_SWAPCACHE, -len(batch))
            machine.frames.free(memcg, node, batch)

    # -- in ---------------------------------------------------------------------------------------------------------------------------

    def read_pages(self, memcg: MemCgroup, pages: Sequence[int], batches: LruBatches | None) -> ReadOutcome:
        """Bring swapped-out pages, charged already, into the swap cache and the faulting task's batches. Source: page_io.c:swap_read_folio.

        Raises:
            DataLost: a page cannot be read; the others of the batch stay swapped out.
        """
        machine = self.machine
        table, swap, zswap = machine.table, machine.swap, machine.zswap
        slot_of = table.slot
        length_of = zswap.length
        known = len(length_of)
        slots = as_run(table.slots_of(pages))
        if isinstance(slots, range) and slots.stop <= known and all(length_of[slots.start : slots.stop]):
            in_zswap: Sequence[int] = pages
        else:
            in_zswap = [page for page in pages if slot_of[page] < known and length_of[slot_of[page]]]
            slots = [slot_of[page] for page in in_zswap]
        outcome = ReadOutcome()
        if len(in_zswap) < len(pages):
            for page in pages:
                slot = slot_of[page]
                if zswap.has(slot):
                    continue
                if swap.zeromap[slot]:
                    data: Buffer = ZERO_PAGE
                    item = SWPIN_ZERO
                    machine.vm.swpin_zero += 1
                    outcome.cost_ns += machine.cost.zero_fill_ns
                else:
                    device = swap.device_of(slot)
                    data = device.read(slot)
                    item = PSWPIN
                    machine.vm.pswpin += 1
                    machine.vm.pgpgin += 4
                    # One request for the whole batch: its latency once, then the transfer of each page.
                    io_ns = device.cost.swap_read_page_ns if outcome.io_ns else device.cost.swap_read_ns
                    outcome.io_ns += io_ns
                    outcome.cost_ns += io_ns
                    machine.account_io(memcg, 1, False)
                    memcg.lruvecs[table.node[page]].nr_disk_swapins += 1
                outcome.restored |= machine.swap_cache.add_resident(memcg, (page,), (data,), 0, batches)
                memcg.rstat.add(item, 1)
        if in_zswap:
            loaded = zswap.load(slots)
            outcome.cost_ns += machine.cost.zswap_load_ns * len(in_zswap)
            outcome.restored |= machine.swap_cache.add_resident(memcg, in_zswap, loaded, DIRTY, batches)
        return outcome
