"""The emulated machine: what the parts of the memory model share, and who owns which page.

One object instead of the kernel's globals. It holds the tables, the parameters and the counters, and the few operations that belong to no
single part: charging pages with the stock, freeing frames, bytes in and out by owner.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING

from fakecg.abi.errors import NoMemory, UsageError
from fakecg.abi.stat import KERNEL_PAGES, vector_width
from fakecg.abi.units import PAGE_SIZE
from fakecg.cgroup.rstat import RstatTree
from fakecg.mm.charge import Stock, try_charge
from fakecg.mm.folio_batch import LruBatches
from fakecg.mm.frames import Frames
from fakecg.mm.kswapd import Node, default_min_free_kbytes
from fakecg.mm.memcontrol import MEMCG_CHARGE_BATCH, MEMCG_MAX, MemCgroup
from fakecg.mm.mm_struct import ChargeContext
from fakecg.mm.page_counter import PageCounter
from fakecg.mm.page_io import PageIo
from fakecg.mm.page_table import PageTable
from fakecg.mm.spaces import AddressSpaces
from fakecg.mm.swap_readahead import ClusterReadahead
from fakecg.mm.swap_state import SwapCache
from fakecg.mm.swapfile import SwapDevice, SwapSpace
from fakecg.mm.vmstat import VmEvents
from fakecg.mm.zswap import Zswap
from fakecg.mm.zswap_writeback import ZswapWriteback

if TYPE_CHECKING:
    from fakecg.abi.profile import Features
    from fakecg.cgroup.cgroup import Cgroup
    from fakecg.cgroup.hierarchy import Hierarchy
    from fakecg.sched.clock import Clock
    from fakecg.sched.cost import CostModel
    from fakecg.sched.timer import TimerQueue

MEM_CGROUP_ID_MAX = 0xFFFF
#: Statistics are summed up this often when nobody reads them.
_FLUSH_INTERVAL_NS = 2_000_000_000


def _discard(message: str) -> None:
    """Messages go nowhere until a host listens."""


class Machine:
    """Shared state of the memory model.

    Attributes:
        swappiness, page_cluster: vm.* parameters.
        recursive_protection: as if mounted with memory_recursiveprot.
        works: kernel threads with something to do; the host steps them beside its own work.
        lru_batches: those with pages that wait for their list, in the order they began to.
        reclaim_cost_ns: total cost of reclaim so far; a stall is the difference over it.
        flusher_running: dirty file pages are being written out.
        log, report_io_error, report_bug: where messages go.
    """

    def __init__(
        self,
        *,
        features: Features,
        clock: Clock,
        timers: TimerQueue,
        cost: CostModel,
        total_pages: int,
        nr_nodes: int,
        swap_devices: Sequence[SwapDevice],
    ) -> None:
        if total_pages < 256 * nr_nodes:
            raise UsageError(f"--ram: at least {nr_nodes}M for {nr_nodes} nodes")
        self.features = features
        self.clock = clock
        self.timers = timers
        self.cost = cost
        self.total_pages = total_pages
        self.nr_nodes = nr_nodes
        self.swappiness = 60
        self.page_cluster = 3
        self.recursive_protection = False
        min_free_kbytes = default_min_free_kbytes(total_pages)
        self.nodes = [Node(number, total_pages // nr_nodes, min_free_kbytes, total_pages) for number in range(nr_nodes)]
        self.table = PageTable()
        self.spaces = AddressSpaces(self)
        self.frames = Frames(self)
        self.rstat = RstatTree(vector_width(nr_nodes))
        self.memcgs: dict[int, MemCgroup] = {}
        self._next_memcg_id = 1
        self.root_memcg: MemCgroup
        self.hierarchy: Hierarchy
        self.vm = VmEvents()
        self.stock = Stock()
        self.swap = SwapSpace(swap_devices)
        self.swap_cache = SwapCache(self)
        self.page_io = PageIo(self)
        self.cluster_readahead = ClusterReadahead()
        self.zswap = Zswap(self, total_pages=total_pages)
        self.zswap_writeback = ZswapWriteback(self)
        self.works: list[Generator[None, None, None]] = []
        self.lru_batches: dict[LruBatches, None] = {}
        self._flushed_ns = 0
        self.reclaim_cost_ns = 0
        self.flusher_running = False
        self.on_swap_io: Callable[[Cgroup, int, bool], None] = lambda cgroup, nr_bytes, is_write: None
        self.log: Callable[[str], None] = _discard
        self.report_io_error: Callable[[str], None] = _discard
        self.report_bug: Callable[[BaseException], None] = lambda error: None

    @property
    def nr_free(self) -> int:
        """Pages in nobody's use."""
        return sum(node.nr_free for node in self.nodes)

    # -- cgroups ----------------------------------------------------------------------------------------------------------------------

    def assign_memcg_id(self, memcg: MemCgroup) -> int:
        """A number for a new memcg; the root gets the first.

        Raises:
            NoMemory: 65535 memcgs exist.
        """
        for _ in range(MEM_CGROUP_ID_MAX):
            number = self._next_memcg_id
            self._next_memcg_id = number % MEM_CGROUP_ID_MAX + 1
            if number not in self.memcgs:
                self.memcgs[number] = memcg
                if memcg.parent is None:
                    self.root_memcg = memcg
                return number
        raise NoMemory("no free memory cgroup id")

    def flush_stats_ratelimited(self) -> None:
        """Reclaim sees statistics that are up to two seconds old, as of the last periodic flush or read.

        Source: memcontrol.c:mem_cgroup_flush_stats_ratelimited, flush_memcg_stats_dwork.
        """
        now_ns = self.clock.now_ns()
        if now_ns - self._flushed_ns >= _FLUSH_INTERVAL_NS:
            self._flushed_ns = now_ns
            self.rstat.flush()

    def memcg_of_counter(self, memcg: MemCgroup, counter: PageCounter) -> MemCgroup:
        """The ancestor a page counter belongs to."""
        return next(ancestor for ancestor in memcg.ancestors() if ancestor.memory is counter)

    def release_if_unused(self, memcg: MemCgroup) -> None:
        """Let a removed cgroup go once nothing is charged to it; then look at its parent."""
        while not memcg.online and not memcg.released and not memcg.memory.usage and not memcg.swap.usage and memcg.first_child is None:
            parent = memcg.parent_memcg
            assert parent is not None
            # Its last changes belong to the parent's totals.
            self.rstat.flush()
            memcg.unlink()
            del self.memcgs[memcg.id]
            for ancestor in (parent, *parent.ancestors()):
                for iterator in ancestor.iterators:
                    if iterator.position is memcg:
                        iterator.position = None
            for iterator in self.root_memcg.iterators:
                if iterator.position is memcg:
                    iterator.position = None
            if self.zswap.worker_cursor is memcg:
                self.zswap.worker_cursor = None
            memcg = parent

    # -- charging ---------------------------------------------------------------------------------------------------------------------

    def charge_pages(
        self, memcg: MemCgroup, nr_pages: int, context: ChargeContext, *, stop_at_refill: bool = False
    ) -> Generator[None, None, int]:
        """Charge pages one by one, as single faults do; returns how many were.

        Args:
            stop_at_refill: return after the page that refilled the stock, so that its task can be throttled.
        """
        if memcg.is_root:
            return nr_pages
        stock = self.stock
        nr_charged = 0
        while nr_charged < nr_pages:
            if stock.memcg is memcg and stock.nr_pages:
                nr_taken = min(stock.nr_pages, nr_pages - nr_charged)
                stock.nr_pages -= nr_taken
                nr_charged += nr_taken
                continue
            if stop_at_refill and nr_charged:
                break
            try:
                charged = yield from try_charge(self, memcg, 1, context)
            except GeneratorExit:
                # The task was killed while it waited: nobody will use what it has got so far.
                self.uncharge_pages(memcg, nr_charged)
                raise
            if not charged:
                break
            nr_charged += 1
            if stop_at_refill:
                break
        return nr_charged

    def charge_without_reclaim(self, memcg: MemCgroup, nr_pages: int) -> bool:
        """Charge pages as charge_pages does, unless a limit, a throttle or a watermark is near."""
        reach = nr_pages + MEMCG_CHARGE_BATCH
        if self.nodes[0].nr_free - reach < self.nodes[0].low_wmark:
            return False
        if memcg.is_root:
            return True
        if any(ancestor.memory.usage + reach > min(ancestor.memory.max, ancestor.memory.high) for ancestor in memcg.ancestors()):
            return False
        stock = self.stock
        while nr_pages:
            if stock.memcg is memcg and stock.nr_pages:
                nr_taken = min(stock.nr_pages, nr_pages)
                stock.nr_pages -= nr_taken
                nr_pages -= nr_taken
            else:
                memcg.memory.charge(MEMCG_CHARGE_BATCH)
                stock.refill(memcg, MEMCG_CHARGE_BATCH)
        return True

    def uncharge_pages(self, memcg: MemCgroup, nr_pages: int) -> None:
        """Undo charge_pages."""
        if nr_pages and not memcg.is_root:
            memcg.memory.uncharge(nr_pages)
            if not memcg.online:
                self.release_if_unused(memcg)

    def account_kernel_pages(self, memcg: MemCgroup, change: int) -> None:
        """Charge, whatever the limits, or uncharge kernel memory.

        Source: obj_cgroup_charge_pages, obj_cgroup_uncharge_pages, the force label of try_charge_memcg.
        """
        memcg.rstat.add(KERNEL_PAGES, change)
        if memcg.is_root:
            return
        stock = self.stock
        if change < 0:
            stock.refill(memcg, -change)
            return
        while change:
            if stock.memcg is memcg and stock.nr_pages:
                nr_taken = min(stock.nr_pages, change)
                stock.nr_pages -= nr_taken
                change -= nr_taken
            elif memcg.memory.try_charge(MEMCG_CHARGE_BATCH) is None:
                stock.refill(memcg, MEMCG_CHARGE_BATCH)
            else:
                # Reclaim that compresses must not wait for itself: a page beyond the limit is charged all the same, and counts as one.
                over = memcg.memory.try_charge(change)
                if over is not None:
                    limited = self.memcg_of_counter(memcg, over)
                    limited.event(MEMCG_MAX, change - limited.margin_pages())
                    memcg.memory.charge(change)
                return

    def move_kernel_pages(self, memcg: MemCgroup, parent: MemCgroup, nr_bytes: int, nr_pages: int) -> None:
        """Kernel memory of a dying cgroup becomes its parent's."""
        memcg.rstat.add(KERNEL_PAGES, -nr_pages)
        memcg.memory.move_to_parent(nr_pages)
        parent.kmem_bytes += nr_bytes
        before, parent.kmem_pages = parent.kmem_pages, (parent.kmem_bytes + 4095) >> 12
        parent.rstat.add(KERNEL_PAGES, parent.kmem_pages - before)
        # Two partly filled pages may have become one.
        change = parent.kmem_pages - before - nr_pages
        if change and not parent.is_root:
            parent.memory.charge(change)

    # -- time -------------------------------------------------------------------------------------------------------------------------

    def account_io(self, memcg: MemCgroup, nr_pages: int, is_write: bool) -> None:
        """Swap traffic of a cgroup's pages, for io.stat."""
        self.on_swap_io(memcg.cgroup, nr_pages * PAGE_SIZE, is_write)

    def charge_cost(self, cost_ns: int) -> None:
        """Reclaim took this long."""
        self.reclaim_cost_ns += cost_ns

    def close(self) -> None:
        """Free arenas, pool and swap files."""
        self.spaces.close()
        self.zswap.close()
        self.swap.close()
