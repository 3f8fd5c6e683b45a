"""What statfs(2) calls the filesystem of the tree, for a command that asks whether it is cgroup2.

A FUSE mount always has the type number of FUSE, and some programs (systemd-cgtop, systemd-oomd, below) look at nothing but that. So the
command is started with a seccomp filter that hands its statfs and fstatfs calls, and those of its children, to a supervisor. That answers
them for the tree and lets all others through. Source: kernel/seccomp.c, seccomp_unotify(2).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import select
import socket
import struct
import threading

CGROUP2_SUPER_MAGIC = 0x63677270

#: Machine: AUDIT_ARCH_*, and the numbers of seccomp, statfs and fstatfs. All have the same struct statfs, with f_type first.
ARCHITECTURES = {"x86_64": (0xC000003E, 317, 137, 138), "aarch64": (0xC00000B7, 277, 43, 44)}
_SIZEOF_STATFS = 120

_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_FILTER_FLAG_NEW_LISTENER = 8
_SECCOMP_RET_USER_NOTIF, _SECCOMP_RET_ALLOW = 0x7FC00000, 0x7FFF0000
_SECCOMP_IOCTL_NOTIF_RECV, _SECCOMP_IOCTL_NOTIF_SEND, _SECCOMP_IOCTL_NOTIF_ID_VALID = 0xC0502100, 0xC0182101, 0x40082102
_USER_NOTIF_FLAG_CONTINUE = 1

_BPF_LD_W_ABS, _BPF_JEQ_K, _BPF_RET_K = 0x20, 0x15, 0x06
_OFFSET_NR, _OFFSET_ARCH = 0, 4

_NOTIFICATION = struct.Struct("=QII iIQ6Q")
_RESPONSE = struct.Struct("=QqiI")
_PATH_MAX = 4096

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def _instruction(code: int, jump_true: int, jump_false: int, value: int) -> bytes:
    """struct sock_filter."""
    return struct.pack("=HBBI", code, jump_true, jump_false, value)


def hand_over_statfs(channel: socket.socket) -> None:
    """Filter this process and what it executes; the supervisor gets the listener through the socket.

    Raises:
        OSError: the kernel or the machine does not have it, or there is a filter with a listener already; nothing is changed then.
    """
    if platform.machine() not in ARCHITECTURES:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    arch, seccomp, statfs, fstatfs = ARCHITECTURES[platform.machine()]
    code = b"".join(
        (
            _instruction(_BPF_LD_W_ABS, 0, 0, _OFFSET_ARCH),
            _instruction(_BPF_JEQ_K, 0, 3, arch),
            _instruction(_BPF_LD_W_ABS, 0, 0, _OFFSET_NR),
            _instruction(_BPF_JEQ_K, 2, 0, statfs),
            _instruction(_BPF_JEQ_K, 1, 0, fstatfs),
            _instruction(_BPF_RET_K, 0, 0, _SECCOMP_RET_ALLOW),
            _instruction(_BPF_RET_K, 0, 0, _SECCOMP_RET_USER_NOTIF),
        )
    )
    program = _Program(len(code) // 8, code)
    listener = _libc.syscall(seccomp, _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_NEW_LISTENER, ctypes.byref(program))
    if listener < 0:
        code_ = ctypes.get_errno()
        raise OSError(code_, f"seccomp: {os.strerror(code_)}")
    socket.send_fds(channel, [b"listener"], [listener])
    os.close(listener)


def supervise(channel: socket.socket, tree: str) -> None:
    """Answer in a thread of this process, from when the listener comes until nobody is filtered any more.

    Args:
        tree: a path in the tree's mount.
    """
    device = os.stat(tree).st_dev
    threading.Thread(target=_serve, args=(channel, device), name="fakecg-statfs", daemon=True).start()


def _serve(channel: socket.socket, device: int) -> None:
    _, descriptors, _, _ = socket.recv_fds(channel, 16, 1)
    channel.close()
    for listener in descriptors:
        poller = select.poll()
        poller.register(listener, select.POLLIN)
        while all(event & select.POLLIN for _, event in poller.poll()):
            _answer(listener, device)
        os.close(listener)


def _answer(listener: int, device: int) -> None:
    notification = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, _SECCOMP_IOCTL_NOTIF_RECV, notification)
    except OSError:  # the caller was killed
        return
    number, pid, _, nr, _, _, first, buffer, *_ = _NOTIFICATION.unpack(notification)
    value, error, flags = 0, 0, _USER_NOTIF_FLAG_CONTINUE
    try:
        answer = _statfs_of_tree(pid, nr, first, device)
        if answer is not None:
            # The caller may be gone, and its pid another's.
            fcntl.ioctl(listener, _SECCOMP_IOCTL_NOTIF_ID_VALID, struct.pack("=Q", number))
            _write_memory(pid, buffer, answer)
            flags = 0
    except OSError:
        pass  # let the kernel say what is wrong
    try:
        fcntl.ioctl(listener, _SECCOMP_IOCTL_NOTIF_SEND, _RESPONSE.pack(number, value, error, flags))
    except OSError:  # the caller was killed meanwhile
        return


def _statfs_of_tree(pid: int, nr: int, first: int, device: int) -> bytes | None:
    """The answer for a file of the tree, None for any other. Raises OSError."""
    _, _, statfs, _ = ARCHITECTURES[platform.machine()]
    path = _path_argument(pid, first) if nr == statfs else f"/proc/{pid}/fd/{first & 0xFFFFFFFF}".encode()
    if os.stat(path).st_dev != device:
        return None
    result = ctypes.create_string_buffer(_SIZEOF_STATFS)
    if _libc.statfs(path, result):
        raise OSError(ctypes.get_errno(), "statfs")
    return struct.pack("=q", CGROUP2_SUPER_MAGIC) + result.raw[8:]


def _path_argument(pid: int, address: int) -> bytes:
    """A path in another process's memory, as this process reaches it."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        # Not beyond the end of the page, which the next one need not follow.
        text = memory.read(_PATH_MAX - address % _PATH_MAX)
        if b"\0" not in text:
            text += memory.read(_PATH_MAX)
    path = text.partition(b"\0")[0]
    base = f"/proc/{pid}/root" if path.startswith(b"/") else f"/proc/{pid}/cwd/"
    return base.encode() + path


def _write_memory(pid: int, address: int, data: bytes) -> None:
    with open(f"/proc/{pid}/mem", "wb", buffering=0) as memory:
        memory.seek(address)
        memory.write(data)
