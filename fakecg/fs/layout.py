"""Where things are in a mount.

Layout ``cgroup``: the mount's root is the tree's root, with one unlisted entry ``.fakecg``. Layout ``sysroot``: the mount looks like the
root of a machine, with the tree at ``sys/fs/cgroup`` and the companion files where tools expect them below a root directory of their
choice. In both, ``.fakecg`` holds the control files and the companion files of /proc and /sys.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from fakecg.abi.errors import UsageError
from fakecg.fs.control import COMMANDS
from fakecg.fs.names import CONTROL_DIR, LAYOUTS, TREE_PATH
from fakecg.fs.nodes import FIRST_STATIC_INO, CommandFile, Node, StaticDir, SystemFile

if TYPE_CHECKING:
    from fakecg.cgroup.cftype import ControlFile
    from fakecg.cgroup.cgroup import Cgroup

CONTROL_DIR_NAME = CONTROL_DIR.encode()


class Layout:
    """The fixed part of a mount.

    Attributes:
        root: the mount's root.
        control_dir: the directory ``.fakecg``.
        tree_path: where the tree's root is, relative to the mount's root; empty in layout ``cgroup``.
    """

    def __init__(self, name: str, tree: Cgroup, system_files: dict[str, ControlFile]) -> None:
        if name not in LAYOUTS:
            raise UsageError(f"unknown layout {name!r} (known: {', '.join(LAYOUTS)})")
        self._inos = count(FIRST_STATIC_INO)
        self._tree = tree
        self.control_dir = self._directory()
        for command in COMMANDS:
            self.control_dir.entries[command.name.encode()] = CommandFile(next(self._inos), command)
        self._add_system_files(self.control_dir, system_files)
        self.root: Node = tree
        self.tree_path = ""
        if name == "sysroot":
            root = self._directory()
            self._add_system_files(root, system_files)
            self._place(root, TREE_PATH, tree)
            root.entries[CONTROL_DIR_NAME] = self.control_dir
            root.unlisted = frozenset({CONTROL_DIR_NAME})
            self.root = root
            self.tree_path = TREE_PATH

    def _directory(self) -> StaticDir:
        return StaticDir(next(self._inos))

    def _add_system_files(self, top: StaticDir, system_files: dict[str, ControlFile]) -> None:
        for path, row in system_files.items():
            self._place(top, path.strip("/"), SystemFile(next(self._inos), row, path))

    def _place(self, top: StaticDir, path: str, node: Node) -> None:
        *parents, name = path.encode().split(b"/")
        directory = top
        for parent in parents:
            child = directory.entries.setdefault(parent, self._directory())
            assert isinstance(child, StaticDir), path
            directory = child
        directory.entries[name] = node
