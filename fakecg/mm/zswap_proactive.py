"""The loops of the five proposed interfaces for proactive zswap writeback.

Each version walks the subtree in its own way: whose turn it is, how much a visit may do, what counts as a failure, when the call has
succeeded. What a visit does to entries is zswap_writeback's. Source: the patch series of May to July 2026 named in docs/versions.md.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from fakecg.abi.errors import NotEnoughProgress
from fakecg.abi.stat import ZSWPWB_PROACTIVE, ZSWPWB_PROACTIVE_BYTES
from fakecg.abi.units import PAGE_SIZE
from fakecg.cgroup.cftype import SIGNAL_POINT, Steps
from fakecg.mm.mm_struct import ChargeContext
from fakecg.mm.zswap_worker import MAX_FAILURES
from fakecg.mm.zswap_writeback import Walk

if TYPE_CHECKING:
    from fakecg.mm.machine import Machine
    from fakecg.mm.memcontrol import MemCgroup

#: v1 to v3: pages a visit aims at, and entries of one walk.
_GOAL_PAGES = 128
#: v4: pages of compressed bytes a visit aims at, and entries of one walk. v5: entries looked at in a visit.
_GOAL_V4_PAGES = 64
_BUDGET_V5 = 64
#: v1 to v4: a node's visit looks at up to this many entries for each page it is to write.
_SCAN_FACTOR = 16

Visit = Generator[None, None, "Walk | None"]


def _visit_nodes(machine: Machine, memcg: MemCgroup, goal: int, walk_max: int, cutoff_ns: int | None, *, by_bytes: bool) -> Visit:
    """Visit of v1 to v4: walks of walk_max entries until the goal (pages, or compressed bytes) is met or the scan cap reached.

    Returns None for a cgroup that is skipped without cost: offline, writeback disabled; by_bytes (v4): nothing there.
    """
    if not memcg.online or not memcg.zswap_writeback_enabled():
        return None
    context = ChargeContext(may_oom=False)
    done = Walk()
    for node, lru in enumerate(memcg.zswap_lrus):
        progress = -(-done.compressed_bytes // PAGE_SIZE) if by_bytes else done.nr_written
        nr_to_scan = min(lru.size, _SCAN_FACTOR * (goal - progress))
        while nr_to_scan > 0:
            nr_to_walk = min(walk_max, nr_to_scan)
            nr_to_scan -= nr_to_walk
            done.add((yield from machine.zswap_writeback.walk(memcg, node, nr_to_walk, context, cutoff_ns)))
            if done.stopped:
                break
            if (done.compressed_bytes >= goal * PAGE_SIZE) if by_bytes else (done.nr_written >= goal):
                return done
            yield None
    if by_bytes and not done.nr_scanned:
        return None
    return done


def _visit_v5(machine: Machine, memcg: MemCgroup) -> Visit:
    """A budget of entries looked at, over all nodes in order; None where nothing was looked at. Source: v5, shrink_memcg()."""
    if not memcg.online or not memcg.zswap_writeback_enabled():
        return None
    context = ChargeContext(may_oom=False)
    done = Walk()
    budget = _BUDGET_V5
    for node, lru in enumerate(memcg.zswap_lrus):
        nr_to_walk = min(lru.size, budget)
        if nr_to_walk:
            budget -= nr_to_walk
            done.add((yield from machine.zswap_writeback.walk(memcg, node, nr_to_walk, context)))
    return done if done.nr_scanned else None


def _loop(
    machine: Machine,
    target: MemCgroup,
    *,
    persistent: bool,
    visit: Callable[[MemCgroup], Visit],
    account: Callable[[MemCgroup, Walk], bool],
    made_progress: Callable[[Walk], bool],
    interruptible: bool = True,
) -> Steps:
    """Visit the cgroups of a subtree in turn until ``account`` says enough, or 16 failures.

    Args:
        persistent: the turn goes on where the last call on this target stopped; otherwise each call starts at the target.
        visit: what to do with a cgroup; None means skipped, at no cost.
        account: takes in a visit's result; True ends the loop.
        made_progress: a visit without counts as a failure.
        interruptible: a signal ends the loop (the host throws Interrupted at a yield).
    """
    failures = attempts = 0
    cursor = target.writeback_cursor if persistent else None
    while True:
        yield SIGNAL_POINT if interruptible else None
        if persistent:
            cursor = target.writeback_cursor
        cursor = target.next_descendant_pre(cursor)
        while cursor is not None and not cursor.online:
            cursor = target.next_descendant_pre(cursor)
        if persistent:
            target.writeback_cursor = cursor
        if cursor is None:
            if not attempts:
                failures += 1
                if failures == MAX_FAILURES:
                    return
            attempts = 0
            continue
        result = yield from visit(cursor)
        if result is None:
            continue
        attempts += 1
        if not made_progress(result):
            failures += 1
            if failures == MAX_FAILURES:
                return
            continue
        if account(cursor, result):
            return


class _PageTotal:
    """Pages written so far against a goal (v1 to v3)."""

    def __init__(self, machine: Machine, goal_pages: int) -> None:
        self.machine = machine
        self.goal_pages = goal_pages
        self.nr_written = 0

    def account(self, memcg: MemCgroup, visit: Walk) -> bool:
        self.nr_written += visit.nr_written
        memcg.rstat.add(ZSWPWB_PROACTIVE, visit.nr_written)
        self.machine.vm.zswpwb_proactive += visit.nr_written
        return self.nr_written >= self.goal_pages

    @property
    def visit_goal(self) -> int:
        return min(self.goal_pages - self.nr_written, _GOAL_PAGES)


class _ByteTotal:
    """Compressed bytes written so far against a goal (v4, v5)."""

    def __init__(self, goal_bytes: int) -> None:
        self.goal_bytes = goal_bytes
        self.nr_bytes = 0

    def account(self, memcg: MemCgroup, visit: Walk) -> bool:
        self.nr_bytes += visit.compressed_bytes
        memcg.rstat.add(ZSWPWB_PROACTIVE_BYTES, visit.compressed_bytes)
        return self.nr_bytes >= self.goal_bytes

    @property
    def nr_pages(self) -> int:
        """The bytes in pages, rounded up."""
        return -(-self.nr_bytes // PAGE_SIZE)


def writeback_pages(machine: Machine, target: MemCgroup, nr_pages: int, *, cutoff_ns: int | None, must_be_all: bool) -> Steps:
    """v1 (with a cutoff), v2, and v3 (must_be_all): write back up to nr_pages pages of a subtree.

    Raises:
        NotEnoughProgress: nothing written; must_be_all: fewer than asked (EAGAIN).
        Interrupted: thrown in by the host, even after progress (EINTR).
    """
    total = _PageTotal(machine, nr_pages)
    yield from _loop(
        machine,
        target,
        persistent=True,
        visit=lambda memcg: _visit_nodes(machine, memcg, total.visit_goal, _GOAL_PAGES, cutoff_ns, by_bytes=False),
        account=total.account,
        made_progress=lambda visit: visit.nr_written > 0,
    )
    if not total.nr_written or (must_be_all and total.nr_written < nr_pages):
        raise NotEnoughProgress(f"wrote back {total.nr_written} of {nr_pages} pages")


def writeback_page_bytes(machine: Machine, target: MemCgroup, nr_pages: int) -> Steps:
    """v4: write back entries worth nr_pages pages of compressed bytes, their sum rounded up; not interruptible.

    Raises:
        NotEnoughProgress: fewer than asked (EAGAIN).
    """
    total = _ByteTotal((nr_pages - 1) * PAGE_SIZE + 1)

    yield from _loop(
        machine,
        target,
        persistent=False,
        visit=lambda memcg: _visit_nodes(
            machine, memcg, min(nr_pages - total.nr_pages, _GOAL_V4_PAGES), _GOAL_V4_PAGES, None, by_bytes=True
        ),
        account=total.account,
        made_progress=lambda visit: visit.compressed_bytes > 0,
        interruptible=False,
    )
    if total.nr_pages < nr_pages:
        raise NotEnoughProgress(f"wrote back {total.nr_pages} of {nr_pages} pages of compressed bytes")


def writeback_bytes(machine: Machine, target: MemCgroup, nr_bytes: int) -> Steps:
    """v5: write back entries of at least nr_bytes compressed bytes.

    Raises:
        NotEnoughProgress: fewer than asked (EAGAIN).
        Interrupted: thrown in by the host (EINTR).
    """
    total = _ByteTotal(nr_bytes)
    yield from _loop(
        machine,
        target,
        persistent=False,
        visit=lambda memcg: _visit_v5(machine, memcg),
        account=total.account,
        made_progress=lambda visit: visit.compressed_bytes > 0,
    )
    if total.nr_bytes < nr_bytes:
        raise NotEnoughProgress(f"wrote back {total.nr_bytes} of {nr_bytes} compressed bytes")
