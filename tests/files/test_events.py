"""Recorded answers of poll and inotify: on every idle file, around moves of processes and the freezer, and for what users do."""

from __future__ import annotations

import ctypes
import os
import select
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from api_backend import ApiBackend
from backends import Backend, errno_name, golden, outcome
from directory_backend import DirectoryBackend
from scoring import Score

RECORDING = "events_lrugen0.json"
EVENTS = golden(RECORDING)
POLL_BITS = ("POLLIN", "POLLPRI", "POLLOUT", "POLLERR", "POLLHUP", "POLLNVAL", "POLLRDNORM", "POLLRDBAND", "POLLWRNORM", "POLLWRBAND")
ALL_BITS = select.POLLIN | select.POLLPRI | select.POLLOUT | select.POLLRDNORM | select.POLLWRNORM


def names_of(mask: int) -> str:
    """A poll mask as the recordings write it."""
    return "|".join(name for name in POLL_BITS if mask & getattr(select, name)) or "(timeout)"


def poll(fd: int, bits: int) -> str:
    """What poll says now."""
    poller = select.poll()
    poller.register(fd, bits)
    return names_of(dict(poller.poll(0)).get(fd, 0))


@pytest.fixture
def child(backend: Backend) -> Iterator[str]:
    """The recordings' ``s``."""
    with backend.parent() as parent:
        backend.mkdir(f"{parent}/s")
        yield f"{parent}/s"


@pytest.mark.parametrize("name", [name for name, entry in EVENTS["poll_idle_every_file"].items() if "O_RDONLY" in entry])
def test_poll_of_an_idle_file(backend: Backend, score: Score, child: str, name: str) -> None:
    recorded = EVENTS["poll_idle_every_file"][name]
    if isinstance(backend, ApiBackend):
        score.check(f"poll idle {name} O_RDONLY", _poll_through_the_api(backend, child, name), recorded["O_RDONLY"])
        return
    assert isinstance(backend, DirectoryBackend)
    for mode, expected in recorded.items():
        fd = os.open(backend.path(f"{child}/{name}"), getattr(os, mode))
        actual = {"before read": poll(fd, ALL_BITS)}
        result = outcome(partial(os.read, fd, 65536))
        prefix = f"read {result['errno']}; " if "errno" in result else ""
        actual["after read"] = prefix + poll(fd, ALL_BITS)
        actual["POLLPRI only"] = poll(fd, select.POLLPRI)
        actual["POLLIN only"] = poll(fd, select.POLLIN)
        os.close(fd)
        score.check(f"poll idle {name} {mode}", actual, expected)


def _poll_through_the_api(backend: ApiBackend, child: str, name: str) -> dict[str, str]:
    host = backend.host
    open_file = host.open_file(host.lookup(child), name.encode(), backend.caller)
    actual = {"before read": names_of(host.poll_events(open_file))}
    result = outcome(partial(host.show, open_file))
    mask = host.poll_events(open_file)
    actual["after read"] = (f"read {result['errno']}; " if "errno" in result else "") + names_of(mask)
    actual["POLLPRI only"] = names_of(mask & (select.POLLPRI | select.POLLERR))
    actual["POLLIN only"] = names_of(mask & (select.POLLIN | select.POLLERR))
    host.release(open_file)
    return actual


class Watched:
    """cgroup.events of a cgroup and of its parent, held open."""

    def __init__(self, backend: Backend, paths: list[str]) -> None:
        self._backend = backend
        if isinstance(backend, ApiBackend):
            lookup = backend.host.lookup
            self._files: list[Any] = [backend.host.open_file(lookup(path), b"cgroup.events", backend.caller) for path in paths]
        else:
            assert isinstance(backend, DirectoryBackend)
            self._files = [os.open(backend.path(f"{path}/cgroup.events"), os.O_RDONLY) for path in paths]
        self.texts()

    def polls(self, bits: int) -> list[str]:
        if isinstance(self._backend, ApiBackend):
            host = self._backend.host
            host.advance("20ms")
            return [names_of(host.poll_events(file) & (bits | select.POLLERR)) for file in self._files]
        return [poll(fd, bits) for fd in self._files]

    def wait(self) -> list[str]:
        """Poll for POLLPRI, given a moment for a notice that was put off."""
        if isinstance(self._backend, DirectoryBackend):
            poller = select.poll()
            for fd in self._files:
                poller.register(fd, select.POLLPRI)
            poller.poll(100)
        return self.polls(select.POLLPRI)

    def texts(self) -> list[str]:
        if isinstance(self._backend, ApiBackend):
            return [self._backend.host.show(file).decode() for file in self._files]
        return [os.pread(fd, 4096, 0).decode() for fd in self._files]

    def read(self) -> dict[str, Any]:
        """Reading the child's after its removal."""
        if isinstance(self._backend, ApiBackend):
            return outcome(partial(self._backend.host.show, self._files[0]))
        return outcome(partial(os.pread, self._files[0], 4096, 0))

    def close(self) -> None:
        for file in self._files:
            if isinstance(self._backend, ApiBackend):
                self._backend.host.release(file)
            else:
                os.close(file)


