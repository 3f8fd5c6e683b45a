"""The tree as a filesystem: every operation of the VFS, answered with the kernel's errnos. No transport is known here.

A transport hands in nodes, handles and callers, and turns a ControlError into its way of saying an errno. Permission bits are checked by
the kernel in front of the transport (``default_permissions``). All methods may be called from several threads.

What is left out: O_TMPFILE and rename flags end in the kernel.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from fakecg.abi.errors import (
    AccessDenied,
    Busy,
    ControlError,
    InvalidInput,
    IsADirectory,
    NoSuchFile,
    NotADirectory,
    NotPermitted,
)
from fakecg.cgroup.cftype import OpenFile
from fakecg.cgroup.cgroup import Cgroup
from fakecg.cgroup.kernfs import FileNode
from fakecg.fs.control import Control
from fakecg.fs.handles import CommandHandle, DirectoryHandle, FileHandle, Handle, Interrupted, SelfWriteHandle
from fakecg.fs.layout import CONTROL_DIR_NAME, Layout
from fakecg.fs.logring import LOGGER_NAME
from fakecg.fs.node_table import NodeTable
from fakecg.fs.nodes import Attributes, CommandFile, Directory, Entry, Node, Stale, StaticDir, SystemFile, WallClock
from fakecg.fs.poll_table import READY, PollTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from fakecg.cgroup.cftype import Caller
    from fakecg.fs.transport import Transport
    from fakecg.host import Host

log = logging.getLogger(LOGGER_NAME)


@dataclass(frozen=True, slots=True)
class Changes:
    """What setattr changes; None leaves a thing as it is. A size is ignored, but for the times it sets."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


