"""Recorded scenarios that do not come out as recorded, and why.

They count as not matched in the score. A scenario may not get worse than listed here, and one that matches may not stay listed.
"""

LRU, NUMA = "dynamics_lrugen0.json", "dynamics_numa2.json"

_ROTATION = "which of the pages that zswap wrote back went to the tail of their list is known of each step only, not of each page"
_CHARGES = "pages written back together are charged together, before the entries are freed, and more of them beyond a limit"
_DISK = "how many written pages reclaim meets before their write ends depends on the disk"
_GENERATIONS = "recorded with multi-generational LRU lists; the emulator has the classic ones"

#: Replayed, but so many counters differ beyond their tolerance.
DEVIATIONS: dict[tuple[str, str], tuple[int, str]] = {
    (LRU, "s01b_swapcache_after_read_fault"): (31, _DISK),
    (LRU, "s03_writeback_disabled"): (6, _DISK),
    (LRU, "s04_shrinker"): (52, _ROTATION),
    (LRU, "s04b_shrinker_pressure"): (5, _CHARGES),
    (LRU, "s10_contents"): (8, _DISK),
    (LRU, "s14_thrash_psi"): (2, _DISK),
    (LRU, "s17_file_cache"): (43, "what reclaim finds while dirty pages are being written depends on the disk"),
    (LRU, "s20_max_and_zswap_pool"): (3, _CHARGES),
    (NUMA, "s01_basic_reclaim_touch"): (145, _GENERATIONS),
    (NUMA, "s02_zswap_max_lowered"): (27, _GENERATIONS),
    (NUMA, "s09_reclaim_amounts"): (120, _GENERATIONS),
}

#: Not replayed: what they do is not modelled.
OUTSIDE: dict[tuple[str, str], str] = {
    (LRU, "s11_rmdir_with_zswapped"): "tmpfs files (shmem) are not modelled",
    (LRU, "s15_madvise"): "of madvise only MADV_PAGEOUT and MADV_DONTNEED are modelled",
    (LRU, "s16_thp"): "transparent huge pages are not modelled",
}
