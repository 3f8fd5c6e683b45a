"""The swap cache: resident pages that own a swap slot.

Mirrors mm/swap_state.c. A page is in the swap cache while it is resident and its slot is not 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from fakecg.abi.stat import NR_SWAPCACHE
from fakecg.mm import workingset
from fakecg.mm.columns import as_run, consecutive
from fakecg.mm.lruvec import LRU_ACTIVE_ANON, LRU_INACTIVE_ANON
from fakecg.mm.memcontrol import MEMCG_SWAP_FAIL, MEMCG_SWAP_MAX, MemCgroup
from fakecg.mm.mm_struct import ChargeContext
from fakecg.mm.page_table import ACTIVE, DIRTIED, RESIDENT, WORKINGSET

if TYPE_CHECKING:
    from fakecg.mm.address_space import Buffer
    from fakecg.mm.folio_batch import LruBatches
    from fakecg.mm.machine import Machine


class SwapCache:
    """Swap cache of one machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def add_to_swap(self, memcg: MemCgroup, node: int, pages: Sequence[int]) -> int:
        """Give pages slots and charge them; returns how many, from the first. Each refusal counts its events.

        Source: swap_state.c:add_to_swap, memcontrol.c:__mem_cgroup_try_charge_swap.
        """
        machine = self.machine
        owner = self.swap_owner(memcg)
        slots = machine.swap.alloc(pages, owner.id)
        nr_fail = len(pages) - len(slots)
        nr_charged = len(slots)
        if not owner.is_root:
            nr_charged = min(nr_charged, *(max(0, ancestor.swap.max - ancestor.swap.usage) for ancestor in owner.ancestors()))
            owner.swap.charge(nr_charged)
        nr_refused = len(slots) - nr_charged
        if nr_refused:
            machine.swap.free(slots[nr_charged:])
            owner.event(MEMCG_SWAP_MAX, nr_refused)
        if nr_fail or nr_refused:
            owner.event(MEMCG_SWAP_FAIL, nr_fail + nr_refused)
        # A page without a slot is dirty: nothing else holds its bytes.
        slot_of = machine.table.slot
        if isinstance(pages, range) and isinstance(slots, range):
            slot_of[pages.start : pages.start + nr_charged] = consecutive(slots.start, slots.start + nr_charged)
        else:
            for page, slot in zip(pages, slots[:nr_charged], strict=False):
                slot_of[page] = slot
        if nr_charged:
            memcg.rstat.add(memcg.lruvecs[node].stat_base + NR_SWAPCACHE, nr_charged)
        return nr_charged

    def swap_owner(self, memcg: MemCgroup) -> MemCgroup:
        """Slots of a removed cgroup's pages belong to its nearest living ancestor. Source: mem_cgroup_id_get_online."""
        while not memcg.online:
            assert memcg.parent_memcg is not None
            memcg = memcg.parent_memcg
        return memcg

    def free_slots(self, pages: Sequence[int]) -> None:
        """Take resident pages out of the swap cache and free their slots; they are dirty now. Source: folio_free_swap."""
        machine = self.machine
        table = machine.table
        self.release_slots(as_run(table.slots_of(pages)))
        table.clear_slots(pages)
        table.apply(pages, DIRTIED)
        for memcg_id, group in groupby(pages, key=table.memcg.__getitem__):
            memcg = machine.memcgs[memcg_id]
            for node, batch in machine.frames.by_node(list(group)):
                memcg.rstat.add(memcg.lruvecs[node].stat_base + NR_SWAPCACHE, -len(batch))

    def release_slots(self, slots: Sequence[int]) -> None:
        """Free slots, with whatever zswap holds for them, and uncharge them. Source: swap_entries_free."""
        machine = self.machine
        zswap, swap = machine.zswap, machine.swap
        zswap.invalidate(as_run([slot for slot in slots if zswap.has(slot)]))
        for memcg_id, group in groupby(slots, key=swap.memcg.__getitem__):
            nr_slots = len(list(group))
            memcg = machine.memcgs[memcg_id]
            if not memcg.is_root:
                memcg.swap.uncharge(nr_slots)
                machine.release_if_unused(memcg)
        swap.free(slots)

    def charge_target(self, slot: int, context: ChargeContext) -> MemCgroup:
        """Who pays for a page read from a slot: the slot's cgroup, or whoever causes it if that is gone.

        Source: memcontrol.c:mem_cgroup_swapin_charge_folio.
        """
        memcg = self.machine.memcgs.get(self.machine.swap.memcg[slot])
        if memcg is not None and memcg.online:
            return memcg
        return context.mm.memcg if context.mm is not None else self.machine.root_memcg

    def add_resident(
        self, memcg: MemCgroup, pages: Sequence[int], data: Sequence[Buffer], extra_flags: int, batches: LruBatches | None = None
    ) -> bool:
        """Charged pages enter memory and the swap cache, unmapped; returns whether any belonged to the workingset.

        ``batches``: of the faulting task, where the pages wait for their list; None puts them there at once.
        """
        machine = self.machine
        table = machine.table
        machine.frames.give(pages, data)
        restored = False
        for node, batch in machine.frames.by_node(pages):
            lruvec = memcg.lruvecs[node]
            table.set_memcg(batch, memcg.id)
            states = workingset.refault_all(machine, memcg, node, batch, False)
            if states is None:
                table.set_flags(batch, RESIDENT | extra_flags)
                if batches is None:
                    lruvec.add(table, LRU_INACTIVE_ANON, batch)
                else:
                    batches.add(lruvec, False, batch)
            else:
                for page, state in zip(batch, states, strict=True):
                    table.flags[page] = RESIDENT | extra_flags | state
                    restored = restored or bool(state & WORKINGSET)
                if batches is None:
                    lruvec.add(table, LRU_INACTIVE_ANON, [page for page, state in zip(batch, states, strict=True) if not state & ACTIVE])
                    lruvec.add(table, LRU_ACTIVE_ANON, [page for page, state in zip(batch, states, strict=True) if state & ACTIVE])
                else:
                    batches.add(lruvec, False, batch)
            memcg.rstat.add(lruvec.stat_base + NR_SWAPCACHE, len(batch))
            machine.nodes[node].nr_free -= len(batch)
        return restored
