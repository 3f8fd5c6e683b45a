"""The items of memory.stat, memory.numa_stat and their order, by profile.

Mirrors memory_stats[] and memcg_vm_event_stat[] of mm/memcontrol.c. A memcg's counters are one flat vector: first the items it has once,
then one block of node items per NUMA node. Pages unless the name says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fakecg.abi.profile import Features
from fakecg.abi.units import PAGE_SIZE

# Items kept once per memcg.
(
    KERNEL_PAGES,
    PERCPU_BYTES,
    SOCK_PAGES,
    VMALLOC_PAGES,
    ZSWAP_BYTES,
    ZSWAPPED_PAGES,
    ZSWAP_INCOMP_PAGES,
    ZSWPWB_PROACTIVE,
    ZSWPWB_PROACTIVE_BYTES,
    PSWPIN,
    PSWPOUT,
    PGFAULT,
    PGMAJFAULT,
    PGACTIVATE,
    PGDEACTIVATE,
    PGLAZYFREE,
    PGLAZYFREED,
    SWPIN_ZERO,
    SWPOUT_ZERO,
    ZSWPIN,
    ZSWPOUT,
    ZSWPWB,
    NR_MEMCG_ITEMS,
) = range(23)

# Items kept per node; indices within a node's block.
(
    NR_INACTIVE_ANON,
    NR_ACTIVE_ANON,
    NR_INACTIVE_FILE,
    NR_ACTIVE_FILE,
    NR_UNEVICTABLE,
    NR_ANON_MAPPED,
    NR_FILE_PAGES,
    NR_FILE_MAPPED,
    NR_FILE_DIRTY,
    NR_WRITEBACK,
    NR_SWAPCACHE,
    WORKINGSET_REFAULT_ANON,
    WORKINGSET_REFAULT_FILE,
    WORKINGSET_ACTIVATE_ANON,
    WORKINGSET_ACTIVATE_FILE,
    WORKINGSET_RESTORE_ANON,
    WORKINGSET_RESTORE_FILE,
    WORKINGSET_NODERECLAIM,
    PGSCAN_KSWAPD,
    PGSCAN_DIRECT,
    PGSCAN_KHUGEPAGED,
    PGSCAN_PROACTIVE,
    PGSTEAL_KSWAPD,
    PGSTEAL_DIRECT,
    PGSTEAL_KHUGEPAGED,
    PGSTEAL_PROACTIVE,
    PGREFILL,
    NR_NODE_ITEMS,
) = range(28)


#: Items that nothing in the model changes: their lines read 0.
UNCOUNTED_MEMCG_ITEMS = frozenset({PERCPU_BYTES, SOCK_PAGES, VMALLOC_PAGES, PGLAZYFREE, PGLAZYFREED})
UNCOUNTED_NODE_ITEMS = frozenset({NR_UNEVICTABLE, NR_FILE_MAPPED, WORKINGSET_NODERECLAIM, PGSCAN_KHUGEPAGED, PGSTEAL_KHUGEPAGED})


def vector_width(nr_nodes: int) -> int:
    """Length of a memcg's counter vector."""
    return NR_MEMCG_ITEMS + nr_nodes * NR_NODE_ITEMS


def node_base(node: int) -> int:
    """Index of a node's block in the vector."""
    return NR_MEMCG_ITEMS + node * NR_NODE_ITEMS


@dataclass(frozen=True, slots=True)
class StatRow:
    """One line of memory.stat.

    Attributes:
        key: printed name.
        memcg_items: summed items kept once per memcg.
        node_items: summed node items, over all nodes.
        unit: factor from the stored number to the printed one (4096 for pages shown in bytes).
        in_numa_stat: also a line of memory.numa_stat.
        is_event: only grows.
    """

    key: str
    memcg_items: tuple[int, ...] = ()
    node_items: tuple[int, ...] = ()
    unit: int = 1
    in_numa_stat: bool = False
    is_event: bool = False

    @property
    def is_modelled(self) -> bool:
        """False for a line that always reads 0."""
        return not (UNCOUNTED_MEMCG_ITEMS.issuperset(self.memcg_items) and UNCOUNTED_NODE_ITEMS.issuperset(self.node_items))


def _state(key: str, *items: int, numa: bool = True) -> StatRow:
    return StatRow(key, node_items=items, unit=PAGE_SIZE, in_numa_stat=numa)


def _node_event(key: str, *items: int, numa: bool = True) -> StatRow:
    return StatRow(key, node_items=items, in_numa_stat=numa, is_event=True)


def _event(key: str, *items: int) -> StatRow:
    return StatRow(key, memcg_items=items, is_event=True)


_PGSCAN = (PGSCAN_KSWAPD, PGSCAN_DIRECT, PGSCAN_KHUGEPAGED, PGSCAN_PROACTIVE)
_PGSTEAL = (PGSTEAL_KSWAPD, PGSTEAL_DIRECT, PGSTEAL_KHUGEPAGED, PGSTEAL_PROACTIVE)


def _by_cause(prefix: str, items: Sequence[int], features: Features) -> list[StatRow]:
    """pgscan_* or pgsteal_*, one line per cause the profile tells apart."""
    profile = features.profile
    causes = ("kswapd", "direct", "khugepaged", "proactive")
    shown = causes if profile.has_proactive_counters else causes[:3]
    return [
        _node_event(f"{prefix}_{cause}", item, numa=profile.has_moved_vmscan_stat)
        for cause, item in zip(causes, items, strict=False)
        if cause in shown
    ]


