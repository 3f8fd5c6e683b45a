"""The table of memory.* files. Mirrors memory_files[] of mm/memcontrol.c."""

from __future__ import annotations

import os
from collections.abc import Sequence

from fakecg.abi.errors import Interrupted, NotEnoughProgress
from fakecg.abi.keyed import flat_keyed
from fakecg.abi.profile import Features
from fakecg.abi.stat import NR_NODE_ITEMS, StatRow, memory_stat_rows, node_base
from fakecg.abi.units import PAGE_SHIFT, PAGE_SIZE
from fakecg.cgroup.cftype import SIGNAL_POINT, ControlFile, OpenFile, Steps
from fakecg.mm.charge import MAX_RECLAIM_RETRIES, shrink_to_high, shrink_to_max
from fakecg.mm.folio_batch import lru_add_drain_all
from fakecg.mm.limit_file import flag, limit, usage
from fakecg.mm.memcontrol import MemCgroup
from fakecg.mm.peak_file import peak
from fakecg.mm.reclaim_request import ReclaimRequest, parse_reclaim, proactive_writeback
from fakecg.mm.vmscan import try_to_free_mem_cgroup_pages

_EVENT_KEYS = ("low", "high", "max", "oom", "oom_kill", "oom_group_kill")


def stat_value(row: StatRow, vector: Sequence[int], nr_nodes: int) -> int:
    """A line's number from a counter vector; transient negative sums read 0."""
    value = sum(vector[item] for item in row.memcg_items)
    for node in range(nr_nodes) if row.node_items else ():
        base = node_base(node)
        value += sum(vector[base + item] for item in row.node_items)
    return max(0, value) * row.unit


def _show_stat(memcg: MemCgroup, _: OpenFile) -> str:
    mm = memcg.mm
    mm.rstat.flush()
    total = memcg.rstat.total
    return flat_keyed((row.key, stat_value(row, total, mm.nr_nodes)) for row in memory_stat_rows(mm.features))


def _show_numa_stat(memcg: MemCgroup, _: OpenFile) -> str:
    mm = memcg.mm
    mm.rstat.flush()
    total = memcg.rstat.total
    lines = []
    for row in memory_stat_rows(mm.features):
        if row.in_numa_stat:
            values = []
            for node in range(mm.nr_nodes):
                block = total[node_base(node) : node_base(node) + NR_NODE_ITEMS]
                values.append(f"N{node}={max(0, sum(block[item] for item in row.node_items)) * row.unit}")
            lines.append(f"{row.key} {' '.join(values)}\n")
    return "".join(lines)


def _show_events(counts: Sequence[int], features: Features) -> str:
    pairs = list(zip(_EVENT_KEYS, counts, strict=False))
    if features.profile.has_sock_throttled:
        pairs.append(("sock_throttled", 0))
    return flat_keyed(pairs)


def _until_signal(steps: Steps) -> Steps:
    """A limit write that is interrupted has succeeded all the same: the limit stands."""
    try:
        yield from steps
    except Interrupted:
        return


def _after_high(memcg: MemCgroup, nr_pages: int, open_file: OpenFile) -> Steps | None:
    if _skips_reclaim(memcg, open_file):
        return None
    return _until_signal(shrink_to_high(memcg.mm, memcg, nr_pages))


def _after_max(memcg: MemCgroup, nr_pages: int, open_file: OpenFile) -> Steps | None:
    if _skips_reclaim(memcg, open_file):
        return None
    return _until_signal(shrink_to_max(memcg.mm, memcg, nr_pages))


def _skips_reclaim(memcg: MemCgroup, open_file: OpenFile) -> bool:
    return memcg.mm.features.profile.nonblock_skips_reclaim and bool(open_file.flags & os.O_NONBLOCK)


def _write_reclaim(memcg: MemCgroup, data: bytes, _: OpenFile) -> Steps:
    """memory.reclaim: ``<size> [key=value]...``. Source: memcontrol.c:memory_reclaim."""
    request = parse_reclaim(memcg.mm.features, data)
    if request.writeback is not None:
        return proactive_writeback(memcg, request)
    return _reclaim(memcg, request)


def _reclaim(memcg: MemCgroup, request: ReclaimRequest) -> Steps:
    machine = memcg.mm
    nr_to_reclaim = request.nr_bytes >> PAGE_SHIFT
    nr_reclaimed = 0
    retries = MAX_RECLAIM_RETRIES
    while nr_reclaimed < nr_to_reclaim:
        # A signal that came before this turn ends the call here.
        yield SIGNAL_POINT
        if machine.features.profile.dying_reclaim_stops and not memcg.online:
            raise NotEnoughProgress("the cgroup was removed")
        if not retries:
            lru_add_drain_all(machine)
        reclaimed = yield from try_to_free_mem_cgroup_pages(
            machine, memcg, (nr_to_reclaim - nr_reclaimed) // 4, proactive=True, swappiness=request.swappiness
        )
        if not reclaimed:
            if not retries:
                raise NotEnoughProgress(f"memory.reclaim: {nr_reclaimed} of {nr_to_reclaim} pages reclaimed")
            retries -= 1
        nr_reclaimed += reclaimed


def _put_high(memcg: MemCgroup, nr_pages: int) -> None:
    memcg.memory.high = nr_pages


def _put_max(memcg: MemCgroup, nr_pages: int) -> None:
    memcg.memory.max = nr_pages


def _put_oom_group(memcg: MemCgroup, value: int) -> None:
    memcg.oom_group = value


MEMORY_FILES = (
    usage("memory.current", lambda memcg: memcg.memory.usage * PAGE_SIZE, "Charged memory in bytes, descendants included."),
    peak("memory.peak", lambda memcg: memcg.memory, "Highest memory.current; any write restarts the mark of this open file."),
    limit(
        "memory.min",
        lambda memcg: memcg.memory.min,
        lambda memcg, nr_pages: memcg.memory.set_protection(min_pages=nr_pages),
        "Memory that reclaim from above never takes.",
    ),
    limit(
        "memory.low",
        lambda memcg: memcg.memory.low,
        lambda memcg, nr_pages: memcg.memory.set_protection(low_pages=nr_pages),
        "Memory that reclaim from above takes last.",
    ),
    limit(
        "memory.high",
        lambda memcg: memcg.memory.high,
        _put_high,
        "Above it tasks are throttled and reclaimed; a write reclaims at once.",
        after=_after_high,
    ),
    limit(
        "memory.max",
        lambda memcg: memcg.memory.max,
        _put_max,
        "The hard limit: reclaim, then OOM kill; a write enforces it at once.",
        after=_after_max,
    ),
    ControlFile(
        name="memory.events",
        show=lambda memcg, _: _show_events(memcg.events, memcg.mm.features),
        notifies=True,
        summary="Event counts, descendants included.",
    ),
    ControlFile(
        name="memory.events.local",
        show=lambda memcg, _: _show_events(memcg.events_local, memcg.mm.features),
        notifies=True,
        summary="Event counts of this cgroup alone.",
    ),
    ControlFile(name="memory.stat", show=_show_stat, on_root=True, summary="Statistics, descendants included."),
    ControlFile(name="memory.numa_stat", show=_show_numa_stat, on_root=True, summary="The node items of memory.stat by node."),
    flag(
        "memory.oom.group",
        lambda memcg: memcg.oom_group,
        _put_oom_group,
        "Whether an OOM kill takes the whole cgroup.",
        delegatable=True,
    ),
    ControlFile(
        name="memory.reclaim",
        write=_write_reclaim,
        on_root=True,
        delegatable=True,
        summary="Write a size to reclaim that much from the subtree.",
    ),
)
