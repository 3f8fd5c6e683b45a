"""Whoever mounts is root of the emulated machine.

An ordinary user's own id is 0 inside, and what belongs to 0 inside is shown as the user's.
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace

from fakecg.fs.nodes import Attributes

#: Inode number of the tree's root.
_TREE_INO = 1


class Mounter:
    """The user that this process runs as; for the real root all ids are the same inside and outside.

    Attributes:
        is_root: whether it is the real root.
    """

    def __init__(self) -> None:
        self._uid = os.geteuid()
        self._gid = os.getegid()
        self.is_root = not self._uid

    def uid_inside(self, uid: int) -> int:
        """A user of the real machine, as the emulated one has it."""
        return 0 if uid == self._uid else uid

    def gid_inside(self, gid: int) -> int:
        """A group of the real machine, as the emulated one has it."""
        return 0 if gid == self._gid else gid

    def groups_inside(self, tid: int) -> frozenset[int]:
        """Supplementary groups of a thread; none if it cannot be looked at."""
        try:
            with open(f"/proc/{tid}/status", encoding="utf-8", errors="surrogateescape") as file:
                groups = next((line for line in file if line.startswith("Groups:")), "Groups:")
        except OSError:
            return frozenset()
        return frozenset(self.gid_inside(int(word)) for word in groups.split()[1:])

    def as_seen(self, attributes: Attributes) -> Attributes:
        """A node's attributes as the real kernel has to see them, which checks permissions by them."""
        if self.is_root:
            return attributes
        uid, gid = attributes.uid or self._uid, attributes.gid or self._gid
        # Nobody but the real root passes over the root directory's 0555.
        mode = attributes.mode | stat.S_IWUSR if attributes.ino == _TREE_INO else attributes.mode
        return replace(attributes, mode=mode, uid=uid, gid=gid)
