"""Three ways to the same tree: the Python API, a FUSE mount, and a real cgroup2 directory.

Outcomes are written as in the recordings: ``{"ret": n}``, ``{"errno": NAME}``, ``{"open_errno": NAME}``, ``{"read_errno": NAME}``.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fakecg.abi.errors import ControlError
from fakecg.cgroup.cftype import Caller
from fakecg.cgroup.kernfs import name_hash
from fakecg.cgroup.real_tasks import refresh
from fakecg.host import Host
from fakecg.sched.task import Change, ThreadExited, ThreadInfo

Outcome = dict[str, Any]
_LIBC = ctypes.CDLL(None)
NOBODY = 1000
#: Names under which the recordings spell an errno, where Python spells it otherwise.
_SPELLING = {"EOPNOTSUPP": "ENOTSUP"}


def errno_name(error: OSError) -> str:
    """Name of an error as the recordings spell it."""
    name = errno.errorcode[error.errno or 0]
    return _SPELLING.get(name, name)


def outcome(action: Callable[[], Any], key: str = "errno") -> Outcome:
    """Result of an action that may fail with an OSError."""
    try:
        return {"ret": action()}
    except OSError as error:
        return {key: errno_name(error)}


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be uid 1000 for file access in a block; this thread only, since others serve the mount."""
    assert os.geteuid() == 0, "recorded as root and as uid 1000"
    _LIBC.setfsgid(NOBODY)
    _LIBC.setfsuid(NOBODY)
    try:
        yield
    finally:
        _LIBC.setfsuid(0)
        _LIBC.setfsgid(0)


def outcome_as_nobody(action: Callable[[], Any]) -> Outcome:
    """The result of an action by uid 1000."""
    with as_nobody():
        return outcome(action)


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


# --- the Python API ---


class FakeTasks:
    """The processes of the machine an API test runs on."""

    def __init__(self) -> None:
        self.infos: dict[int, ThreadInfo] = {
            1: ThreadInfo(1, 1, "init"),
            2: ThreadInfo(2, 2, "kthreadd", is_kthread=True, is_pinned=True),
        }
        self.pending: list[Change] = []
        self.followed: set[int] = set()
        self.killed: set[int] = set()
        self._next = 500
        self.on_exit: Callable[[], None] = lambda: None

    def start(self, nr_threads: int = 1) -> list[int]:
        tgid = self._next
        tids = list(range(tgid, tgid + nr_threads))
        self._next += nr_threads
        for tid in tids:
            self.infos[tid] = ThreadInfo(tid, tgid, "sleep")
        return tids

    def end(self, tgid: int, zombie: bool = False) -> None:
        for info in [info for info in self.infos.values() if info.tgid == tgid]:
            if not info.is_zombie and tgid in self.followed:
                self.pending.append(ThreadExited(info.tid))
            if zombie and info.tid == tgid:
                self.infos[tgid] = ThreadInfo(tgid, tgid, info.name, is_zombie=True)
            else:
                del self.infos[info.tid]
        self.on_exit()

    def find(self, tid: int) -> ThreadInfo | None:
        return self.infos.get(tid)

    def threads(self, tgid: int) -> list[ThreadInfo]:
        return [info for info in self.infos.values() if info.tgid == tgid and not info.is_zombie]

    def follow(self, tgid: int) -> None:
        self.followed.add(tgid)

    def changes(self) -> list[Change]:
        changes, self.pending = self.pending, []
        return changes

    def kill(self, tgid: int) -> None:
        self.killed.add(tgid)
        self.end(tgid, zombie=True)

    def freeze(self, tgid: int, frozen: bool) -> None:
        """Nothing to stop."""


class ApiProcess(Process):
    def __init__(self, tasks: FakeTasks, nr_threads: int) -> None:
        self._tasks = tasks
        self.tids = tasks.start(nr_threads)
        self.pid = self.tids[0]

    def exit_code(self) -> int | None:
        return -signal.SIGKILL if self.pid in self._tasks.killed else None

    def wait_killed(self) -> None:
        assert self.pid in self._tasks.killed

    def become_zombie(self) -> None:
        self._tasks.end(self.pid, zombie=True)

    def reap(self) -> None:
        if self.pid in self._tasks.infos:
            self._tasks.end(self.pid)


