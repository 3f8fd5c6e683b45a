"""Taking a swap device out of use. Mirrors swapoff and try_to_unuse of mm/swapfile.c."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from fakecg.abi.errors import DataLost, InvalidInput, NoMemory
from fakecg.cgroup.cftype import SIGNAL_POINT
from fakecg.mm.mm_struct import ChargeContext
from fakecg.mm.page_table import RESIDENT

if TYPE_CHECKING:
    from fakecg.mm.machine import Machine
    from fakecg.mm.swapfile import SwapDevice


def swapoff(machine: Machine, device: SwapDevice) -> Generator[object, None, int]:
    """Bring everything on a device back into memory and take it out of use; returns how many pages came back.

    Raises:
        InvalidInput: somebody is at it already (EINVAL).
        Interrupted: a signal came (EINTR); what is back in memory stays there, and the device in use.
        NoMemory: a page does not fit into memory or its cgroup; the device stays in use. Source: swapfile.c:try_to_unuse.
        DataLost: a page cannot be read; it stays where it is, and the device in use. The kernel goes on and poisons the page's pte.
    """
    swap = machine.swap
    if device.is_leaving:
        raise InvalidInput(f"swapoff {device.name}: is being taken out of use")
    device.is_leaving = True
    nr_pages = 0
    try:
        for slot in range(device.first_slot, min(device.first_slot + device.nr_slots, len(swap.page))):
            if swap.page[slot]:
                nr_pages += yield from _unuse(machine, device, slot)
                yield SIGNAL_POINT
    finally:
        device.is_leaving = False
    swap.remove(device)
    return nr_pages


def _unuse(machine: Machine, device: SwapDevice, slot: int) -> Generator[None, None, int]:
    """Free a slot, with its page in memory; returns whether the page had to be read. Raises as swapoff."""
    flags, page_of = machine.table.flags, machine.swap.page
    page = page_of[slot]
    if flags[page] & RESIDENT:
        machine.swap_cache.free_slots((page,))
        return 0
    context = ChargeContext(may_oom=False)
    memcg = machine.swap_cache.charge_target(slot, context)
    yield from machine.frames.alloc(machine.frames.space_of(page), page, 1)
    if not (yield from machine.charge_pages(memcg, 1, context)):
        raise NoMemory(f"swapoff {device.name}: a page of {memcg.cgroup.path()} does not fit into memory")
    # Others may have run: the page may be freed, or in memory.
    is_needed = page_of[slot] == page and not flags[page] & RESIDENT
    try:
        if is_needed:
            machine.page_io.read_pages(memcg, (page,), None)
    except DataLost:
        machine.uncharge_pages(memcg, 1)
        raise
    if not is_needed:
        machine.uncharge_pages(memcg, 1)
    if page_of[slot] == page:
        machine.swap_cache.free_slots((page,))
    return int(is_needed)
