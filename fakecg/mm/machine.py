"""The emulated machine: what the parts of the memory model share, and who owns which page.

One object instead of the kernel's globals. It holds the tables, the parameters and the counters, and the few operations that belong to no
single part: charging pages with the stock, freeing frames, bytes in and out by owner.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from fakecg.abi.errors import DataLost, NoMemory, UsageError
from fakecg.abi.stat import KERNEL_PAGES, NR_ANON_MAPPED, NR_FILE_DIRTY, NR_FILE_PAGES, NR_SWAPCACHE, NR_WRITEBACK, vector_width
from fakecg.cgroup.rstat import RstatTree
from fakecg.mm import oom_kill
from fakecg.mm.address_space import Buffer, Content, SyntheticAddressSpace
from fakecg.mm.charge import Stock, try_charge
from fakecg.mm.folio_batch import LruBatches, lru_add_drain_all
from fakecg.mm.kswapd import MAX_RECLAIM_RETRIES, Node, balance_node, default_min_free_kbytes
from fakecg.mm.memcontrol import MemCgroup
from fakecg.mm.mm_struct import ChargeContext, MmStruct
from fakecg.mm.page_counter import PageCounter
from fakecg.mm.page_table import ACTIVE, DIRTY, MAPPED, RESIDENT, WRITEBACK, PageTable
from fakecg.mm.swap_readahead import ClusterReadahead
from fakecg.mm.swap_state import SwapCache
from fakecg.mm.swapfile import SwapDevice, SwapSpace
from fakecg.mm.vmscan import try_to_free_pages
from fakecg.mm.vmstat import VmEvents
from fakecg.mm.zswap import Zswap
from fakecg.mm.zswap_writeback import ZswapWriteback

if TYPE_CHECKING:
    from fakecg.abi.profile import Features
    from fakecg.cgroup.cgroup import Cgroup
    from fakecg.cgroup.hierarchy import Hierarchy
    from fakecg.sched.clock import Clock
    from fakecg.sched.cost import CostModel
    from fakecg.sched.task import Task
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
        self.spaces: list[SyntheticAddressSpace | None] = [None]
        self.rstat = RstatTree(vector_width(nr_nodes))
        self.memcgs: dict[int, MemCgroup] = {}
        self._next_memcg_id = 1
        self.root_memcg: MemCgroup
        self.hierarchy: Hierarchy
        self.vm = VmEvents()
        self.stock = Stock()
        self.swap = SwapSpace(swap_devices)
        self.swap_cache = SwapCache(self)
        self.cluster_readahead = ClusterReadahead()
        self.zswap = Zswap(self, total_pages=total_pages)
        self.zswap_writeback = ZswapWriteback(self)
        self.works: list[Generator[None, None, None]] = []
        self.lru_batches: dict[LruBatches, None] = {}
        self._flushed_ns = 0
        self.reclaim_cost_ns = 0
        self.on_swap_io: Callable[[Cgroup, int, bool], None] = lambda cgroup, nr_bytes, is_write: None
        self.log: Callable[[str], None] = _discard
        self.report_io_error: Callable[[str], None] = _discard
        self.report_bug: Callable[[BaseException], None] = lambda error: None

    @property
    def nr_free(self) -> int:
        """Pages in nobody's use."""
        return sum(node.nr_free for node in self.nodes)

    def verify_space(self, space: SyntheticAddressSpace, owner: str) -> int:
        """Compare a space's pages with what they must contain, without disturbing them; returns how many were compared.

        Raises:
            DataLost: a page differs or cannot be read.
        """
        table, swap, zswap = self.table, self.swap, self.zswap
        nr_checked = 0
        for page in range(space.base, space.base + space.nr_pages):
            slot = table.slot[page]
            if table.flags[page] & RESIDENT:
                data, where = bytes(space.contents((page,))[0]), "memory"
            elif not slot:
                continue
            elif zswap.has(slot):
                data, where = zswap.decompress(slot), f"zswap, slot {slot}"
            elif swap.zeromap[slot]:
                data, where = bytes(4096), f"the zero map, slot {slot}"
            else:
                data, where = swap.device_of(slot).read(slot), f"swap, slot {slot}"
            if data != space.expected(page):
                raise DataLost(f"{owner} page {page - space.base} in {where} has other contents than it was given")
            nr_checked += 1
        return nr_checked

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
            if not (yield from try_charge(self, memcg, 1, context)):
                break
            nr_charged += 1
            if stop_at_refill:
                break
        return nr_charged

    def charge_without_reclaim(self, memcg: MemCgroup, nr_pages: int) -> bool:
        """Charge pages as charge_pages does, unless a limit, a throttle or a watermark is near."""
        reach = nr_pages + 64
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
                memcg.memory.charge(64)
                stock.refill(memcg, 64)
        return True

    def uncharge_pages(self, memcg: MemCgroup, nr_pages: int) -> None:
        """Undo charge_pages."""
        if nr_pages and not memcg.is_root:
            memcg.memory.uncharge(nr_pages)
            if not memcg.online:
                self.release_if_unused(memcg)

    def account_kernel_pages(self, memcg: MemCgroup, change: int) -> None:
        """Charge, whatever the limits, or uncharge kernel memory. Source: obj_cgroup_charge_pages, obj_cgroup_uncharge_pages."""
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
            elif memcg.memory.try_charge(64) is None:
                stock.refill(memcg, 64)
            else:
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

    # -- frames -----------------------------------------------------------------------------------------------------------------------

    def alloc_frames(self, space: SyntheticAddressSpace, page: int, nr_pages: int) -> Generator[None, None, int]:
        """Make sure that a node has frames; returns it. Wakes kswapd below the low watermark, reclaims directly below min.

        The frames are taken when the pages enter memory. Source: page_alloc.c:__alloc_pages_slowpath.
        """
        nodes = self.nodes
        if self.table.slot[page]:
            node = nodes[self.table.node[page]]
        elif space.node_of is not None:
            node = nodes[space.node_of[page - space.base]]
        else:
            node = nodes[0]
            if self.nr_nodes > 1 and node.nr_free - nr_pages < node.low_wmark:
                node = next((other for other in nodes if other.nr_free - nr_pages >= other.low_wmark), node)
        if node.nr_free - nr_pages >= node.low_wmark:
            return node.number
        self.wake_kswapd(node)
        retries = MAX_RECLAIM_RETRIES
        mm = space.mm
        while node.nr_free - nr_pages < node.min_wmark:
            before_ns = self.reclaim_cost_ns
            if mm is not None:
                mm.batches.drain()
            nr_reclaimed = yield from try_to_free_pages(self)
            if mm is not None:
                mm.stall_in_reclaim(self.reclaim_cost_ns - before_ns)
            if nr_reclaimed:
                node.kswapd_failures = 0
                continue
            if retries:
                retries -= 1
                continue
            if not oom_kill.out_of_memory(self, self.root_memcg):
                break
            retries = MAX_RECLAIM_RETRIES
            if mm is not None and mm.is_dying:
                break
        return node.number

    def wake_kswapd(self, node: Node) -> None:
        """Have kswapd run unless it does, or has failed too often."""
        if not node.kswapd_running and node.kswapd_failures < MAX_RECLAIM_RETRIES:
            node.kswapd_running = True
            self.works.append(balance_node(self, node))

    def own(self, pages: range, memcg: MemCgroup, node: int) -> None:
        """Record whom pages are charged to, and where they are."""
        self.table.set_memcg(pages, memcg.id)
        self.table.node[pages.start : pages.stop] = bytes((node,)) * len(pages)

    def by_node(self, pages: Sequence[int]) -> list[tuple[int, Sequence[int]]]:
        """Pages grouped by the node they are on, in order."""
        if self.nr_nodes == 1:
            return [(0, pages)]
        return [(node, list(group)) for node, group in groupby(pages, key=self.table.node.__getitem__)]

    def free_frames(self, memcg: MemCgroup, node: int, pages: Sequence[int]) -> None:
        """Pages of one memcg and node leave memory."""
        flags = self.table.flags
        if isinstance(pages, range):
            flags[pages.start : pages.stop] = bytes(len(pages))
        else:
            for page in pages:
                flags[page] = 0
        for space, group in self._by_space(pages):
            space.take(group)
        nr_pages = len(pages)
        self.nodes[node].nr_free += nr_pages
        self.vm.pgfree += nr_pages
        if not memcg.is_root:
            memcg.memory.uncharge(nr_pages)
            if not memcg.online:
                self.release_if_unused(memcg)

    def _by_space(self, pages: Sequence[int]) -> list[tuple[SyntheticAddressSpace, Sequence[int]]]:
        first = self.space_of(pages[0])
        low, high = (pages[0], pages[-1]) if isinstance(pages, range) else (min(pages), max(pages))
        if low >= first.base and high < first.base + first.nr_pages:
            return [(first, pages)]
        space_of = self.table.space
        return [(self.space_of(group[0]), group) for group in (list(group) for _, group in groupby(pages, key=space_of.__getitem__))]

    def space_of(self, page: int) -> SyntheticAddressSpace:
        """The owner of a page."""
        space = self.spaces[self.table.space[page]]
        assert space is not None
        return space

    def contents(self, pages: Sequence[int]) -> list[Buffer]:
        """The bytes of resident pages."""
        owned = self._by_space(pages)
        if len(owned) == 1:
            return owned[0][0].contents(pages)
        return [item for space, group in owned for item in space.contents(group)]

    def give(self, pages: Sequence[int], data: Sequence[Buffer]) -> None:
        """Bytes for pages that enter memory."""
        position = 0
        for space, group in self._by_space(pages):
            space.give(group, data[position : position + len(group)])
            position += len(group)

    def collect_young(self, pages: Sequence[int]) -> None:
        """Bring the pages' young bits up to date."""
        for space, group in self._by_space(pages):
            space.collect_young(group)

    def sees_young(self, pages: Sequence[int], target: MemCgroup) -> Callable[[int], bool]:
        """Whether reclaim of ``target`` counts a page's young bit: only if the page's task lives in it. Source: rmap.c:folio_referenced."""
        verdicts: dict[int, bool] = {}
        for space, _ in self._by_space(pages):
            if space.number not in verdicts:
                verdicts[space.number] = target.is_root or space.mm is None or space.mm.memcg.is_descendant_of(target)
        if all(verdicts.values()):
            return _yes
        space_of = self.table.space
        return lambda page: verdicts[space_of[page]]

    # -- address spaces ---------------------------------------------------------------------------------------------------------------

    def create_space(
        self, mm: MmStruct | None, nr_pages: int, content: Content, seed: int, *, is_file: bool = False, name: str = ""
    ) -> SyntheticAddressSpace:
        """A mapping (or, is_file, a file) of untouched pages."""
        number = next((index for index, space in enumerate(self.spaces) if space is None and index), len(self.spaces))
        base = self.table.alloc_range(nr_pages, number)
        space = SyntheticAddressSpace(number, base, nr_pages, mm, content, seed, is_file=is_file, name=name)
        if number == len(self.spaces):
            self.spaces.append(space)
        else:
            self.spaces[number] = space
        if mm is not None and not is_file:
            mm.spaces.append(space)
        return space

    def zap_pages(self, space: SyntheticAddressSpace, start: int, stop: int) -> None:
        """Free pages, wherever their contents are: munmap, exit, truncation. Source: memory.c:zap_pte_range."""
        table = self.table
        flags, slot_of = table.flags, table.slot
        if self.lru_batches:
            lru_add_drain_all(self)
        lru_base = 2 if space.is_file else 0
        slots = []
        resident = []
        for page in range(space.base + start, space.base + stop):
            if slot_of[page]:
                slots.append(slot_of[page])
            if flags[page] & RESIDENT:
                resident.append(page)
        for (memcg_id, node), group in groupby(resident, key=lambda page: (table.memcg[page], table.node[page])):
            batch = list(group)
            memcg = self.memcgs[memcg_id]
            lruvec = memcg.lruvecs[node]
            rstat, base = memcg.rstat, lruvec.stat_base
            for page in batch:
                lruvec.remove(table, lru_base + (1 if flags[page] & ACTIVE else 0), page)
            if space.is_file:
                rstat.add(base + NR_FILE_PAGES, -len(batch))
                rstat.add(base + NR_FILE_DIRTY, -sum(1 for page in batch if flags[page] & DIRTY))
            else:
                rstat.add(base + NR_ANON_MAPPED, -sum(1 for page in batch if flags[page] & MAPPED))
                rstat.add(base + NR_SWAPCACHE, -sum(1 for page in batch if slot_of[page]))
                rstat.add(base + NR_WRITEBACK, -sum(1 for page in batch if flags[page] & WRITEBACK))
            self.free_frames(memcg, node, batch)
        if slots:
            # The lists of zswap entries are found through the pages' nodes: free the entries before the pages forget them.
            self.swap_cache.release_slots(slots)
            for page in range(space.base + start, space.base + stop):
                slot_of[page] = 0
        space.ahead.clear()

    def destroy_space(self, space: SyntheticAddressSpace) -> None:
        """Free a mapping or file with all its pages."""
        self.zap_pages(space, 0, space.nr_pages)
        self.table.free_range(space.base, space.nr_pages)
        self.spaces[space.number] = None
        if space.mm is not None and space in space.mm.spaces:
            space.mm.spaces.remove(space)
        space.close()

    def new_mm(self, task: Task) -> MmStruct:
        """Memory for a task."""
        mm = task.mm = MmStruct(self, task)
        return mm

    def exit_mm(self, mm: MmStruct) -> None:
        """A task ends: its mappings go, files stay."""
        mm.is_dying = True
        for space in list(mm.spaces):
            self.destroy_space(space)

    def count_pages(self, mm: MmStruct) -> tuple[int, int, int]:
        """Pages of a task in memory, in zswap, and in swap otherwise."""
        table = self.table
        nr_resident = nr_zswapped = nr_swapped = 0
        for space in mm.spaces:
            for page in range(space.base, space.base + space.nr_pages):
                if table.flags[page] & RESIDENT:
                    nr_resident += 1
                elif table.slot[page]:
                    if self.zswap.has(table.slot[page]):
                        nr_zswapped += 1
                    else:
                        nr_swapped += 1
        return nr_resident, nr_zswapped, nr_swapped

    # -- time -------------------------------------------------------------------------------------------------------------------------

    def account_io(self, memcg: MemCgroup, nr_pages: int, is_write: bool) -> None:
        """Swap traffic of a cgroup's pages, for io.stat."""
        self.on_swap_io(memcg.cgroup, nr_pages * 4096, is_write)

    def charge_cost(self, cost_ns: int) -> None:
        """Reclaim took this long."""
        self.reclaim_cost_ns += cost_ns

    def close(self) -> None:
        """Free arenas, pool and swap files."""
        for space in self.spaces:
            if space is not None:
                space.close()
        self.spaces = [None]
        self.zswap.close()
        self.swap.close()


def _yes(page: int) -> bool:
    return True
