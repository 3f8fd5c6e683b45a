"""The tree reached through system calls: a directory of a cgroup2 filesystem, emulated or real."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends import SPELLING, Backend, Outcome, Process, errno_name, outcome

from fakecg.host import Host

NOBODY = 1000
_LIBC = ctypes.CDLL(None)


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
        return {key: int(value) if key == "ret" else SPELLING.get(value, value)}

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