def test_cgroup_events(backend: Backend, score: Score, child: str) -> None:
    recorded = EVENTS["cgroup_events"]
    parent = child.rpartition("/")[0]
    watched = Watched(backend, [child, parent])
    first = backend.spawn(child)
    watched.wait()
    steps: dict[str, Any] = {"populated 1": [*watched.polls(ALL_BITS), *watched.texts()]}
    second = backend.spawn(child)
    steps["second process (no change)"] = watched.polls(select.POLLPRI)
    backend.write(f"{child}/cgroup.freeze", b"1")
    steps["frozen 1"] = [*watched.wait(), *watched.texts()]
    backend.write(f"{child}/cgroup.freeze", b"0")
    steps["frozen 0"] = [*watched.wait(), watched.texts()[0]]
    first.reap()
    steps["one left"] = watched.polls(select.POLLPRI)[:1]
    second.reap()
    steps["populated 0"] = [*_until_unpopulated(watched), *watched.texts()]
    backend.rmdir(child)
    steps["poll of cgroup.events fd after rmdir"] = watched.polls(ALL_BITS)[0]
    steps["read"] = watched.read()
    watched.close()
    score.check_all("cgroup_events", steps, {name: recorded[name] for name in steps})


def _until_unpopulated(watched: Watched) -> list[str]:
    # A process is seen to have ended by a thread that waits for it, a moment later.
    for _ in range(100):
        answers = watched.wait()
        if "(timeout)" not in answers:
            break
    return answers


# --- inotify: behind a mount only ---

_LIBC = ctypes.CDLL(None, use_errno=True)
_HEADER = struct.Struct("iIII")
INOTIFY_BITS = {
    0x1: "IN_ACCESS",
    0x2: "IN_MODIFY",
    0x4: "IN_ATTRIB",
    0x8: "IN_CLOSE_WRITE",
    0x10: "IN_CLOSE_NOWRITE",
    0x20: "IN_OPEN",
    0x100: "IN_CREATE",
    0x200: "IN_DELETE",
    0x400: "IN_DELETE_SELF",
    0x8000: "IN_IGNORED",
    0x40000000: "IN_ISDIR",
}


class Inotify:
    """Watches on directories, named as in the recordings."""

    def __init__(self) -> None:
        self.fd = _LIBC.inotify_init1(os.O_NONBLOCK)
        self._names: dict[int, str] = {}

    def add(self, path: str, name: str) -> None:
        watch = _LIBC.inotify_add_watch(self.fd, os.fsencode(path), 0xFFF)
        if watch < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._names[watch] = name

    def take(self) -> list[list[str]]:
        """What happened since the last call, opens of directories left out."""
        events = []
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return []
        while data:
            watch, mask, _, length = _HEADER.unpack_from(data)
            name = data[_HEADER.size : _HEADER.size + length].rstrip(b"\0").decode()
            data = data[_HEADER.size + length :]
            words = "|".join(word for bit, word in INOTIFY_BITS.items() if mask & bit)
            if watch in self._names and not (mask & 0x40000000 and mask & 0x31):
                events.append([self._names[watch], words, name])
        return events


def test_inotify_of_what_users_do(backend: Backend, score: Score, child: str) -> None:
    if not isinstance(backend, DirectoryBackend):
        return
    recorded = EVENTS["inotify_dir"]
    directory = backend.path(child)
    file = f"{directory}/n/memory.max"
    assert "ret" in backend.write(f"{child}/cgroup.subtree_control", b"+memory")
    inotify = Inotify()
    inotify.add(directory, "/sys/fs/cgroup/E")

    def read() -> None:
        with open(file, "rb", buffering=0) as stream:
            stream.read(100)

    def write(path: str, data: bytes) -> None:
        fd = os.open(path, os.O_WRONLY)
        try:
            os.write(fd, data)
        except OSError as error:
            assert errno_name(error) == "EINVAL"  # noqa: PT017
        finally:
            os.close(fd)

    os.mkdir(f"{directory}/n")
    steps: dict[str, Any] = {"mkdir": inotify.take()}
    inotify.add(f"{directory}/n", "/sys/fs/cgroup/E/n")
    actions: dict[str, Callable[[], object]] = {
        "read a file": read,
        "write memory.max": partial(write, file, b"1M"),
        "failed write": partial(write, file, b"abc"),
        "empty write": partial(write, file, b""),
        "chmod": partial(os.chmod, file, 0o600),
        "controller disabled in parent (files vanish)": partial(write, f"{directory}/cgroup.subtree_control", b"-memory"),
        "enabled again": partial(write, f"{directory}/cgroup.subtree_control", b"+memory"),
        "setxattr dir": partial(os.setxattr, f"{directory}/n", "user.x", b"v"),
        "rmdir": partial(os.rmdir, f"{directory}/n"),
    }
    for name, action in actions.items():
        action()
        steps[name] = inotify.take()
    result = outcome(partial(inotify.add, f"{directory}/n", "gone"))
    steps["add watch on removed"] = result.get("errno")
    os.close(inotify.fd)
    score.check_all("inotify_dir", steps, recorded)