class Operations:
    """One mounted host.

    Attributes:
        transport: set by the binding before the first request.
        notifier_tid: thread whose opens are self-writes, see notify.py; 0 while there is none.
        on_vanish: called with (directory, name), with the host's lock held, for what goes away outside of a request.
        root: the mount's root.
        wall: dates of nodes.
        nodes: what the transport knows.
    """

    def __init__(self, host: Host, *, layout: str = "cgroup", log_text: Callable[[], str] = str) -> None:
        self.host = host
        self.control = Control(host, log_text)
        self.layout = Layout(layout, host.hierarchy.root, host.system_files)
        self.root = self.layout.root
        self.transport: Transport | None = None
        self.notifier_tid = 0
        self._tree = host.hierarchy.root
        self._faults = self.control.faults
        self.wall = WallClock(host.clock)
        self.nodes = NodeTable(self.root, self._tree)
        self._handles: dict[int, Handle | DirectoryHandle] = {}
        self._new_handle = count(1)
        self._polls = PollTable()
        self._current = threading.local()
        self.on_vanish: Callable[[Cgroup, bytes], None] | None = None
        host.hierarchy.on_remove.append(self._removed)

    def close(self) -> None:
        """Let go of the host."""
        self.host.hierarchy.on_remove.remove(self._removed)

    def _removed(self, parent: Cgroup, name: bytes) -> None:
        removed = getattr(self._current, "removed", None)
        if removed is not None:
            removed.append((parent, name))
        elif self.on_vanish is not None:
            self.on_vanish(parent, name)

    def forget_name(self, parent: Cgroup, name: bytes) -> None:
        """Make the kernel look a name up again. Not from within an operation on the same directory: the kernel holds its lock."""
        if self.transport is not None and self.nodes.is_known(parent):
            self.transport.forget_name(self.nodes.id_of(parent), name)

    def forget_attributes(self, node: Node) -> None:
        """Make the kernel ask for a node's attributes again."""
        if self.transport is not None and self.nodes.is_known(node):
            self.transport.forget_attributes(self.nodes.id_of(node))

    # --- names ---

    def lookup(self, parent: Directory, name: bytes) -> Node:
        """The entry of a directory.

        Raises:
            NoSuchFile: no such entry, or the directory was removed (ENOENT).
        """
        if isinstance(parent, StaticDir):
            node = parent.entries.get(name)
            if node is None:
                raise NoSuchFile(f"no file {name!r}")
            return node
        if not parent.online:
            raise NoSuchFile(f"{parent.path()} was removed")
        child = parent.children.get(name)
        if child is not None:
            return child
        if parent is self.root and name == CONTROL_DIR_NAME:
            return self.layout.control_dir
        return parent.lookup_node(name)

    def mkdir(self, parent: Directory, name: bytes, mode: int, caller: Caller) -> Cgroup:
        """Make a cgroup; errors as Hierarchy.mkdir, and EPERM in the mount's own directories."""
        if not isinstance(parent, Cgroup) or (parent is self.root and name == CONTROL_DIR_NAME):
            raise NotPermitted("only cgroups can be made")
        self._inject("mkdir", parent, name)
        return self.host.mkdir_at(parent, name, stat.S_IMODE(mode), caller)

    def rmdir(self, parent: Directory, name: bytes) -> None:
        """Remove a cgroup; errors as Hierarchy.rmdir, ENOTDIR for a file, EPERM for the mount's own directories."""
        node = self.lookup(parent, name)
        if isinstance(node, StaticDir):
            raise NotPermitted("this directory belongs to the mount")
        if not isinstance(node, Cgroup):
            raise NotADirectory(f"{name!r} is an interface file")
        if node is self._tree:
            raise Busy("the root of the tree")
        self._inject("rmdir", node.parent, name)
        self._current.removed = []  # the kernel, which asks for the removal, drops the names by itself
        try:
            self.host.rmdir_at(node)
        finally:
            self._current.removed = None

    def refuse_create(self) -> None:
        """open(O_CREAT) and mknod of a plain file. Source: fs/namei.c:vfs_create without ->create."""
        raise AccessDenied("files cannot be made in a cgroup filesystem")

    def refuse_change(self) -> None:
        """mknod of anything else, symlink, link, rename, unlink. Source: fs/namei.c without the operation; kernfs_iop_rename."""
        raise NotPermitted("names of a cgroup filesystem cannot be changed")

    def mknod(self, mode: int) -> None:
        """Always refused: EACCES for a plain file, EPERM for the rest."""
        if stat.S_IFMT(mode) in (0, stat.S_IFREG):
            self.refuse_create()
        self.refuse_change()

    # --- attributes ---

    def attributes(self, node: Node) -> Attributes:
        """stat(2) of a node, also of a removed one."""
        return self.wall.attributes(node)

    def setattr(self, node: Node, changes: Changes) -> Attributes:
        """chmod, chown, utimensat, truncate and O_TRUNC; of the last two only the times remain. Kept until the node goes away."""
        with self.host.lock:
            if changes.mode is not None:
                node.mode = stat.S_IMODE(changes.mode)
            if changes.uid is not None:
                node.uid = changes.uid
            if changes.gid is not None:
                node.gid = changes.gid
            if changes != _NO_CHANGES:
                self.wall.set_times(node, changes.atime_ns, changes.mtime_ns)
        return self.wall.attributes(node)

    # --- open files ---

    def open(self, node: Node, flags: int, caller: Caller) -> int:
        """Open a file; returns the number of the handle.

        Raises:
            InvalidInput: O_DIRECT (EINVAL).
            IsADirectory: a directory (EISDIR).
            Stale: the file is gone; the kernel looks the path up again (ESTALE).
        """
        if flags & os.O_DIRECT:
            raise InvalidInput("O_DIRECT")
        handle: Handle
        if isinstance(node, FileNode):
            if caller.tid == self.notifier_tid and caller.tid:
                handle = SelfWriteHandle(node)
            else:
                if self._faults:
                    self._inject("open", node.cgroup, node.row.name.encode())
                # The host's lock is not needed: a node says in one look whether its file is still there.
                if not node.active:
                    raise Stale(f"{node.row.name} is gone")
                css: Any = node.css  # a cgroup stands in for the css of the core's own files
                handle = FileHandle(self.host, node, OpenFile(node.row, css, caller, caller, flags))
        elif isinstance(node, SystemFile):
            handle = FileHandle(self.host, node, self.host.open_system_file(node.path, caller))
        elif isinstance(node, CommandFile):
            handle = CommandHandle(self.control, node)
        else:
            raise IsADirectory("a directory is not read as a file")
        return self._add_handle(handle)

    def opendir(self, node: Directory) -> int:
        """Open a directory; returns the number of the handle."""
        parent = getattr(node, "parent", None) or node
        dots = [(b".", node.ino, stat.S_IFDIR), (b"..", parent.ino, stat.S_IFDIR)]
        return self._add_handle(DirectoryHandle(node, dots))

    def _add_handle(self, handle: Handle | DirectoryHandle) -> int:
        number = next(self._new_handle)
        self._handles[number] = handle
        return number

    def handle(self, number: int) -> Handle:
        """An open file by its number."""
        return self._handles[number]  # type: ignore[return-value]  # the kernel never mixes files and directories

    def readdir(self, number: int, index: int) -> list[Entry]:
        """Entries of an open directory from a position on, see DirectoryHandle.entries."""
        handle: DirectoryHandle = self._handles[number]  # type: ignore[assignment]
        if index == 0:
            with self.host.lock:
                self.wall.accessed(handle.node)
        return handle.entries(index)

    def read(self, number: int, size: int, offset: int) -> bytes:
        """Part of a file's text; errors as Handle.read."""
        handle = self.handle(number)
        if self._faults:
            self._inject_handle("read", handle)
        return handle.read(size, offset)

    def write(self, number: int, data: bytes, caller: Caller, interrupted: Interrupted) -> int:
        """One write, whole; errors as Host.write. What vanished through it is looked up anew from then on."""
        handle = self.handle(number)
        if self._faults:
            self._inject_handle("write", handle)
        removed: list[tuple[Cgroup, bytes]] = []
        self._current.removed = removed
        try:
            return handle.write(data, caller, interrupted)
        finally:
            self._current.removed = None
            if removed and self.transport is not None:
                interrupted()  # others are served meanwhile: the kernel locks the directory to drop a name
                for parent, name in removed:
                    self.forget_name(parent, name)

    def release(self, number: int) -> None:
        """The last descriptor of an open file is closed."""
        handle = self._handles.pop(number, None)
        if not isinstance(handle, Handle):
            return
        if isinstance(handle, FileHandle) and handle.poll_token is not None:
            self._drop_poll(self._polls.stop(handle))
        handle.release()

    # --- notices ---

    def poll(self, number: int, token: int | None) -> int:
        """Poll bits that are set now; a token asks to be woken at the next change.

        Source: fs/kernfs/file.c:kernfs_generic_poll.
        """
        handle = self.handle(number)
        if not isinstance(handle, FileHandle):
            self._drop_poll(token)
            return READY
        if token is not None:
            self._drop_poll(self._polls.start(handle, token))
        return self.host.poll_events(handle.open_file)

    def wake(self, cgroup: Cgroup, file_name: str) -> None:
        """Wake everybody who sleeps in poll on an interface file."""
        tokens = self._polls.take((cgroup, file_name))
        if self.transport is not None:
            for token in tokens:
                self.transport.wake_poll(token)

    def _drop_poll(self, token: int | None) -> None:
        if token is not None and self.transport is not None:
            self.transport.drop_poll(token)

    # --- faults on demand ---

    def _inject(self, operation: str, cgroup: Cgroup | None, name: bytes) -> None:
        if self._faults and cgroup is not None:
            try:
                self._faults.check(operation, cgroup.path().rstrip("/") + "/" + os.fsdecode(name))
            except ControlError as error:
                self.host.last_error = error.reason
                raise

    def _inject_handle(self, operation: str, handle: Handle) -> None:
        node = handle.node
        if isinstance(node, FileNode):
            self._inject(operation, node.cgroup, node.row.name.encode())


_NO_CHANGES = Changes()
