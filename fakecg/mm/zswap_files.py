"""The table of memory.zswap.* files. Mirrors zswap_files[] of mm/memcontrol.c, and the proposal's v1."""

from __future__ import annotations

from fakecg.abi.profile import Features
from fakecg.abi.stat import ZSWAP_BYTES
from fakecg.cgroup.cftype import ControlFile, OpenFile
from fakecg.mm.limit_file import flag, limit
from fakecg.mm.memcontrol import MemCgroup
from fakecg.mm.reclaim_request import write_proactive_writeback


def _show_current(memcg: MemCgroup, _: OpenFile) -> str:
    memcg.mm.rstat.flush()
    return f"{memcg.rstat.total[ZSWAP_BYTES]}\n"


def _put_max(memcg: MemCgroup, nr_pages: int) -> None:
    memcg.zswap_max_pages = nr_pages


def _put_writeback(memcg: MemCgroup, value: int) -> None:
    memcg.zswap_writeback = value


def _has_v1(features: Features) -> bool:
    return "v1" in features.proactive


ZSWAP_FILES = (
    ControlFile(name="memory.zswap.current", show=_show_current, summary="Compressed bytes of the subtree, exact."),
    limit(
        "memory.zswap.max",
        lambda memcg: memcg.zswap_max_pages,
        _put_max,
        "Compressed memory above which a store must make room first; lowering it writes nothing back.",
    ),
    flag(
        "memory.zswap.writeback",
        lambda memcg: memcg.zswap_writeback,
        _put_writeback,
        "Whether pages of this cgroup may go from zswap to the disk; an ancestor's 0 counts too.",
        on_root=True,
    ),
    ControlFile(
        name="memory.zswap.proactive_writeback",
        write=lambda memcg, data, _: write_proactive_writeback(memcg, data),
        needs=_has_v1,
        summary="Proposal v1: write `[max=<bytes>] <age in seconds>` to write back entries stored at least that long ago.",
    ),
)
