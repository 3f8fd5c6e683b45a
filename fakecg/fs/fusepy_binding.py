"""The mount's transport: libfuse, through the library handle and structure layouts of fusepy (libfuse 2) or mfusepy (libfuse 3).

The low-level interface of the library is used. Its nodes are numbers, so an open directory of a removed cgroup stays that directory, fstat
on it works, and the kernel may remember names until it is told otherwise; with the high-level interface, which works by path, all three
fail. It also lets us receive requests ourselves (serve.py).

A callback computes, replies as its last act, and never raises: a ControlError is replied as its errno; anything else is a bug, logged with
its traceback, counted in ``host.internal_errors`` and replied as EIO.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fakecg.abi.errors import ControlError, UsageError
from fakecg.cgroup.cftype import Caller
from fakecg.fs import wire, xattr
from fakecg.fs.logring import LOGGER_NAME
from fakecg.fs.names import FS_SOURCE
from fakecg.fs.nodes import BLOCK_SIZE, Attributes, Node, is_directory
from fakecg.fs.operations import NAME_MAX, Changes, Operations

if TYPE_CHECKING:
    from fakecg.fs.serve import Server

log = logging.getLogger(LOGGER_NAME)

#: How long the kernel may remember names and attributes of files; we tell it when one goes away. Attributes of directories change on
#: their own (the number of links), so those are asked for again after a second.
VALID_S = 3600
DIRECTORY_VALID_S = 1

EXIT_NO_FUSE = 5


def load_binding() -> ModuleType:
    """The installed Python binding: fusepy, else mfusepy.

    Raises:
        UsageError: neither works, with what to do (exit code 5).
    """
    problems = []
    for name in ("fuse", "mfusepy"):
        try:
            module = __import__(name)
        except ImportError:
            continue
        except OSError as error:  # the binding is there, its library is not
            problems.append(f"{name}: {error}")
            continue
        if hasattr(module, "fuse_file_info") and hasattr(module, "_libfuse"):
            return module
        problems.append(f"{name}: not fusepy")
    reason = "; ".join(problems) or "no Python binding"
    raise UsageError(f"FUSE is missing ({reason}): apt-get install libfuse2 fuse3, pip install fusepy", EXIT_NO_FUSE)


class _Args(ctypes.Structure):
    """struct fuse_args."""

    _fields_ = [("argc", ctypes.c_int), ("argv", ctypes.POINTER(ctypes.c_char_p)), ("allocated", ctypes.c_int)]


class _Context(ctypes.Structure):
    """struct fuse_ctx."""

    _fields_ = [("uid", ctypes.c_uint), ("gid", ctypes.c_uint), ("pid", ctypes.c_int), ("umask", ctypes.c_uint)]


class _Buffer(ctypes.Structure):
    """struct fuse_buf of libfuse 3."""

    _fields_ = [
        ("size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("mem", ctypes.c_void_p),
        ("fd", ctypes.c_int),
        ("pos", ctypes.c_longlong),
    ]


#: struct fuse_lowlevel_ops: all members are function pointers, in this order in libfuse 2.9 and 3.
# fmt: off
_CALLBACKS = (
    "init", "destroy", "lookup", "forget", "getattr", "setattr", "readlink", "mknod",
    "mkdir", "unlink", "rmdir", "symlink", "rename", "link", "open", "read",
    "write", "flush", "release", "fsync", "opendir", "readdir", "releasedir", "fsyncdir",
    "statfs", "setxattr", "getxattr", "listxattr", "removexattr", "access", "create", "getlk",
    "setlk", "bmap", "ioctl", "poll", "write_buf", "retrieve_reply", "forget_multi", "flock",
    "fallocate",
)
# fmt: on


class _Callbacks(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in _CALLBACKS]


# Types of the callbacks' arguments after the request.
_INO = ctypes.c_ulong
_PTR = ctypes.c_void_p
_STR = ctypes.c_char_p
_SIZE = ctypes.c_size_t
_OFF = ctypes.c_longlong
_INT = ctypes.c_int
_MODE = ctypes.c_uint
_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "lookup": (_INO, _STR),
    "forget": (_INO, _INO),
    "forget_multi": (_SIZE, _PTR),
    "getattr": (_INO, _PTR),
    "setattr": (_INO, _PTR, _INT, _PTR),
    "mknod": (_INO, _STR, _MODE, _INO),
    "mkdir": (_INO, _STR, _MODE),
    "unlink": (_INO, _STR),
    "rmdir": (_INO, _STR),
    "symlink": (_STR, _INO, _STR),
    "rename": (_INO, _STR, _INO, _STR),  # libfuse 3 adds flags, which are not looked at
    "link": (_INO, _INO, _STR),
    "open": (_INO, _PTR),
    "read": (_INO, _SIZE, _OFF, _PTR),
    "write": (_INO, _PTR, _SIZE, _OFF, _PTR),
    "release": (_INO, _PTR),
    "opendir": (_INO, _PTR),
    "readdir": (_INO, _SIZE, _OFF, _PTR),
    "releasedir": (_INO, _PTR),
    "statfs": (_INO,),
    "setxattr": (_INO, _STR, _PTR, _SIZE, _INT),
    "getxattr": (_INO, _STR, _SIZE),
    "listxattr": (_INO, _SIZE),
    "removexattr": (_INO, _STR),
    "create": (_INO, _STR, _MODE, _PTR),
    "poll": (_INO, _PTR, _PTR),
}

_SET_MODE, _SET_UID, _SET_GID, _SET_ATIME, _SET_MTIME, _SET_ATIME_NOW, _SET_MTIME_NOW = 1, 2, 4, 16, 32, 128, 256


class FuseMount:
    """A mounted session: a channel for serve.Server and the transport of the operations.

    Args:
        mount_point: an existing directory.
        options: what follows ``-o``, besides those that are always set.
        nonempty: mount over files.

    Raises:
        UsageError: FUSE is missing (exit code 5) or refuses the mount (exit code 1).
    """

    def __init__(self, operations: Operations, mount_point: bytes, options: list[str], *, nonempty: bool = False) -> None:
        binding: Any = load_binding()
        self._operations = operations
        self._host = operations.host
        self._lib = binding._libfuse
        # The same library, called without giving the interpreter away: what never sleeps takes less time than getting it back, which a
        # busy thread would delay by the switch interval.
        self._quick = ctypes.PyDLL(None, handle=self._lib._handle)
        self._major = self._version()
        self._stat = binding.c_stat
        self._statvfs = binding.c_statvfs
        self._file_info = binding.fuse_file_info
        self._fh_offset = binding.fuse_file_info.fh.offset
        self._mount_point = mount_point
        self.server: Server | None = None
        self._declare()
        self._keep: list[Any] = []
        self._callbacks = _Callbacks()
        for name, arguments in _ARGUMENTS.items():
            callback = ctypes.CFUNCTYPE(None, _PTR, *arguments)(self._guard(name, getattr(self, f"_{name}")))
            self._keep.append(callback)
            setattr(self._callbacks, name, ctypes.cast(callback, _PTR).value)
        fixed = ["default_permissions", f"fsname={FS_SOURCE}", "subtype=cgroup2"]
        if nonempty and self._major == 2:  # libfuse 3 never minds
            fixed.append("nonempty")
        argv = [b"fakecg", b"-o", ",".join([*fixed, *options]).encode()]
        self._args = _Args(len(argv), (ctypes.c_char_p * len(argv))(*argv), 0)
        self._mount()
        os.set_blocking(self._fd, False)
        operations.transport = self

    # --- the library ---

    def _version(self) -> int:
        return int(self._lib.fuse_version()) // 10

    def _declare(self) -> None:
        prototypes: dict[str, tuple[Any, tuple[Any, ...]]] = {
            "fuse_reply_err": (_INT, (_PTR, _INT)),
            "fuse_reply_none": (None, (_PTR,)),
            "fuse_reply_write": (_INT, (_PTR, _SIZE)),
            "fuse_reply_buf": (_INT, (_PTR, _STR, _SIZE)),
            "fuse_reply_statfs": (_INT, (_PTR, _PTR)),
            "fuse_reply_xattr": (_INT, (_PTR, _SIZE)),
            "fuse_reply_poll": (_INT, (_PTR, ctypes.c_uint)),
            "fuse_req_ctx": (_PTR, (_PTR,)),
            "fuse_req_interrupted": (_INT, (_PTR,)),
            "fuse_lowlevel_notify_poll": (_INT, (_PTR,)),
            "fuse_pollhandle_destroy": (None, (_PTR,)),
            "fuse_lowlevel_notify_inval_entry": (_INT, (_PTR, _INO, _STR, _SIZE)),
        }
        if self._major == 2:
            prototypes |= {
                "fuse_mount": (_PTR, (_STR, _PTR)),
                "fuse_lowlevel_new": (_PTR, (_PTR, _PTR, _SIZE, _PTR)),
                "fuse_session_add_chan": (None, (_PTR, _PTR)),
                "fuse_chan_fd": (_INT, (_PTR,)),
                "fuse_chan_bufsize": (_SIZE, (_PTR,)),
                "fuse_chan_recv": (_INT, (_PTR, _PTR, _SIZE)),
                "fuse_session_process": (None, (_PTR, _PTR, _SIZE, _PTR)),
                "fuse_session_remove_chan": (None, (_PTR,)),
                "fuse_session_destroy": (None, (_PTR,)),
                "fuse_unmount": (None, (_STR, _PTR)),
            }
        else:
            prototypes |= {
                "fuse_session_new": (_PTR, (_PTR, _PTR, _SIZE, _PTR)),
                "fuse_session_mount": (_INT, (_PTR, _STR)),
                "fuse_session_fd": (_INT, (_PTR,)),
                "fuse_session_receive_buf": (_INT, (_PTR, _PTR)),
                "fuse_session_process_buf": (None, (_PTR, _PTR)),
                "fuse_session_unmount": (None, (_PTR,)),
                "fuse_session_destroy": (None, (_PTR,)),
            }
        for name, (result, arguments) in prototypes.items():
            for library in (self._lib, self._quick):
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments

    def _mount(self) -> None:
        lib, args = self._lib, ctypes.byref(self._args)
        callbacks, size = ctypes.byref(self._callbacks), ctypes.sizeof(self._callbacks)
        with _library_messages() as messages:
            if self._major == 2:
                self._channel = lib.fuse_mount(self._mount_point, args)
                self._session = lib.fuse_lowlevel_new(args, callbacks, size, None) if self._channel else None
                mounted = bool(self._session)
                if self._channel and not mounted:
                    lib.fuse_unmount(self._mount_point, self._channel)
            else:
                self._session = lib.fuse_session_new(args, callbacks, size, None)
                mounted = bool(self._session) and lib.fuse_session_mount(self._session, self._mount_point) == 0
        if not mounted:
            where = os.fsdecode(self._mount_point)
            raise UsageError(f"cannot mount on {where}: {messages.last_line() or 'the FUSE library gives no reason'}", 1)
        if self._major == 2:
            lib.fuse_session_add_chan(self._session, self._channel)
            self._fd = lib.fuse_chan_fd(self._channel)
        else:
            self._channel = self._session  # what notifications are sent through
            self._fd = lib.fuse_session_fd(self._session)

    def fileno(self) -> int:
        """Descriptor that is readable when a request waits."""
        return int(self._fd)

    def make_receiver(self) -> Callable[[], bool | None]:
        """A function for one thread that receives one request and answers it; see serve.Channel."""
        if self._major == 2:
            return self._make_receiver_2()
        lib, session, buffer = self._quick, self._session, ctypes.byref(_Buffer())

        def receive() -> bool | None:
            size = lib.fuse_session_receive_buf(session, buffer)
            if size > 0:
                lib.fuse_session_process_buf(session, buffer)
                return True
            return None if size in _TRY_AGAIN else False

        return receive

    def _make_receiver_2(self) -> Callable[[], bool | None]:
        receive_request, process, session, channel = (
            self._quick.fuse_chan_recv,
            self._quick.fuse_session_process,
            self._session,
            self._channel,
        )
        size = self._lib.fuse_chan_bufsize(channel)
        buffer = ctypes.create_string_buffer(size)
        channel_pointer = ctypes.byref(ctypes.c_void_p(channel))

        def receive() -> bool | None:
            received = receive_request(channel_pointer, buffer, size)
            if received > 0:
                process(session, buffer, received, channel)
                return True
            return None if received in _TRY_AGAIN else False

        return receive

    def unmount(self) -> None:
        """Unmount, also while files are open: their users get ENOTCONN. The server has to be stopped by now."""
        if self._major == 2:
            self._lib.fuse_session_remove_chan(self._channel)
            self._lib.fuse_unmount(self._mount_point, self._channel)
        else:
            self._lib.fuse_session_unmount(self._session)
        self._operations.transport = None
        self._lib.fuse_session_destroy(self._session)

    # --- what the operations ask for ---

    def wake_poll(self, token: int) -> None:
        """Wake a sleeping poll."""
        self._lib.fuse_lowlevel_notify_poll(token)
        self._lib.fuse_pollhandle_destroy(token)

    def drop_poll(self, token: int) -> None:
        """Let go of a poll."""
        self._lib.fuse_pollhandle_destroy(token)

    def forget_name(self, parent_id: int, name: bytes) -> None:
        """Make the kernel look a name up again; it may not know the name at all."""
        self._lib.fuse_lowlevel_notify_inval_entry(self._channel, parent_id, name, len(name))

    # --- callbacks ---

    def _guard(self, name: str, function: Callable[..., None]) -> Callable[..., None]:
        reply_err = self._quick.fuse_reply_err

        def callback(req: int, *arguments: Any) -> None:
            try:
                function(req, *arguments)
            except ControlError as error:
                if log.isEnabledFor(logging.DEBUG):
                    log.debug("%s: %s", name, error)
                reply_err(req, error.errno)
            except BaseException:
                log.exception("bug in %s%s", name, arguments)
                self._host.internal_errors += 1
                reply_err(req, errno.EIO)

        return callback

    def _caller(self, req: int) -> Caller:
        context = _Context.from_address(self._quick.fuse_req_ctx(req))
        return Caller(context.pid, context.uid, context.gid)

    def _handle_number(self, file_info: int) -> int:
        return ctypes.c_uint64.from_address(file_info + self._fh_offset).value

    def _reply_entry(self, req: int, node: Node) -> None:
        node_id = self._operations.remember(node)
        attr_valid_s = DIRECTORY_VALID_S if is_directory(node) else VALID_S
        if self._reply_buf(req, wire.entry_out(node_id, self._operations.attributes(node), VALID_S, attr_valid_s)):
            self._operations.forget(node_id, 1)

    def _reply_attributes(self, req: int, node: Node, attributes: Attributes) -> None:
        self._reply_buf(req, wire.attr_out(attributes, DIRECTORY_VALID_S if is_directory(node) else VALID_S))

    def _reply_handle(self, req: int, number: int, flags: int = 0) -> None:
        if self._reply_buf(req, wire.open_out(number, flags)):
            self._operations.release(number)

    def _reply_buf(self, req: int, data: bytes) -> int:
        """Other than 0 if nobody took the answer: the caller was killed."""
        return int(self._quick.fuse_reply_buf(req, data, len(data)))

    def _lookup(self, req: int, parent: int, name: bytes) -> None:
        self._reply_entry(req, self._operations.lookup(self._operations.directory(parent), name))

    def _forget(self, req: int, node_id: int, nr_lookups: int) -> None:
        self._operations.forget(node_id, nr_lookups)
        self._quick.fuse_reply_none(req)

    def _forget_multi(self, req: int, count: int, pairs: int) -> None:
        numbers = (ctypes.c_uint64 * (2 * count)).from_address(pairs)
        for index in range(0, 2 * count, 2):
            self._operations.forget(numbers[index], numbers[index + 1])
        self._quick.fuse_reply_none(req)

    def _getattr(self, req: int, node_id: int, file_info: int | None) -> None:
        node = self._operations.handle(self._handle_number(file_info)).node if file_info else self._operations.node(node_id)
        self._reply_attributes(req, node, self._operations.attributes(node))

    def _setattr(self, req: int, node_id: int, new: int, what: int, file_info: int | None) -> None:
        node = self._operations.node(node_id)
        values = self._stat.from_address(new)

        def time_of(flag: int, now_flag: int, field: Any) -> int | None:
            if what & now_flag:
                return time.time_ns()
            return field.tv_sec * 1_000_000_000 + field.tv_nsec if what & flag else None

        changes = Changes(
            mode=values.st_mode if what & _SET_MODE else None,
            uid=values.st_uid if what & _SET_UID else None,
            gid=values.st_gid if what & _SET_GID else None,
            atime_ns=time_of(_SET_ATIME, _SET_ATIME_NOW, values.st_atimespec),
            mtime_ns=time_of(_SET_MTIME, _SET_MTIME_NOW, values.st_mtimespec),
        )
        self._reply_attributes(req, node, self._operations.setattr(node, changes))

    def _mkdir(self, req: int, parent: int, name: bytes, mode: int) -> None:
        self._reply_entry(req, self._operations.mkdir(self._operations.directory(parent), name, mode, self._caller(req)))

    def _rmdir(self, req: int, parent: int, name: bytes) -> None:
        self._operations.rmdir(self._operations.directory(parent), name)
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
        number = self._operations.open(self._operations.node(node_id), flags, self._caller(req))
        self._reply_handle(req, number, wire.FOPEN_DIRECT_IO)

    def _read(self, req: int, node_id: int, size: int, offset: int, file_info: int) -> None:
        data = self._operations.read(ctypes.c_uint64.from_address(file_info + self._fh_offset).value, size, offset)
        self._quick.fuse_reply_buf(req, data, len(data))

    def _write(self, req: int, node_id: int, buffer: int, size: int, offset: int, file_info: int) -> None:
        server, is_interrupted = self.server, self._quick.fuse_req_interrupted

        def interrupted() -> bool:
            if server is not None:
                server.may_block()
            return bool(is_interrupted(req))

        number = self._handle_number(file_info)
        taken = self._operations.write(number, ctypes.string_at(buffer, size), self._caller(req), interrupted)
        self._quick.fuse_reply_write(req, taken)

    def _release(self, req: int, node_id: int, file_info: int) -> None:
        self._operations.release(self._handle_number(file_info))
        self._quick.fuse_reply_err(req, 0)

    def _opendir(self, req: int, node_id: int, file_info: int) -> None:
        self._reply_handle(req, self._operations.opendir(self._operations.directory(node_id)))

    def _readdir(self, req: int, node_id: int, size: int, offset: int, file_info: int) -> None:
        answer = bytearray()
        entries = self._operations.directory_handle(self._handle_number(file_info)).entries(offset)
        for index, (name, ino, kind) in enumerate(entries, offset + 1):
            entry = wire.dirent(name, ino, kind, index)
            if len(answer) + len(entry) > size:
                break
            answer += entry
        self._reply_buf(req, bytes(answer))

    _releasedir = _release

    def _statfs(self, req: int, node_id: int) -> None:
        result = self._statvfs()
        result.f_bsize = result.f_frsize = BLOCK_SIZE
        result.f_namemax = NAME_MAX
        self._quick.fuse_reply_statfs(req, ctypes.byref(result))

    def _setxattr(self, req: int, node_id: int, name: bytes, value: int, size: int, flags: int) -> None:
        xattr.set_value(self._operations.node(node_id), name, ctypes.string_at(value, size), flags, self._caller(req))
        self._quick.fuse_reply_err(req, 0)

    def _getxattr(self, req: int, node_id: int, name: bytes, size: int) -> None:
        self._reply_xattr(req, xattr.get(self._operations.node(node_id), name, self._caller(req)), size)

    def _listxattr(self, req: int, node_id: int, size: int) -> None:
        names = xattr.list_names(self._operations.node(node_id), self._caller(req))
        self._reply_xattr(req, b"".join(name + b"\0" for name in names), size)

    def _reply_xattr(self, req: int, value: bytes, size: int) -> None:
        if not size:
            self._quick.fuse_reply_xattr(req, len(value))
        elif len(value) > size:
            self._quick.fuse_reply_err(req, errno.ERANGE)
        else:
            self._reply_buf(req, value)

    def _removexattr(self, req: int, node_id: int, name: bytes) -> None:
        xattr.remove(self._operations.node(node_id), name, self._caller(req))
        self._quick.fuse_reply_err(req, 0)

    def _poll(self, req: int, node_id: int, file_info: int, token: int | None) -> None:
        self._quick.fuse_reply_poll(req, self._operations.poll(self._handle_number(file_info), token))


_TRY_AGAIN = (-errno.EAGAIN, -errno.EINTR, -errno.ENOENT)  # ENOENT: the request was withdrawn before we got it


class _Messages:
    def __init__(self) -> None:
        self.text = ""

    def last_line(self) -> str:
        lines = self.text.strip().splitlines()
        return lines[-1] if lines else ""


@contextmanager
def _library_messages() -> Iterator[_Messages]:
    """Catch what the library prints to standard error: it has no other way to tell why a mount failed."""
    messages = _Messages()
    with tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield messages
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            messages.text = file.read().decode("utf-8", "replace")
