"""Recorded pressure triggers: one per open file, rules for the unprivileged, and the system's files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from api_backend import ApiBackend
from backends import Backend, Outcome, errno_name, golden, outcome
from directory_backend import NOBODY, DirectoryBackend, as_nobody
from scoring import Score

from fakecg.abi.errors import ControlError
from fakecg.cgroup.cftype import Caller

RECORDED = golden("write_matrix.json")["pressure_triggers"]
GOOD = b"some 150000 1000000"


@pytest.fixture
def child(backend: Backend) -> Iterator[str]:
    """The recordings' ``s``."""
    with backend.parent() as parent:
        backend.mkdir(f"{parent}/s")
        yield f"{parent}/s"


def test_one_trigger_per_open_file(backend: Backend, score: Score, child: str) -> None:
    if not isinstance(backend, DirectoryBackend):
        return
    path = backend.path(f"{child}/memory.pressure")
    fd, other = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    steps = [
        ["first", outcome(partial(os.write, fd, GOOD))],
        ["second on the same fd", outcome(partial(os.write, fd, GOOD))],
        ["empty write after", outcome(partial(os.write, fd, b""))],
        ["read on it", outcome(lambda: os.pread(fd, 4096, 0).decode())],
        ["bad first", outcome(partial(os.write, other, b"some 0 1"))],
        ["good after bad", outcome(partial(os.write, other, GOOD))],
        ["O_WRONLY fd", backend.write(f"{child}/memory.pressure", GOOD)],
    ]
    os.close(fd)
    os.close(other)
    for actual, expected in zip(steps, RECORDED["same_fd"], strict=True):
        score.check(f"triggers same_fd: {expected[0]}", actual, expected)


def test_windows_of_the_unprivileged(backend: Backend, score: Score, child: str) -> None:
    for text, expected in RECORDED["uid1000_owner"]:
        score.check(f"triggers uid1000_owner: {text!r}", _write_as_nobody(backend, f"{child}/memory.pressure", text.encode()), expected)


def _write_as_nobody(backend: Backend, path: str, data: bytes) -> Outcome:
    if not isinstance(backend, DirectoryBackend):
        assert backend.host is not None
        directory, _, name = path.rpartition("/")
        nobody = Caller(5, NOBODY, NOBODY)
        return _write(backend.host.open_file(backend.host.lookup(directory), name.encode(), nobody), backend, data)
    os.chown(backend.path(path), NOBODY, NOBODY)
    with as_nobody():
        return backend.write(path, data)


def _write(open_file: Any, backend: Backend, data: bytes) -> Outcome:
    assert backend.host is not None
    try:
        return {"ret": backend.host.write(open_file, data)}
    except ControlError as error:
        return {"errno": errno_name(error)}
    finally:
        backend.host.release(open_file)


def test_system_wide_triggers(backend: Backend, score: Score) -> None:
    """/proc/pressure is the machine's, not the tree's: through the API only. It takes the last byte for the newline."""
    if not isinstance(backend, ApiBackend):
        return
    for text, expected in RECORDED["proc_pressure_memory"]:
        open_file = backend.host.open_system_file("proc/pressure/memory", backend.caller)
        score.check(f"triggers proc_pressure_memory: {text!r}", _write(open_file, backend, text.encode()), expected)
    nobody = backend.host.open_system_file("proc/pressure/memory", Caller(5, NOBODY, NOBODY))
    score.check("triggers proc_pressure_uid1000", _write(nobody, backend, GOOD + b"\n"), RECORDED["proc_pressure_uid1000"])
