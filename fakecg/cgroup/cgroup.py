"""One cgroup: its place in the tree, its controllers, its tasks, and the state derived from them.

Mirrors struct cgroup and kernel/cgroup/cgroup.c. What changes the tree stands in hierarchy.py; the freezer, thread mode and process
moves have modules of their own. Counters of descendants are kept as things change, so that no operation looks at the whole tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fakecg.abi.units import INT_MAX
from fakecg.cgroup.directory import FileDirectory

if TYPE_CHECKING:
    from fakecg.cgroup.cftype import Caller
    from fakecg.cgroup.css import Css
    from fakecg.cgroup.hierarchy import Hierarchy
    from fakecg.sched.task import Task


class Cgroup(FileDirectory):
    """A directory of the tree; it also is the ``css`` of the core's own files. Its files: see directory.FileDirectory.

    Attributes:
        name: path component; empty for the root.
        children: by name, in creation order.
        ino: inode number, also the cgroup id.
        level: distance from the root.
        css: states of the controllers whose files are here.
        hidden_css: states kept alive, without files, because another enabled controller depends on theirs.
        subtree_control: controllers enabled for the children, by name.
        subtree_ss: the same plus what those depend on.
        mode, uid, gid, created_ns, times_ns, xattrs: attributes of the directory, as in kernfs.FileNode. Its inode comes to be
            with it.
        listed_ns: wall-clock nanoseconds at which the directory was listed, as far as its atime shows it.
        psi: pressure of this subtree.
        tasks: live threads in here, in the order they came.
        max_depth, max_descendants: INT_MAX is ``max``.
        nr_descendants, nr_dying_descendants: below here; the dying ones are removed but still held.
        nr_css, nr_dying_css: by controller name, this cgroup included.
        dom_cgrp: the resource domain: itself, or for a threaded cgroup the root of the threaded subtree.
        freeze: cgroup.freeze; e_freeze: how many settings, own and inherited, ask for it; frozen: everything below has stopped.
        cpu_user_ns, cpu_system_ns: CPU time of this subtree since it was made.
    """

    __slots__ = (
        "children",
        "cpu_system_ns",
        "cpu_user_ns",
        "created_ns",
        "css",
        "dom_cgrp",
        "e_freeze",
        "freeze",
        "freeze_ns",
        "freeze_start_ns",
        "frozen",
        "gid",
        "hidden_css",
        "ino",
        "level",
        "listed_ns",
        "max_depth",
        "max_descendants",
        "mode",
        "name",
        "nr_css",
        "nr_descendants",
        "nr_dying_css",
        "nr_dying_descendants",
        "nr_frozen_descendants",
        "nr_frozen_tasks",
        "nr_populated_domain_children",
        "nr_populated_threaded_children",
        "nr_threaded_children",
        "parent",
        "psi",
        "subtree_control",
        "subtree_ss",
        "tasks",
        "times_ns",
        "uid",
        "xattrs",
    )

    def __init__(self, hierarchy: Hierarchy, parent: Cgroup | None, name: bytes, ino: int, mode: int, owner: Caller) -> None:
        super().__init__(hierarchy)
        self.parent = parent
        self.name = name
        self.ino = ino
        self.level: int = 0 if parent is None else parent.level + 1
        self.children: dict[bytes, Cgroup] = {}
        self.mode = mode
        self.uid = owner.uid
        self.gid = owner.gid
        self.created_ns = hierarchy.clock.now_ns()
        self.times_ns: tuple[int, int, int] | None = None
        self.listed_ns: int | None = None
        self.xattrs: dict[bytes, bytes] | None = None

        self.css: dict[str, Css] = {}
        self.hidden_css: dict[str, Css] = {}
        self.subtree_control: frozenset[str] = frozenset()
        self.subtree_ss: frozenset[str] = frozenset()

        self.psi: Any = None
        self.tasks: dict[Task, None] = {}

        self.max_depth = INT_MAX
        self.max_descendants = INT_MAX
        self.nr_descendants = 0
        self.nr_dying_descendants = 0
        self.nr_css: dict[str, int] = {}
        self.nr_dying_css: dict[str, int] = {}

        self.dom_cgrp: Cgroup = self
        self.nr_threaded_children = 0
        self.nr_populated_domain_children = 0
        self.nr_populated_threaded_children = 0

        self.cpu_user_ns = 0
        self.cpu_system_ns = 0
        self.freeze = False
        self.e_freeze = 0
        self.frozen = False
        self.freeze_start_ns = 0
        self.freeze_ns = 0
        self.nr_frozen_tasks = 0
        self.nr_frozen_descendants = 0

    def __repr__(self) -> str:
        return f"<Cgroup {self.path()}{'' if self.online else ' (deleted)'}>"

    # --- the tree ---

    @property
    def cgroup(self) -> Cgroup:
        """Itself, as any other css has its cgroup."""
        return self

    @property
    def is_root(self) -> bool:
        """Whether this is the mount's root."""
        return self.parent is None

    def path(self) -> str:
        """Path from the root, starting with a slash; bytes that are not UTF-8 are escaped as os.fsdecode does."""
        names = []
        cgroup: Cgroup = self
        while cgroup.parent is not None:
            names.append(cgroup.name)
            cgroup = cgroup.parent
        return "/" + b"/".join(reversed(names)).decode("utf-8", "surrogateescape")

    def ancestors(self, include_self: bool = False) -> Iterator[Cgroup]:
        """From the parent (or itself) up to the root."""
        cgroup = self if include_self else self.parent
        while cgroup is not None:
            yield cgroup
            cgroup = cgroup.parent

    def is_descendant_of(self, ancestor: Cgroup) -> bool:
        """Whether it is ``ancestor`` or below it. Source: cgroup.h:cgroup_is_descendant."""
        cgroup: Cgroup | None = self
        while cgroup is not None and cgroup.level > ancestor.level:
            cgroup = cgroup.parent
        return cgroup is ancestor

    def descendants_pre(self) -> Iterator[Cgroup]:
        """Itself and everything below, parents first, siblings in creation order. Source: css_for_each_descendant_pre."""
        stack = [self]
        while stack:
            cgroup = stack.pop()
            yield cgroup
            stack.extend(reversed(cgroup.children.values()))

    # --- controllers ---

    @property
    def control(self) -> frozenset[str]:
        """Controllers available here, as cgroup.controllers lists them. Source: cgroup.c:cgroup_control."""
        if self.parent is None:
            return self.hierarchy.controller_names
        control = self.parent.subtree_control
        return control & self.hierarchy.threaded_names if self.is_threaded else control

    @property
    def ss_mask(self) -> frozenset[str]:
        """Controllers that have a state here, hidden ones included. Source: cgroup.c:cgroup_ss_mask."""
        if self.parent is None:
            return self.hierarchy.ss_names
        mask = self.parent.subtree_ss
        return mask & self.hierarchy.threaded_names if self.is_threaded else mask

    def own_css(self, name: str) -> Css | None:
        """This cgroup's own state of a controller, visible or hidden."""
        return self.css.get(name) or self.hidden_css.get(name)

    def e_css(self, name: str) -> Css | None:
        """The state that applies here: the nearest one upward; None for a controller the tree lacks. Source: cgroup_e_css."""
        cgroup: Cgroup | None = self
        while cgroup is not None:
            css = cgroup.own_css(name)
            if css is not None:
                return css
            cgroup = cgroup.parent
        return None

    # --- tasks ---

    @property
    def has_tasks(self) -> bool:
        """Whether live threads are in this very cgroup."""
        return bool(self.tasks)

    @property
    def is_populated(self) -> bool:
        """Whether live threads are here or below."""
        return bool(self.tasks or self.nr_populated_domain_children or self.nr_populated_threaded_children)

    def iter_threads(self, recursive: bool = False) -> Iterator[Task]:
        """Live threads here, or also below; safe against exits while iterating."""
        if not recursive:
            yield from list(self.tasks)
            return
        for cgroup in self.descendants_pre():
            yield from list(cgroup.tasks)

    def iter_tasks(self, recursive: bool = False) -> Iterator[Task]:
        """Processes here, or also below: each group leader once, where the leader is. Source: css_task_iter, CSS_TASK_ITER_PROCS."""
        for task in self.iter_threads(recursive):
            if task.leader is task:
                yield task

    def charge_cpu(self, user_ns: int, system_ns: int) -> None:
        """CPU time that a task of this cgroup spent; it counts in every ancestor. Source: kernel/cgroup/rstat.c:cgroup_account_cputime."""
        cgroup: Cgroup | None = self
        while cgroup is not None:
            cgroup.cpu_user_ns += user_ns
            cgroup.cpu_system_ns += system_ns
            cgroup = cgroup.parent

    # --- thread mode: see threaded.py for what changes it ---

    @property
    def is_threaded(self) -> bool:
        """Member of a threaded subtree, its root excluded."""
        return self.dom_cgrp is not self

    @property
    def is_thread_root(self) -> bool:
        """Root of a threaded subtree. Source: cgroup.c:cgroup_is_thread_root."""
        if self.is_threaded:
            return False
        if self.nr_threaded_children:
            return True
        return self.has_tasks and not self.subtree_control.isdisjoint(self.hierarchy.threaded_names)

    @property
    def can_be_thread_root(self) -> bool:
        """Whether threaded children, or processes beside enabled threaded controllers, are possible.

        Source: cgroup.c:cgroup_can_be_thread_root.
        """
        if self.parent is None:
            return True
        return not (self.is_threaded or self.nr_populated_domain_children or self.subtree_control - self.hierarchy.threaded_names)

    @property
    def is_valid_domain(self) -> bool:
        """Whether it can hold processes of its own. Source: cgroup.c:cgroup_is_valid_domain."""
        return not self.is_threaded and not any(
            ancestor.is_threaded or (ancestor.parent is not None and ancestor.is_thread_root) for ancestor in self.ancestors()
        )
