"""What goes on while a write takes long: signals, readers, other writers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounting import client, error_of, wait_until

from fakecg import Host, ManualClock, ScaledClock, mounted

SIZE = 512 << 20

READER = """
path = sys.argv[1]
for number in range(100):
    current = int(open(path + "/memory.current").read())
    stat = dict(line.split() for line in open(path + "/memory.stat"))
    assert current > 0 and int(stat["anon"]) >= 0, (current, stat)
    assert len(open(path + "/memory.pressure").read().splitlines()) == 2
"""

INTERRUPTED_WRITER = """
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.1)
os.pipe()
fd = os.open(sys.argv[1] + "/memory.reclaim", os.O_WRONLY)
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
result = libc.write(fd, b"400M", 4)  # Python's own write would try again
print(result, errno.errorcode.get(ctypes.get_errno()))
"""


@pytest.fixture
def busy_host() -> Iterator[Host]:
    with Host(ram="2G", swap="2G", clock=ScaledClock()) as host:
        host.mkdir("/job")
        host.spawn("/job", size=SIZE, content="half")
        yield host


@pytest.fixture
def job(busy_host: Host) -> Iterator[Path]:
    with mounted(busy_host) as path:
        yield path / "job"


def reclaim_in_background(job: Path, amount: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sh", "-c", f"echo {amount} > '{job}/memory.reclaim'"])


def zswapped(job: Path) -> int:
    return int(dict(line.split() for line in (job / "memory.stat").read_text().splitlines())["zswapped"])


def test_readers_do_not_wait_for_reclaim(job: Path) -> None:
    writer = reclaim_in_background(job, "400M")
    wait_until(lambda: zswapped(job) > 0, "reclaim is under way")
    values = [int((job / "memory.current").read_text()) for _ in range(20)]
    assert writer.poll() is None, "the reads had to wait for the end of reclaim"
    assert values[-1] < values[0]
    assert writer.wait() == 0


def test_eight_readers_during_reclaim_see_whole_files(job: Path, busy_host: Host) -> None:
    readers = [client(READER, job) for _ in range(8)]
    writer = reclaim_in_background(job, "400M")
    for reader in readers:
        reader.communicate()
    assert [reader.returncode for reader in readers] == [0] * 8
    assert writer.wait() == 0
    assert busy_host.verify() == SIZE // 4096


def test_a_signal_ends_reclaim_with_eintr_and_progress_is_kept(job: Path, busy_host: Host) -> None:
    writer = client(INTERRUPTED_WRITER, job)
    assert writer.communicate()[0].split() == ["-1", "EINTR"]
    assert 0 < zswapped(job) < 400 << 20
    assert busy_host.verify() == SIZE // 4096


def test_a_signal_ends_proactive_writeback_with_eintr_and_leaves_no_setting() -> None:
    with Host(ram="2G", swap="2G", clock=ManualClock()) as host, mounted(host) as path:
        (path / "job").mkdir()
        job = path / "job"
        host.spawn("/job", size="256M", content="half")
        (job / "memory.reclaim").write_text("250M")
        host.advance("1h")
        nr_entries = zswapped(job) // 4096
        settings = ("memory.zswap.max", "memory.zswap.writeback", "memory.swap.max", "memory.high", "memory.max")
        before = [(job / name).read_text() for name in settings]
        program = INTERRUPTED_WRITER.replace("memory.reclaim", "memory.zswap.proactive_writeback").replace('b"400M", 4', 'b"3600", 4')
        assert client(program, job).communicate()[0].split() == ["-1", "EINTR"]
        assert 0 < written_back(job) < nr_entries
        assert [(job / name).read_text() for name in settings] == before
        assert host.verify() == (256 << 20) // 4096


def written_back(job: Path) -> int:
    return int(dict(line.split() for line in (job / "memory.stat").read_text().splitlines())["zswpwb"])


def test_a_killed_writer_is_gone_at_once(job: Path) -> None:
    writer = client('os.write(os.open(sys.argv[1] + "/memory.reclaim", os.O_WRONLY), b"400M")', job)
    wait_until(lambda: zswapped(job) > 0, "reclaim is under way")
    writer.kill()
    writer.communicate()
    wait_until(lambda: _stopped(job), "reclaim stops")
    assert 0 < zswapped(job) < 400 << 20


def _stopped(job: Path) -> bool:
    before = zswapped(job)
    os.sched_yield()
    return zswapped(job) == before and zswapped(job) == before


def test_limits_can_be_raised_during_reclaim(job: Path) -> None:
    writer = reclaim_in_background(job, "400M")
    wait_until(lambda: zswapped(job) > 0, "reclaim is under way")
    (job / "memory.high").write_text("max")
    (job.parent / "other").mkdir()
    (job / "child").mkdir()
    (job / "child").rmdir()
    assert error_of(job.rmdir) == "EBUSY"
    assert writer.poll() is None, "other operations had to wait for the end of reclaim"
    assert writer.wait() == 0


def test_two_writers_both_get_their_amount(job: Path) -> None:
    (job.parent / "other").mkdir()
    writers = [reclaim_in_background(job, "100M"), reclaim_in_background(job, "100M")]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert zswapped(job) >= 200 << 20
