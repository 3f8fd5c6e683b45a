"""The machine's own files outside the cgroup tree: what tools read in /proc and /sys beside it.

Handlers get the machine. The filesystem offers them under an unlisted directory, for bind mounts over the real ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakecg.abi.errors import InvalidInput, NotSupported, OutOfRange
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
)
from fakecg.abi.sysctl import parse_sysctl_int
from fakecg.abi.units import kstrtouint
from fakecg.cgroup.cftype import ControlFile, OpenFile
from fakecg.mm.vmstat_files import VMSTAT, node_total
from fakecg.mm.zswap_params import ZSWAP_DEBUGFS, ZSWAP_PARAMETERS

if TYPE_CHECKING:
    from fakecg.mm.machine import Machine

_KIB_PER_PAGE = 4
#: Address space for vmalloc of the recorded machine, which has five levels of page tables.
_VMALLOC_TOTAL_KIB = 13_743_895_347_199


def _meminfo_kib(machine: Machine) -> dict[str, int]:
    """Lines of /proc/meminfo with a unit, in the kernel's order; those that are not modelled are 0. Source: fs/proc/meminfo.c."""
    machine.rstat.flush()

    def kib(item: int) -> int:
        return node_total(machine, item) * _KIB_PER_PAGE

    nr_free = machine.nr_free
    reserve = sum(node.low_wmark for node in machine.nodes)
    cached = kib(NR_FILE_PAGES)
    nr_file = node_total(machine, NR_INACTIVE_FILE) + node_total(machine, NR_ACTIVE_FILE)
    available = max(0, nr_free - reserve + nr_file - min(nr_file // 2, reserve))
    return {
        "MemTotal": machine.total_pages * _KIB_PER_PAGE,
        "MemFree": nr_free * _KIB_PER_PAGE,
        "MemAvailable": available * _KIB_PER_PAGE,
        "Buffers": 0,
        "Cached": cached,
        "SwapCached": kib(NR_SWAPCACHE),
        "Active": kib(NR_ACTIVE_ANON) + kib(NR_ACTIVE_FILE),
        "Inactive": kib(NR_INACTIVE_ANON) + kib(NR_INACTIVE_FILE),
        "Active(anon)": kib(NR_ACTIVE_ANON),
        "Inactive(anon)": kib(NR_INACTIVE_ANON),
        "Active(file)": kib(NR_ACTIVE_FILE),
        "Inactive(file)": kib(NR_INACTIVE_FILE),
        "Unevictable": 0,
        "Mlocked": 0,
        "SwapTotal": machine.swap.nr_slots * _KIB_PER_PAGE,
        "SwapFree": machine.swap.nr_free * _KIB_PER_PAGE,
        "Zswap": machine.zswap.pool.nr_pages * _KIB_PER_PAGE,
        "Zswapped": machine.zswap.counters.stored_pages * _KIB_PER_PAGE,
        "Dirty": kib(NR_FILE_DIRTY),
        "Writeback": kib(NR_WRITEBACK),
        "AnonPages": kib(NR_ANON_MAPPED),
        "Mapped": kib(NR_FILE_MAPPED),
        "Shmem": 0,
        "KReclaimable": 0,
        "Slab": 0,
        "SReclaimable": 0,
        "SUnreclaim": 0,
        "KernelStack": 0,
        "PageTables": 0,
        "SecPageTables": 0,
        "NFS_Unstable": 0,
        "Bounce": 0,
        "WritebackTmp": 0,
        "CommitLimit": (machine.total_pages // 2 + machine.swap.nr_slots) * _KIB_PER_PAGE,
        "Committed_AS": 0,
        "VmallocTotal": _VMALLOC_TOTAL_KIB,
        "VmallocUsed": 0,
        "VmallocChunk": 0,
        "Percpu": 0,
        "HardwareCorrupted": 0,
        "AnonHugePages": 0,
        "ShmemHugePages": 0,
        "ShmemPmdMapped": 0,
        "FileHugePages": 0,
        "FilePmdMapped": 0,
        "Unaccepted": 0,
    }


def _show_meminfo(machine: Machine, _: OpenFile) -> str:
    total_kib = machine.total_pages * _KIB_PER_PAGE
    mapped_by_2m = total_kib // 2048 * 2048
    huge = {"Hugepagesize": 2048, "Hugetlb": 0, "DirectMap4k": total_kib - mapped_by_2m, "DirectMap2M": mapped_by_2m, "DirectMap1G": 0}
    counts = [f"{f'HugePages_{key}:':<19}{0:5d}\n" for key in ("Total", "Free", "Rsvd", "Surp")]
    return "".join([*_in_kib(_meminfo_kib(machine)), *counts, *_in_kib(huge)])


def _in_kib(lines: dict[str, int]) -> list[str]:
    texts = [f"{key + ':':<15} " for key in lines]
    return [f"{text}{value:{24 - len(text)}d} kB\n" for text, value in zip(texts, lines.values(), strict=True)]


def _show_swaps(machine: Machine, _: OpenFile) -> str:
    """Source: swapfile.c:swap_show."""
    lines = ["Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"]
    for device in machine.swap.devices:
        size, used = device.nr_slots * _KIB_PER_PAGE, device.nr_used * _KIB_PER_PAGE
        pads = ["\t" if value < 10_000_000 else "" for value in (size, used)]
        name = "".join(f"\\{ord(letter):03o}" if letter in " \t\n\\" else letter for letter in device.name)
        lines.append(f"{name:<39} file\t\t{size}\t{pads[0]}{used}\t{pads[1]}{device.priority}\n")
    return "".join(lines)


def _parameter(path: str, attribute: str, low: int, high: int, summary: str) -> ControlFile:
    """A sysctl that is one integer. Errors: EINVAL. Source: kernel/sysctl.c:proc_dointvec_minmax."""

    def write(machine: Machine, data: bytes, _: OpenFile) -> None:
        setattr(machine, attribute, parse_sysctl_int(path, data, low, high))

    return ControlFile(name=path, show=lambda machine, _: f"{getattr(machine, attribute)}\n", write=write, summary=summary)


def _write_lru_gen(_machine: Machine, data: bytes, _: OpenFile) -> None:
    """Source: vmscan.c:enabled_store. To turn the lists off that are not there is no change."""
    try:
        wanted = 0 if data[:1] in b"nN" else 1 if data[:1] in b"yY" else kstrtouint(data)
    except OutOfRange as error:
        raise InvalidInput(error.reason) from None
    if wanted:
        raise NotSupported("sys/kernel/mm/lru_gen/enabled: there are no multi-generational lists")


SYSTEM_FILES: dict[str, ControlFile] = {
    row.name: row
    for row in (
        ControlFile(
            name="proc/meminfo",
            show=_show_meminfo,
            fidelity="simplified",
            summary="Memory of the emulated machine; the kernel's own reads 0.",
        ),
        VMSTAT,
        ControlFile(name="proc/swaps", show=_show_swaps, summary="Swap devices of the emulated machine."),
        _parameter("proc/sys/vm/swappiness", "swappiness", 0, 200, "Balance of anonymous memory and page cache in reclaim."),
        _parameter("proc/sys/vm/page-cluster", "page_cluster", 0, 31, "log2 of the swap readahead window."),
        ControlFile(
            name="sys/kernel/mm/lru_gen/enabled",
            show=lambda machine, _: "0x0000\n",
            write=_write_lru_gen,
            fidelity="zero",
            summary="Classic LRU lists are in use; others are refused (EOPNOTSUPP).",
        ),
        *ZSWAP_PARAMETERS,
        *ZSWAP_DEBUGFS,
    )
}
