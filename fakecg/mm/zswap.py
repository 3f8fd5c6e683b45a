"""zswap: compressed pages in memory, in front of the swap device.

Mirrors mm/zswap.c. An entry is the swap slot of its page; its fields are columns indexed by slot. Compression is real lz4, the compressed
bytes live in a ZsPool.

Invariants: an entry's slot is in use in SwapSpace; entries of a memcg and node are on exactly one list; ZSWAP_BYTES of the owner's memcg is
the sum of its entries' lengths. The lists an entry stands on follow its owner number: when a cgroup is removed its owner number points at
the parent from then on (objcg reparenting), and its lists are spliced to the old end of the parent's.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import lz4.block

from fakecg.abi.errors import DataLost, NoSpace
from fakecg.abi.stat import ZSWAP_BYTES, ZSWAP_INCOMP_PAGES, ZSWAPPED_PAGES, ZSWPIN, ZSWPOUT, ZSWPWB
from fakecg.abi.units import PAGE_SIZE
from fakecg.mm.columns import column
from fakecg.mm.links import Links
from fakecg.mm.lz4_kernel import new_compressor
from fakecg.mm.zsmalloc import ZsPool
from fakecg.mm.zswap_limits import ZswapLimits
from fakecg.mm.zswap_owners import ZswapOwners

if TYPE_CHECKING:
    from fakecg.mm.address_space import Buffer
    from fakecg.mm.machine import Machine
    from fakecg.mm.memcontrol import MemCgroup

#: Pages of zeroes never come to zswap: the swap layer notes them in a bitmap.
ZERO_PAGE = bytes(PAGE_SIZE)


@dataclass(slots=True)
class ZswapCounters:
    """debugfs zswap/: totals since start."""

    pool_limit_hit: int = 0
    reject_reclaim_fail: int = 0
    reject_alloc_fail: int = 0
    reject_kmemcache_fail: int = 0
    reject_compress_fail: int = 0
    reject_compress_poor: int = 0
    decompress_fail: int = 0
    written_back_pages: int = 0
    stored_pages: int = 0
    stored_incompressible_pages: int = 0


class Zswap:
    """The pool, its entries and the limits on the way in.

    Attributes:
        enabled, shrinker_enabled: module parameters.
        handle, length, stored_ns, owner, referenced: columns by slot; length 0 means no entry.
    """

    def __init__(self, machine: Machine, *, total_pages: int) -> None:
        """``total_pages``: RAM of the machine, which max_pool_percent is of."""
        self.machine = machine
        self.enabled = True
        self.shrinker_enabled = False
        self.pool = ZsPool(max_pages=max(1024, total_pages))
        self.counters = ZswapCounters()
        self.limits = ZswapLimits(machine, self.pool, self.counters, total_pages)
        self.handle = array("Q", [0])
        self.length = array("H", [0])
        self.stored_ns = array("Q", [0])
        self.owner = array("I", [0])
        self.referenced = bytearray(1)
        self.links = Links()
        self.owners = ZswapOwners()
        self.worker_cursor: MemCgroup | None = None
        self._pool_pages_taken = 0
        self._compress_all = new_compressor()
        self._ahead: tuple[list[Buffer], list[Buffer]] = ([], [])

    # -- store ------------------------------------------------------------------------------------------------------------------------

    def store(self, memcg: MemCgroup, node: int, slots: Sequence[int], data: Sequence[Buffer]) -> list[bool]:
        """Store pages of one memcg; returns for each whether it is stored now (False: to the disk, or back to memory).

        The checks come in the kernel's order: enabled, memory.zswap.max, pool limit, compression, allocation.
        Source: zswap.c:zswap_store.
        """
        nr_pages = len(slots)
        if not self.enabled:
            self.invalidate([slot for slot in slots if self.has(slot)])
            return [False] * nr_pages
        if self.limits.batch_headroom(memcg) >= nr_pages:
            return self._store_batch(memcg, node, slots, data)
        return [self._store_checked(memcg, node, slot, page) for slot, page in zip(slots, data, strict=True)]

    def _store_checked(self, memcg: MemCgroup, node: int, slot: int, page: Buffer) -> bool:
        accepted = True
        if self.limits.is_over(memcg):
            accepted = self.machine.zswap_writeback.make_room(memcg)
        if accepted:
            accepted = not self.limits.refuses()
        if accepted:
            return self._store_batch(memcg, node, (slot,), (page,))[0]
        self.invalidate([slot] if self.has(slot) else [])
        if self.limits.is_full:
            self.machine.zswap_writeback.worker.store_refused()
        return False

    def compress_ahead(self, data: Sequence[Buffer], *, go_on: bool) -> int:
        """Compress pages that will be stored soon; returns how many, from the first, become smaller. Zero pages are none of them.

        Args:
            go_on: these pages follow those of the last call.
        """
        nr_pages = data.index(ZERO_PAGE) if ZERO_PAGE in data else len(data)
        if not go_on:
            self._ahead = ([], [])
        pages, results = self._ahead
        compressed = self._compress_all(data[:nr_pages], stop=True, place=len(pages))
        pages += data[: len(compressed)]
        results += compressed
        return len(compressed)

    def _compress(self, data: Sequence[Buffer]) -> list[Buffer]:
        """What was compressed ahead, by whoever did so last, is not compressed again."""
        pages, results = self._ahead
        self._ahead = ([], [])
        if pages and pages[: len(data)] == data:
            return results[: len(data)]
        return self._compress_all(data)

    def _store_batch(self, memcg: MemCgroup, node: int, slots: Sequence[int], data: Sequence[Buffer]) -> list[bool]:
        compressed = self._compress(data)
        lengths = list(map(len, compressed))
        longest = max(lengths)
        results = [True] * len(slots)
        length_of = self.length
        if isinstance(slots, range):
            stale = [slot for slot in slots if self.has(slot)] if any(length_of[slots.start : slots.stop]) else []
        else:
            stale = [slot for slot in slots if self.has(slot)]
        if stale:
            self.invalidate(stale)
        nr_incompressible = 0
        if longest == PAGE_SIZE:
            nr_incompressible = self._sort_out_incompressible(memcg, compressed, results)
            slots = [slot for slot, stored in zip(slots, results, strict=True) if stored]
            compressed = [item for item, stored in zip(compressed, results, strict=True) if stored]
            lengths = list(map(len, compressed))
            if not slots:
                return results
        try:
            handles = self.pool.store(compressed)
        except NoSpace:
            self.counters.reject_alloc_fail += len(slots)
            return [False] * len(results)
        owner = self.owners.number_of(memcg)
        self._make_room_for(slots[-1] if isinstance(slots, range) else max(slots))
        now_ns = self.machine.clock.now_ns()
        if isinstance(slots, range):
            where = slice(slots.start, slots.stop)
            self.handle[where] = array("Q", handles)
            length_of[where] = array("H", lengths)
            self.stored_ns[where] = array("Q", [now_ns]) * len(slots)
            self.owner[where] = array("I", [owner]) * len(slots)
            self.referenced[where] = b"\1" * len(slots)
        else:
            handle_of, stored_ns, owner_of, referenced = self.handle, self.stored_ns, self.owner, self.referenced
            for slot, handle, length in zip(slots, handles, lengths, strict=True):
                handle_of[slot] = handle
                length_of[slot] = length
                stored_ns[slot] = now_ns
                owner_of[slot] = owner
                referenced[slot] = 1
        self.links.add(memcg.zswap_lrus[node], slots)
        nr_bytes = sum(lengths)
        self.owners.ages[owner].add(now_ns, len(slots), nr_bytes)
        self._account(memcg, len(slots), nr_bytes, nr_incompressible)
        rstat = memcg.rstat
        rstat.local[ZSWPOUT] += len(slots)
        self.machine.vm.zswpout += len(slots)
        return results

    def _sort_out_incompressible(self, memcg: MemCgroup, compressed: Sequence[Buffer], results: list[bool]) -> int:
        """Pages whose compressed form is no smaller: refused (6.12), or kept raw where writeback is allowed. Returns how many are kept."""
        profile = self.machine.features.profile
        keep = profile.keeps_incompressible and memcg.zswap_writeback_enabled()
        nr_kept = 0
        for index, item in enumerate(compressed):
            if len(item) < PAGE_SIZE:
                continue
            if keep:
                nr_kept += 1
            else:
                results[index] = False
                self.counters.reject_compress_fail += 1
        self.counters.stored_incompressible_pages += nr_kept
        return nr_kept

    def _make_room_for(self, slot: int) -> None:
        missing = slot + 1 - len(self.length)
        if missing > 0:
            missing = max(missing, 4096)
            self.handle.extend(array("Q", bytes(8 * missing)))
            self.length.extend(array("H", bytes(2 * missing)))
            self.stored_ns.extend(array("Q", bytes(8 * missing)))
            self.owner.extend(array("I", bytes(4 * missing)))
            self.referenced.extend(bytes(missing))
            self.links.extend(missing)

    def _account(self, memcg: MemCgroup, nr_pages: int, nr_bytes: int, nr_incompressible: int) -> None:
        local = memcg.rstat.local
        local[ZSWAP_BYTES] += nr_bytes
        local[ZSWAPPED_PAGES] += nr_pages
        local[ZSWAP_INCOMP_PAGES] += nr_incompressible
        if not memcg.rstat.updated:
            memcg.rstat.mark_updated()
        self.counters.stored_pages += nr_pages
        # The pool's pages come from the first node.
        self.machine.nodes[0].nr_free -= self.pool.nr_pages - self._pool_pages_taken
        self._pool_pages_taken = self.pool.nr_pages
        memcg.charge_kmem(nr_bytes)

    # -- lookup, load, free -----------------------------------------------------------------------------------------------------------

    def has(self, slot: int) -> bool:
        """Whether the slot's page is in zswap."""
        return slot < len(self.length) and self.length[slot] != 0

    def owner_memcg(self, slot: int) -> MemCgroup:
        """The memcg an entry is charged to."""
        return self.owners.memcg_of(self.owner[slot])

    def decompress(self, slot: int) -> bytes:
        """An entry's page.

        Raises:
            DataLost: the bytes do not decompress to a page.
        """
        start = self.handle[slot]
        length = self.length[slot]
        data = self.pool.view[start : start + length]
        if length == PAGE_SIZE:
            return bytes(data)
        try:
            page: bytes = lz4.block.decompress(data, uncompressed_size=PAGE_SIZE)
        except lz4.block.LZ4BlockError as error:
            self.counters.decompress_fail += 1
            raise DataLost(f"zswap entry of slot {slot} does not decompress: {error}") from error
        if len(page) != PAGE_SIZE:
            self.counters.decompress_fail += 1
            raise DataLost(f"zswap entry of slot {slot} decompresses to {len(page)} bytes")
        return page

    def load(self, slots: Sequence[int]) -> list[bytes]:
        """Decompress entries and free them; the loaded pages are the only copies now. Source: zswap_load.

        Raises:
            DataLost: an entry is damaged; nothing was freed.
        """
        pages = self.decompress_all(slots)
        self._free(slots, ZSWPIN)
        self.machine.vm.zswpin += len(slots)
        return pages

    def decompress_all(self, slots: Sequence[int]) -> list[bytes]:
        """The pages of entries; raises as decompress()."""
        if self.counters.stored_incompressible_pages:
            return [self.decompress(slot) for slot in slots]
        decompress, view = lz4.block.decompress, self.pool.view
        try:
            pages = [
                decompress(view[start : start + length], PAGE_SIZE)
                for start, length in zip(column(self.handle, slots), column(self.length, slots), strict=True)
            ]
        except lz4.block.LZ4BlockError:
            # Once more, one by one, for the message.
            return [self.decompress(slot) for slot in slots]
        if set(map(len, pages)) != {PAGE_SIZE}:
            return [self.decompress(slot) for slot in slots]
        return pages

    def invalidate(self, slots: Sequence[int]) -> None:
        """Drop entries whose slots are freed or rewritten. Source: zswap_invalidate."""
        if slots:
            self._free(slots, None)

    def free_written_back(self, slots: Sequence[int]) -> None:
        """Free entries whose pages are in the swap cache now, and count them."""
        self._free(slots, ZSWPWB)

    def _free(self, slots: Sequence[int], event: int | None) -> None:
        """Free entries and count an event for each. Source: zswap_entry_free."""
        machine = self.machine
        handle_of, length_of, owner_of = self.handle, self.length, self.owner
        node_of, page_of = machine.table.node, machine.swap.page
        single_node = machine.nr_nodes == 1
        self.pool.free(column(handle_of, slots))
        owners = column(owner_of, slots)
        one_owner = len(owners) and owners.count(owners[0]) == len(owners)
        batches: Iterable[tuple[int, Sequence[int]]]
        batches = [(owners[0], slots)] if one_owner else [(owner, list(group)) for owner, group in groupby(slots, key=owner_of.__getitem__)]
        for owner, batch in batches:
            memcg = self.owners.memcg_of(owner)
            if single_node:
                self.links.remove(memcg.zswap_lrus[0], batch)
            else:
                for slot in batch:
                    self.links.remove(memcg.zswap_lrus[node_of[page_of[slot]]], (slot,))
            lengths = column(length_of, batch)
            nr_incompressible = lengths.count(PAGE_SIZE)
            self.counters.stored_incompressible_pages -= nr_incompressible
            nr_bytes = sum(lengths)
            self.owners.ages[owner].remove(column(self.stored_ns, batch), lengths)
            self._account(memcg, -len(batch), -nr_bytes, -nr_incompressible)
            if event is not None:
                memcg.rstat.local[event] += len(batch)
        if isinstance(slots, range):
            length_of[slots.start : slots.stop] = array("H", bytes(2 * len(slots)))
        else:
            for slot in slots:
                length_of[slot] = 0

    # -- cgroup removal ---------------------------------------------------------------------------------------------------------------

    def memcg_offline(self, memcg: MemCgroup) -> None:
        """Entries become the parent's oldest; cursors move on. Source: zswap_memcg_offline_cleanup, memcg_reparent_objcgs."""
        parent = memcg.parent_memcg
        assert parent is not None
        self.machine.zswap_writeback.memcg_offline(memcg)
        for lru, child in zip(parent.zswap_lrus, memcg.zswap_lrus, strict=True):
            self.links.splice_oldest(lru, child)
        self.owners.reparent(memcg, parent)
        local, upper = memcg.rstat, parent.rstat
        for item in (ZSWAP_BYTES, ZSWAPPED_PAGES, ZSWAP_INCOMP_PAGES):
            amount = local.local[item]
            local.add(item, -amount)
            upper.add(item, amount)
        nr_bytes, nr_pages = memcg.kmem_bytes, memcg.kmem_pages
        memcg.kmem_bytes = memcg.kmem_pages = 0
        self.machine.move_kernel_pages(memcg, parent, nr_bytes, nr_pages)

    def entries(self) -> list[int]:
        """All slots with an entry. Cost: O(slots)."""
        return [slot for slot, length in enumerate(self.length) if length]

    def close(self) -> None:
        """Free the arena."""
        self.pool.close()