class ApiBackend(Backend):
    """A host without a mount."""

    name = "api"
    has_vfs = False

    def __init__(self, host: Host) -> None:
        self.host = host
        self.tasks = FakeTasks()
        host.hierarchy.task_source = self.tasks
        self.tasks.on_exit = partial(refresh, host.hierarchy)
        (self.recorder,) = self.tasks.start()
        self.caller = Caller(tid=self.recorder)

    def mkdir(self, path: str, mode: int = 0o755) -> None:
        parent, _, name = path.rpartition("/")
        self.host.mkdir_at(self.host.lookup(parent), os.fsencode(name), mode, self.caller)

    def rmdir(self, path: str) -> None:
        self.host.rmdir_at(self.host.lookup(path))

    def _open(self, path: str, caller: Caller) -> Any:
        parent, _, name = path.rpartition("/")
        return self.host.open_file(self.host.lookup(parent), os.fsencode(name), caller)

    def read(self, path: str) -> str | Outcome:
        try:
            open_file = self._open(path, self.caller)
        except ControlError as error:
            return {"open_errno": errno_name(error)}
        try:
            return self.host.show(open_file).decode("latin-1")
        except ControlError as error:
            return {"read_errno": errno_name(error)}
        finally:
            self.host.release(open_file)

    def write(self, path: str, data: bytes, caller: Caller | None = None) -> Outcome:
        caller = caller or self.caller
        try:
            open_file = self._open(path, caller)
        except ControlError as error:
            return {"open_errno": errno_name(error)}
        try:
            return outcome(lambda: self.host.write(open_file, data, caller))
        finally:
            self.host.release(open_file)

    def write_as_process(self, path: str, data: bytes) -> Outcome:
        process = ApiProcess(self.tasks, 1)
        result = self.write(path, data, Caller(tid=process.pid))
        process.reap()
        return result

    def settle(self) -> None:
        self.host.advance("1s")

    def listdir(self, path: str) -> list[str]:
        cgroup = self.host.lookup(path)
        names = [*cgroup.children, *(row.name.encode() for row in cgroup.files())]
        return [os.fsdecode(name) for name in sorted(names, key=lambda name: (name_hash(name), name))]

    def directories(self, path: str) -> list[str]:
        return [os.fsdecode(name) for name in self.host.lookup(path).children]

    def stat(self, path: str) -> Outcome:
        parent, _, name = path.rpartition("/")
        cgroup = self.host.lookup(parent)
        node: Any = cgroup.children.get(os.fsencode(name)) if name else cgroup
        if node is not None:
            return _stat(0o40000 | node.mode, 2 + len(node.children), node)
        node = cgroup.lookup_node(os.fsencode(name))
        return _stat(0o100000 | node.mode, 1, node)

    def spawn(self, path: str, threads: int = 1) -> Process:
        process = ApiProcess(self.tasks, threads)
        assert "ret" in self.write(f"{path}/cgroup.procs", str(process.pid).encode())
        return process


def _stat(mode: int, nlink: int, node: Any) -> Outcome:
    return {"mode": oct(mode), "size": 0, "nlink": nlink, "uid": node.uid, "gid": node.gid, "ino": node.ino}


# --- a directory of a cgroup2 filesystem, emulated or real ---

_WRITER = (
    "import os, sys, errno\n"
    "try: fd = os.open(sys.argv[1], os.O_WRONLY)\n"
    "except OSError as e: print('open_errno', errno.errorcode[e.errno]); sys.exit()\n"
    "try: print('ret', os.write(fd, sys.stdin.buffer.read()))\n"
    "except OSError as e: print('errno', errno.errorcode[e.errno])\n"
)
_SLEEPER = (
    "import os, sys, threading\n"
    "for _ in range(int(sys.argv[1]) - 1): threading.Thread(target=sys.stdin.buffer.read, daemon=True).start()\n"
    "print(*sorted(int(t) for t in os.listdir('/proc/self/task')), flush=True)\n"
    "sys.stdin.buffer.read()\n"
)


class RealProcess(Process):
    def __init__(self, nr_threads: int) -> None:
        command = [sys.executable, "-S", "-E", "-c", _SLEEPER, str(nr_threads)]
        self._popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._popen.stdout is not None
        self.tids = [int(word) for word in self._popen.stdout.readline().split()]
        self.pid = self._popen.pid

    def exit_code(self) -> int | None:
        return self._popen.poll()

    def wait_killed(self) -> None:
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def become_zombie(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.wait_killed()

    def reap(self) -> None:
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.communicate()


@dataclass
class DirectoryBackend(Backend):
    """A directory reached through system calls."""

    directory: Path
    host: Host | None = None
    name: str = "mount"

    def path(self, path: str) -> str:
        return f"{self.directory}{path}"

    def mkdir(self, path: str, mode: int = 0o755) -> None:
        os.mkdir(self.path(path), mode)

    def rmdir(self, path: str) -> None:
        os.rmdir(self.path(path))

    def read(self, path: str) -> str | Outcome:
        try:
            fd = os.open(self.path(path), os.O_RDONLY)
        except OSError as error:
            return {"open_errno": errno_name(error)}
        try:
            chunks = []
            while chunk := os.read(fd, 65536):
                chunks.append(chunk)
            return b"".join(chunks).decode("latin-1")
        except OSError as error:
            return {"read_errno": errno_name(error)}
        finally:
            os.close(fd)

    def write(self, path: str, data: bytes) -> Outcome:
        try:
            fd = os.open(self.path(path), os.O_WRONLY)
        except OSError as error:
            return {"open_errno": errno_name(error)}
        try:
            return outcome(lambda: os.write(fd, data))
        finally:
            os.close(fd)

    def write_as_process(self, path: str, data: bytes) -> Outcome:
        command = [sys.executable, "-S", "-E", "-c", _WRITER, self.path(path)]
        done = subprocess.run(command, input=data, capture_output=True, check=True)
        key, value = done.stdout.decode().split()
        return {key: int(value) if key == "ret" else _SPELLING.get(value, value)}

    def settle(self) -> None:
        while "nr_dying_descendants 0\n" not in str(self.read("/cgroup.stat")):
            time.sleep(0.005)  # noqa: TID251  # a real mount's clock runs by itself

    def listdir(self, path: str) -> list[str]:
        return os.listdir(self.path(path))

    def directories(self, path: str) -> list[str]:
        with os.scandir(self.path(path)) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]

    def stat(self, path: str) -> Outcome:
        st = os.stat(self.path(path))
        return {"mode": oct(st.st_mode), "size": st.st_size, "nlink": st.st_nlink, "uid": st.st_uid, "gid": st.st_gid, "ino": st.st_ino}

    def spawn(self, path: str, threads: int = 1) -> Process:
        process = RealProcess(threads)
        result = self.write(f"{path}/cgroup.procs", str(process.pid).encode())
        assert "ret" in result, result
        return process


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
