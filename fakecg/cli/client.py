"""Talks to a running mount through the files of its control directory."""

from __future__ import annotations

import errno
import os
import shlex

from fakecg.abi.errors import UsageError
from fakecg.fs.names import CONTROL_DIR


def read_report(mount_point: str, name: str) -> str:
    """Text of a report, such as ``ps``.

    Raises:
        UsageError: no mount of ours, or it does not answer (exit code 1, stale mount 4).
    """
    descriptor = _open(mount_point, name, os.O_RDONLY)
    try:
        return _read_all(descriptor)
    finally:
        os.close(descriptor)


def send(mount_point: str, name: str, *words: str) -> str:
    """Give a command and return its answer.

    Raises:
        UsageError: no mount of ours, or the command was refused, with the reason (exit code 1; 2 for a wrong command).
    """
    descriptor = _open(mount_point, name, os.O_RDWR)
    try:
        try:
            os.write(descriptor, os.fsencode(shlex.join(words)))
        except OSError as error:
            reason = _read_all(descriptor).strip()
            raise UsageError(reason or f"{name}: {error.strerror}", 2 if error.errno == errno.EINVAL else 1) from None
        return _read_all(descriptor)
    finally:
        os.close(descriptor)


def path_in_tree(mount_point: str, cgroup: str) -> str:
    """Path of a cgroup in the tree: shells complete paths of the mount, so those are understood too."""
    inside = os.path.relpath(os.path.abspath(cgroup), os.path.abspath(mount_point))
    return cgroup if inside.split("/")[0] == ".." else f"/{inside}"


def _open(mount_point: str, name: str, flags: int) -> int:
    try:
        return os.open(os.path.join(mount_point, CONTROL_DIR, name), flags | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOTCONN, errno.ECONNABORTED):
            raise UsageError(f"{mount_point} is a stale mount, its server is gone: fakecg umount {mount_point}", 4) from None
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise UsageError(f"{mount_point} is not a fakecg mount", 1) from None
        raise UsageError(f"{mount_point}: {error.strerror}", 1) from None


def _read_all(descriptor: int) -> str:
    pieces = []
    while piece := os.read(descriptor, 1 << 16):
        pieces.append(piece)
    return b"".join(pieces).decode("utf-8", "surrogateescape")
