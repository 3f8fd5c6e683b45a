"""The file behind a swap device: made or opened, and nobody else's."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile

from fakecg.abi.errors import UsageError


def open_backing(path: str | None, size_bytes: int) -> int:
    """Open a file of this size and return its descriptor; what it holds is overwritten from then on.

    Args:
        path: None for a temporary file without a name.

    Raises:
        UsageError: the file cannot be opened or made that large, another device has it, or it looks like anything but a swap file of
            this size (exit code 1).
    """
    where = f"swap file {path or tempfile.gettempdir()}"
    try:
        fd = _open_unnamed() if path is None else os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror}", 1) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{where}: not a regular file", 1)
        if status.st_size not in (0, size_bytes):
            raise UsageError(f"{where}: there is a file of another size than {size_bytes}; remove it if it may be overwritten", 1)
        os.ftruncate(fd, size_bytes)
    except BlockingIOError as error:
        os.close(fd)
        raise UsageError(f"{where}: another swap device has it", 1) from error
    except OSError as error:
        os.close(fd)
        raise UsageError(f"{where}: {error.strerror}", 1) from error
    except UsageError:
        os.close(fd)
        raise
    return fd


def _open_unnamed() -> int:
    with tempfile.TemporaryFile(prefix="fakecg-swap-") as file:
        return os.dup(file.fileno())
