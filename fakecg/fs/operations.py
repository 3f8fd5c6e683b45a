"""The tree as a filesystem: every operation of the VFS, answered with the kernel's errnos. No transport is known here.

A transport hands in nodes, handles and callers, and turns a ControlError into its way of saying an errno. Permission bits are checked by
the kernel in front of the transport (``default_permissions``). All methods may be called from several threads.

What is left out: O_TMPFILE and rename flags end in the kernel; a file's times do not move on access.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

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
from fakecg.fs.nodes import ROOT_ID, Attributes, CommandFile, Directory, Node, Stale, StaticDir, SystemFile, WallClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from fakecg.cgroup.cftype import Caller
    from fakecg.host import Host

log = logging.getLogger(LOGGER_NAME)

#: The transport's name for the tree's root where that is not the mount's root.
TREE_ROOT_ID = 1 << 47

# Linux poll bits; what a file without notices always reports.
POLLIN, POLLPRI, POLLOUT, POLLERR, POLLRDNORM, POLLWRNORM = 0x1, 0x2, 0x4, 0x8, 0x40, 0x100
READY = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM


class Transport(Protocol):
    """What the operations ask of whoever carries requests."""

    def wake_poll(self, token: int) -> None:
        """Tell the kernel that a polled file changed, and let go of the token."""
        ...

    def drop_poll(self, token: int) -> None:
        """Let go of a token without telling."""
        ...

    def forget_name(self, parent_id: int, name: bytes) -> None:
        """Make the kernel look a name up again: the file is gone."""
        ...

    def forget_attributes(self, node_id: int) -> None:
        """Make the kernel ask for a node's attributes again."""
        ...


