"""How far a counter of a replay may be from the recorded one, and why.

A counter that is not named is compared exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NR_CPUS = 2
#: Pages a CPU charges in advance; memory.current is beside the truth by so many.
STOCK_PAGES = 64

#: Lines of memory.stat that are pages in bytes.
BYTES = frozenset(
    [
        "anon",
        "file",
        "zswapped",
        "file_mapped",
        "file_dirty",
        "file_writeback",
        "swapcached",
        "inactive_anon",
        "active_anon",
        "inactive_file",
        "active_file",
        "shmem",
    ]
)
#: Files whose value is pages in bytes.
BYTES_FILES = frozenset(["memory.current", "memory.peak", "memory.swap.current", "memory.swap.peak", "pool_total_size"])
#: Kernel memory of a process (stack, page tables, mappings) is not modelled; `kernel` is compared through `zswap`, its other part.
NOT_MODELLED = frozenset(
    [
        "kernel",
        "kernel_stack",
        "pagetables",
        "sec_pagetables",
        "percpu",
        "sock",
        "vmalloc",
        "slab",
        "slab_reclaimable",
        "slab_unreclaimable",
        "workingset_nodereclaim",
    ]
)
#: Machine-wide counters that are exact; the others are kept per CPU and lag, or count every process of the machine.
VMSTAT = (
    "zswpin",
    "zswpout",
    "zswpwb",
    "swpin_zero",
    "swpout_zero",
    "pswpin",
    "pswpout",
    "pgscan_anon",
    "pgscan_file",
    "pgsteal_anon",
    "pgsteal_file",
    "oom_kill",
)
DEBUGFS = ("pool_limit_hit", "pool_total_size", "reject_compress_fail", "stored_pages", "written_back_pages", "reject_alloc_fail")


@dataclass(frozen=True)
class Tolerance:
    """How far a counter's change may be off: so many units (pages for what is shown in bytes), or a part of the recorded one."""

    units: float = 0
    part: float = 0.0

    def allows(self, modelled: float, recorded: float) -> bool:
        return abs(modelled - recorded) <= max(self.units, self.part * abs(recorded))


EXACT = Tolerance()
Tolerances = Mapping[str, Tolerance]


def each(names: str, units: float, part: float = 0.0) -> dict[str, Tolerance]:
    """The same tolerance for several counters."""
    return dict.fromkeys(names.split(), Tolerance(units, part))


#: A process has some 20 pages of its own. Which of them a command uses, and what readahead brings in beside them, differs from run to run.
DEFAULT: Tolerances = {
    **each("anon swapcached inactive_anon active_anon zswapped memory.swap.current memory.swap.peak zswpin pswpin", 24),
    **each("workingset_refault_anon workingset_activate_anon pgmajfault stored_pages", 24),
    # A process that starts faults pages of its program in, which belong to the root.
    **each("pgfault", 100),
    # 24 pages of a process compress to some 600 bytes each.
    **each("zswap memory.zswap.current", 24 * 600),
    # Stock of both CPUs, and kernel memory in odd pages.
    **each("memory.current memory.peak", NR_CPUS * STOCK_PAGES + 24),
    # Objects of kernel memory fill zspages in another order.
    **each("pool_total_size", 64, 0.05),
}

#: Once pages of a process went to swap and back, list lengths differ by some of them, and so do the counts of reclaim.
INEXACT: Tolerances = {
    **each("pgscan pgsteal pgscan_direct pgsteal_direct pgrefill pgactivate pgdeactivate pgscan_anon pgsteal_anon", 32, 0.002),
    **each("zswpout workingset_restore_anon zswpwb pswpout written_back_pages", 32, 0.002),
    **each("swpout_zero swpin_zero", 2),
}


def _batches(units: int, part: float) -> Tolerances:
    return {
        **each("anon zswapped inactive_anon active_anon swapcached stored_pages memory.swap.peak", units, part),
        # A CPU keeps up to 64 freed slots.
        **each("memory.swap.current", max(units, 64), part),
        **each("pgscan pgscan_direct pgscan_anon pgsteal pgsteal_direct pgsteal_anon zswpout zswpin workingset_refault_anon", units, part),
        **each("zswap memory.zswap.current", units * 2082),
        **each("memory.current memory.peak", NR_CPUS * STOCK_PAGES + units),
        **each("pgactivate pgrefill pgdeactivate", 36),
        # Compressed pages that are charged beyond a limit count; which of them a CPU's stock covers depends on the batches.
        **each("memory.events.max memory.events.local.max", 4, 0.12),
    }


#: How many pages of a process wait for their list, on their way in, is between 0 and 30, and with it varies where the last batch of 32
#: pages of a call begins; whether the last pages are the process's own (a quarter the length) or the mapping's, too.
BATCH = _batches(48, 0.005)
#: The same where a call visits several cgroups, or reclaims many times at a limit.
BATCHES = _batches(64, 0.01)

#: The disk of an emulated guest is slow in bursts: some 200 written pages are under way at any time, and are freed or rotated later.
_IN_FLIGHT = 240
DISK: Tolerances = {
    **each("anon swapcached inactive_anon active_anon memory.swap.current memory.swap.peak memory.current", _IN_FLIGHT, 0.03),
    **each("pswpin pswpout workingset_refault_anon workingset_activate_anon workingset_restore_anon pgfault pgmajfault", _IN_FLIGHT, 0.03),
    **each("pgsteal pgsteal_direct pgsteal_anon pgrefill pgactivate pgdeactivate", _IN_FLIGHT, 0.03),
    **each("zswpout zswpwb zswpin written_back_pages zswapped stored_pages", _IN_FLIGHT, 0.03),
    **each("pgscan pgscan_direct pgscan_anon", 2 * _IN_FLIGHT, 0.03),
    **each("zswap memory.zswap.current", _IN_FLIGHT * 2082),
    **each("swpout_zero swpin_zero", 2),
    **each("pool_total_size", 200, 0.05),
}
