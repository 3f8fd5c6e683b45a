"""The limits on the way into zswap: the pool's, and memory.zswap.max of each cgroup. Mirrors the checks of mm/zswap.c:zswap_store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakecg.abi.stat import ZSWAP_BYTES
from fakecg.abi.units import PAGE_COUNTER_MAX, PAGE_SIZE

if TYPE_CHECKING:
    from fakecg.mm.machine import Machine
    from fakecg.mm.memcontrol import MemCgroup
    from fakecg.mm.zsmalloc import ZsPool
    from fakecg.mm.zswap import ZswapCounters


class ZswapLimits:
    """The limits of one machine.

    Attributes:
        max_pool_percent, accept_threshold_percent: module parameters.
        is_full: the pool reached its limit and has not fallen below the accept threshold since.
    """

    def __init__(self, machine: Machine, pool: ZsPool, counters: ZswapCounters, total_pages: int) -> None:
        """``total_pages``: RAM of the machine, which max_pool_percent is of."""
        self._machine = machine
        self._pool = pool
        self._counters = counters
        self._total_pages = total_pages
        self.max_pool_percent = 20
        self.accept_threshold_percent = 90
        self.is_full = False

    @property
    def max_pages(self) -> int:
        """Pool limit in pages. Source: zswap_max_pages."""
        return self._total_pages * self.max_pool_percent // 100

    @property
    def accept_pages(self) -> int:
        """A full pool takes stores again at or below this. Source: zswap_accept_thr_pages."""
        return self.max_pages * self.accept_threshold_percent // 100

    def refuses(self) -> bool:
        """The pool limit with its hysteresis. Source: zswap_check_limits."""
        total = self._pool.nr_pages
        if total >= self.max_pages:
            self._counters.pool_limit_hit += 1
            self.is_full = True
        elif self.is_full and total <= self.accept_pages:
            self.is_full = False
        return self.is_full

    def is_over(self, memcg: MemCgroup) -> bool:
        """memory.zswap.max of the cgroup or an ancestor is reached. Source: obj_cgroup_may_zswap."""
        flushed = False
        for ancestor in memcg.ancestors():
            max_pages = ancestor.zswap_max_pages
            if max_pages == PAGE_COUNTER_MAX:
                continue
            if not max_pages:
                return True
            if not flushed:
                self._machine.rstat.flush()
                flushed = True
            if ancestor.rstat.total[ZSWAP_BYTES] // PAGE_SIZE >= max_pages:
                return True
        return False

    def batch_headroom(self, memcg: MemCgroup) -> int:
        """Pages that can be stored without any limit being looked at one by one: those checks have no effect so far from it."""
        pool_pages = self.max_pages - self._pool.nr_pages
        headroom = 0 if self.is_full else pool_pages // 8
        flushed = False
        for ancestor in memcg.ancestors():
            if ancestor.zswap_max_pages == PAGE_COUNTER_MAX:
                continue
            if not ancestor.zswap_max_pages:
                # Nobody looks at statistics then.
                return 0
            if not flushed:
                self._machine.rstat.flush()
                flushed = True
            headroom = min(headroom, ancestor.zswap_max_pages - ancestor.rstat.total[ZSWAP_BYTES] // PAGE_SIZE)
        return max(headroom, 0)
