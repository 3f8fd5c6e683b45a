"""Recorded behaviour of open files: offsets, flags, partial reads, what survives rmdir. System calls, so behind a mount only."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import termios
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from backends import Backend, Outcome, errno_name, golden, outcome
from directory_backend import DirectoryBackend
from scoring import Score

RECORDED = golden("write_matrix.json")["fd_behaviour"]


@pytest.fixture
def child(backend: Backend) -> Iterator[str]:
    """The system path of the recordings' ``s``; nothing behind the API, which has no descriptors."""
    if not isinstance(backend, DirectoryBackend):
        yield ""
        return
    with backend.parent() as parent:
        backend.mkdir(f"{parent}/s")
        yield backend.path(f"{parent}/s")


def text_of(path: str) -> str:
    with open(path, "rb", buffering=0) as file:
        return file.read().decode()


def reset(path: str) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(b"max")


def test_two_writes_on_one_descriptor(score: Score, child: str) -> None:
    if not child:
        return
    path = f"{child}/memory.max"
    fd = os.open(path, os.O_WRONLY)
    recorded = RECORDED["two_writes_one_fd memory.max [in, result, fd offset after, content]"]
    for number, (data, *expected) in enumerate(recorded):
        result = outcome(partial(os.write, fd, data.encode()))
        actual = [result, os.lseek(fd, 0, os.SEEK_CUR), text_of(path)]
        score.check(f"two_writes_one_fd {number} {data!r}", actual, expected)
    os.close(fd)


def test_reading_and_writing_one_descriptor(score: Score, child: str) -> None:
    if not child:
        return
    fd = os.open(f"{child}/memory.max", os.O_RDWR)

    def at(result: object) -> list[object]:
        return [result, os.lseek(fd, 0, os.SEEK_CUR)]

    steps: list[list[Any]] = [
        ["read", *at(os.read(fd, 100).decode())],
        ["read again", *at(os.read(fd, 100).decode())],
        ["write 1M", *at({"ret": os.write(fd, b"1M")})],
        ["read", *at(os.read(fd, 100).decode())],
        ["lseek0", os.lseek(fd, 0, os.SEEK_SET)],
        ["read", *at(os.read(fd, 100).decode())],
        ["write max at eof", *at({"ret": os.write(fd, b"max")})],
        ["pread(100,0)", os.pread(fd, 100, 0).decode()],
    ]
    os.close(fd)
    for number, (actual, expected) in enumerate(zip(steps, RECORDED["rdwr_one_fd memory.max"], strict=True)):
        score.check(f"rdwr_one_fd {number} {expected[0]}", actual, expected)


def test_offsets_of_writes_do_not_matter(score: Score, child: str) -> None:
    if not child:
        return
    path = f"{child}/memory.max"
    for name, *expected in RECORDED["write_at_offset"]:
        reset(path)
        fd = os.open(path, os.O_WRONLY)
        if name.startswith("pwrite"):
            result = outcome(partial(os.pwrite, fd, b"1M", int(name.rpartition(" ")[2])))
        else:
            os.lseek(fd, 7, os.SEEK_SET)
            result = outcome(partial(os.write, fd, b"2M"))
        os.close(fd)
        score.check(f"write_at_offset: {name}", [result, text_of(path)], expected)


def open_and_write(path: str, flags: int) -> Outcome:
    try:
        fd = os.open(path, flags)
    except OSError as error:
        return {"open_errno": errno_name(error)}
    try:
        return outcome(partial(os.write, fd, b"1M"))
    finally:
        os.close(fd)


def test_open_flags(score: Score, child: str) -> None:
    if not child:
        return
    path = f"{child}/memory.max"

    def truncating_open() -> str:
        with open(path, "wb", buffering=0) as file:
            file.write(b"4M")
        os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
        return text_of(path)

    def ftruncate() -> None:
        fd = os.open(path, os.O_WRONLY)
        try:
            os.ftruncate(fd, 0)
        finally:
            os.close(fd)

    others: dict[str, Callable[[], Any]] = {
        "O_TRUNC open without write": truncating_open,
        "truncate(path,0)": partial(os.truncate, path, 0),
        "truncate(path,100)": partial(os.truncate, path, 100),
        "ftruncate(fd,0)": ftruncate,
        "open O_RDONLY on nonexisting": partial(os.open, f"{child}/nothing", os.O_RDONLY),
        "open O_CREAT nonexisting": partial(os.open, f"{child}/nothing", os.O_RDWR | os.O_CREAT),
        "open O_TMPFILE": partial(os.open, child, os.O_RDWR | os.O_TMPFILE),
    }
    for name, *expected in RECORDED["open_flags"]:
        reset(path)
        if name in others:
            score.check(f"open_flags: {name}", [outcome(others[name])], expected)
            continue
        flags = 0
        for word in name.split("|"):
            flags |= getattr(os, word)
        score.check(f"open_flags: {name}", [open_and_write(path, flags), text_of(path)], expected)


