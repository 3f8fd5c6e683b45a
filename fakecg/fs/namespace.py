"""Private mount, process and user namespaces, in which a command meets the emulated tree where it expects a real one.

System calls that Python 3.11 does not offer are made through the C library.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fakecg.abi.errors import UsageError
from fakecg.fs.mountpoint import MNT_DETACH, mount_table
from fakecg.fs.names import CONTROL_DIR

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18

_PR_SET_PDEATHSIG = 1
_AT_FDCWD = -100
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT = 428, 429  # the same numbers on every architecture
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4

CGROUP_DIR = "/sys/fs/cgroup"

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def unshare(flags: int) -> None:
    """unshare(2); raises OSError."""
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, fs_type: str | None, flags: int = 0) -> None:
    """mount(2); raises OSError."""
    kind = None if fs_type is None else fs_type.encode()
    _check(_libc.mount(os.fsencode(source), os.fsencode(target), kind, ctypes.c_ulong(flags), None), f"mount on {target}")


def bind(source: str, target: str) -> None:
    """Show a file or directory at another place too; raises OSError."""
    mount(source, target, None, MS_BIND)


def enter_mount_namespace() -> None:
    """Get a mount namespace of our own; an ordinary user becomes root of a user namespace first.

    Raises:
        UsageError: not allowed on this machine (exit code 1).
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        unshare(CLONE_NEWNS if uid == 0 else CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWCGROUP)
        if uid:
            Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")
        mount("none", "/", None, MS_REC | MS_PRIVATE)
    except OSError as error:
        raise UsageError(f"no private mount namespace: {error.strerror} ('fakecg doctor' tells more)", 1) from None


def place_tree(mount_point: str) -> None:
    """Show a mounted tree at /sys/fs/cgroup, over a real cgroup2 where one can be had.

    Tools look for a line ``cgroup2 /sys/fs/cgroup cgroup2`` in /proc/mounts; the real mount below gives it.

    Raises:
        UsageError: there is no /sys/fs/cgroup (exit code 1).
    """
    if os.geteuid() == 0:
        _libc.umount2(CGROUP_DIR.encode(), MNT_DETACH)  # fails if nothing is there, or in a user namespace
    with contextlib.suppress(OSError):  # only the line is missing then
        mount("cgroup2", CGROUP_DIR, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    try:
        bind(mount_point, CGROUP_DIR)
    except OSError as error:
        raise UsageError(f"cannot show the tree at {CGROUP_DIR}: {error.strerror}", 1) from None


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that made it ends in any way; raises OSError."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def enter_process_namespace() -> None:
    """In the first process of a new process namespace: give it a /proc of its own. Raises OSError."""
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)


def place_companions(mount_point: str) -> None:
    """Show the mount's files of /proc and /sys over the machine's own; those that the machine does not have are left out."""
    top = os.path.join(mount_point, CONTROL_DIR)
    for path in _files_below(top):
        target = os.path.join("/", os.path.relpath(path, top))
        if os.path.isfile(target):
            bind(path, target)


def _files_below(top: str) -> Iterator[str]:
    for kind in ("proc", "sys"):
        for directory, _, names in os.walk(os.path.join(top, kind)):
            yield from (os.path.join(directory, name) for name in names)


def correct_mount_table() -> None:
    """If another cgroup2 mount comes before ours in /proc/mounts, show a corrected table there to all processes of the namespace.

    Only /proc/mounts itself can be covered; /proc/self/mounts stays as it is. Raises OSError.
    """
    first = next((entry.mount_point for entry in mount_table() if entry.fs_type == "cgroup2"), None)
    if first == CGROUP_DIR:
        return
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines(keepends=True)
    kept = [line for line in lines if line.split(" ")[2] not in ("cgroup", "cgroup2") and line.split(" ")[1] != CGROUP_DIR]
    kept.append(f"cgroup2 {CGROUP_DIR} cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate,memory_recursiveprot 0 0\n")
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="surrogateescape", prefix="fakecg-mounts-", delete=False) as file:
        file.writelines(kept)
    os.chmod(file.name, stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
    # move_mount without T_SYMLINKS covers the symbolic link itself, which mount(2) would follow.
    tree = _check(_libc.syscall(_SYS_OPEN_TREE, _AT_FDCWD, file.name.encode(), _OPEN_TREE_CLONE | os.O_CLOEXEC), "open_tree")
    try:
        _check(_libc.syscall(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, b"/proc/mounts", _MOVE_MOUNT_F_EMPTY_PATH), "move_mount")
    finally:
        os.close(tree)
        os.unlink(file.name)
