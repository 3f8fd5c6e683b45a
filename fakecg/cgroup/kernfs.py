"""Inodes of the tree: numbers, owners, modes, directory order, change notices.

Mirrors fs/kernfs/dir.c (numbers, name hash), inode.c (attributes) and file.c (notices). Directories are the cgroups themselves, which
carry the same attributes as a ``FileNode``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakecg.cgroup.cftype import Caller, ControlFile
    from fakecg.cgroup.cgroup import Cgroup
    from fakecg.cgroup.css import Css
    from fakecg.sched.timer import Timer

_MASK = (1 << 64) - 1
_GOLDEN_RATIO_64 = 0x61C8864680B583EB
_HASH_MAX = (1 << 31) - 1

S_IWUSR, S_IWGRP, S_IWOTH = 0o200, 0o020, 0o002


def name_hash(name: bytes) -> int:
    """Position of a name in its directory: entries are listed by hash, then by name, the same in every directory.

    Source: dir.c:kernfs_name_hash over include/linux/stringhash.h, 64 bits. Cost: O(length).
    """
    value = 0
    for byte in name:
        char = byte if byte < 0x80 else byte - 0x100 & _MASK  # char is signed on x86
        value = (value + (char << 4) + (char >> 4)) * 11 & _MASK
    value = (value * _GOLDEN_RATIO_64 & _MASK) >> 32 & _HASH_MAX
    if value < 2:
        value += 2
    return min(value, _HASH_MAX - 1)


class FileNode:
    """One interface file of one cgroup, from its appearance to its removal.

    Attributes:
        row, css, cgroup: what it is and whose.
        ino: inode number.
        mode: permission bits; uid, gid: owner, as changed by chmod and chown.
        created_ns: boottime at which the inode came to be: when somebody first looked at the file, or with the file if it belongs to
            another than root. None before that.
        times_ns: atime, mtime and ctime in wall-clock nanoseconds since an attribute was first set; None while there are none of its own.
        xattrs: extended attributes by full name, None while there are none.
        removed: the file is gone for good; an open file of it answers ENODEV even when one of the same name came back.
    """

    __slots__ = (
        "cgroup",
        "created_ns",
        "css",
        "gid",
        "ino",
        "mode",
        "notified_at_ns",
        "notify_timer",
        "removed",
        "row",
        "times_ns",
        "uid",
        "xattrs",
    )

    def __init__(self, row: ControlFile, css: Css | Cgroup, cgroup: Cgroup, fileset: FileSet) -> None:
        self.row = row
        self.css = css
        self.cgroup = cgroup
        self.ino = fileset.first_ino + fileset.positions[row.name]
        self.mode = row.default_mode
        self.uid = fileset.uid
        self.gid = fileset.gid
        self.created_ns = fileset.created_ns if fileset.uid or fileset.gid else None
        self.times_ns: tuple[int, int, int] | None = None
        self.xattrs: dict[bytes, bytes] | None = None
        self.removed = False
        self.notified_at_ns: int | None = None
        self.notify_timer: Timer | None = None

    @property
    def active(self) -> bool:
        """Whether handlers may be called: not removed and not hidden by cgroup.pressure."""
        return not self.removed and (self.cgroup.psi_enabled or not self.row.is_pressure)

    def may_write(self, who: Caller) -> bool:
        """Plain permission check for writing; root passes always. Source: fs/namei.c:generic_permission."""
        if who.is_root:
            return True
        if who.uid == self.uid:
            return bool(self.mode & S_IWUSR)
        if who.gid == self.gid or self.gid in who.groups:
            return bool(self.mode & S_IWGRP)
        return bool(self.mode & S_IWOTH)


class FileSet:
    """The files that appeared in a cgroup together: those of the core, or those of one controller.

    Nodes are made when somebody asks for one; numbers, owner and time are those of the moment the set appeared.

    Attributes:
        positions: inode number of each file by name, counted from ``first_ino``.
    """

    __slots__ = ("created_ns", "first_ino", "gid", "positions", "rows", "uid")

    def __init__(self, rows: tuple[ControlFile, ...], positions: dict[str, int], first_ino: int, owner: Caller, created_ns: int) -> None:
        self.rows = rows
        self.positions = positions
        self.first_ino = first_ino
        self.uid = owner.uid
        self.gid = owner.gid
        self.created_ns = created_ns
