"""Swap devices from the command line, and devices that fail on demand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounting import error_of, fakecg, server

from fakecg import Host, ManualClock, mounted

SMALL, LARGE = "/fakecg-swap", "/fakecg-swap1"
#: A thousand touches in the first second.
BUSY = "seq:1k/s"


def used_kib(companions: Path) -> dict[str, tuple[int, int, int]]:
    """Size, use and priority of each device, as /proc/swaps has them."""
    lines = (companions / "proc" / "swaps").read_text().splitlines()[1:]
    return {words[0]: (int(words[2]), int(words[3]), int(words[4])) for words in map(str.split, lines)}


def keyed(path: Path) -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in path.read_text().splitlines())}


def test_devices_are_used_by_priority_and_have_latencies_of_their_own(tmp_path: Path) -> None:
    mount, file = tmp_path / "mnt", tmp_path / "swap"
    mount.mkdir()
    options = ["--swap", f"64M,device=nvme,file={file}", "--swap", "8M,prio=5,device=hdd+swap_read=20ms", "--swap", "0"]
    with server(mount, "--clock", "manual", "--zswap", "enabled=0", *options):
        assert used_kib(mount / ".fakecg") == {"/fakecg-swap1": (8 << 10, 0, 5), str(file): (64 << 10, 0, -2)}
        assert file.stat().st_size == 64 << 20
        (mount / "job").mkdir()
        assert fakecg("spawn", mount, "job", "--size", "24M", "--access", BUSY).returncode == 0
        (mount / "job" / "memory.reclaim").write_text("16M")
        used = {name: used for name, (_, used, _) in used_kib(mount / ".fakecg").items()}
        assert used["/fakecg-swap1"] == 8 << 10, "the higher priority is full first"
        assert used[str(file)] >= 8 << 10
        assert fakecg("advance", mount, "10s").returncode == 0
        # 20 ms for each window that is read from the slow device; all of the other one would take 30 ms.
        stalled_us = int((mount / "job" / "io.pressure").read_text().split("total=")[1].split()[0])
        assert stalled_us > 10 * 20_000
        in_use = fakecg("mount", tmp_path_of(tmp_path, "other"), "--swap", f"64M,file={file}")
        assert (in_use.returncode, in_use.stderr.count("\n")) == (1, 1)
        assert "another swap device has it" in in_use.stderr


def tmp_path_of(parent: Path, name: str) -> Path:
    """A new directory."""
    (parent / name).mkdir()
    return parent / name


def test_a_file_that_is_no_swap_file_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "thesis"
    precious.write_text("years of work")
    mount = tmp_path_of(tmp_path, "mnt")
    refused = fakecg("mount", mount, "--swap-file", str(precious))
    assert refused.returncode == 1
    assert "another size" in refused.stderr
    assert precious.read_text() == "years of work"


@pytest.fixture
def machine() -> Iterator[tuple[Host, Path]]:
    """Two devices, no zswap, and a job of 16 MiB."""
    with Host(ram="1G", swap=["8M,prio=1", "64M"], clock=ManualClock(), zswap={"enabled": "N"}) as host, mounted(host) as path:
        (path / "job").mkdir()
        yield host, path


def command(mount: Path, name: str, line: str) -> str:
    fd = os.open(mount / ".fakecg" / name, os.O_RDWR)
    try:
        os.write(fd, line.encode())
        return os.read(fd, 4096).decode()
    finally:
        os.close(fd)


def test_pages_that_cannot_be_written_stay_in_memory(machine: tuple[Host, Path], no_warnings: list[str]) -> None:
    no_warnings.append("swap write failed")
    host, path = machine
    host.spawn("/job", size="16M")
    assert command(path, "inject", f"swap-write {SMALL} EIO count=3") == f"swap-write {SMALL} EIO count=3\n"
    (path / "job" / "memory.reclaim").write_text("4M")
    assert (path / ".fakecg" / "inject").read_text() == ""
    assert "swap write failed" in (path / ".fakecg" / "last_error").read_text()
    assert (path / "job" / "cgroup.procs").read_text() != "", "a failed write kills nobody"
    assert int((path / ".fakecg" / "verify").read_text()) == (16 << 20) // 4096


def test_a_full_device_takes_no_pages_until_it_is_cleared(machine: tuple[Host, Path]) -> None:
    host, path = machine
    host.spawn("/job", size="16M")
    assert command(path, "inject", "swap-full * ENOSPC") == f"swap-full {SMALL} ENOSPC count=inf\nswap-full {LARGE} ENOSPC count=inf\n"
    assert error_of(lambda: (path / "job" / "memory.reclaim").write_text("4M")) == "EAGAIN"
    assert int((path / "job" / "memory.swap.current").read_text()) == 0
    assert keyed(path / "job" / "memory.swap.events")["fail"] > 0
    command(path, "clear", "all")
    (path / "job" / "memory.reclaim").write_text("4M")
    assert int((path / "job" / "memory.swap.current").read_text()) >= 4 << 20


def test_a_page_that_cannot_be_read_kills_the_task_that_needs_it(machine: tuple[Host, Path], no_warnings: list[str]) -> None:
    no_warnings.append("injected read error")
    host, path = machine
    victim = host.spawn("/job", size="8M", access=BUSY)
    (path / "job" / "memory.reclaim").write_text("7M")
    (path / "other").mkdir()
    other = host.spawn("/other", size="8M", access=BUSY)
    (path / "other" / "memory.reclaim").write_text("7M")
    command(path, "inject", "swap-read * EIO count=1")
    command(path, "advance", "5s")
    reason = (path / ".fakecg" / "last_error").read_text()
    assert f"task {victim.pid} " in reason or f"task {other.pid} " in reason
    assert " page " in reason
    assert " slot " in reason
    alive = (path / "job" / "cgroup.procs").read_text() + (path / "other" / "cgroup.procs").read_text()
    assert len(alive.split()) <= 1
    assert keyed(path / "job" / "memory.events")["oom_kill"] == 0
    assert int((path / ".fakecg" / "verify").read_text()) == len(alive.split()) * (8 << 20) // 4096


def test_swapoff_brings_everything_back(machine: tuple[Host, Path]) -> None:
    host, path = machine
    host.spawn("/job", size="16M")
    (path / "job" / "memory.reclaim").write_text("6M")
    nr_pages = used_kib(path / ".fakecg")[SMALL][1] // 4
    assert 0 < int(command(path, "swapoff", SMALL)) <= nr_pages
    assert list(used_kib(path / ".fakecg")) == [LARGE]
    assert int((path / ".fakecg" / "verify").read_text()) == (16 << 20) // 4096


def test_a_fault_that_makes_no_sense_is_refused_with_the_reason(machine: tuple[Host, Path]) -> None:
    _, path = machine
    for line, reason in (
        ("swap-read * ENOSPC", "ends with EIO"),
        ("swap-full * ENOSPC count=1", "no count"),
        ("swap-read /dev/sda EIO", f"there: {SMALL} {LARGE}"),
        ("swap-read * EIO count=0", "at least 1"),
        ("swap-chew * EIO", "swap-write"),
    ):
        fd = os.open(path / ".fakecg" / "inject", os.O_RDWR)
        assert error_of(lambda: os.write(fd, line.encode())) == "EINVAL"  # noqa: B023
        assert reason in os.read(fd, 4096).decode()
        os.close(fd)
    assert (path / ".fakecg" / "inject").read_text() == ""
