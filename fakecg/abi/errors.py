"""Every refusal that can leave the emulated kernel, one class per errno.

A ``ControlError`` is an ``OSError``: the Python API lets it through as it is, the filesystem turns its errno into the answer to the
caller. Its text is the reason for the log and for ``.fakecg/last_error``; a shell user sees only the errno.

Where Python has a class of its own for an errno, ours is one of them: what handles an error of a mounted file handles that of the API.
"""

from __future__ import annotations

import errno


class FakecgError(Exception):
    """Base of everything fakecg raises on purpose."""


class UsageError(FakecgError):
    """A mistake in a command line or an API argument: one line for the user, never a traceback.

    ``exit_code``: 1 runtime failure, 2 usage, 3 mount point busy, 4 stale mount, 5 FUSE missing.
    """

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ControlError(FakecgError, OSError):
    """An operation the emulated kernel refuses. ``errno`` as the kernel's, ``reason`` for the log."""

    code = errno.EIO

    def __init__(self, reason: str) -> None:
        OSError.__init__(self, self.code, reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"{errno.errorcode[self.code]}: {self.reason}"


class InvalidInput(ControlError):
    """Unparsable, out of range, unknown key; reading a write-only file, writing a read-only one."""

    code = errno.EINVAL


class OutOfRange(ControlError):
    """A number that parses but does not fit (kstrto*: overflow; cgroup.* flags: neither 0 nor 1)."""

    code = errno.ERANGE


class TooLarge(ControlError):
    """A bit number that does not fit 32 bits (cpuset lists)."""

    code = errno.EOVERFLOW


class TooLong(ControlError):
    """A write of more than one page (kernfs atomic_write_len)."""

    code = errno.E2BIG


class NotEnoughProgress(ControlError, BlockingIOError):
    """Reclaim or writeback fell short; mkdir past cgroup.max.*."""

    code = errno.EAGAIN


class Interrupted(ControlError, InterruptedError):
    """A signal was pending while a long write ran; what was done so far stays done."""

    code = errno.EINTR


class Gone(ControlError):
    """An open file of a removed cgroup or of a disabled controller."""

    code = errno.ENODEV


class NoSuchDevice(ControlError):
    """A device number that no emulated device has (io.max)."""

    code = errno.ENODEV


class NoSuchFile(ControlError, FileNotFoundError):
    """A path that does not exist; a controller the parent does not offer."""

    code = errno.ENOENT


class NoSuchTask(ControlError, ProcessLookupError):
    """A process id nobody has."""

    code = errno.ESRCH


class Busy(ControlError):
    """rmdir with children or processes; the no-internal-process rule; a second pressure trigger."""

    code = errno.EBUSY


class AlreadyExists(ControlError, FileExistsError):
    """mkdir of a name in use."""

    code = errno.EEXIST


class NotSupported(ControlError):
    """Valid in general, not in this state (threaded subtrees)."""

    code = errno.EOPNOTSUPP


class NotPermitted(ControlError, PermissionError):
    """unlink, rename, link and the like; trusted xattrs without the capability."""

    code = errno.EPERM


class AccessDenied(ControlError, PermissionError):
    """File creation; a process move without write access to the common ancestor."""

    code = errno.EACCES


class NotADirectory(ControlError, NotADirectoryError):
    """A file where a directory is needed."""

    code = errno.ENOTDIR


class IsADirectory(ControlError, IsADirectoryError):
    """A directory where a file is needed."""

    code = errno.EISDIR


class NoData(ControlError):
    """An extended attribute that is not set."""

    code = errno.ENODATA


class NoSpace(ControlError):
    """Extended attributes over their limits; inside the model: no swap slot, no pool memory."""

    code = errno.ENOSPC


class NoMemory(ControlError):
    """Inside the model only: a charge that failed after reclaim."""

    code = errno.ENOMEM


class DataLost(ControlError):
    """A page that could not be decompressed or read back; names task, page and slot."""

    code = errno.EIO
