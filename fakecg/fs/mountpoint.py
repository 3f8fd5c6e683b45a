"""Mount points: what is mounted where, may we mount here, and how to get rid of a mount."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TypeVar

from fakecg.abi.errors import UsageError
from fakecg.fs.names import CONTROL_DIR, FS_SOURCE

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_BUSY = 3
EXIT_STALE = 4

MNT_FORCE = 1
MNT_DETACH = 2
#: For so long after a change the server itself may have the changed file open, to tell inotify.
_OWN_USE_S = 0.5
#: A server that says nothing for so long is taken for one that never will.
ANSWER_WAIT_S = 3.0

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of /proc/self/mountinfo."""

    mount_point: str
    fs_type: str
    source: str


def mount_table() -> list[MountEntry]:
    """What is mounted in this mount namespace, oldest first. Source: fs/proc_namespace.c:show_mountinfo."""
    entries = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            fs_type, source = right.split(" ")[:2]
            entries.append(MountEntry(_unescape(left.split(" ")[4]), fs_type, _unescape(source)))
    return entries


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)


def find_mount(mount_point: str) -> MountEntry | None:
    """The topmost mount on a directory; None if there is none."""
    path = _canonical(mount_point)
    found = [entry for entry in mount_table() if entry.mount_point == path]
    return found[-1] if found else None


def _canonical(mount_point: str) -> str:
    # realpath would ask a stale mount; resolve the directory it is in instead.
    parent, name = os.path.split(os.path.abspath(mount_point))
    return os.path.join(os.path.realpath(parent), name)


def is_stale(mount_point: str) -> bool:
    """Whether the server of the mount is gone; one that does not answer is not."""

    def ask() -> bool:
        try:
            os.statvfs(mount_point)  # stat may be answered from what the kernel remembers
        except OSError as error:
            return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
        return False

    return bool(_wait_for_answer(ask))


def _wait_for_answer(ask: Callable[[], Answer]) -> Answer | None:
    """What a server says; None if it says nothing for long, being stopped for example. Who asks it could not even be interrupted."""
    answers: SimpleQueue[Answer] = SimpleQueue()
    threading.Thread(target=lambda: answers.put(ask()), name="fakecg-ask", daemon=True).start()
    with contextlib.suppress(Empty):
        return answers.get(timeout=ANSWER_WAIT_S)
    return None


def prepare(mount_point: str, *, replace: bool = False, nonempty: bool = False) -> str:
    """Check that something can be mounted here; returns the absolute path.

    Args:
        replace: unmount a stale mount first.
        nonempty: the directory may hold files.

    Raises:
        UsageError: not a directory (exit code 2), busy or not empty (3), stale (4).
    """
    if is_stale(mount_point):
        if not replace:
            raise UsageError(f"{mount_point} is a stale mount, its server is gone: 'fakecg umount {mount_point}', or --replace", EXIT_STALE)
        detach(mount_point)
    if not os.path.isdir(mount_point):
        what = "is not a directory" if os.path.lexists(mount_point) else "does not exist"
        raise UsageError(f"mount point {mount_point} {what}", EXIT_USAGE)
    entry = find_mount(mount_point)
    if entry is not None:
        raise UsageError(f"{mount_point} is busy: {entry.source} ({entry.fs_type}) is mounted there", EXIT_BUSY)
    if not nonempty and os.listdir(mount_point):
        raise UsageError(f"{mount_point} is not empty: choose an empty directory, or -o nonempty", EXIT_BUSY)
    return _canonical(mount_point)


def _umount(mount_point: str, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(mount_point), flags):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), mount_point)


def _fusermount(mount_point: str, *, lazy: bool) -> None:
    tool = shutil.which("fusermount3") or shutil.which("fusermount")
    if tool is None:
        raise UsageError("fusermount is missing: apt-get install fuse3", 5)
    result = subprocess.run([tool, "-uz" if lazy else "-u", "--", mount_point], capture_output=True, text=True, check=False)
    if result.returncode:
        code = errno.EBUSY if "busy" in result.stderr else errno.EPERM
        raise OSError(code, result.stderr.strip(), mount_point)


def _unmount(mount_point: str, *, lazy: bool) -> None:
    try:
        _umount(mount_point, MNT_DETACH if lazy else 0)
    except PermissionError:
        _fusermount(mount_point, lazy=lazy)


def detach(mount_point: str) -> None:
    """Unmount now, even while files are open.

    Raises:
        UsageError: not allowed (exit code 1).
    """
    try:
        _unmount(mount_point, lazy=True)
    except OSError as error:
        raise UsageError(f"cannot unmount {mount_point}: {error.strerror}", EXIT_FAILURE) from None


def abort(mount_point: str) -> None:
    """Unmount a mount of ours that is not served any more, in use or not; who waits for an answer gets ECONNABORTED if we are root.

    Source: fs/namespace.c:do_umount, fs/fuse/inode.c:fuse_umount_begin.

    Raises:
        UsageError: not allowed (exit code 1).
    """
    with contextlib.suppress(OSError):
        _umount(mount_point, MNT_FORCE | MNT_DETACH)
        return
    detach(mount_point)


def sweep(directory: str, prefix: str) -> None:
    """Unmount and remove what processes that were killed have left: stale mounts of ours on directories of this name in a directory."""
    directory = os.path.realpath(directory)
    for entry in mount_table():
        parent, name = os.path.split(entry.mount_point)
        if entry.source == FS_SOURCE and parent == directory and name.startswith(prefix) and is_stale(entry.mount_point):
            with contextlib.suppress(UsageError, OSError):  # somebody else's, or another process was faster
                detach(entry.mount_point)
                os.rmdir(entry.mount_point)


def server_pid(mount_point: str) -> int | None:
    """Process that serves a mount of ours; None if it does not answer."""

    def ask() -> int | None:
        try:
            with open(os.path.join(mount_point, CONTROL_DIR, "pid"), encoding="ascii") as file:
                return int(file.read())
        except (OSError, ValueError):
            return None

    return _wait_for_answer(ask)


def unmount(mount_point: str, *, lazy: bool = False, wait_s: float = 10) -> None:
    """Unmount a mount of ours and wait for its server to end.

    Raises:
        UsageError: nothing of ours is mounted there or no permission (exit code 1), in use (3).
    """
    entry = find_mount(mount_point)
    if entry is None:
        raise UsageError(f"nothing is mounted on {mount_point}", EXIT_FAILURE)
    if entry.source != FS_SOURCE:
        raise UsageError(f"{mount_point} is not ours: {entry.source} ({entry.fs_type}) is mounted there", EXIT_FAILURE)
    pid = None if lazy else server_pid(mount_point)
    patient_until = time.monotonic() + _OWN_USE_S
    while True:
        try:
            _unmount(mount_point, lazy=lazy)
            break
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise UsageError(f"cannot unmount {mount_point}: {error.strerror}", EXIT_FAILURE) from None
            if time.monotonic() > patient_until:
                raise UsageError(f"{mount_point} is in use: close its files and leave its directories, or --lazy", EXIT_BUSY) from None
        time.sleep(0.02)
    deadline = time.monotonic() + wait_s
    while pid is not None and is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False
