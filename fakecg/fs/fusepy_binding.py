"""The mount's transport: libfuse, through the library handle and structure layouts of fusepy (libfuse 2) or mfusepy (libfuse 3).

The low-level interface of the library is used. Its nodes are numbers, so an open directory of a removed cgroup stays that directory, fstat
on it works, and the kernel may remember names until it is told otherwise; with the high-level interface, which works by path, all three
fail. It also lets us receive requests ourselves (serve.py).
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from typing import Any

from fakecg.abi.errors import UsageError
from fakecg.fs.callbacks import Callbacks
from fakecg.fs.library import ARGUMENTS, Args, Buffer, CallbackTable, declare_prototypes, library_messages, load_binding
from fakecg.fs.names import FS_SOURCE
from fakecg.fs.operations import Operations


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
        declare_prototypes((self._lib, self._quick), self._major)
        self.callbacks = Callbacks(operations, self._quick, binding)
        self._keep: list[Any] = []
        self._table = CallbackTable()
        for name, arguments in ARGUMENTS.items():
            callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *arguments)(self.callbacks.function(name))
            self._keep.append(callback)
            setattr(self._table, name, ctypes.cast(callback, ctypes.c_void_p).value)
        fixed = ["default_permissions", f"fsname={FS_SOURCE}", "subtype=cgroup2"]
        if nonempty and self._major == 2:  # libfuse 3 never minds
            fixed.append("nonempty")
        argv = [b"fakecg", b"-o", ",".join([*fixed, *options]).encode()]
        self._args = Args(len(argv), (ctypes.c_char_p * len(argv))(*argv), 0)
        self._mount()
        os.set_blocking(self._fd, False)
        operations.transport = self

    # --- the library ---

    def _version(self) -> int:
        return int(self._lib.fuse_version()) // 10

    def _mount(self) -> None:
        lib, args = self._lib, ctypes.byref(self._args)
        table, size = ctypes.byref(self._table), ctypes.sizeof(self._table)
        with library_messages() as messages:
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
        lib, session, buffer = self._quick, self._session, ctypes.byref(Buffer())

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
