"""The unlisted directory ``.fakecg``, the companion files of /proc and /sys, and bugs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from mounting import error_of

from fakecg import Host, ManualClock, ScaledClock, mounted


def command(mount: Path, name: str, line: str) -> str:
    """Write a command line and read its answer from the same descriptor."""
    fd = os.open(mount / ".fakecg" / name, os.O_RDWR)
    try:
        os.write(fd, line.encode())
        return os.read(fd, 4096).decode()
    finally:
        os.close(fd)


def refusal(mount: Path, name: str, line: str) -> tuple[str, str]:
    """Errno of a refused command, and what the descriptor then tells."""
    fd = os.open(mount / ".fakecg" / name, os.O_RDWR)
    try:
        return error_of(lambda: os.write(fd, line.encode())), os.read(fd, 4096).decode()
    finally:
        os.close(fd)


def test_the_directory_is_there_but_not_listed(cg_mount: Path) -> None:
    assert ".fakecg" not in os.listdir(cg_mount)
    assert {"spawn", "ps", "kill", "log", "last_error", "version", "proc", "sys"} <= set(os.listdir(cg_mount / ".fakecg"))
    assert error_of(lambda: os.rmdir(cg_mount / ".fakecg")) == "EPERM"
    assert error_of(lambda: os.mkdir(cg_mount / ".fakecg")) == "EEXIST"
    assert error_of(lambda: os.mkdir(cg_mount / ".fakecg" / "x")) == "EPERM"
    assert cg_mount.stat().st_nlink == 2


def test_a_shell_can_start_a_task(cg_mount: Path) -> None:
    (cg_mount / "job").mkdir()
    script = 'exec 3<>"$0/.fakecg/spawn"; echo "/job size=4M name=\'my task\'" >&3; cat <&3'
    pid = subprocess.run(["sh", "-c", script, cg_mount], capture_output=True, text=True, check=True).stdout
    assert (cg_mount / "job" / "cgroup.procs").read_text() == pid
    header, row = (cg_mount / ".fakecg" / "ps").read_text().splitlines()
    assert header == "pid cgroup name resident zswapped swapped"
    assert row == f"{pid.strip()} /job 'my task' {4 << 20} 0 0"
    assert command(cg_mount, "kill", pid) == ""
    assert (cg_mount / "job" / "cgroup.procs").read_text() == ""


def test_ps_tells_where_memory_is(cg_mount: Path) -> None:
    (cg_mount / "job").mkdir()
    command(cg_mount, "spawn", "/job size=16M content=half")
    (cg_mount / "job" / "memory.reclaim").write_text("8M")
    resident, zswapped, swapped = map(int, (cg_mount / ".fakecg" / "ps").read_text().split()[-3:])
    assert resident + zswapped + swapped == 16 << 20
    assert zswapped >= 8 << 20
    assert int((cg_mount / ".fakecg" / "verify").read_text()) == (16 << 20) // 4096


def test_a_refused_command_tells_why(cg_mount: Path) -> None:
    assert refusal(cg_mount, "spawn", "/nowhere size=1M") == ("ENOENT", "no cgroup '/nowhere'\n")
    assert refusal(cg_mount, "spawn", "/")[0] == "EINVAL"
    assert "size=... is missing" in refusal(cg_mount, "spawn", "/")[1]
    assert "unknown option 'siez=1M'" in refusal(cg_mount, "spawn", "/ siez=1M")[1]
    assert "given twice" in refusal(cg_mount, "spawn", "/ size=1M size=2M")[1]
    assert "quotation" in refusal(cg_mount, "spawn", "/ 'size=1M")[1]
    assert "words expected" in refusal(cg_mount, "kill", " ")[1]
    assert "not a pid" in refusal(cg_mount, "kill", "me")[1]
    assert "no task" in refusal(cg_mount, "kill", "1")[1]
    assert "is a report" in refusal(cg_mount, "ps", "x")[1]


def test_the_reason_of_the_last_refusal_is_kept(cg_mount: Path) -> None:
    (cg_mount / "job").mkdir()
    assert error_of(lambda: (cg_mount / "job" / "memory.max").write_text("1kb")) == "EINVAL"
    assert "1kb" in (cg_mount / ".fakecg" / "last_error").read_text()


def test_an_unread_command_file_explains_itself(cg_mount: Path) -> None:
    assert (cg_mount / ".fakecg" / "kill").read_text() == "usage: PID\n"
    assert "spawn" in (cg_mount / ".fakecg" / "help").read_text()


def test_a_manual_clock_is_moved_through_its_file() -> None:
    with Host(clock=ManualClock()) as host, mounted(host) as path:
        before = float((path / ".fakecg" / "clock").read_text())
        assert float(command(path, "advance", "1h")) == before + 3600
        assert host.clock.now_ns() == (before + 3600) * 10**9
        assert "not a duration" in refusal(path, "advance", "soon")[1]


def test_injected_errors_hit_matching_operations_so_many_times(cg_mount: Path) -> None:
    (cg_mount / "job").mkdir()
    fd = os.open(cg_mount / "job" / "memory.reclaim", os.O_WRONLY)
    command(cg_mount, "inject", "write /job/memory.reclaim EBUSY count=2")
    command(cg_mount, "inject", "open /*/memory.stat ENOMEM")
    command(cg_mount, "inject", "mkdir /x ENOSPC")
    assert [error_of(lambda: os.write(fd, b"0")) for _ in range(3)] == ["EBUSY", "EBUSY", "ok"]
    assert (cg_mount / ".fakecg" / "last_error").read_text() == "injected into write of /job/memory.reclaim\n"
    os.close(fd)
    assert error_of((cg_mount / "job" / "memory.stat").read_text) == "ENOMEM"
    assert error_of((cg_mount / "memory.stat").read_text) == "ok"
    assert error_of((cg_mount / "x").mkdir) == "ENOSPC"
    assert (cg_mount / ".fakecg" / "inject").read_text() == "open /*/memory.stat ENOMEM count=inf\nmkdir /x ENOSPC count=inf\n"
    command(cg_mount, "clear", "\n")
    assert error_of((cg_mount / "x").mkdir) == "ok"
    assert "unknown errno" in refusal(cg_mount, "inject", "write /x EFOO")[1]
    assert "unknown operation" in refusal(cg_mount, "inject", "chew /x EIO")[1]


def test_a_bug_is_eio_and_its_traceback_is_in_the_log(cg_mount: Path, cg_mount_host: Host, no_warnings: list[str]) -> None:
    no_warnings.append("injected into read of /memory.stat")
    command(cg_mount, "inject", "read /memory.stat bug count=1")
    assert error_of((cg_mount / "memory.stat").read_text) == "EIO"
    assert cg_mount_host.internal_errors == 1
    assert "injected into read" in (cg_mount / ".fakecg" / "last_error").read_text()
    assert error_of((cg_mount / "memory.stat").read_text) == "ok"


def test_companion_files_are_those_of_the_emulated_machine() -> None:
    with Host(ram="1G", swap="2G", clock=ScaledClock()) as host, mounted(host) as path:
        companions = path / ".fakecg"
        assert (companions / "proc" / "meminfo").read_text().startswith("MemTotal:        1048576 kB\n")
        assert (companions / "proc" / "swaps").read_text().splitlines()[1].split()[2] == "2097152"
        assert (companions / "proc" / "pressure" / "memory").read_text().startswith("some avg10=0.00")
        swappiness = companions / "proc" / "sys" / "vm" / "swappiness"
        swappiness.write_text("100\n")
        assert swappiness.read_text() == "100\n"
        assert error_of(lambda: swappiness.write_text("201")) == "EINVAL"
        enabled = companions / "sys" / "module" / "zswap" / "parameters" / "enabled"
        enabled.write_text("0")
        assert enabled.read_text() == "N\n"


@pytest.mark.parametrize("name", ["clock", "ps", "proc/meminfo"])
def test_reports_are_open_to_everybody_commands_only_to_the_owner(cg_mount: Path, name: str) -> None:
    assert (cg_mount / ".fakecg" / name).stat().st_mode & 0o777 == 0o444
    assert (cg_mount / ".fakecg" / "spawn").stat().st_mode & 0o777 == 0o600


def test_sysroot_looks_like_the_root_of_a_machine() -> None:
    with Host(clock=ScaledClock()) as host, mounted(host, layout="sysroot") as path:
        assert sorted(os.listdir(path)) == ["proc", "sys"]
        tree = path / "sys" / "fs" / "cgroup"
        assert tree.stat().st_ino == 1
        (tree / "job").mkdir()
        assert (tree / "job" / "memory.max").read_text() == "max\n"
        assert (path / "proc" / "swaps").read_text().startswith("Filename")
        assert (path / ".fakecg" / "version").read_text()
        assert error_of(lambda: os.mkdir(path / "x")) == "EPERM"
        assert error_of(lambda: os.rmdir(tree)) == "EBUSY"
        (tree / "job").rmdir()
