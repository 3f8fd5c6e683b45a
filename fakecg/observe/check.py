"""Invariants of a host, checked from outside. Normal code assumes them; tests call this after each step.

Every check recomputes a number from the page and slot columns and compares it with what the counters say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from fakecg.abi.stat import (
    KERNEL_PAGES,
    NR_ANON_MAPPED,
    NR_FILE_DIRTY,
    NR_FILE_PAGES,
    NR_NODE_ITEMS,
    NR_SWAPCACHE,
    NR_WRITEBACK,
    ZSWAP_BYTES,
    ZSWAPPED_PAGES,
    node_base,
)
from fakecg.host import Host
from fakecg.mm.folio_batch import OFF_LIST
from fakecg.mm.links import LinkedList, Links
from fakecg.mm.machine import Machine
from fakecg.mm.memcontrol import MemCgroup
from fakecg.mm.page_table import ACTIVE, DIRTY, MAPPED, RESIDENT, WRITEBACK


class InvariantError(AssertionError):
    """The model contradicts itself; the message says where."""


def check(host: Host) -> None:
    """Check everything; the lock is taken.

    Raises:
        InvariantError: with all contradictions found.
    """
    with host.lock:
        machine = host.machine
        machine.rstat.flush()
        found = [
            *_check_pages(machine),
            *_check_slots(machine),
            *_check_zswap(machine),
            *_check_counters(machine),
            *_check_frames(machine),
        ]
        if host.internal_errors:
            found.append(f"{host.internal_errors} internal errors were logged")
    if found:
        raise InvariantError("\n".join(found))


def _is_intact(links: Links, of: LinkedList, items: Sequence[int]) -> bool:
    """Whether these are all items of a list, and its ends are ends."""
    if not items:
        return not (of.oldest or of.newest or of.size)
    return len(items) == of.size and items[-1] == of.newest and not links.newer[of.newest] and not links.older[of.oldest]


def _check_pages(machine: Machine) -> Iterator[str]:
    """Every resident page is on exactly one list, the one its flags name, or waits for it."""
    table = machine.table
    seen: Counter[int] = Counter()
    for memcg in machine.memcgs.values():
        for lruvec in memcg.lruvecs:
            for lru, pages in enumerate(lruvec.lists):
                listed = table.links.oldest(pages, pages.size)
                if not _is_intact(table.links, pages, listed):
                    yield f"{memcg.cgroup.path()} list {lru} is broken"
                if memcg.rstat.local[lruvec.stat_base + lru] != pages.size:
                    yield f"{memcg.cgroup.path()} list {lru}: statistics say {memcg.rstat.local[lruvec.stat_base + lru]}, size {pages.size}"
                for page in listed:
                    seen[page] += 1
                    flags = table.flags[page]
                    space = machine.frames.space_of(page)
                    expected = (2 if space.is_file else 0) + (1 if flags & ACTIVE else 0)
                    if not flags & RESIDENT or expected != lru:
                        yield f"page {page} with flags {flags:#x} is on list {lru} of {memcg.cgroup.path()}"
                    if table.memcg[page] != memcg.id or table.node[page] != lruvec.node:
                        yield f"page {page} is on a list of another cgroup or node"
    nr_waiting = 0
    for space_or_none in machine.spaces.by_number:
        if space_or_none is None:
            continue
        space = space_or_none
        for page in range(space.base, space.base + space.nr_pages):
            flags = table.flags[page]
            waits = bool(flags & RESIDENT) and table.links.newer[page] == OFF_LIST
            nr_waiting += waits
            if seen[page] != (1 if flags & RESIDENT and not waits else 0):
                yield f"page {page} with flags {flags:#x} is on {seen[page]} lists"
            if not flags & RESIDENT and flags:
                yield f"absent page {page} has flags {flags:#x}"
            if flags & RESIDENT and not space.is_file and not table.slot[page] and not flags & DIRTY:
                yield f"page {page} is clean but nothing else holds its bytes"
            if flags & WRITEBACK and not table.slot[page]:
                yield f"page {page} is being written to no slot"
    expected_waiting = sum(batches.nr_waiting for batches in machine.lru_batches)
    if nr_waiting != expected_waiting:
        yield f"{nr_waiting} pages wait for their list, {expected_waiting} are in batches"


def _check_slots(machine: Machine) -> Iterator[str]:
    """A slot in use has one page, which knows it; its bytes are in exactly one place unless the page is resident."""
    table, swap, zswap = machine.table, machine.swap, machine.zswap
    used = 0
    for slot in range(1, len(swap.page)):
        page = swap.page[slot]
        if not page:
            if zswap.has(slot) or swap.zeromap[slot] or swap.on_disk[slot]:
                yield f"free slot {slot} has contents"
            continue
        used += 1
        if table.slot[page] != slot:
            yield f"slot {slot} is page {page}'s, whose slot is {table.slot[page]}"
        places = int(zswap.has(slot)) + swap.zeromap[slot] + swap.on_disk[slot]
        flags = table.flags[page]
        if not flags & RESIDENT and places != 1:
            yield f"slot {slot} of absent page {page}: its bytes are in {places} places"
        if flags & RESIDENT and zswap.has(slot):
            yield f"page {page} is resident and in zswap"
        if flags & RESIDENT and not flags & DIRTY and not places:
            yield f"page {page} is clean but its slot {slot} holds nothing"
    if used != swap.nr_used:
        yield f"{used} slots have pages, {swap.nr_used} are in use"
    by_memcg: Counter[int] = Counter(swap.memcg[slot] for slot in range(1, len(swap.page)) if swap.page[slot])
    for memcg in machine.memcgs.values():
        expected = sum(by_memcg[one.id] for one in memcg.subtree())
        if not memcg.is_root and memcg.swap.usage != expected:
            yield f"{memcg.cgroup.path()}: swap usage {memcg.swap.usage}, slots {expected}"


def _check_zswap(machine: Machine) -> Iterator[str]:
    """Entries are on one list each; bytes, pool and counters agree."""
    zswap = machine.zswap
    listed: Counter[int] = Counter()
    for memcg in machine.memcgs.values():
        nr_bytes = nr_entries = 0
        for node, lru in enumerate(memcg.zswap_lrus):
            slots = zswap.links.oldest(lru, lru.size)
            if not _is_intact(zswap.links, lru, slots):
                yield f"{memcg.cgroup.path()}: zswap list of node {node} is broken"
            for slot in slots:
                listed[slot] += 1
                nr_entries += 1
                nr_bytes += zswap.length[slot]
                if zswap.owner_memcg(slot) is not memcg:
                    yield f"zswap entry {slot} is on a list of {memcg.cgroup.path()}, which does not own it"
        local = memcg.rstat.local
        if (local[ZSWAP_BYTES], local[ZSWAPPED_PAGES]) != (nr_bytes, nr_entries):
            counted = f"{local[ZSWAPPED_PAGES]} of {local[ZSWAP_BYTES]}"
            yield f"{memcg.cgroup.path()}: {nr_entries} entries of {nr_bytes} bytes, statistics say {counted}"
        if memcg.kmem_bytes != nr_bytes:
            yield f"{memcg.cgroup.path()}: {memcg.kmem_bytes} bytes charged for {nr_bytes} bytes of entries"
        ages = [zswap.owners.ages[number] for number in memcg.objcgs]
        if (sum(age.nr_entries for age in ages), sum(age.nr_bytes for age in ages)) != (nr_entries, nr_bytes):
            yield f"{memcg.cgroup.path()}: the age index does not match"
    entries = zswap.entries()
    if sorted(listed.elements()) != entries:
        yield "zswap lists and entries differ"
    if zswap.counters.stored_pages != len(entries):
        yield f"stored_pages {zswap.counters.stored_pages}, entries {len(entries)}"
    nr_used = zswap.pool.nr_objects
    nr_pages = sum(size_class.nr_zspages * size_class.nr_pages for size_class in zswap.pool.classes)
    if (nr_used, nr_pages) != (len(entries), zswap.pool.nr_pages):
        yield f"pool has {nr_used} objects on {nr_pages} pages; {len(entries)} entries, {zswap.pool.nr_pages} pages"
    if len({zswap.handle[slot] for slot in entries}) != len(entries):
        yield "two zswap entries share a handle"


def _check_counters(machine: Machine) -> Iterator[str]:
    """Sums over the subtree equal the hierarchical counters; usage is what is charged, plus the stock."""
    table = machine.table
    resident: dict[int, Counter[str]] = {memcg_id: Counter() for memcg_id in machine.memcgs}
    for space in machine.spaces.by_number:
        for page in range(space.base, space.base + space.nr_pages) if space else ():
            flags = table.flags[page]
            if not flags & RESIDENT:
                continue
            counts = resident[table.memcg[page]]
            counts["resident"] += 1
            if machine.frames.space_of(page).is_file:
                counts["file"] += 1
                counts["dirty"] += bool(flags & DIRTY)
            else:
                counts["mapped"] += bool(flags & MAPPED)
                counts["swapcache"] += bool(table.slot[page])
                counts["writeback"] += bool(flags & WRITEBACK)
    stock = machine.stock
    for memcg in machine.memcgs.values():
        counts = resident[memcg.id]
        for key, item in (
            ("mapped", NR_ANON_MAPPED),
            ("file", NR_FILE_PAGES),
            ("dirty", NR_FILE_DIRTY),
            ("swapcache", NR_SWAPCACHE),
            ("writeback", NR_WRITEBACK),
        ):
            value = sum(memcg.rstat.local[node_base(node) + item] for node in range(machine.nr_nodes))
            if value != counts[key]:
                yield f"{memcg.cgroup.path()}: {key} is {value}, pages {counts[key]}"
        if memcg.rstat.local[KERNEL_PAGES] != memcg.kmem_pages:
            yield f"{memcg.cgroup.path()}: kernel pages {memcg.rstat.local[KERNEL_PAGES]}, charged {memcg.kmem_pages}"
        if not memcg.is_root:
            expected = sum(resident[one.id]["resident"] + one.kmem_pages for one in memcg.subtree())
            if stock.memcg is not None and stock.memcg.is_descendant_of(memcg):
                expected += stock.nr_pages
            if memcg.memory.usage != expected:
                yield f"{memcg.cgroup.path()}: usage {memcg.memory.usage}, charged {expected}"
        yield from _check_sums(memcg)


def _check_sums(memcg: MemCgroup) -> Iterator[str]:
    """State items: own plus children's totals. Events of dead children stay in the parent, so those are only compared downwards."""
    children = []
    child = memcg.first_child
    while child is not None:
        children.append(child)
        child = child.next_sibling
    for item in (ZSWAP_BYTES, ZSWAPPED_PAGES, *(node_base(0) + item for item in range(NR_NODE_ITEMS) if item <= NR_SWAPCACHE)):
        expected = memcg.rstat.local[item] + sum(one.rstat.total[item] for one in children)
        if memcg.rstat.total[item] != expected:
            yield f"{memcg.cgroup.path()}: item {item} is {memcg.rstat.total[item]}, sum {expected}"
    if any(count < 0 for count in (*memcg.events, *memcg.events_local, memcg.memory.usage, memcg.swap.usage)):
        yield f"{memcg.cgroup.path()}: a negative count"
    if memcg.memory.watermark < memcg.memory.usage:
        yield f"{memcg.cgroup.path()}: peak below usage"


def _check_frames(machine: Machine) -> Iterator[str]:
    """Frames in use are resident pages and pool pages."""
    nr_resident = sum(1 for flags in machine.table.flags if flags & RESIDENT)
    expected = sum(node.nr_pages for node in machine.nodes) - nr_resident - machine.zswap.pool.nr_pages
    if machine.nr_free != expected:
        yield f"{machine.nr_free} free pages, {expected} unused"
