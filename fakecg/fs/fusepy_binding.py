"""The mount's transport: libfuse, through the library handle and structure layouts of fusepy (libfuse 2) or mfusepy (libfuse 3).

The low-level interface of the library is used. Its nodes are numbers, so an open directory of a removed cgroup stays that directory, fstat
on it works, and the kernel may remember names until it is told otherwise; with the high-level interface, which works by path, all three
fail. It also lets us receive requests ourselves (serve.py).
"""

from __future__ import annotations

import ctypes
import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fakecg.abi.errors import UsageError
from fakecg.fs.callbacks import ARGUMENTS, Callbacks
from fakecg.fs.names import FS_SOURCE
from fakecg.fs.operations import Operations

if TYPE_CHECKING:
    pass


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
        if not hasattr(module, "fuse_file_info") or not hasattr(module, "_libfuse"):
            problems.append(f"{name}: not fusepy")
        elif name == "fuse" and module._libfuse.fuse_version() >= 30:
            problems.append("fusepy works with libfuse 2 only, for libfuse 3 there is mfusepy")
        else:
            return module
    reason = "; ".join(problems) or "no Python binding"
    raise UsageError(f"FUSE is missing ({reason}): apt-get install libfuse2 fuse3, pip install fusepy", EXIT_NO_FUSE)


class _Args(ctypes.Structure):
    """struct fuse_args."""

    _fields_ = [("argc", ctypes.c_int), ("argv", ctypes.POINTER(ctypes.c_char_p)), ("allocated", ctypes.c_int)]


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


_PTR, _STR, _SIZE, _INT, _INO = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_ulong


class _CallbackTable(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in _CALLBACKS]


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
        self._lib = binding._libfuse
        # The same library, called without giving the interpreter away: what never sleeps takes less time than getting it back, which a
        # busy thread would delay by the switch interval.
        self._quick = ctypes.PyDLL(None, handle=self._lib._handle)
        self._major = self._version()
        self._mount_point = mount_point
        self._declare()
        self.callbacks = Callbacks(operations, self._quick, binding)
        self._keep: list[Any] = []
        self._table = _CallbackTable()
        for name, arguments in ARGUMENTS.items():
            callback = ctypes.CFUNCTYPE(None, _PTR, *arguments)(self.callbacks.function(name))
            self._keep.append(callback)
            setattr(self._table, name, ctypes.cast(callback, _PTR).value)
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
            "fuse_reply_xattr": (_INT, (_PTR, _SIZE)),
            "fuse_reply_poll": (_INT, (_PTR, ctypes.c_uint)),
            "fuse_req_ctx": (_PTR, (_PTR,)),
            "fuse_req_interrupted": (_INT, (_PTR,)),
            "fuse_lowlevel_notify_poll": (_INT, (_PTR,)),
            "fuse_pollhandle_destroy": (None, (_PTR,)),
            "fuse_lowlevel_notify_inval_entry": (_INT, (_PTR, _INO, _STR, _SIZE)),
            "fuse_lowlevel_notify_inval_inode": (_INT, (_PTR, _INO, ctypes.c_longlong, ctypes.c_longlong)),
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
        table, size = ctypes.byref(self._table), ctypes.sizeof(self._table)
        with _library_messages() as messages:
            if self._major == 2:
                self._channel = lib.fuse_mount(self._mount_point, args)
                self._session = lib.fuse_lowlevel_new(args, table, size, None) if self._channel else None
                mounted = bool(self._session)
                if self._channel and not mounted:
                    lib.fuse_unmount(self._mount_point, self._channel)
            else:
                self._session = lib.fuse_session_new(args, table, size, None)
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

    def forget_attributes(self, node_id: int) -> None:
        """Make the kernel ask for a node's attributes again."""
        self._lib.fuse_lowlevel_notify_inval_inode(self._channel, node_id, -1, 0)

    def forget_name(self, parent_id: int, name: bytes) -> None:
        """Make the kernel look a name up again; it may not know the name at all."""
        self._lib.fuse_lowlevel_notify_inval_entry(self._channel, parent_id, name, len(name))


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
