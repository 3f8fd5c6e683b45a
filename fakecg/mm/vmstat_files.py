"""/proc/vmstat of the emulated machine, and the sums over nodes that other machine-wide files share with it.

Mirrors vmstat_text[] of mm/vmstat.c, in the order of 6.12. A key that is not modelled reads 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakecg.abi.keyed import flat_keyed
from fakecg.abi.stat import (
    NR_ACTIVE_ANON,
    NR_ACTIVE_FILE,
    NR_ANON_MAPPED,
    NR_FILE_DIRTY,
    NR_FILE_MAPPED,
    NR_FILE_PAGES,
    NR_INACTIVE_ANON,
    NR_INACTIVE_FILE,
    NR_SWAPCACHE,
    NR_WRITEBACK,
    UNCOUNTED_NODE_ITEMS,
    WORKINGSET_ACTIVATE_ANON,
    WORKINGSET_ACTIVATE_FILE,
    WORKINGSET_NODERECLAIM,
    WORKINGSET_REFAULT_ANON,
    WORKINGSET_REFAULT_FILE,
    WORKINGSET_RESTORE_ANON,
    WORKINGSET_RESTORE_FILE,
    node_base,
)
from fakecg.cgroup.cftype import ControlFile, OpenFile
from fakecg.mm.vmstat import VmEvents

if TYPE_CHECKING:
    from fakecg.abi.profile import Features
    from fakecg.mm.machine import Machine

_KEYS = (  # noqa: SIM905 - a table to read, not to count commas in
    "nr_free_pages nr_zone_inactive_anon nr_zone_active_anon nr_zone_inactive_file nr_zone_active_file nr_zone_unevictable "
    "nr_zone_write_pending nr_mlock nr_bounce nr_zspages nr_free_cma nr_unaccepted numa_hit numa_miss numa_foreign numa_interleave "
    "numa_local numa_other nr_inactive_anon nr_active_anon nr_inactive_file nr_active_file nr_unevictable nr_slab_reclaimable "
    "nr_slab_unreclaimable nr_isolated_anon nr_isolated_file workingset_nodes workingset_refault_anon workingset_refault_file "
    "workingset_activate_anon workingset_activate_file workingset_restore_anon workingset_restore_file workingset_nodereclaim "
    "nr_anon_pages nr_mapped nr_file_pages nr_dirty nr_writeback nr_writeback_temp nr_shmem nr_shmem_hugepages nr_shmem_pmdmapped "
    "nr_file_hugepages nr_file_pmdmapped nr_anon_transparent_hugepages nr_vmscan_write nr_vmscan_immediate_reclaim nr_dirtied "
    "nr_written nr_throttled_written nr_kernel_misc_reclaimable nr_foll_pin_acquired nr_foll_pin_released nr_kernel_stack "
    "nr_page_table_pages nr_sec_page_table_pages nr_iommu_pages nr_swapcached pgpromote_success pgpromote_candidate pgdemote_kswapd "
    "pgdemote_direct pgdemote_khugepaged nr_dirty_threshold nr_dirty_background_threshold nr_memmap_pages nr_memmap_boot_pages pgpgin "
    "pgpgout pswpin pswpout pgalloc_dma pgalloc_dma32 pgalloc_normal pgalloc_movable pgalloc_device allocstall_dma allocstall_dma32 "
    "allocstall_normal allocstall_movable allocstall_device pgskip_dma pgskip_dma32 pgskip_normal pgskip_movable pgskip_device pgfree "
    "pgactivate pgdeactivate pglazyfree pgfault pgmajfault pglazyfreed pgrefill pgreuse pgsteal_kswapd pgsteal_direct "
    "pgsteal_khugepaged pgscan_kswapd pgscan_direct pgscan_khugepaged pgscan_direct_throttle pgscan_anon pgscan_file pgsteal_anon "
    "pgsteal_file zone_reclaim_success zone_reclaim_failed pginodesteal slabs_scanned kswapd_inodesteal kswapd_low_wmark_hit_quickly "
    "kswapd_high_wmark_hit_quickly pageoutrun pgrotated drop_pagecache drop_slab oom_kill numa_pte_updates numa_huge_pte_updates "
    "numa_hint_faults numa_hint_faults_local numa_pages_migrated pgmigrate_success pgmigrate_fail thp_migration_success "
    "thp_migration_fail thp_migration_split compact_migrate_scanned compact_free_scanned compact_isolated compact_stall compact_fail "
    "compact_success compact_daemon_wake compact_daemon_migrate_scanned compact_daemon_free_scanned htlb_buddy_alloc_success "
    "htlb_buddy_alloc_fail unevictable_pgs_culled unevictable_pgs_scanned unevictable_pgs_rescued unevictable_pgs_mlocked "
    "unevictable_pgs_munlocked unevictable_pgs_cleared unevictable_pgs_stranded thp_fault_alloc thp_fault_fallback "
    "thp_fault_fallback_charge thp_collapse_alloc thp_collapse_alloc_failed thp_file_alloc thp_file_fallback thp_file_fallback_charge "
    "thp_file_mapped thp_split_page thp_split_page_failed thp_deferred_split_page thp_underused_split_page thp_split_pmd "
    "thp_scan_exceed_none_pte thp_scan_exceed_swap_pte thp_scan_exceed_share_pte thp_split_pud thp_zero_page_alloc "
    "thp_zero_page_alloc_failed thp_swpout thp_swpout_fallback balloon_inflate balloon_deflate balloon_migrate swap_ra swap_ra_hit "
    "swpin_zero swpout_zero ksm_swpin_copy cow_ksm zswpin zswpout zswpwb direct_map_level2_splits direct_map_level3_splits "
    "nr_unstable "
).split()

#: Keys that are sums of node items over all cgroups.
_NODE_ITEMS = {
    "nr_zone_inactive_anon": NR_INACTIVE_ANON,
    "nr_zone_active_anon": NR_ACTIVE_ANON,
    "nr_zone_inactive_file": NR_INACTIVE_FILE,
    "nr_zone_active_file": NR_ACTIVE_FILE,
    "nr_inactive_anon": NR_INACTIVE_ANON,
    "nr_active_anon": NR_ACTIVE_ANON,
    "nr_inactive_file": NR_INACTIVE_FILE,
    "nr_active_file": NR_ACTIVE_FILE,
    "nr_anon_pages": NR_ANON_MAPPED,
    "nr_mapped": NR_FILE_MAPPED,
    "nr_dirty": NR_FILE_DIRTY,
    "nr_writeback": NR_WRITEBACK,
    "nr_swapcached": NR_SWAPCACHE,
    "workingset_refault_anon": WORKINGSET_REFAULT_ANON,
    "workingset_refault_file": WORKINGSET_REFAULT_FILE,
    "workingset_activate_anon": WORKINGSET_ACTIVATE_ANON,
    "workingset_activate_file": WORKINGSET_ACTIVATE_FILE,
    "workingset_restore_anon": WORKINGSET_RESTORE_ANON,
    "workingset_restore_file": WORKINGSET_RESTORE_FILE,
    "workingset_nodereclaim": WORKINGSET_NODERECLAIM,
}
#: Keys that are sizes of the machine.
_SIZES = ("nr_free_pages", "nr_zspages", "nr_file_pages")
#: allocstall is counted once; the kernel has it by zone, and this machine's one zone is the normal one.
_RENAMED = {"allocstall_normal": "allocstall"}


def node_total(machine: Machine, item: int) -> int:
    """A node item of the whole machine, after a flush."""
    total = machine.root_memcg.rstat.total
    return max(0, sum(total[node_base(node) + item] for node in range(machine.nr_nodes)))


def _vmstat_value(machine: Machine, key: str) -> int:
    item = _NODE_ITEMS.get(key)
    if item is not None:
        return node_total(machine, item)
    if key == "nr_free_pages":
        return machine.nr_free
    if key == "nr_zspages":
        return machine.zswap.pool.nr_pages
    if key == "nr_file_pages":
        # Here, unlike in memory.stat, the swap cache is included.
        return node_total(machine, NR_FILE_PAGES) + node_total(machine, NR_SWAPCACHE)
    return int(getattr(machine.vm, _RENAMED.get(key, key), 0))


def vmstat_keys(features: Features) -> list[str]:
    """The keys of /proc/vmstat in order."""
    keys = list(_KEYS)
    if features.counts_proactive_pages:
        keys.insert(keys.index("zswpwb") + 1, "zswpwb_proactive")
    if features.profile.has_proactive_counters:
        for before, key in (("pgsteal_khugepaged", "pgsteal_proactive"), ("pgscan_khugepaged", "pgscan_proactive")):
            keys.insert(keys.index(before) + 1, key)
    return keys


def is_modelled(key: str) -> bool:
    """False for a key that always reads 0."""
    if key in _NODE_ITEMS:
        return _NODE_ITEMS[key] not in UNCOUNTED_NODE_ITEMS
    return key in _SIZES or _RENAMED.get(key, key) in VmEvents.__slots__


def _show_vmstat(machine: Machine, _: OpenFile) -> str:
    machine.rstat.flush()
    return flat_keyed((key, _vmstat_value(machine, key)) for key in vmstat_keys(machine.features))


VMSTAT = ControlFile(name="proc/vmstat", show=_show_vmstat, fidelity="simplified", summary="Event counts and sizes of the machine.")
