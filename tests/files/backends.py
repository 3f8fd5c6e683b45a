"""Three ways to the same tree: the Python API, a FUSE mount, and a real cgroup2 directory.

Outcomes are written as in the recordings: ``{"ret": n}``, ``{"errno": NAME}``, ``{"open_errno": NAME}``, ``{"read_errno": NAME}``.
"""

from __future__ import annotations

import errno
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fakecg.host import Host

Outcome = dict[str, Any]
#: Names under which the recordings spell an errno, where Python spells it otherwise.
SPELLING = {"EOPNOTSUPP": "ENOTSUP"}


def errno_name(error: OSError) -> str:
    """Name of an error as the recordings spell it."""
    name = errno.errorcode[error.errno or 0]
    return SPELLING.get(name, name)


def outcome(action: Callable[[], Any], key: str = "errno") -> Outcome:
    """Result of an action that may fail with an OSError."""
    try:
        return {"ret": action()}
    except OSError as error:
        return {key: errno_name(error)}


class Backend(ABC):
    """A tree under test. Paths are relative to its root, with a leading slash."""

    name: str
    #: The emulated machine, None behind a real kernel.
    host: Host | None
    #: Whether system calls can be tried that the API has no word for.
    has_vfs = True

    @abstractmethod
    def mkdir(self, path: str, mode: int = 0o755) -> None: ...

    @abstractmethod
    def rmdir(self, path: str) -> None: ...

    @abstractmethod
    def read(self, path: str) -> str | Outcome:
        """Text of a file, or ``read_errno`` / ``open_errno``."""

    @abstractmethod
    def write(self, path: str, data: bytes) -> Outcome:
        """One write on a fresh O_WRONLY descriptor."""

    @abstractmethod
    def listdir(self, path: str) -> list[str]: ...

    @abstractmethod
    def stat(self, path: str) -> Outcome:
        """mode (octal text with the file type), size, nlink, uid, gid, ino."""

    @abstractmethod
    def spawn(self, path: str, threads: int = 1) -> Process:
        """A process that sleeps, moved into the cgroup."""

    @abstractmethod
    def write_as_process(self, path: str, data: bytes) -> Outcome:
        """As write, by a process of its own that ends afterwards."""

    @abstractmethod
    def settle(self) -> None:
        """Wait until removed cgroups are freed."""

    @contextmanager
    def parent(self, controllers: bool = True) -> Iterator[str]:
        """A fresh cgroup, with every controller enabled for its children; removed afterwards with what is in it."""
        path = f"/T{os.getpid()}"
        self.mkdir(path)
        try:
            if controllers:
                self.enable_all(path)
            yield path
        finally:
            self.remove(path)

    def enable_all(self, path: str) -> None:
        """Enable every controller of a cgroup for its children."""
        for name in str(self.read(f"{path}/cgroup.controllers")).split():
            assert "ret" in self.write(f"{path}/cgroup.subtree_control", b"+" + name.encode())

    def remove(self, path: str) -> None:
        """Remove a cgroup and everything below, processes included."""
        for name in self.directories(path):
            self.remove(f"{path}/{name}")
        for pid in self.pids(path):
            self.write("/cgroup.procs", str(pid).encode())
        self.rmdir(path)

    def pids(self, path: str) -> list[int]:
        """Processes and threads of a cgroup."""
        text = self.read(f"{path}/cgroup.threads")
        return [int(word) for word in text.split()] if isinstance(text, str) else []

    @abstractmethod
    def directories(self, path: str) -> list[str]: ...


class Process(ABC):
    """A sleeping process of a backend."""

    pid: int
    tids: list[int]

    @abstractmethod
    def exit_code(self) -> int | None:
        """None while it lives; the negative signal number if one ended it."""

    @abstractmethod
    def wait_killed(self) -> None:
        """Wait for the end that cgroup.kill brings about, without reaping."""

    @abstractmethod
    def become_zombie(self) -> None:
        """End it without reaping."""

    @abstractmethod
    def reap(self) -> None:
        """End it if it lives, and reap it."""


def golden(name: str) -> dict[str, Any]:
    """A recording by file name."""
    text = (Path(__file__).parents[1] / "golden" / name).read_text(encoding="utf-8")
    recording: dict[str, Any] = json.loads(text)
    return recording


def data_of(case: dict[str, Any]) -> bytes:
    """What a recorded case wrote."""
    if "in_rle" in case:
        return b"".join(text.encode("latin-1") * count for text, count in case["in_rle"])
    text: str = case["in"]
    return text.encode("latin-1")
