"""The interface files of one directory: which are there, their inodes, and the notices that they changed.

Mirrors css_populate_dir, css_clear_dir and cgroup_file_notify of kernel/cgroup/cgroup.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from fakecg.abi.errors import NoSuchFile
from fakecg.cgroup.kernfs import FileNode, FileSet

if TYPE_CHECKING:
    from fakecg.cgroup.cftype import Caller, ControlFile
    from fakecg.cgroup.cgroup import Cgroup
    from fakecg.cgroup.css import Css
    from fakecg.cgroup.hierarchy import Hierarchy

#: At most one notice per file in this time; a later one is put off to its end. Source: CGROUP_FILE_NOTIFY_MIN_INTV (HZ / 100).
NOTIFY_INTERVAL_NS = 10_000_000

#: Key of the core's own files among the file sets of a cgroup.
CORE = ""


class FileDirectory:
    """What a cgroup is as a directory.

    Attributes:
        online: False from rmdir on.
        file_sets: files by the name of their controller, CORE for the core's.
        event_counts: change notices so far by file, for poll; files never told of are missing.
        psi_enabled: cgroup.pressure; False hides the pressure files.
        nr_psi_hidings: how often it did.
    """

    __slots__ = ("_nodes", "event_counts", "file_sets", "hierarchy", "nr_psi_hidings", "online", "psi_enabled")

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy
        self.online = True
        self.psi_enabled = True
        self.nr_psi_hidings = 0
        self.file_sets: dict[str, FileSet] = {}
        self.event_counts: dict[str, int] = {}
        self._nodes: dict[str, FileNode] = {}

    @property
    def _cgroup(self) -> Cgroup:
        return cast("Cgroup", self)

    def files(self) -> list[ControlFile]:
        """Interface files present now, in the order they appeared."""
        rows = [row for file_set in self.file_sets.values() for row in file_set.rows]
        return rows if self.psi_enabled else [row for row in rows if not row.is_pressure]

    def lookup_file(self, name: bytes) -> tuple[ControlFile, Css]:
        """The row of a file present now, and the state its handlers get.

        Raises:
            NoSuchFile: no such file (ENOENT), also while cgroup.pressure hides it.
        """
        node = self.lookup_node(name)
        return node.row, node.css  # type: ignore[return-value]  # a cgroup stands in for the css of its own files

    def lookup_node(self, name: bytes) -> FileNode:
        """The inode of a file present now.

        Raises:
            NoSuchFile: no such file (ENOENT), also while cgroup.pressure hides it.
        """
        node = self.find_node(name)
        if node is None or not node.active:
            raise NoSuchFile(f"{self._cgroup.path()}: no file {name[:80]!r}")
        return node

    def find_node(self, name: bytes) -> FileNode | None:
        """The inode of a file, hidden or not; None if there is no such file."""
        entry = self.hierarchy.file_table(self._cgroup).get(name)
        if entry is None:
            return None
        owner, row = entry
        node = self._nodes.get(row.name)
        if node is None:
            file_set = self.file_sets.get(owner)
            if file_set is None:
                return None
            css = self._cgroup.css[owner] if owner else self._cgroup
            node = self._nodes.setdefault(row.name, FileNode(row, css, self._cgroup, file_set))
        return node

    def add_files(self, owner: str, creator: Caller) -> None:
        """Let the files of the core or of a controller appear, owned by ``creator``. Source: cgroup.c:css_populate_dir."""
        rows, index = self.hierarchy.file_rows(self._cgroup, owner)
        first_ino = self.hierarchy.new_inos(len(rows))
        self.file_sets[owner] = FileSet(rows, index, first_ino, creator, self.hierarchy.clock.now_ns())

    def remove_files(self, owner: str) -> None:
        """Let them vanish for good; open files of them are dead from now on. Source: cgroup.c:css_clear_dir."""
        file_set = self.file_sets.pop(owner, None)
        if file_set is None:
            return
        for row in file_set.rows:
            node = self._nodes.pop(row.name, None)
            if node is not None:
                node.removed = True
                self.hierarchy.timers.cancel(node.notify_timer)
                self.hierarchy.tell_removed(self._cgroup, row.name.encode())

    def notify(self, file_name: str) -> None:
        """Tell who polls or watches the file that it changed; at most once per 10 ms, the last change is never lost.

        Nothing happens for a file that is not there. Source: cgroup.c:cgroup_file_notify.
        """
        node = self._nodes.get(file_name) or self.find_node(file_name.encode())
        if node is None or not self.online:
            return
        now_ns = self.hierarchy.clock.now_ns()
        if node.notified_at_ns is None or now_ns - node.notified_at_ns >= NOTIFY_INTERVAL_NS:
            node.notified_at_ns = now_ns
            self.hierarchy.timers.cancel(node.notify_timer)
            node.notify_timer = None
            self.event_counts[file_name] = self.event_counts.get(file_name, 0) + 1
            for callback in self.hierarchy.on_notify:
                callback(self._cgroup, file_name)
        elif node.notify_timer is None:

            def notify_later() -> None:
                node.notify_timer = None
                if not node.removed:
                    self.notify(file_name)

            node.notify_timer = self.hierarchy.timers.add(node.notified_at_ns + NOTIFY_INTERVAL_NS, notify_later)
