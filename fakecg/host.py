"""The host: clock, tree, memory, jobs, and the one lock around them.

Everything outside goes through here. How long work is stepped is in engine.py, how files are read and written in file_access.py, who has
memory in host_jobs.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from fakecg import feature_list
from fakecg.abi.errors import DataLost, Interrupted, UsageError
from fakecg.abi.keyed import parse_flat_keyed
from fakecg.abi.profile import DEFAULT_PROACTIVE, DEFAULT_PROFILE, Features
from fakecg.abi.units import PAGE_SIZE, parse_duration, parse_size
from fakecg.cgroup.cftype import Caller, ControlFile
from fakecg.cgroup.cgroup import Cgroup
from fakecg.cgroup.controllers import standard_controllers
from fakecg.cgroup.hierarchy import ROOT_CALLER, Hierarchy
from fakecg.cgroup.io_files import IoController
from fakecg.cgroup.pressure_files import PROC_PRESSURE_FILES
from fakecg.group import Group
from fakecg.host_jobs import HostJobs
from fakecg.mm.age_report import AgeReport, survey
from fakecg.mm.machine import Machine
from fakecg.mm.memcontrol import MemoryController
from fakecg.mm.memory_files import MEMORY_FILES
from fakecg.mm.swap_files import SWAP_FILES
from fakecg.mm.swap_spec import open_devices
from fakecg.mm.swapfile import NO_END, SwapDevice
from fakecg.mm.swapoff import swapoff
from fakecg.mm.system_files import SYSTEM_FILES
from fakecg.mm.task_memory import TaskMemory
from fakecg.mm.zswap_files import ZSWAP_FILES
from fakecg.mm.zswap_params import configure_zswap
from fakecg.sched.clock import Clock, ManualClock
from fakecg.sched.cost import CostModel
from fakecg.sched.task import TaskSource
from fakecg.sched.timer import TimerQueue

log = logging.getLogger("fakecg")

#: How many pages verify looks at before it lets others in.
_VERIFY_PAGES = 256


class Host(HostJobs):
    """An emulated machine with its cgroup tree.

    Args:
        ram: size.
        swap: size of the swap device, 0 for none; or several devices, see mm/swap_spec.py.
        swap_file: path of the (first) device; None for a temporary file without a name.
        nodes: NUMA nodes.
        clock: ManualClock by default; a ScaledClock runs by itself.
        seed: of all contents and access patterns.
        profile, proactive: see abi/profile.py.
        zswap: module parameters by name, e.g. ``{"max_pool_percent": 30}``.
        cost: latency preset or numbers, see CostModel.parse.
        task_source: where real processes are looked up.
        enable_controllers: turn all controllers on for the root's children, as an init system does.

    Raises:
        UsageError: a value that makes no sense.
    """

    def __init__(
        self,
        *,
        ram: str | int = "4G",
        swap: str | int | Sequence[str | int] = "8G",
        swap_file: str | None = None,
        nodes: int = 1,
        clock: Clock | None = None,
        seed: int = 0,
        profile: str = DEFAULT_PROFILE,
        proactive: str = DEFAULT_PROACTIVE,
        zswap: dict[str, str | int] | None = None,
        cost: str = "nvme",
        task_source: TaskSource | None = None,
        enable_controllers: bool = True,
    ) -> None:
        super().__init__()
        self.clock: Clock = ManualClock() if clock is None else clock
        self.timers = TimerQueue()
        self.seed = seed
        self.features = Features.select(profile, proactive)
        if not 1 <= nodes <= 64:
            raise UsageError(f"--nodes: 1 to 64, not {nodes}")
        cost_model = CostModel.parse(cost)
        self.machine = Machine(
            features=self.features,
            clock=self.clock,
            timers=self.timers,
            cost=cost_model,
            total_pages=parse_size(ram) // PAGE_SIZE,
            nr_nodes=nodes,
            swap_devices=open_devices([swap] if isinstance(swap, str | int) else swap, cost_model, swap_file),
        )
        self.machine.works = self.works
        self.machine.log = log.info
        self.machine.report_io_error = self.report_io_error
        self.machine.report_bug = self.report_bug
        memory = MemoryController(self.machine, (*MEMORY_FILES, *SWAP_FILES, *ZSWAP_FILES))
        controllers = standard_controllers(nr_nodes=nodes)
        io = next(controller for controller in controllers if isinstance(controller, IoController))
        self.machine.on_swap_io = lambda cgroup, nr_bytes, is_write: io.account(cgroup, nr_bytes, is_write=is_write)
        self.hierarchy = Hierarchy(
            self.clock,
            self.timers,
            self.features,
            (memory, *controllers),
            task_source=task_source,
        )
        self.machine.hierarchy = self.hierarchy
        if enable_controllers:
            self.hierarchy.set_subtree_control(self.hierarchy.root, self.hierarchy.controller_names, frozenset(), ROOT_CALLER)
        if zswap:
            configure_zswap(self.machine, zswap)
        self.task_memory = TaskMemory(self.machine)
        self.system_files: dict[str, ControlFile] = {
            path: row for path, row in SYSTEM_FILES.items() if row.needs is None or row.needs(self.features)
        } | {f"proc/{row.name}": row for row in PROC_PRESSURE_FILES}

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Free arenas, pool and swap file; whatever else is called afterwards raises ValueError."""
        with self.lock:
            if not self.closed:
                self.closed = True
                self.machine.close()

    # -- the tree ---------------------------------------------------------------------------------------------------------------------

    @property
    def root(self) -> Group:
        """The root cgroup."""
        return Group(self, self.hierarchy.root)

    def group(self, path: str) -> Group:
        """An existing cgroup; raises NoSuchFile (ENOENT)."""
        return Group(self, self.lookup(path))

    def mkdir(self, path: str) -> Group:
        """Make a cgroup, with the memory controller enabled for it in all its ancestors that have it; errors as mkdir_at."""
        parent_path, _, name = path.rstrip("/").rpartition("/")
        with self.locked():
            parent = self.hierarchy.lookup(parent_path)
            if "memory" not in parent.subtree_control and "memory" in parent.control and not (parent.has_tasks and parent.parent):
                self.hierarchy.set_subtree_control(parent, frozenset({"memory"}), frozenset(), ROOT_CALLER)
            return Group(self, self.hierarchy.mkdir(parent, name.encode("utf-8", "surrogateescape"), 0o755, ROOT_CALLER))

    def rmdir(self, path: str) -> None:
        """Remove a cgroup; errors as rmdir_at."""
        with self.locked():
            self.hierarchy.rmdir(self.hierarchy.lookup(path))

    def mkdir_at(self, parent: Cgroup, name: bytes, mode: int, caller: Caller) -> Cgroup:
        """mkdir(2); errors as Hierarchy.mkdir."""
        with self.locked():
            return self.hierarchy.mkdir(parent, name, mode, caller)

    def rmdir_at(self, cgroup: Cgroup) -> None:
        """rmdir(2); errors as Hierarchy.rmdir."""
        with self.locked():
            self.hierarchy.rmdir(cgroup)

    def on_notify(self, callback: Callable[[Cgroup, str], None]) -> None:
        """Have a callback for every change notice of an interface file; it runs with the lock held."""
        self.hierarchy.on_notify.append(callback)

    # -- time -------------------------------------------------------------------------------------------------------------------------

    def advance(self, duration: str | float, *, interrupted: Callable[[], bool] | None = None) -> None:
        """Move a manual clock; timers on the way run in order, with the clock standing at each one's time.

        Args:
            interrupted: asked between timers, without the lock; once it is True the clock stays where it is by then.

        Raises:
            UsageError: the clock runs by itself, or not a duration. Interrupted: EINTR.
        """
        clock = self.clock
        if not isinstance(clock, ManualClock):
            raise UsageError("advance: the clock of this mount runs by itself")
        with self.locked():
            end_ns = clock.now_ns() + parse_duration(duration)
            while (deadline_ns := self.timers.next_deadline_ns) is not None and deadline_ns <= end_ns:
                clock.jump_to(max(deadline_ns, clock.now_ns()))
                self._run_due()
                if interrupted is not None and self.ask(interrupted):
                    raise Interrupted("a signal came while the clock was moved")
            clock.jump_to(end_ns)

    def run_due(self) -> None:
        """Run the timers that are due; a mount with a running clock calls this every few milliseconds."""
        deadline_ns = self.timers.next_deadline_ns
        if deadline_ns is not None and deadline_ns <= self.clock.now_ns():
            with self.locked():
                self._run_due()

    def _run_due(self) -> None:
        now_ns = self.clock.now_ns()
        while True:
            try:
                self.drive(self.timers.run_due_steps(now_ns))
                return
            except DataLost as error:
                # The task that needed the page is dead; the others go on.
                self.report_io_error(error.reason)

    # -- swap devices -----------------------------------------------------------------------------------------------------------------

    def swap_device(self, name: str = "") -> SwapDevice:
        """A device by name as in /proc/swaps; without one the first.

        Raises:
            UsageError: there is none.
        """
        for device in self.machine.swap.devices:
            if name in ("", device.name):
                return device
        raise UsageError(f"no swap device {name}", 1)

    def inject_swap_fault(self, kind: str, count: int | None = 1, device: str = "") -> None:
        """Let I/O fail: ``read`` or ``write`` with EIO the next ``count`` times; ``full``: no slots while ``count`` is not 0.

        Args:
            count: None for no end.
            device: as for swap_device.

        Raises:
            UsageError: unknown kind or device.
        """
        with self.locked():
            target = self.swap_device(device)
            times = NO_END if count is None else count
            if kind == "read":
                target.fail_reads = times
            elif kind == "write":
                target.fail_writes = times
            elif kind == "full":
                target.refuses = bool(times)
            else:
                raise UsageError(f"unknown swap fault {kind!r} (known: read, write, full)")

    def swapoff(self, name: str = "", *, interrupted: Callable[[], bool] | None = None) -> int:
        """Bring everything on a swap device into memory and take it out of use; returns how many pages came back.

        Raises:
            UsageError: no such device. NoMemory: it does not fit. Interrupted: ``interrupted`` said that a signal came.
        """
        with self.locked():
            return self.drive(swapoff(self.machine, self.swap_device(name)), interrupted)

    # -- looking inside ---------------------------------------------------------------------------------------------------------------

    @property
    def vmstat(self) -> dict[str, int]:
        """/proc/vmstat as numbers."""
        return parse_flat_keyed(self.read_system("proc/vmstat"))

    def features_report(self) -> str:
        """Every file and key of this machine: exact, simplified, zero or absent, and since which kernel."""
        return feature_list.report(self.features)

    def age_report(self, group: Group | Cgroup | str, *, age_s: int | None = None, max_bytes: int | None = None) -> AgeReport:
        """Ages of a subtree's zswap entries, and what ``max=<max_bytes> <age_s>`` would write back; nothing changes.

        Raises:
            UsageError: no memory controller there, an age or size that makes no sense. NoSuchFile: no such cgroup.
        """
        cgroup = group.cgroup if isinstance(group, Group) else group if isinstance(group, Cgroup) else self.lookup(group)
        with self.locked():
            finish = survey(cgroup, age_s=age_s, max_bytes=max_bytes)
        return finish()

    def verify(self) -> int:
        """Compare every page that was ever touched with what it must contain, wherever it is now; returns how many were checked.

        Others are let in between two batches, so what changes meanwhile is seen before or after.

        Raises:
            DataLost: a page differs, or cannot be read.
        """
        spaces = self.machine.spaces
        nr_checked = 0
        with self.locked():
            for pid, job in list(self.jobs.items()):
                for space in job.spaces:
                    for start in range(0, space.nr_pages, _VERIFY_PAGES):
                        if spaces.by_number[space.number] is space:  # it may have gone meanwhile
                            nr_checked += spaces.verify(space, f"task {pid}", start, start + _VERIFY_PAGES)
                        self.lock.cond_resched()
        return nr_checked
