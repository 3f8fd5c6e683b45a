"""poll and inotify."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounting import IN_CREATE, IN_DELETE, IN_ISDIR, IN_MODIFY, Inotify, error_of, wait_until

from fakecg import Host

READY = select.POLLIN | select.POLLOUT | select.POLLRDNORM | select.POLLWRNORM
CHANGED = select.POLLPRI | select.POLLERR
PATIENCE_MS = 30_000


def poll(fd: int, events: int = 0xFFFF, timeout_ms: int = 0) -> int:
    poller = select.poll()
    poller.register(fd, events)
    ready = poller.poll(timeout_ms)
    return ready[0][1] if ready else 0


@pytest.fixture
def job(cg_mount: Path) -> Path:
    (cg_mount / "job").mkdir()
    return cg_mount / "job"


@pytest.fixture
def inotify() -> Iterator[Inotify]:
    watcher = Inotify()
    yield watcher
    watcher.close()


def test_a_file_counts_as_changed_until_it_is_read(job: Path) -> None:
    for name in ("memory.events", "memory.max", "cgroup.controllers"):
        fd = os.open(job / name, os.O_RDONLY)
        assert poll(fd) & 0x14F == READY | CHANGED, name
        os.read(fd, 100)
        assert poll(fd) & 0x14F == READY, name
        os.close(fd)


def test_a_sleeping_poll_is_woken_by_a_notice(job: Path, cg_mount_host: Host) -> None:
    fds = [os.open(path / "cgroup.events", os.O_RDONLY) for path in (job, job)]
    for fd in fds:
        assert os.read(fd, 100) == b"populated 0\nfrozen 0\n"
    task = threading.Timer(0.05, lambda: cg_mount_host.spawn("/job", size="1M"))
    task.start()
    for fd in fds:
        assert poll(fd, select.POLLPRI, PATIENCE_MS) == CHANGED
        assert poll(fd, select.POLLPRI) == CHANGED  # until it is read
        assert os.pread(fd, 100, 0) == b"populated 1\nfrozen 0\n"
        assert poll(fd, select.POLLPRI) == 0
        os.close(fd)
    task.join()


def test_epoll_edges_come_once_for_each_notice(job: Path, cg_mount_host: Host) -> None:
    fd = os.open(job / "cgroup.events", os.O_RDONLY)
    os.read(fd, 100)
    epoll = select.epoll()
    epoll.register(fd, select.EPOLLPRI | select.EPOLLET)
    for _ in range(3):
        task = cg_mount_host.spawn("/job", size="1M")
        assert epoll.poll(PATIENCE_MS / 1000) == [(fd, CHANGED)]
        os.pread(fd, 100, 0)
        cg_mount_host.kill(task.pid)
        assert epoll.poll(PATIENCE_MS / 1000) == [(fd, CHANGED)]
        os.pread(fd, 100, 0)
    epoll.close()
    os.close(fd)


def test_an_open_file_of_a_removed_cgroup_polls_as_changed(job: Path) -> None:
    fd = os.open(job / "memory.events", os.O_RDONLY)
    os.read(fd, 100)
    assert poll(fd) & CHANGED == 0
    job.rmdir()
    assert poll(fd) & CHANGED == CHANGED
    os.close(fd)


def test_a_pressure_trigger_wakes_its_own_descriptor(job: Path, cg_mount_host: Host) -> None:
    fd = os.open(job / "memory.pressure", os.O_RDWR)
    assert poll(fd) & CHANGED == CHANGED  # no trigger yet
    os.write(fd, b"some 10000 1000000\0")
    assert poll(fd) & CHANGED == 0
    assert error_of(lambda: os.write(fd, b"some 10000 1000000\0")) == "EBUSY"
    (job / "memory.high").write_text("8M")
    stall = threading.Thread(target=lambda: cg_mount_host.spawn("/job", size="64M", content="random"))
    stall.start()
    assert poll(fd, select.POLLPRI, PATIENCE_MS) == select.POLLPRI
    os.close(fd)
    stall.join()


def test_rmdir_wakes_whoever_sleeps_on_a_trigger(job: Path) -> None:
    fd = os.open(job / "memory.pressure", os.O_RDWR)
    os.write(fd, b"some 10000 1000000\0")
    remover = threading.Timer(0.05, job.rmdir)
    remover.start()
    assert poll(fd, select.POLLPRI, PATIENCE_MS) == CHANGED
    assert error_of(lambda: os.pread(fd, 100, 0)) == "ENODEV"
    os.close(fd)
    remover.join()


def test_control_files_are_always_ready(cg_mount: Path) -> None:
    fd = os.open(cg_mount / ".fakecg" / "ps", os.O_RDONLY)
    assert poll(fd) & 0x14F == READY
    os.close(fd)


def test_inotify_sees_a_notice_on_the_file_and_in_its_directory(job: Path, cg_mount_host: Host, inotify: Inotify) -> None:
    inotify.watch(job / "cgroup.events", "file")
    inotify.watch(job, "directory")
    inotify.watch(job.parent, "parent")
    cg_mount_host.spawn("/job", size="1M")
    seen: list[tuple[str, int, str]] = []
    wait_until(lambda: len(seen) >= 2 or bool(seen.extend(inotify.events())), "both watches report")
    assert sorted(seen) == [("directory", IN_MODIFY, "cgroup.events"), ("file", IN_MODIFY, "")]


def test_inotify_sees_what_clients_do(job: Path, inotify: Inotify) -> None:
    inotify.watch(job, "job")
    inotify.watch(job / "memory.max", "max")
    (job / "child").mkdir()
    (job / "child").rmdir()
    fd = os.open(job / "memory.max", os.O_WRONLY)
    assert error_of(lambda: os.write(fd, b"nonsense")) == "EINVAL"
    os.write(fd, b"")
    assert inotify.events() == [("job", IN_CREATE | IN_ISDIR, "child"), ("job", IN_DELETE | IN_ISDIR, "child")]
    os.write(fd, b"1M")
    os.close(fd)
    assert sorted(inotify.events()) == [("job", IN_MODIFY, "memory.max"), ("max", IN_MODIFY, "")]


def test_the_mount_can_be_unmounted_soon_after_notices(job: Path, cg_mount_host: Host, inotify: Inotify) -> None:
    inotify.watch(job / "cgroup.events", "file")
    cg_mount_host.spawn("/job", size="1M")
    wait_until(lambda: bool(inotify.events()), "the watch reports")
    wait_until(lambda: not _descriptors_on(job.parent), "the notifier closed its descriptors")


def _descriptors_on(mount_point: Path) -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.startswith(str(mount_point)):
            found.append(target)
    return found