def test_reads(score: Score, child: str) -> None:
    if not child:
        return
    for name, recorded in RECORDED["reads"].items():
        fd = os.open(f"{child}/{name}", os.O_RDONLY)
        for number, (step, expected) in enumerate(recorded):
            score.check(f"reads {name} {number} {step}", _read_step(fd, step), expected)
        os.close(fd)


def _read_step(fd: int, step: str) -> Any:
    word, _, rest = step.partition(" ")
    if word == "pread":
        size, offset = rest.split(" @")
        return outcome(lambda: os.pread(fd, int(size), int(offset)).decode())
    if word == "read":
        return outcome(lambda: os.read(fd, int(rest)).decode())
    if word == "mmap":
        # Python's own mmap looks at the size of the file first.
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        address = libc.mmap(None, ctypes.c_size_t(4096), mmap.PROT_READ, mmap.MAP_SHARED, fd, ctypes.c_long(0))
        return errno_name(OSError(ctypes.get_errno(), "")) if address == ctypes.c_void_p(-1).value else address
    named = {"SEEK_END": (0, os.SEEK_END), "SEEK_DATA 0": (0, os.SEEK_DATA), "SEEK_HOLE 0": (0, os.SEEK_HOLE)}
    where = named[rest] if rest in named else (int(rest), os.SEEK_SET)
    return outcome(partial(os.lseek, fd, *where))


def test_a_change_between_two_partial_reads_is_not_seen(score: Score, child: str) -> None:
    if not child:
        return
    fd = os.open(f"{child}/memory.max", os.O_RDWR)
    steps = {"read1 of 'max'": os.read(fd, 1).decode()}
    with open(f"{child}/memory.max", "wb", buffering=0) as file:
        file.write(b"123M")
    steps["then changed to 123M; rest of read"] = os.read(fd, 100).decode()
    steps["pread 0"] = os.pread(fd, 100, 0).decode()
    steps["pread 2"] = os.pread(fd, 100, 2).decode()
    os.close(fd)
    score.check_all("partial_read_then_change", steps, RECORDED["partial_read_then_change"])


def test_writev_is_one_write(score: Score, child: str) -> None:
    if not child:
        return
    fd = os.open(f"{child}/memory.max", os.O_WRONLY)
    result = outcome(partial(os.writev, fd, [b"1", b"M"]))
    os.close(fd)
    score.check("writev", [result, text_of(f"{child}/memory.max")], RECORDED["writev ['1','M']"])


def test_other_operations_on_descriptors(score: Score, child: str) -> None:
    if not child:
        return
    path = f"{child}/memory.max"
    fd = os.open(path, os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)

    def raw_fallocate() -> str:
        result = libc.fallocate(fd, 0, ctypes.c_long(0), ctypes.c_long(10))
        number = ctypes.get_errno()
        return str((result, errno_name(OSError(number, "")))) if result else "(0, '')"

    def sendfile() -> int:
        reader, writer = os.pipe()
        try:
            return os.sendfile(writer, fd, 0, 100)
        finally:
            os.close(reader)
            os.close(writer)

    steps: dict[str, Any] = {
        "fsync": outcome(partial(os.fsync, fd)),
        "fdatasync": outcome(partial(os.fdatasync, fd)),
        "fallocate(2) raw": outcome(raw_fallocate),
        "flock": outcome(partial(fcntl.flock, fd, fcntl.LOCK_EX)),
        "FIONREAD": outcome(lambda: str(fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))),
        "sendfile_from": outcome(sendfile),
        "fadvise": outcome(partial(os.posix_fadvise, fd, 0, 0, os.POSIX_FADV_DONTNEED)),
        "lockf": outcome(partial(os.lockf, fd, os.F_LOCK, 0)),
        "posix_fallocate (glibc emulation pwrites NULs)": [outcome(partial(os.posix_fallocate, fd, 0, 10)), "content after", text_of(path)],
    }
    os.close(fd)
    score.check_all("misc_fd_ops", steps, RECORDED["misc_fd_ops"])


