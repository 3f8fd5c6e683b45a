"""The tree: which controllers and files there are, making and removing cgroups.

Mirrors the part of kernel/cgroup/cgroup.c behind mkdir and rmdir; control.py has what cgroup.subtree_control does, process.py what happens
to tasks. Mount options and cgroup namespaces are left out. Nothing here locks: host.py does.

Invariant: counters of descendants equal what a walk would count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from fakecg.abi.errors import AlreadyExists, Busy, Gone, InvalidInput, NoSuchFile, NotEnoughProgress
from fakecg.cgroup import control, core_files, freezer, membership, process, real_tasks
from fakecg.cgroup.cftype import Caller, ControlFile, OpenFile
from fakecg.cgroup.cgroup import Cgroup
from fakecg.cgroup.css import Controller
from fakecg.cgroup.directory import CORE
from fakecg.cgroup.dying import Dying
from fakecg.sched.psi import PsiGroup
from fakecg.sched.task import FIRST_SYNTHETIC_PID, Task, TaskSource

if TYPE_CHECKING:
    from fakecg.abi.profile import Features
    from fakecg.sched.clock import Clock
    from fakecg.sched.timer import TimerQueue

#: The kernel's controllers in the order of their numbers, which is the order of every list. Source: include/linux/cgroup_subsys.h.
SUBSYS_ORDER = ("cpuset", "cpu", "io", "memory", "perf_event", "hugetlb", "pids", "rdma", "misc")
ROOT_CALLER = Caller(tid=0)
#: Files of the root that the recorded kernel adds after those of all controllers, in this order.
LATE_ROOT_FILES = ("memory.zswap.writeback", "io.cost.qos", "io.cost.model")

FileTable = dict[bytes, tuple[str, ControlFile]]


class Hierarchy:
    """One cgroup2 tree.

    Args:
        controllers: everything the root offers, in any order.
        task_source: where real processes are looked up; None for a tree without any.
        base_files: rows of the core.

    Attributes:
        tasks: synthetic and followed real threads by id, zombies included until they are reaped.
        on_notify: called with (cgroup, file name) whenever an interface file tells its pollers of a change.
        on_remove: called with (directory, name) when a cgroup or an interface file that somebody looked up is gone or hidden.
    """

    def __init__(
        self,
        clock: Clock,
        timers: TimerQueue,
        features: Features,
        controllers: Sequence[Controller] = (),
        *,
        task_source: TaskSource | None = None,
        base_files: Sequence[ControlFile] = core_files.BASE_FILES,
    ) -> None:
        self.clock = clock
        self.timers = timers
        self.features = features
        self.task_source = task_source
        self.on_notify: list[Callable[[Cgroup, str], None]] = []
        self.on_remove: list[Callable[[Cgroup, bytes], None]] = []
        self.tasks: dict[int, Task] = {}
        self.dying = Dying(clock, timers)
        self._next_ino = 1
        self._next_pid = FIRST_SYNTHETIC_PID

        order = {name: number for number, name in enumerate(SUBSYS_ORDER)}
        self.controllers = {
            controller.name: controller for controller in sorted(controllers, key=lambda each: order.get(each.name, len(order)))
        }
        self.ss_names = frozenset(self.controllers)
        self.controller_names = frozenset(name for name, controller in self.controllers.items() if not controller.implicit)
        self.implicit_names = self.ss_names - self.controller_names
        self.threaded_names = frozenset(name for name, controller in self.controllers.items() if controller.threaded)
        files = {CORE: tuple(base_files), **{name: controller.files for name, controller in self.controllers.items()}}
        self._rows: dict[tuple[bool, str], tuple[tuple[ControlFile, ...], dict[str, int]]] = {}
        self._tables: dict[bool, FileTable] = {True: {}, False: {}}
        for is_root, table in self._tables.items():
            for owner, rows in files.items():
                self._declare(is_root, owner, rows, table)

        self.root = Cgroup(self, None, b"", self.new_inos(1), 0o555, ROOT_CALLER)
        self.root.psi = PsiGroup(None, clock, timers)
        self.root.add_files(CORE, ROOT_CALLER)
        for controller in self.controllers.values():
            control.css_create(self.root, controller)
            control.css_show(self.root, controller.name, ROOT_CALLER)
        self._number_late_files()

    def _declare(self, is_root: bool, owner: str, rows: Iterable[ControlFile], table: FileTable) -> None:
        present = tuple(
            row for row in rows if (row.on_root if is_root else row.off_root) and (row.needs is None or row.needs(self.features))
        )
        self._rows[is_root, owner] = (present, {row.name: position for position, row in enumerate(present)})
        for row in present:
            name = row.name.encode()
            if name in table:
                raise ValueError(f"two files are named {row.name}")
            table[name] = (owner, row)

    def _number_late_files(self) -> None:
        # Modules that start later add their files behind all others of the root, which is made before.
        rank = {name: position for position, name in enumerate(LATE_ROOT_FILES, start=1)}
        files = [(row.name, file_set) for file_set in self.root.file_sets.values() for row in file_set.rows]
        for ino, (name, file_set) in enumerate(sorted(files, key=lambda file: rank.get(file[0], 0)), start=self.root.ino + 1):
            file_set.positions[name] = ino - file_set.first_ino

    def file_table(self, cgroup: Cgroup) -> FileTable:
        """Every file a cgroup can have, with the name of the controller it belongs to."""
        return self._tables[cgroup.parent is None]

    def file_rows(self, cgroup: Cgroup, owner: str) -> tuple[tuple[ControlFile, ...], dict[str, int]]:
        """The rows of a controller (or of the core) in a cgroup, and the position of each by name."""
        return self._rows[cgroup.parent is None, owner]

    def new_inos(self, count: int) -> int:
        """Reserve inode numbers; returns the first. Numbers only count up."""
        first = self._next_ino
        self._next_ino += count
        return first

    def new_pid(self) -> int:
        """A pid no real process can have."""
        pid = self._next_pid
        self._next_pid += 1
        return pid

    def tell_removed(self, directory: Cgroup, name: bytes) -> None:
        """Call on_remove."""
        for callback in self.on_remove:
            callback(directory, name)

    # --- directories ---

    def lookup(self, path: str | bytes) -> Cgroup:
        """The cgroup at a path from the root; empty components and ``.`` are skipped, ``..`` goes up.

        Raises:
            NoSuchFile: no such directory (ENOENT).
        """
        encoded = path.encode("utf-8", "surrogateescape") if isinstance(path, str) else path
        cgroup = self.root
        for name in encoded.split(b"/"):
            if name in (b"", b"."):
                continue
            if name == b"..":
                cgroup = cgroup.parent or cgroup
                continue
            child = cgroup.children.get(name)
            if child is None:
                raise NoSuchFile(f"no cgroup {path!r}")
            cgroup = child
        return cgroup

    def mkdir(self, parent: Cgroup, name: bytes, mode: int = 0o755, caller: Caller = ROOT_CALLER) -> Cgroup:
        """Make a cgroup. Whoever calls has checked write permission on the parent and applied the umask.

        Args:
            mode: permission bits and the sticky bit; setuid and setgid are dropped.

        Raises:
            AlreadyExists: a child or an interface file has this name (EEXIST).
            InvalidInput: a newline in the name (EINVAL).
            NoSuchFile: the parent was removed (ENOENT).
            NotEnoughProgress: cgroup.max.depth or cgroup.max.descendants, here or above (EAGAIN).

        Source: cgroup.c:cgroup_mkdir. Cost: O(depth + files), whatever the number of cgroups.
        """
        if not parent.online:
            raise NoSuchFile(f"{parent.path()} was removed")
        if name in (b"", b".", b"..") or name in parent.children or parent.find_node(name) is not None:
            raise AlreadyExists(f"{parent.path()}: {name[:80]!r} exists")
        if b"\n" in name:
            raise InvalidInput("a newline in the name of a cgroup")
        if b"/" in name or b"\0" in name:
            raise InvalidInput(f"not a file name: {name[:80]!r}")
        self._check_limits(parent)

        cgroup = Cgroup(self, parent, name, self.new_inos(1), mode & 0o1777, caller)
        parent.children[name] = cgroup
        cgroup.psi = PsiGroup(parent.psi, self.clock, self.timers)
        freezer.inherit(cgroup)
        for ancestor in cgroup.ancestors():
            ancestor.nr_descendants += 1
        cgroup.subtree_ss = control.calc_subtree_ss(cgroup)
        cgroup.add_files(CORE, caller)
        control.enable_css(cgroup, caller)
        return cgroup

    def _check_limits(self, parent: Cgroup) -> None:
        # Source: cgroup.c:cgroup_check_hierarchy_limits. A dying cgroup does not count.
        for depth, ancestor in enumerate(parent.ancestors(include_self=True)):
            if ancestor.nr_descendants >= ancestor.max_descendants:
                raise NotEnoughProgress(f"{ancestor.path()}: cgroup.max.descendants is {ancestor.max_descendants}")
            if depth >= ancestor.max_depth:
                raise NotEnoughProgress(f"{ancestor.path()}: cgroup.max.depth is {ancestor.max_depth}")

    def rmdir(self, cgroup: Cgroup) -> None:
        """Remove a cgroup; zombies inside do not matter.

        Raises:
            Busy: the root, live processes inside, or children (EBUSY).
            NoSuchFile: removed already (ENOENT).

        Source: cgroup.c:cgroup_destroy_locked. Cost: O(depth + files).
        """
        parent = cgroup.parent
        if parent is None:
            raise Busy("the root of the mount")
        if not cgroup.online:
            raise NoSuchFile(f"{cgroup.path()} was removed")
        real_tasks.refresh(self)
        if cgroup.is_populated:
            raise Busy(f"{cgroup.path()}: live processes inside")
        if cgroup.children:
            raise Busy(f"{cgroup.path()}: has children")
        cgroup.online = False
        for css in (*cgroup.css.values(), *cgroup.hidden_css.values()):
            control.css_kill(css)
        for owner in list(cgroup.file_sets):
            cgroup.remove_files(owner)
        cgroup.psi.destroy_triggers()
        cgroup.css.clear()
        cgroup.hidden_css.clear()
        del parent.children[cgroup.name]
        self.tell_removed(parent, cgroup.name)
        if cgroup.is_threaded:
            parent.nr_threaded_children -= 1
        for ancestor in cgroup.ancestors():
            ancestor.nr_descendants -= 1
            if cgroup.frozen:
                ancestor.nr_frozen_descendants -= 1
        self.dying.add_cgroup(cgroup)

    def set_subtree_control(self, cgroup: Cgroup, enable: frozenset[str], disable: frozenset[str], caller: Caller) -> None:
        """Turn controllers on and off for the children; see control.set_subtree_control."""
        control.set_subtree_control(cgroup, enable, disable, caller)

    # --- tasks: process.py has the rules ---

    def add_task(self, task: Task, cgroup: Cgroup) -> None:
        """A new task starts its life in a cgroup, as after fork.

        Raises:
            ControlError: a controller refuses, pids.max for example (EAGAIN).
        """
        membership.add_task(self, task, cgroup)

    def attach(self, task: Task, cgroup: Cgroup) -> None:
        """Move a whole process, as a write to cgroup.procs by root would; errors as there."""
        process.attach(self, task, cgroup, threadgroup=True)

    def exit_task(self, task: Task) -> None:
        """A process ends and stays a zombie; see membership.exit_thread for single ones."""
        membership.exit_process(self, task)

    def reap_task(self, task: Task) -> None:
        """A zombie's parent waited for it: the pid is free."""
        self.tasks.pop(task.pid, None)


def require_live(open_file: OpenFile) -> None:
    """Refuse handlers of a file that is gone.

    Raises:
        Gone: the cgroup was removed, the controller disabled, or cgroup.pressure hides the file or did so since it was opened (ENODEV).

    Source: fs/kernfs/file.c:kernfs_get_active_of.
    """
    css, row = open_file.css, open_file.row
    node = css.cgroup.find_node(row.name.encode()) if css.online else None
    was_hidden = row.is_pressure and open_file.nr_psi_hidings != css.cgroup.nr_psi_hidings
    if node is None or node.css is not css or not node.active or was_hidden:
        raise Gone(f"{css.cgroup.path()}/{row.name}: no longer there")
