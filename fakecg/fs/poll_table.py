"""Who sleeps in poll(2) on which interface file."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakecg.cgroup.cgroup import Cgroup
    from fakecg.fs.handles import FileHandle

# Linux poll bits; what a file without notices always reports.
POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM = 0x1, 0x4, 0x40, 0x100
READY = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM

#: A cgroup and the name of one of its files.
_Key = tuple["Cgroup", str]


class PollTable:
    """The sleepers of one mount, each with the transport's token for it. All methods may be called from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._polled: dict[_Key, set[FileHandle]] = {}

    def start(self, handle: FileHandle, token: int) -> int | None:
        """Somebody sleeps on an open file; returns the token of who slept there before, which is not needed any more."""
        with self._lock:
            old, handle.poll_token = handle.poll_token, token
            self._polled.setdefault(_key(handle), set()).add(handle)
        return old

    def stop(self, handle: FileHandle) -> int | None:
        """An open file is closed; returns the token of who slept on it."""
        key = _key(handle)
        with self._lock:
            token, handle.poll_token = handle.poll_token, None
            handles = self._polled.get(key)
            if handles is not None:
                handles.discard(handle)
                if not handles:
                    del self._polled[key]
        return token

    def take(self, key: _Key) -> list[int]:
        """The tokens of all who sleep on a file; they are awake from now on."""
        with self._lock:
            handles = self._polled.pop(key, set())
            tokens = [handle.poll_token for handle in handles if handle.poll_token is not None]
            for handle in handles:
                handle.poll_token = None
        return tokens


def _key(handle: FileHandle) -> _Key:
    open_file = handle.open_file
    return open_file.css.cgroup, open_file.row.name