def test_descriptors_kept_across_rmdir(backend: Backend, score: Score) -> None:
    if not isinstance(backend, DirectoryBackend):
        return
    recorded = RECORDED["fds_kept_across_rmdir"]
    with backend.parent() as parent:
        backend.mkdir(f"{parent}/s")
        child = backend.path(f"{parent}/s")
        modes = dict.fromkeys(("memory.current", "memory.stat", "memory.events"), os.O_RDONLY) | {"memory.reclaim": os.O_WRONLY}
        files = {name: os.open(f"{child}/{name}", modes.get(name, os.O_RDWR)) for name in recorded if not name.startswith("dirfd")}
        directory = os.open(child, os.O_RDONLY | os.O_DIRECTORY)
        backend.rmdir(f"{parent}/s")
        steps: dict[str, Any] = {}
        for name, fd in files.items():
            steps[name] = {
                "read": outcome(partial(os.pread, fd, 10, 0)),
                "write": outcome(partial(os.pwrite, fd, b"1", 0)),
                "fstat_nlink": outcome(partial(lambda fd: os.fstat(fd).st_nlink, fd)),
            }
            os.close(fd)
        steps["dirfd listdir"] = outcome(partial(os.listdir, directory))
        steps["dirfd open"] = outcome(partial(os.open, "memory.max", os.O_RDONLY, dir_fd=directory))
        steps["dirfd mkdir"] = outcome(partial(os.mkdir, "x", dir_fd=directory))
        steps["dirfd fstat nlink"] = outcome(lambda: os.fstat(directory).st_nlink)
        os.close(directory)
    for name, expected in recorded.items():
        for operation, result in expected.items():
            score.check(f"fds_kept_across_rmdir: {name} {operation}", steps[name].get(operation), result)


def test_peak_marks_are_per_descriptor(backend: Backend, score: Score) -> None:
    """With a synthetic task in the place of the recorded one: which descriptor shows which mark, not how many bytes."""
    host = backend.host
    if host is None or not isinstance(backend, DirectoryBackend):
        return
    recorded = RECORDED["memory.peak_reset_semantics"]
    with backend.parent() as parent:
        backend.mkdir(f"{parent}/s")
        path = backend.path(f"{parent}/s")
        descriptors = {name: os.open(f"{path}/memory.peak", os.O_RDWR) for name in ("fa", "fb")}

        def marks() -> dict[str, int]:
            values = {name: int(os.pread(fd, 30, 0)) for name, fd in descriptors.items()}
            return values | {"path": int(text_of(f"{path}/memory.peak")), "current": int(text_of(f"{path}/memory.current"))}

        def use(size: str) -> int:
            return host.spawn(f"{parent}/s", size=size).pid

        steps: dict[str, dict[str, int]] = {}
        writes: dict[str, Any] = {}
        host.kill(use("8M"))
        steps["after alloc 8M and free"] = marks()
        writes["write 'x' to fa"] = outcome(partial(os.write, descriptors["fa"], b"x"))
        steps["1"] = marks()
        pids = [use("2M")]
        steps["2 after alloc 2M"] = marks()
        writes["write '' to fb"] = outcome(partial(os.write, descriptors["fb"], b""))
        steps["3"] = marks()
        writes["write '1' to fb"] = outcome(partial(os.write, descriptors["fb"], b"1"))
        pids.append(use("2M"))
        steps["4 after 2M more"] = marks()
        steps["5 reopened"] = {"path": int(text_of(f"{path}/memory.peak"))}
        for fd in descriptors.values():
            os.close(fd)
        for pid in pids:
            host.kill(pid)
    for name, result in writes.items():
        score.check(f"memory.peak_reset_semantics: {name}", result, recorded[name])
    top = {"recorded": recorded["5 reopened"], "here": steps["5 reopened"]["path"]}
    for name, values in steps.items():
        expected = recorded[name] if isinstance(recorded[name], dict) else {"path": recorded[name]}
        shown = _shows(values, expected, top["here"])
        score.check(f"memory.peak_reset_semantics: {name}", shown, _shows(expected, expected, top["recorded"]))


def _shows(values: dict[str, int], recorded: dict[str, int], top: int) -> dict[str, list[bool]]:
    """For each descriptor of a recorded step: whether it shows the all-time peak, and whether the present usage, if that is recorded."""
    with_current = "current" in recorded
    return {name: [values[name] == top, with_current and values[name] == values["current"]] for name in recorded if name != "current"}
