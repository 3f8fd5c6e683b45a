"""Which kernel an interface came with, where that was after 5.19, the first one with memory.zswap.*.

What is not named here is older, or its version is not known; a list of names costs nothing to read and decides nothing in the emulator.
"""

from __future__ import annotations

#: By file.
FILES = {
    "cgroup.pressure": "6.1",
    "cgroup.stat.local": "6.18",
    "cpu.stat.local": "6.6",
    "cpuset.cpus.exclusive": "6.7",
    "cpuset.cpus.exclusive.effective": "6.7",
    "cpuset.cpus.isolated": "6.8",
    "memory.peak": "5.19",
    "memory.reclaim": "5.19",
    "memory.swap.peak": "6.5",
    "memory.zswap.current": "5.19",
    "memory.zswap.max": "5.19",
    "memory.zswap.writeback": "6.8",
    "memory.zswap.proactive_writeback": "proposal v1",
    "misc.events.local": "6.11",
    "misc.peak": "6.11",
    "pids.events.local": "6.11",
    "pids.peak": "6.1",
    "sys/kernel/debug/zswap/stored_incompressible_pages": "6.18",
    "sys/kernel/mm/lru_gen/enabled": "6.1",
    "sys/module/zswap/parameters/shrinker_enabled": "6.8",
}
#: By key of memory.stat.
STAT_KEYS = {
    "zswap": "5.19",
    "zswapped": "5.19",
    "zswpin": "5.19",
    "zswpout": "5.19",
    "zswpwb": "6.8",
    "zswap_incomp": "7.0",
    "zswpwb_proactive": "proposal v1",
    "zswpwb_proactive_b": "proposal v4",
    "sec_pagetables": "6.1",
    "pgscan_kswapd": "6.0",
    "pgscan_direct": "6.0",
    "pgsteal_kswapd": "6.0",
    "pgsteal_direct": "6.0",
    "pgscan_khugepaged": "6.2",
    "pgsteal_khugepaged": "6.2",
    "pgdemote_kswapd": "6.12",
    "pgdemote_direct": "6.12",
    "pgdemote_khugepaged": "6.12",
    "pgpromote_success": "6.12",
    "numa_pages_migrated": "6.12",
    "numa_pte_updates": "6.12",
    "numa_hint_faults": "6.12",
    "swpin_zero": "6.12",
    "swpout_zero": "6.12",
    "thp_swpout": "6.7",
    "thp_swpout_fallback": "6.7",
    "pswpin": "6.13",
    "pswpout": "6.13",
    "pgscan_proactive": "6.16",
    "pgsteal_proactive": "6.16",
    "pgdemote_proactive": "6.16",
}
#: By key of /proc/vmstat.
VMSTAT_KEYS = {
    "zswpin": "5.19",
    "zswpout": "5.19",
    "zswpwb": "6.8",
    "zswpwb_proactive": "proposal v1",
    "swpin_zero": "6.12",
    "swpout_zero": "6.12",
    "pgscan_proactive": "6.16",
    "pgsteal_proactive": "6.16",
}
#: By key of a write to memory.reclaim.
RECLAIM_KEYS = {
    "swappiness=": "6.11",
    "swappiness=max": "6.17",
    "zswap_writeback_only": "proposal v2",
    "source=zswap": "proposal v5",
}
