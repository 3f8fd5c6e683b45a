"""What a path of the mount leads to, and its attributes.

A directory of the tree is a ``Cgroup``, an interface file a ``FileNode``; both live in the core and carry their own mode, owner, times and
xattrs. The mount adds a few nodes of its own (``StaticDir``, ``SystemFile``, ``CommandFile``) with the same attributes.

Every node has an inode number that is never used again, so it also names the node towards the transport.
"""

from __future__ import annotations

import errno
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fakecg.abi.errors import ControlError
from fakecg.cgroup.cgroup import Cgroup
from fakecg.cgroup.kernfs import FileNode, name_hash

if TYPE_CHECKING:
    from fakecg.cgroup.cftype import ControlFile
    from fakecg.fs.command import ControlCommand
    from fakecg.sched.clock import Clock

#: The transport's name for the root of the mount.
ROOT_ID = 1
#: Inode numbers of the mount's own nodes start here, far above those of the tree.
FIRST_STATIC_INO = 1 << 48
BLOCK_SIZE = 4096
DAY_NS = 86_400_000_000_000


class Stale(ControlError):
    """The caller reached a file by a remembered name and the file is gone: look the path up again.

    The kernel does so by itself when it gets ESTALE, and the path then ends with ENOENT or with the new file of that name.
    """

    code = errno.ESTALE


class _StaticNode:
    """Attributes of a node that only the mount has, named as those of kernfs.FileNode."""

    __slots__ = ("created_ns", "gid", "ino", "mode", "times_ns", "uid", "xattrs")

    def __init__(self, ino: int, mode: int) -> None:
        self.ino = ino
        self.mode = mode
        self.uid = 0
        self.gid = 0
        self.created_ns = 0
        self.times_ns: tuple[int, int, int] | None = None
        self.xattrs: dict[bytes, bytes] | None = None


class StaticDir(_StaticNode):
    """A directory that only the mount has.

    Attributes:
        entries: by name.
        unlisted: names that can be opened but are not listed.
    """

    __slots__ = ("entries", "unlisted")

    def __init__(self, ino: int, mode: int = 0o755) -> None:
        super().__init__(ino, mode)
        self.entries: dict[bytes, Node] = {}
        self.unlisted: frozenset[bytes] = frozenset()


class SystemFile(_StaticNode):
    """A file of the emulated /proc or /sys; ``path`` is relative to the emulated root."""

    __slots__ = ("path",)

    def __init__(self, ino: int, row: ControlFile, path: str) -> None:
        super().__init__(ino, row.default_mode)
        self.path = path


class CommandFile(_StaticNode):
    """A control file."""

    __slots__ = ("command",)

    def __init__(self, ino: int, command: ControlCommand) -> None:
        super().__init__(ino, command.mode)
        self.command = command


Directory = Cgroup | StaticDir
Node = Cgroup | FileNode | StaticDir | SystemFile | CommandFile
#: One line of a directory listing: name, inode number, file type bits of st_mode.
Entry = tuple[bytes, int, int]


def is_directory(node: Node) -> bool:
    """Whether a node is a directory."""
    return isinstance(node, Cgroup | StaticDir)


@dataclass(frozen=True, slots=True)
class Attributes:
    """What stat(2) tells of a node. Sizes are 0, as for every file of kernfs; times are wall-clock nanoseconds."""

    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int


class WallClock:
    """Dates of nodes, as far as kernfs keeps them: a node has times of its own only since an attribute was first set, all from that moment.

    Source: fs/kernfs/inode.c:kernfs_init_inode, __kernfs_iattrs, __kernfs_setattr.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._boot_ns = time.time_ns() - clock.now_ns()

    def now_ns(self) -> int:
        """The emulated machine's date, wall-clock nanoseconds."""
        return self._boot_ns + self._clock.now_ns()

    def attributes(self, node: Node) -> Attributes:
        """Attributes of a node, removed or not: fstat of an open file never fails. Source: fs/kernfs/inode.c:kernfs_refresh_inode."""
        nlink = 1
        kind = stat.S_IFREG
        listed_ns = None
        if isinstance(node, Cgroup):
            kind, nlink, listed_ns = stat.S_IFDIR, 2 + len(node.children), node.listed_ns
        elif isinstance(node, StaticDir):
            kind, nlink = stat.S_IFDIR, 2 + sum(isinstance(entry, StaticDir) for entry in node.entries.values())
        times = node.times_ns
        if times is None:
            if node.created_ns is None:
                node.created_ns = self._clock.now_ns()
            made_ns = self._boot_ns + node.created_ns
            times = (listed_ns or made_ns, made_ns, made_ns)
        return Attributes(node.ino, kind | node.mode, nlink, node.uid, node.gid, *times)

    def set_times(self, node: Node, atime_ns: int | None, mtime_ns: int | None) -> None:
        """Set access and modification time; None leaves one as it is. The change time is now."""
        now_ns = self.now_ns()
        old_atime_ns, old_mtime_ns, _ = node.times_ns or (now_ns, now_ns, now_ns)
        node.times_ns = (old_atime_ns if atime_ns is None else atime_ns, old_mtime_ns if mtime_ns is None else mtime_ns, now_ns)

    def keep_times(self, node: Node) -> None:
        """An attribute is set, extended ones too, or a node is asked for those."""
        if node.times_ns is None:
            now_ns = self.now_ns()
            node.times_ns = (now_ns, now_ns, now_ns)

    def accessed(self, node: Directory) -> None:
        """A directory is listed: its access time moves, if it was not later than the others or is a day old. Times of its own hide that.

        Source: fs/inode.c:relatime_need_update.
        """
        if not isinstance(node, Cgroup) or node.times_ns is not None or node.uid or node.gid:
            return
        now_ns, made_ns = self.now_ns(), self._boot_ns + node.created_ns
        if node.listed_ns is None or node.listed_ns <= made_ns or now_ns - node.listed_ns >= DAY_NS:
            node.listed_ns = now_ns


def list_entries(node: Directory) -> list[Entry]:
    """Entries of a directory, without ``.`` and ``..``.

    Interface files and child cgroups stand mixed, in the order of the hash of their names. Source: fs/kernfs/dir.c:kernfs_fop_readdir.
    Cost: O(n log n).
    """
    if isinstance(node, StaticDir):
        listed = (item for item in node.entries.items() if item[0] not in node.unlisted)
        return [(name, entry.ino, stat.S_IFDIR if is_directory(entry) else stat.S_IFREG) for name, entry in listed]
    if not node.online:
        return []
    entries = [(name, child.ino, stat.S_IFDIR) for name, child in list(node.children.items())]
    for row in node.files():
        name = row.name.encode()
        file_node = node.find_node(name)
        if file_node is not None:
            entries.append((name, file_node.ino, stat.S_IFREG))
    entries.sort(key=lambda entry: (name_hash(entry[0]), entry[0]))
    return entries