@dataclass(frozen=True, slots=True)
class Changes:
    """What setattr changes; None leaves a thing as it is. A size is accepted and ignored."""

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
    """

    def __init__(self, host: Host, *, layout: str = "cgroup", log_text: Callable[[], str] = str) -> None:
        self.host = host
        self.control = Control(host, log_text)
        self.layout = Layout(layout, host.hierarchy.root, self.control, host.system_files)
        self.root = self.layout.root
        self.transport: Transport | None = None
        self.notifier_tid = 0
        self._tree = host.hierarchy.root
        self._faults = self.control.faults
        self._wall = WallClock(host.clock)
        self._nodes: dict[int, Node] = {}
        self._lookups: dict[int, int] = {}
        self._handles: dict[int, Handle | DirectoryHandle] = {}
        self._new_handle = count(1)
        self._table_lock = threading.Lock()
        self._polled: dict[tuple[Cgroup, str], set[FileHandle]] = {}
        self._current = threading.local()
        self.on_vanish: Callable[[Cgroup, bytes], None] | None = None
        host.hierarchy.on_remove.append(self._removed)

    def close(self) -> None:
        """Let go of the host."""
        self.host.hierarchy.on_remove.remove(self._removed)

    # --- nodes by the number the transport knows them by ---

    def id_of(self, node: Node) -> int:
        """The transport's number of a node: its inode number, except for the two roots."""
        if node is self.root:
            return ROOT_ID
        return TREE_ROOT_ID if node is self._tree else node.ino

    def node(self, node_id: int) -> Node:
        """The node behind a number the transport got from lookup.

        Raises:
            Stale: not known (any more) (ESTALE).
        """
        if node_id == ROOT_ID:
            return self.root
        node = self._nodes.get(node_id)
        if node is None:
            raise Stale(f"no node {node_id}")
        return node

    def directory(self, node_id: int) -> Directory:
        """The directory behind a number.

        Raises:
            NotADirectory: a file (ENOTDIR).
        """
        node = self.node(node_id)
        if not isinstance(node, Cgroup | StaticDir):
            raise NotADirectory("a file has no entries")
        return node

    def remember(self, node: Node) -> int:
        """Count one more reference that the transport holds, and return the node's number."""
        node_id = self.id_of(node)
        with self._table_lock:
            self._nodes[node_id] = node
            self._lookups[node_id] = self._lookups.get(node_id, 0) + 1
        return node_id

    def forget(self, node_id: int, nr_lookups: int) -> None:
        """The transport lets go of so many references."""
        with self._table_lock:
            left = self._lookups.get(node_id, 0) - nr_lookups
            if left > 0:
                self._lookups[node_id] = left
            else:
                self._lookups.pop(node_id, None)
                self._nodes.pop(node_id, None)

    def is_known(self, node: Node) -> bool:
        """Whether the transport holds a reference, so that a client may watch the node."""
        node_id = self.id_of(node)
        return node_id == ROOT_ID or node_id in self._nodes

    def _removed(self, parent: Cgroup, name: bytes) -> None:
        removed = getattr(self._current, "removed", None)
        if removed is not None:
            removed.append((parent, name))
        elif self.on_vanish is not None:
            self.on_vanish(parent, name)

    def forget_name(self, parent: Cgroup, name: bytes) -> None:
        """Make the kernel look a name up again. Not from within an operation on the same directory: the kernel holds its lock."""
        if self.transport is not None and self.is_known(parent):
            self.transport.forget_name(self.id_of(parent), name)

    def forget_attributes(self, node: Node) -> None:
        """Make the kernel ask for a node's attributes again."""
        if self.transport is not None and self.is_known(node):
            self.transport.forget_attributes(self.id_of(node))

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
        return self._wall.attributes(node)

    def setattr(self, node: Node, changes: Changes) -> Attributes:
        """chmod, chown, utimensat and truncate; the last does nothing. Kept until the node goes away."""
        with self.host.lock:
            if changes.mode is not None:
                node.mode = stat.S_IMODE(changes.mode)
            if changes.uid is not None:
                node.uid = changes.uid
            if changes.gid is not None:
                node.gid = changes.gid
            if changes != _NO_CHANGES:
                self._wall.set_times(node, changes.atime_ns, changes.mtime_ns)
        return self._wall.attributes(node)

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

    def directory_handle(self, number: int) -> DirectoryHandle:
        """An open directory by its number."""
        return self._handles[number]  # type: ignore[return-value]

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
            self._stop_polling(handle)
        handle.release()

    # --- notices ---

    def poll(self, number: int, token: int | None) -> int:
        """Poll bits that are set now; a token asks to be woken at the next change.

        Source: fs/kernfs/file.c:kernfs_generic_poll.
        """
        handle = self.handle(number)
        if not isinstance(handle, FileHandle):
            if token is not None and self.transport is not None:
                self.transport.drop_poll(token)
            return READY
        if token is not None:
            self._start_polling(handle, token)
        return self.host.poll_events(handle.open_file)

    def _start_polling(self, handle: FileHandle, token: int) -> None:
        with self._table_lock:
            old, handle.poll_token = handle.poll_token, token
            self._polled.setdefault(_notice_key(handle), set()).add(handle)
        if old is not None and self.transport is not None:
            self.transport.drop_poll(old)

    def _stop_polling(self, handle: FileHandle) -> None:
        key = _notice_key(handle)
        with self._table_lock:
            token, handle.poll_token = handle.poll_token, None
            handles = self._polled.get(key)
            if handles is not None:
                handles.discard(handle)
                if not handles:
                    del self._polled[key]
        if token is not None and self.transport is not None:
            self.transport.drop_poll(token)

    def wake(self, cgroup: Cgroup, file_name: str) -> None:
        """Wake everybody who sleeps in poll on an interface file."""
        with self._table_lock:
            handles = self._polled.pop((cgroup, file_name), set())
            tokens = [handle.poll_token for handle in handles if handle.poll_token is not None]
            for handle in handles:
                handle.poll_token = None
        if self.transport is not None:
            for token in tokens:
                self.transport.wake_poll(token)

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


def _notice_key(handle: FileHandle) -> tuple[Cgroup, str]:
    open_file = handle.open_file
    return open_file.css.cgroup, open_file.row.name