def memory_stat_rows(features: Features) -> tuple[StatRow, ...]:
    """The lines of memory.stat in the kernel's order. Source: memcontrol.c:memory_stats, memcg_stat_format."""
    profile = features.profile
    pages = "zswpwb_proactive" if features.counts_proactive_pages else None
    rows = [
        _state("anon", NR_ANON_MAPPED),
        _state("file", NR_FILE_PAGES),
        StatRow("kernel", memcg_items=(KERNEL_PAGES,), unit=PAGE_SIZE),
        _state("kernel_stack"),
        _state("pagetables"),
        _state("sec_pagetables"),
        StatRow("percpu", memcg_items=(PERCPU_BYTES,)),
        StatRow("sock", memcg_items=(SOCK_PAGES,), unit=PAGE_SIZE),
        StatRow("vmalloc", memcg_items=(VMALLOC_PAGES,), unit=PAGE_SIZE, in_numa_stat=profile.has_moved_vmscan_stat),
        _state("shmem"),
        StatRow("zswap", memcg_items=(ZSWAP_BYTES,)),
        StatRow("zswapped", memcg_items=(ZSWAPPED_PAGES,), unit=PAGE_SIZE),
    ]
    if profile.has_incomp_stat:
        rows.append(StatRow("zswap_incomp", memcg_items=(ZSWAP_INCOMP_PAGES,), unit=PAGE_SIZE))
    if features.counts_proactive_bytes:
        rows.append(_event("zswpwb_proactive_b", ZSWPWB_PROACTIVE_BYTES))
    rows += [
        _state("file_mapped", NR_FILE_MAPPED),
        _state("file_dirty", NR_FILE_DIRTY),
        _state("file_writeback", NR_WRITEBACK),
        _state("swapcached", NR_SWAPCACHE),
        _state("anon_thp"),
        _state("file_thp"),
        _state("shmem_thp"),
        _state("inactive_anon", NR_INACTIVE_ANON),
        _state("active_anon", NR_ACTIVE_ANON),
        _state("inactive_file", NR_INACTIVE_FILE),
        _state("active_file", NR_ACTIVE_FILE),
        _state("unevictable", NR_UNEVICTABLE),
        _state("slab_reclaimable"),
        _state("slab_unreclaimable"),
        _state("slab", numa=False),
        _node_event("workingset_refault_anon", WORKINGSET_REFAULT_ANON),
        _node_event("workingset_refault_file", WORKINGSET_REFAULT_FILE),
        _node_event("workingset_activate_anon", WORKINGSET_ACTIVATE_ANON),
        _node_event("workingset_activate_file", WORKINGSET_ACTIVATE_FILE),
        _node_event("workingset_restore_anon", WORKINGSET_RESTORE_ANON),
        _node_event("workingset_restore_file", WORKINGSET_RESTORE_FILE),
        _node_event("workingset_nodereclaim", WORKINGSET_NODERECLAIM),
        _node_event("pgdemote_kswapd"),
        _node_event("pgdemote_direct"),
        _node_event("pgdemote_khugepaged"),
    ]
    if profile.has_proactive_counters:
        rows.append(_node_event("pgdemote_proactive"))
    scans = _by_cause("pgscan", _PGSCAN, features)
    steals = _by_cause("pgsteal", _PGSTEAL, features)
    refill = _node_event("pgrefill", PGREFILL, numa=profile.has_moved_vmscan_stat)
    sums = [_node_event("pgscan", *_PGSCAN, numa=False), _node_event("pgsteal", *_PGSTEAL, numa=False)]
    swaps = [_event("pswpin", PSWPIN), _event("pswpout", PSWPOUT)] if profile.has_pswp_stat else []
    if profile.has_moved_vmscan_stat:
        rows += [*steals, *scans, refill, _node_event("pgpromote_success"), *sums, *swaps]
    else:
        rows += [_node_event("pgpromote_success"), *sums, *swaps, *scans, *steals]
    rows += [_event("pgfault", PGFAULT), _event("pgmajfault", PGMAJFAULT)]
    if not profile.has_moved_vmscan_stat:
        rows.append(refill)
    rows += [
        _event("pgactivate", PGACTIVATE),
        _event("pgdeactivate", PGDEACTIVATE),
        _event("pglazyfree", PGLAZYFREE),
        _event("pglazyfreed", PGLAZYFREED),
        _event("swpin_zero", SWPIN_ZERO),
        _event("swpout_zero", SWPOUT_ZERO),
        _event("zswpin", ZSWPIN),
        _event("zswpout", ZSWPOUT),
        _event("zswpwb", ZSWPWB),
    ]
    if pages:
        rows.append(_event(pages, ZSWPWB_PROACTIVE))
    rows += [
        _event(key)
        for key in (
            "thp_fault_alloc",
            "thp_collapse_alloc",
            "thp_swpout",
            "thp_swpout_fallback",
            "numa_pages_migrated",
            "numa_pte_updates",
            "numa_hint_faults",
        )
    ]
    return tuple(rows)
