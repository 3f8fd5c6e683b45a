"""The table of memory.swap.* files. Mirrors swap_files[] of mm/memcontrol.c."""

from __future__ import annotations

from fakecg.abi.keyed import flat_keyed
from fakecg.abi.units import PAGE_SIZE
from fakecg.cgroup.cftype import ControlFile
from fakecg.mm.limit_file import limit, usage
from fakecg.mm.memcontrol import MEMCG_SWAP_FAIL, MEMCG_SWAP_HIGH, MEMCG_SWAP_MAX, MemCgroup
from fakecg.mm.peak_file import peak


def _put_high(memcg: MemCgroup, nr_pages: int) -> None:
    memcg.swap.high = nr_pages


def _put_max(memcg: MemCgroup, nr_pages: int) -> None:
    memcg.swap.max = nr_pages


SWAP_FILES = (
    usage(
        "memory.swap.current",
        lambda memcg: memcg.swap.usage * PAGE_SIZE,
        "Swap slots in use, in bytes: on disk, in zswap, all-zero, and those of pages back in memory that kept theirs.",
    ),
    limit("memory.swap.high", lambda memcg: memcg.swap.high, _put_high, "Above it, tasks that charge memory are throttled."),
    limit("memory.swap.max", lambda memcg: memcg.swap.max, _put_max, "Slots the cgroup may use; nothing is freed when lowered."),
    peak("memory.swap.peak", lambda memcg: memcg.swap, "Highest memory.swap.current; any write restarts the mark of this open file."),
    ControlFile(
        name="memory.swap.events",
        show=lambda memcg, _: flat_keyed(
            (key, memcg.events[event]) for key, event in (("high", MEMCG_SWAP_HIGH), ("max", MEMCG_SWAP_MAX), ("fail", MEMCG_SWAP_FAIL))
        ),
        notifies=True,
        summary="Swap event counts, descendants included.",
    ),
)
