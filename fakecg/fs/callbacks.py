"""What is done for each request of the kernel: ask the operations, pack the answer, reply.

A callback computes, replies as its last act, and never raises: a ControlError is replied as its errno; anything else is a bug, logged with
its traceback, counted in ``host.internal_errors`` and replied as EIO.

Requests and structures come as addresses of the FUSE library; nothing here depends on which library it is.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import stat
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fakecg.abi.errors import ControlError
from fakecg.cgroup.cftype import Caller
from fakecg.cgroup.kernfs import FileNode
from fakecg.fs import wire, xattr
from fakecg.fs.library import Context
from fakecg.fs.logring import LOGGER_NAME
from fakecg.fs.mounter import Mounter
from fakecg.fs.nodes import Attributes, Node, is_directory
from fakecg.fs.operations import Changes, Operations

if TYPE_CHECKING:
    from types import ModuleType

log = logging.getLogger(LOGGER_NAME)

#: How long the kernel may remember names and attributes of files, seconds; we tell it when one goes away. Attributes of directories change
#: on their own (the number of links), so those are asked for again after a second.
VALID_S = 3600
DIRECTORY_VALID_S = 1

_SET_MODE, _SET_UID, _SET_GID, _SET_SIZE, _SET_ATIME, _SET_MTIME, _SET_ATIME_NOW, _SET_MTIME_NOW = 1, 2, 4, 8, 16, 32, 128, 256


class Callbacks:
    """The callbacks, as methods named like them.

    Args:
        library: the FUSE library, with prototypes declared.
        binding: whose layouts of ``struct stat`` and ``struct fuse_file_info`` are used.

    Attributes:
        may_block: called by a request that may take long, see serve.Server.
        is_stopping: whether the mount is about to go, which ends long writes as a signal does.
    """

    def __init__(self, operations: Operations, library: Any, binding: ModuleType | Any) -> None:
        self._operations = operations
        self._nodes = operations.nodes
        self._host = operations.host
        self._quick = library
        self._stat = binding.c_stat
        self._file_info = binding.fuse_file_info
        self._fh_offset = binding.fuse_file_info.fh.offset
        self.may_block: Callable[[], None] = lambda: None
        self.is_stopping: Callable[[], bool] = lambda: False
        self._owner = Mounter()

    def function(self, name: str) -> Callable[..., None]:
        """A callback that never raises."""
        return self._guard(name, getattr(self, f"_{name}"))

    def _guard(self, name: str, function: Callable[..., None]) -> Callable[..., None]:
        reply_err = self._quick.fuse_reply_err

        def callback(req: int, *arguments: Any) -> None:
            try:
                function(req, *arguments)
            except ControlError as error:
                if log.isEnabledFor(logging.DEBUG):
                    log.debug("%s: %s", name, error)
                reply_err(req, error.errno)
            except BaseException as error:
                error.add_note(f"in the FUSE operation {name}{arguments}")
                self._host.report_bug(error)
                reply_err(req, errno.EIO)

        return callback

    def _caller(self, req: int) -> Caller:
        context = Context.from_address(self._quick.fuse_req_ctx(req))
        return Caller(context.pid, self._owner.uid_inside(context.uid), self._owner.gid_inside(context.gid))

    def _handle_number(self, file_info: int) -> int:
        return ctypes.c_uint64.from_address(file_info + self._fh_offset).value

    def _reply_entry(self, req: int, node: Node) -> None:
        node_id = self._nodes.remember(node)
        attr_valid_s = DIRECTORY_VALID_S if is_directory(node) else VALID_S
        if self._reply_buf(req, wire.entry_out(node_id, self._owner.as_seen(self._operations.attributes(node)), VALID_S, attr_valid_s)):
            self._nodes.forget(node_id, 1)

    def _reply_attributes(self, req: int, node: Node, attributes: Attributes) -> None:
        self._reply_buf(req, wire.attr_out(self._owner.as_seen(attributes), DIRECTORY_VALID_S if is_directory(node) else VALID_S))

    def _reply_handle(self, req: int, number: int, flags: int = 0) -> None:
        if self._reply_buf(req, wire.open_out(number, flags)):
            self._operations.release(number)

    def _reply_buf(self, req: int, data: bytes) -> int:
        """Other than 0 if nobody took the answer: the caller was killed."""
        return int(self._quick.fuse_reply_buf(req, data, len(data)))

    def _lookup(self, req: int, parent: int, name: bytes) -> None:
        self._reply_entry(req, self._operations.lookup(self._nodes.directory(parent), name))

    def _forget(self, req: int, node_id: int, nr_lookups: int) -> None:
        self._nodes.forget(node_id, nr_lookups)
        self._quick.fuse_reply_none(req)

    def _forget_multi(self, req: int, count: int, pairs: int) -> None:
        numbers = (ctypes.c_uint64 * (2 * count)).from_address(pairs)
        for index in range(0, 2 * count, 2):
            self._nodes.forget(numbers[index], numbers[index + 1])
        self._quick.fuse_reply_none(req)

    def _getattr(self, req: int, node_id: int, file_info: int | None) -> None:
        node = self._operations.handle(self._handle_number(file_info)).node if file_info else self._nodes.node(node_id)
        attributes = self._operations.attributes(node)
        if not self._owner.is_root and self._caller(req).tid == self._operations.notifier_tid:
            # The notifier writes to files that only root may open for writing: let it, this once.
            self._reply_buf(req, wire.attr_out(self._owner.as_seen(replace(attributes, mode=attributes.mode | stat.S_IWUSR)), 0))
            return
        self._reply_attributes(req, node, attributes)

    def _setattr(self, req: int, node_id: int, new: int, what: int, file_info: int | None) -> None:
        node = self._nodes.node(node_id)
        values = self._stat.from_address(new)

        def time_of(flag: int, now_flag: int, field: Any) -> int | None:
            if what & now_flag:
                return self._operations.wall.now_ns()
            return field.tv_sec * 1_000_000_000 + field.tv_nsec if what & flag else None

        changes = Changes(
            mode=values.st_mode if what & _SET_MODE else None,
            uid=self._owner.uid_inside(values.st_uid) if what & _SET_UID else None,
            gid=self._owner.gid_inside(values.st_gid) if what & _SET_GID else None,
            atime_ns=time_of(_SET_ATIME, _SET_ATIME_NOW, values.st_atimespec),
            mtime_ns=time_of(_SET_MTIME, _SET_MTIME_NOW | _SET_SIZE, values.st_mtimespec),
        )
        self._reply_attributes(req, node, self._operations.setattr(node, changes))

    def _mkdir(self, req: int, parent: int, name: bytes, mode: int) -> None:
        self._reply_entry(req, self._operations.mkdir(self._nodes.directory(parent), name, mode, self._caller(req)))

    def _rmdir(self, req: int, parent: int, name: bytes) -> None:
        self._operations.rmdir(self._nodes.directory(parent), name)
        self._quick.fuse_reply_err(req, 0)

    def _create(self, req: int, parent: int, name: bytes, mode: int, file_info: int) -> None:
        self._operations.refuse_create()

    def _mknod(self, req: int, parent: int, name: bytes, mode: int, device: int) -> None:
        self._operations.mknod(mode)

    def _unlink(self, req: int, parent: int, name: bytes) -> None:
        self._operations.refuse_change()

    def _symlink(self, req: int, target: bytes, parent: int, name: bytes) -> None:
        self._operations.refuse_change()

    def _rename(self, req: int, parent: int, name: bytes, new_parent: int, new_name: bytes) -> None:
        self._operations.refuse_change()

    def _link(self, req: int, node_id: int, new_parent: int, new_name: bytes) -> None:
        self._operations.refuse_change()

    def _open(self, req: int, node_id: int, file_info: int) -> None:
        flags = self._file_info.from_address(file_info).flags
        node, caller = self._nodes.node(node_id), self._caller(req)
        if isinstance(node, FileNode) and node.row.is_list and not caller.is_root:
            caller = replace(caller, groups=self._owner.groups_inside(caller.tid))
        number = self._operations.open(node, flags, caller)
        self._reply_handle(req, number, wire.FOPEN_DIRECT_IO)

    def _read(self, req: int, node_id: int, size: int, offset: int, file_info: int) -> None:
        data = self._operations.read(ctypes.c_uint64.from_address(file_info + self._fh_offset).value, size, offset)
        self._quick.fuse_reply_buf(req, data, len(data))

    def _write(self, req: int, node_id: int, buffer: int, size: int, offset: int, file_info: int) -> None:
        may_block, is_interrupted, is_stopping = self.may_block, self._quick.fuse_req_interrupted, self.is_stopping

        def interrupted() -> bool:
            may_block()
            return bool(is_interrupted(req)) or is_stopping()

        number = self._handle_number(file_info)
        taken = self._operations.write(number, ctypes.string_at(buffer, size), self._caller(req), interrupted)
        self._quick.fuse_reply_write(req, taken)

    def _release(self, req: int, node_id: int, file_info: int) -> None:
        self._operations.release(self._handle_number(file_info))
        self._quick.fuse_reply_err(req, 0)

    def _opendir(self, req: int, node_id: int, file_info: int) -> None:
        self._reply_handle(req, self._operations.opendir(self._nodes.directory(node_id)))

    def _readdir(self, req: int, node_id: int, size: int, offset: int, file_info: int) -> None:
        answer = bytearray()
        entries = self._operations.readdir(self._handle_number(file_info), offset)
        for index, (name, ino, kind) in enumerate(entries, offset + 1):
            entry = wire.dirent(name, ino, kind, index)
            if len(answer) + len(entry) > size:
                break
            answer += entry
        self._reply_buf(req, bytes(answer))

    _releasedir = _release

    def _statfs(self, req: int, node_id: int) -> None:
        self._reply_buf(req, wire.statfs_out())

    def _setxattr(self, req: int, node_id: int, name: bytes, value: int, size: int, flags: int) -> None:
        node = self._nodes.node(node_id)
        xattr.set_value(node, name, ctypes.string_at(value, size), flags, self._caller(req))
        self._operations.wall.keep_times(node)
        self._quick.fuse_reply_err(req, 0)

    def _getxattr(self, req: int, node_id: int, name: bytes, size: int) -> None:
        self._reply_xattr(req, xattr.get(self._nodes.node(node_id), name, self._caller(req)), size)

    def _listxattr(self, req: int, node_id: int, size: int) -> None:
        node = self._nodes.node(node_id)
        names = xattr.list_names(node, self._caller(req))
        if node.times_ns is None:
            self._operations.wall.keep_times(node)
            self._operations.forget_attributes(node)
        self._reply_xattr(req, b"".join(name + b"\0" for name in names), size)

    def _reply_xattr(self, req: int, value: bytes, size: int) -> None:
        if not size:
            self._quick.fuse_reply_xattr(req, len(value))
        elif len(value) > size:
            self._quick.fuse_reply_err(req, errno.ERANGE)
        else:
            self._reply_buf(req, value)

    def _removexattr(self, req: int, node_id: int, name: bytes) -> None:
        xattr.remove(self._nodes.node(node_id), name, self._caller(req))
        self._quick.fuse_reply_err(req, 0)

    def _poll(self, req: int, node_id: int, file_info: int, token: int | None) -> None:
        self._quick.fuse_reply_poll(req, self._operations.poll(self._handle_number(file_info), token))
