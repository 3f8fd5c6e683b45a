"""The host: clock, tree, memory, jobs, and the one lock around them.

Everything outside goes through here. Long work is a generator: the host holds the lock for one step of it, lets others in between two
steps, and throws EINTR into it at the points where a kernel looks for signals. Below this module nothing locks.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from fakecg.abi.errors import ControlError, DataLost, Interrupted, InvalidInput, TooLong, UsageError
from fakecg.abi.profile import DEFAULT_PROACTIVE, DEFAULT_PROFILE, Features
from fakecg.abi.units import PAGE_SIZE, parse_duration, parse_size
from fakecg.big_lock import BigLock
from fakecg.cgroup.cftype import SIGNAL_POINT, Caller, ControlFile, OpenFile, Steps
from fakecg.cgroup.cgroup import Cgroup
from fakecg.cgroup.controllers import standard_controllers
from fakecg.cgroup.hierarchy import ROOT_CALLER, Hierarchy, require_live
from fakecg.cgroup.io_files import IoController
from fakecg.cgroup.pressure_files import PROC_PRESSURE_FILES, poll_mask
from fakecg.group import Group
from fakecg.mm.age_report import AgeReport, survey
from fakecg.mm.machine import Machine
from fakecg.mm.memcontrol import MemoryController
from fakecg.mm.memory_files import MEMORY_FILES
from fakecg.mm.swap_files import SWAP_FILES
from fakecg.mm.swap_spec import open_devices
from fakecg.mm.swapfile import SwapDevice
from fakecg.mm.system_files import SYSTEM_FILES
from fakecg.mm.task_memory import TaskMemory
from fakecg.mm.zswap_files import ZSWAP_FILES
from fakecg.mm.zswap_params import configure_zswap
from fakecg.sched.clock import Clock, ManualClock
from fakecg.sched.cost import CostModel
from fakecg.sched.task import Task, TaskSource
from fakecg.sched.timer import TimerQueue
from fakecg.workload.content import ContentSpec
from fakecg.workload.job import Job, JobSpec

log = logging.getLogger("fakecg")
Result = TypeVar("Result")

_WRITE_MAX_BYTES = PAGE_SIZE
_POLL_ALWAYS = 0x145  # POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM
_POLL_CHANGED = 0xA  # POLLPRI | POLLERR


class Host:
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
        self.lock = BigLock()
        #: Called between two steps of long work, by the thread that does it, with the lock held: a filesystem lets another thread serve.
        self.before_resched: Callable[[], None] | None = None
        self.clock: Clock = ManualClock() if clock is None else clock
        self.timers = TimerQueue()
        self.seed = seed
        self.features = Features.select(profile, proactive)
        self.last_error = ""
        self.internal_errors = 0
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
        self.machine.log = log.info
        self.machine.report_io_error = self._io_error
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
        self.jobs: dict[int, Job] = {}
        self.system_files: dict[str, ControlFile] = {
            path: row for path, row in SYSTEM_FILES.items() if row.needs is None or row.needs(self.features)
        } | {f"proc/{row.name}": row for row in PROC_PRESSURE_FILES}
        self._closed = False

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Free arenas, pool and swap file."""
        with self.lock:
            if not self._closed:
                self._closed = True
                self.machine.close()

    # -- the lock and long work -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self.lock:
            try:
                yield
            except ControlError as error:
                self.last_error = error.reason
                log.info("%s", error)
                raise

    def _drive(self, steps: Generator[Any, None, Result], interrupted: Callable[[], bool] | None = None) -> Result:
        """Run work to its end, step by step; the lock is held in each step."""
        try:
            pause = next(steps)
            while True:
                if pause is SIGNAL_POINT and interrupted is not None and interrupted():
                    pause = steps.throw(Interrupted("a signal came while the write was at work"))
                    continue
                self._step_works()
                self.lock.cond_resched()
                pause = next(steps)
        except StopIteration as stop:
            self._finish_works()
            return stop.value  # type: ignore[no-any-return]

    def _step_works(self) -> None:
        """One step of each kernel thread that has something to do."""
        works = self.machine.works
        for work in list(works):
            try:
                next(work)
            except StopIteration:
                works.remove(work)

    def _finish_works(self) -> None:
        while self.machine.works:
            self._step_works()
            self.lock.cond_resched()

    def report_bug(self, error: BaseException) -> None:
        """An unexpected exception: logged with its traceback and counted."""
        self.internal_errors += 1
        self.last_error = f"internal error: {type(error).__name__}: {error}"
        log.error("internal error: %s", "".join(traceback.format_exception(error)))

    def _io_error(self, message: str) -> None:
        self.last_error = message
        log.error("%s", message)

    # -- the tree ---------------------------------------------------------------------------------------------------------------------

    def lookup(self, path: str | bytes) -> Cgroup:
        """The cgroup at a path from the root; raises NoSuchFile (ENOENT)."""
        with self._locked():
            return self.hierarchy.lookup(path)

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
        with self._locked():
            parent = self.hierarchy.lookup(parent_path)
            if "memory" not in parent.subtree_control and "memory" in parent.control and not (parent.has_tasks and parent.parent):
                self.hierarchy.set_subtree_control(parent, frozenset({"memory"}), frozenset(), ROOT_CALLER)
            return Group(self, self.hierarchy.mkdir(parent, name.encode("utf-8", "surrogateescape"), 0o755, ROOT_CALLER))

    def rmdir(self, path: str) -> None:
        """Remove a cgroup; errors as rmdir_at."""
        with self._locked():
            self.hierarchy.rmdir(self.hierarchy.lookup(path))

    def mkdir_at(self, parent: Cgroup, name: bytes, mode: int, caller: Caller) -> Cgroup:
        """mkdir(2); errors as Hierarchy.mkdir."""
        with self._locked():
            return self.hierarchy.mkdir(parent, name, mode, caller)

    def rmdir_at(self, cgroup: Cgroup) -> None:
        """rmdir(2); errors as Hierarchy.rmdir."""
        with self._locked():
            self.hierarchy.rmdir(cgroup)

    def on_notify(self, callback: Callable[[Cgroup, str], None]) -> None:
        """Have a callback for every change notice of an interface file; it runs with the lock held."""
        self.hierarchy.on_notify.append(callback)

    # -- files ------------------------------------------------------------------------------------------------------------------------

    def open_file(self, cgroup: Cgroup, name: bytes, caller: Caller, flags: int = 0) -> OpenFile:
        """Open an interface file; raises NoSuchFile (ENOENT). Permission bits are the filesystem's business."""
        with self._locked():
            row, css = cgroup.lookup_file(name)
            return OpenFile(row, css, caller, caller, flags)

    def open_system_file(self, path: str, caller: Caller) -> OpenFile:
        """Open a file of the machine (proc/..., sys/...); raises KeyError for an unknown path."""
        row = self.system_files[path]
        return OpenFile(row, self.hierarchy.root, caller, caller)  # type: ignore[arg-type]

    def show(self, open_file: OpenFile) -> bytes:
        """Render a file.

        Raises:
            Gone: the cgroup was removed or the controller disabled (ENODEV).
            InvalidInput: a write-only file (EINVAL).
        """
        with self._locked():
            self._require_live(open_file)
            nr_events = self._event_count(open_file)
            if open_file.row.show is None:
                open_file.seen = nr_events
                raise InvalidInput(f"{open_file.row.name}: write-only")
            text = open_file.row.show(self._subject(open_file), open_file)
            if text or not open_file.row.is_list:
                open_file.seen = nr_events
            return text.encode()

    def write(self, open_file: OpenFile, data: bytes, writer: Caller | None = None, interrupted: Callable[[], bool] | None = None) -> int:
        """Write a file: one whole command. Returns the number of bytes, always all of them.

        Args:
            interrupted: asked at signal points; True ends the work with Interrupted.

        Raises:
            TooLong: more than 4096 bytes (E2BIG). Gone: ENODEV. InvalidInput: a read-only file (EINVAL).
            ControlError: whatever the file's handler refuses with.
        """
        with self._locked():
            if len(data) > _WRITE_MAX_BYTES:
                raise TooLong(f"{open_file.row.name}: {len(data)} bytes in one write")
            self._require_live(open_file)
            if not data and open_file.row not in PROC_PRESSURE_FILES:
                return 0
            if open_file.row.write is None:
                raise InvalidInput(f"{open_file.row.name}: read-only")
            open_file.writer = writer or open_file.opener
            # Time passed since the last step: the periodic flush of statistics came in between.
            self.machine.rstat.flush()
            steps = open_file.row.write(self._subject(open_file), data, open_file)
            if steps is not None:
                self._drive(steps, interrupted)
            self._finish_works()
            return len(data)

    def _require_live(self, open_file: OpenFile) -> None:
        if open_file.row.name not in self.system_files and open_file.row not in PROC_PRESSURE_FILES:
            require_live(open_file)

    def _subject(self, open_file: OpenFile) -> Any:
        """What a row's handlers get: a css, or the machine for its own files."""
        return self.machine if open_file.row.name in self.system_files else open_file.css

    def _event_count(self, open_file: OpenFile) -> int:
        return open_file.css.cgroup.event_counts.get(open_file.row.name, 0)

    def release(self, open_file: OpenFile) -> None:
        """Close a file."""
        if open_file.row.release is not None:
            with self._locked():
                open_file.row.release(self._subject(open_file), open_file)

    def poll_events(self, open_file: OpenFile) -> int:
        """poll(2) mask. Source: kernfs/file.c:kernfs_generic_poll."""
        with self._locked():
            if open_file.row.is_pressure or open_file.row in PROC_PRESSURE_FILES:
                return poll_mask(open_file)
            changed = not open_file.css.online or open_file.seen != self._event_count(open_file)
            return _POLL_ALWAYS | (_POLL_CHANGED if changed else 0)

    def read(self, cgroup: Cgroup, name: str) -> str:
        """A file's text, opened and closed for this."""
        open_file = self.open_file(cgroup, name.encode(), ROOT_CALLER)
        try:
            return self.show(open_file).decode()
        finally:
            self.release(open_file)

    def write_text(self, cgroup: Cgroup, name: str, value: str | bytes | int) -> None:
        """One write to a file, opened and closed for this."""
        data = value if isinstance(value, bytes) else str(value).encode()
        open_file = self.open_file(cgroup, name.encode(), ROOT_CALLER)
        try:
            self.write(open_file, data)
        finally:
            self.release(open_file)

    def write_file(self, path: str, name: str, data: bytes) -> None:
        """One write to a file of the cgroup at a path; errors as lookup and write."""
        self.write_text(self.lookup(path), name, data)

    def write_file_steps(self, path: str, name: str, data: bytes) -> Steps:
        """The same for the callback of a timer, which runs with the lock held."""
        row, css = self.hierarchy.lookup(path).lookup_file(name.encode())
        if row.write is None:
            raise InvalidInput(f"{name}: read-only")
        open_file = OpenFile(row, css, ROOT_CALLER, ROOT_CALLER)
        steps = row.write(css, data, open_file) if data else None
        if steps is not None:
            yield from steps
        if row.release is not None:
            row.release(css, open_file)

    # -- tasks ------------------------------------------------------------------------------------------------------------------------

    def spawn(
        self,
        group: Group | Cgroup | str,
        *,
        size: str | int,
        content: str = "text",
        access: str = "once",
        cache: str | int | None = None,
        name: str | None = None,
    ) -> Task:
        """Start a synthetic task; its first touch of its memory is over when this returns, unless it was throttled.

        Raises:
            UsageError: bad size, content or access. NoSuchFile: no such cgroup. ControlError: the cgroup takes no tasks.
        """
        spec = JobSpec.simple(size=size, content=content, access=access, cache=cache, name=name)
        cgroup = group.cgroup if isinstance(group, Group) else group if isinstance(group, Cgroup) else self.lookup(group)
        return self.spawn_job(cgroup, spec)

    def spawn_job(self, group: Cgroup | str, spec: JobSpec, *, delay_ns: int = 0, oom_score_adj: int = 0) -> Task:
        """Start a task for a job, whose first touch comes ``delay_ns`` later; errors as spawn."""
        cgroup = group if isinstance(group, Cgroup) else self.lookup(group)
        with self._locked():
            task = self._new_task(cgroup, spec.name)
            task.oom_score_adj = oom_score_adj
            seed = self.seed * 1_000_003 + task.pid
            mapping = None
            if spec.cache_pages:
                content = spec.regions[0].content if spec.regions else ContentSpec.parse("text")
                mapping = self.task_memory.create_file(spec.cache_pages, content, seed)
            self.jobs[task.pid] = Job.create(task, spec, self.task_memory, self.clock, self.timers, seed, mapping, delay_ns)
            self._run_due()
            return task

    def _new_task(self, cgroup: Cgroup, name: str) -> Task:
        task = Task(self.hierarchy.new_pid(), name)
        self.machine.new_mm(task)
        task.on_kill = self._exit_task
        self.hierarchy.add_task(task, cgroup)
        return task

    def _exit_task(self, task: Task) -> None:
        job = self.jobs.pop(task.pid, None)
        if job is not None:
            job.stop()
        if task.mm is not None:
            self.machine.exit_mm(task.mm)
        self.hierarchy.exit_task(task)
        self.hierarchy.reap_task(task)

    def tasks(self) -> list[Task]:
        """Live synthetic tasks, oldest first."""
        with self._locked():
            return [job.task for job in self.jobs.values()]

    def kill(self, pid: int) -> None:
        """SIGKILL to a synthetic task; raises UsageError if there is none with this pid."""
        with self._locked():
            job = self.jobs.get(pid)
            if job is None:
                raise UsageError(f"no task {pid}", 1)
            job.task.kill()
            self._finish_works()

    # -- time -------------------------------------------------------------------------------------------------------------------------

    def advance(self, duration: str | float) -> None:
        """Move a manual clock; timers on the way run in order, with the clock standing at each one's time.

        Raises:
            UsageError: the clock runs by itself, or not a duration.
        """
        clock = self.clock
        if not isinstance(clock, ManualClock):
            raise UsageError("advance: the clock of this mount runs by itself")
        with self._locked():
            end_ns = clock.now_ns() + parse_duration(duration)
            while (deadline_ns := self.timers.next_deadline_ns) is not None and deadline_ns <= end_ns:
                clock.jump_to(max(deadline_ns, clock.now_ns()))
                self._run_due()
            clock.jump_to(end_ns)

    def run_due(self) -> None:
        """Run the timers that are due; a mount with a running clock calls this every few milliseconds."""
        deadline_ns = self.timers.next_deadline_ns
        if deadline_ns is not None and deadline_ns <= self.clock.now_ns():
            with self._locked():
                self._run_due()

    def _run_due(self) -> None:
        now_ns = self.clock.now_ns()
        while True:
            try:
                self._drive(self.timers.run_due_steps(now_ns))
                return
            except DataLost as error:
                # The task that needed the page is dead; the others go on.
                self._io_error(error.reason)

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

    def inject_swap_fault(self, kind: str, count: int = 1, device: str = "") -> None:
        """Let I/O fail: ``read`` or ``write`` with EIO the next ``count`` times; ``full``: no slots while ``count`` is not 0.

        Raises:
            UsageError: unknown kind or device.
        """
        with self._locked():
            target = self.swap_device(device)
            if kind == "read":
                target.fail_reads = count
            elif kind == "write":
                target.fail_writes = count
            elif kind == "full":
                target.refuses = bool(count)
            else:
                raise UsageError(f"unknown swap fault {kind!r} (known: read, write, full)")

    def swapoff(self, name: str = "") -> int:
        """Bring everything on a swap device into memory and take it out of use; returns how many pages came back.

        Raises:
            UsageError: no such device. NoMemory: it does not fit.
        """
        with self._locked():
            return self._drive(self.machine.swap_cache.swapoff(self.swap_device(name)))

    # -- looking inside ---------------------------------------------------------------------------------------------------------------

    def age_report(self, group: Group | Cgroup | str, *, age_s: int | None = None, max_bytes: int | None = None) -> AgeReport:
        """Ages of a subtree's zswap entries, and what ``max=<max_bytes> <age_s>`` would write back; nothing changes.

        Raises:
            UsageError: no memory controller there, an age or size that makes no sense. NoSuchFile: no such cgroup.
        """
        cgroup = group.cgroup if isinstance(group, Group) else group if isinstance(group, Cgroup) else self.lookup(group)
        with self._locked():
            finish = survey(cgroup, age_s=age_s, max_bytes=max_bytes)
        return finish()

    def verify(self) -> int:
        """Compare every page that was ever touched with what it must contain, wherever it is now; returns how many were checked.

        Raises:
            DataLost: a page differs, or cannot be read.
        """
        with self._locked():
            nr_checked = 0
            for pid, job in list(self.jobs.items()):
                for space in job.spaces:
                    nr_checked += self.machine.verify_space(space, f"task {pid}")
            return nr_checked
