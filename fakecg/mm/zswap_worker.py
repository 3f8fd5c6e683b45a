"""The shrink worker: it writes a full pool back down to the accept threshold, on a CPU of its own, while stores are being refused.

Mirrors shrink_worker of mm/zswap.c. Time passes for it in refused stores, each of which goes to the disk meanwhile; once nobody stores, it
runs to its end as one of the machine's works.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakecg.mm.machine import Machine

#: The worker gives up after this many failures; so do the proactive interfaces (MAX_RECLAIM_RETRIES).
MAX_FAILURES = 16
#: Stores that are refused between the one that queues the worker and its first visit, and while it writes back one page. As in the
#: recordings (s05 of the dynamics, q18 of the proactive ones), where both wait for one disk.
START_STORES = 9
WRITE_STORES = 5
#: As long takes a step of whatever else runs.
STEP_STORES = 1


class ShrinkWorker:
    """The work item of one machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._visits: Generator[int, None, None] | None = None
        self._busy_stores = 0
        self._nr_refused = 0
        self._is_in_works = False

    def store_refused(self) -> None:
        """A store found the pool full: queue the worker unless it runs, and let it do what it can while that page goes to the disk."""
        self._nr_refused += 1
        if self._visits is None:
            self._visits = self._shrink()
            self._busy_stores = START_STORES
            if not self._is_in_works:
                self._is_in_works = True
                self.machine.works.append(self._run_while_nobody_stores())
        self._run(1)

    def _run(self, nr_stores: int) -> None:
        """Let as much time pass as so many stores take."""
        self._busy_stores -= nr_stores
        while self._busy_stores <= 0 and self._visits is not None:
            nr_written = next(self._visits, None)
            if nr_written is None:
                self._visits = None
            else:
                self._busy_stores += nr_written * WRITE_STORES

    def _run_while_nobody_stores(self) -> Generator[None, None, None]:
        nr_refused = -1
        while self._visits is not None:
            if nr_refused == self._nr_refused:
                self._run(STEP_STORES)
            nr_refused = self._nr_refused
            yield None
        self._is_in_works = False

    def _shrink(self) -> Generator[int, None, None]:
        """One visit per cgroup in turn, until the pool accepts stores again or too many visits failed; yields the pages each wrote."""
        machine = self.machine
        zswap = machine.zswap
        failures = attempts = 0
        while zswap.pool.nr_pages > zswap.limits.accept_pages:
            memcg = machine.root_memcg.next_descendant_pre(zswap.worker_cursor)
            while memcg is not None and not memcg.online:
                memcg = machine.root_memcg.next_descendant_pre(memcg)
            zswap.worker_cursor = memcg
            if memcg is None:
                # The end of a pass; one that found nobody to try is a failure.
                if not attempts:
                    failures += 1
                    if failures == MAX_FAILURES:
                        return
                attempts = 0
                continue
            visit = machine.zswap_writeback.shrink_memcg(memcg, machine.features.worker_scan_entries)
            if visit is None:
                continue
            attempts += 1
            if not visit.nr_written:
                failures += 1
                if failures == MAX_FAILURES:
                    return
            yield visit.nr_written
