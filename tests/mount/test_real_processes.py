"""Real processes with memory of the emulated machine: what kills by the numbers in cgroup.procs frees it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounting import error_of, fakecg, wait_until

from fakecg import Host, ManualClock, UsageError, mounted

SIZE = 16 << 20


@pytest.fixture
def host() -> Iterator[Host]:
    with Host(ram="1G", clock=ManualClock()) as host:
        yield host


@pytest.fixture
def job(host: Host) -> Iterator[Path]:
    with mounted(host) as path:
        (path / "job").mkdir()
        yield path / "job"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def current(job: Path) -> int:
    return int((job / "memory.current").read_text())


def test_the_process_is_listed_and_its_end_frees_the_memory(job: Path, sleeper: subprocess.Popen[bytes]) -> None:
    spawned = fakecg("spawn", job.parent, "job", "--size", "16M", "--pid", str(sleeper.pid))
    assert (spawned.stdout, spawned.stderr) == (f"{sleeper.pid}\n", "")
    assert (job / "cgroup.procs").read_text() == f"{sleeper.pid}\n"
    assert current(job) == SIZE
    (job / "memory.reclaim").write_text("4M")
    os.kill(sleeper.pid, signal.SIGKILL)
    wait_until(lambda: current(job) == 0, "the memory is freed")
    assert (job / "cgroup.events").read_text() == "populated 0\nfrozen 0\n"
    assert int((job / "memory.swap.current").read_text()) == 0
    assert (job.parent / ".fakecg" / "ps").read_text().count("\n") == 1


def test_the_emulated_kernel_kills_the_real_process(job: Path, host: Host, sleeper: subprocess.Popen[bytes]) -> None:
    (job / "memory.max").write_text("8M")
    (job / "memory.swap.max").write_text("0")
    host.spawn("/job", size=SIZE, pid=sleeper.pid)
    assert sleeper.wait(timeout=30) == -signal.SIGKILL
    assert "oom_kill 1\n" in (job / "memory.events").read_text()
    assert current(job) == 0


def test_cgroup_kill_and_the_kill_command_end_both(job: Path, host: Host, sleeper: subprocess.Popen[bytes]) -> None:
    host.spawn("/job", size=SIZE, pid=sleeper.pid)
    host.kill(sleeper.pid)
    assert sleeper.wait(timeout=30) == -signal.SIGKILL
    assert current(job) == 0
    other = subprocess.Popen(["sleep", "1000"])
    host.spawn("/job", size=SIZE, pid=other.pid)
    (job / "cgroup.kill").write_text("1")
    assert other.wait(timeout=30) == -signal.SIGKILL
    assert current(job) == 0


def test_a_process_that_cannot_have_memory_is_refused(job: Path, host: Host, sleeper: subprocess.Popen[bytes]) -> None:
    task = host.spawn("/job", size="1M")
    assert error_of(lambda: host.spawn("/job", size=SIZE, pid=4194304)) == "ESRCH"
    host.spawn("/job", size=SIZE, pid=sleeper.pid)
    for pid in (task.pid, sleeper.pid):
        with pytest.raises(UsageError, match="memory here already"):
            host.spawn("/job", size=SIZE, pid=pid)
    assert current(job) == SIZE + (1 << 20)
