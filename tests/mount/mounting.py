"""Real mounts for tests: a server in a process of its own, command lines, clients, inotify."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fakecg.fs.mountpoint import server_pid

FAKECG = [sys.executable, "-m", "fakecg"]
PATIENCE_S = 30


def fakecg(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run([*FAKECG, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that happens soon."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited too long until {what}"
        time.sleep(0.005)


@dataclass
class Server:
    """A mount served in the foreground by a process of its own."""

    path: Path
    process: subprocess.Popen[str]

    def stop(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE_S)


@contextmanager
def server(path: Path, *options: str) -> Iterator[Server]:
    """A mount on a directory; unmounted at the end whatever happened."""
    process = subprocess.Popen([*FAKECG, "mount", "-f", str(path), *options], stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: process.poll() is not None or server_pid(str(path)) == process.pid, "the mount answers")
        assert process.poll() is None, process.communicate()[1]
        yield Server(path, process)
    finally:
        process.kill()
        process.communicate()
        subprocess.run(["umount", "-l", str(path)], capture_output=True, check=False)


def client(program: str, *arguments: str | Path, user: int | None = None) -> subprocess.Popen[str]:
    """A Python program in a process of its own, with os, sys, errno and signal imported, run as a user."""
    become = "" if user is None else f"os.setgroups([]); os.setresgid({user}, {user}, {user}); os.setresuid({user}, {user}, {user})"
    command = [sys.executable, "-S", "-E", "-c", f"import errno, os, signal, sys\n{become}\n{program}", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def output(program: str, *arguments: str | Path, user: int | None = None) -> str:
    """What such a program prints."""
    process = client(program, *arguments, user=user)
    text, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    return text.strip()


def error_of(action: Callable[[], object]) -> str:
    """Name of the errno an action fails with; ``ok`` if it does not."""
    try:
        action()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


IN_MODIFY, IN_ATTRIB, IN_CREATE, IN_DELETE, IN_ISDIR = 0x2, 0x4, 0x100, 0x200, 0x40000000


class Inotify:
    """Watches files and directories for modifications, creations and removals."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._names: dict[int, str] = {}

    def watch(self, path: Path, name: str) -> None:
        """Report events of ``path`` under ``name``."""
        watch = self._libc.inotify_add_watch(self._fd, os.fsencode(path), IN_MODIFY | IN_CREATE | IN_DELETE)
        assert watch > 0
        self._names[watch] = name

    def events(self) -> list[tuple[str, int, str]]:
        """What happened since the last call: (name of the watch, mask, name in the directory)."""
        try:
            data = os.read(self._fd, 1 << 16)
        except BlockingIOError:
            return []
        found = []
        while data:
            watch, mask, _, length = struct.unpack_from("iIII", data)
            found.append((self._names[watch], mask, data[16 : 16 + length].rstrip(b"\0").decode()))
            data = data[16 + length :]
        return found

    def close(self) -> None:
        """Stop watching."""
        os.close(self._fd)
