"""Mounting, unmounting, and what is left when a server dies."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

import pytest
from mounting import client, error_of, fakecg, server, wait_until

from fakecg.fs.mountpoint import is_running


def is_mounted(path: Path) -> bool:
    return f" {path} " in Path("/proc/self/mountinfo").read_text()


def one_line(text: str) -> str:
    """The text, which has to be one line."""
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    return text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_unmounts_and_ends_the_server(tmp_path: Path, number: signal.Signals) -> None:
    with server(tmp_path) as mount:
        assert is_mounted(tmp_path)
        assert mount.stop(number) == 0
        assert not is_mounted(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_signal_unmounts_although_files_are_open(tmp_path: Path) -> None:
    with server(tmp_path) as mount:
        fd = os.open(tmp_path / "memory.stat", os.O_RDONLY)
        assert mount.stop(signal.SIGTERM) == 0
        assert not is_mounted(tmp_path)
        assert error_of(lambda: os.pread(fd, 10, 0)) in ("ENOTCONN", "ECONNABORTED")
        assert error_of(lambda: os.close(fd)) in ("ok", "ENOTCONN")


def test_the_server_ends_when_somebody_else_unmounts(tmp_path: Path) -> None:
    with server(tmp_path) as mount:
        assert fakecg("umount", tmp_path).returncode == 0
        assert mount.process.wait(timeout=30) == 0


def test_mount_returns_when_the_mount_answers_and_umount_when_its_server_is_gone(tmp_path: Path) -> None:
    result = fakecg("mount", tmp_path, "--ram", "1G")
    try:
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
        assert (tmp_path / "cgroup.controllers").read_text().split()
        pid = int((tmp_path / ".fakecg" / "pid").read_text())
    finally:
        assert fakecg("umount", tmp_path).returncode == 0
    assert not is_running(pid)
    assert not is_mounted(tmp_path)


def test_a_mount_in_use_is_not_unmounted_unless_lazily(tmp_path: Path) -> None:
    assert fakecg("mount", tmp_path).returncode == 0
    pid = int((tmp_path / ".fakecg" / "pid").read_text())
    fd = os.open(tmp_path / "memory.stat", os.O_RDONLY)
    refused = fakecg("umount", tmp_path)
    assert refused.returncode == 3
    assert "in use" in one_line(refused.stderr)
    assert os.pread(fd, 4, 0) == b"anon"
    assert fakecg("umount", "--lazy", tmp_path).returncode == 0
    assert not is_mounted(tmp_path)
    os.close(fd)
    wait_until(lambda: not is_running(pid), "the server ends")


def test_a_killed_server_leaves_a_stale_mount_that_can_be_replaced(tmp_path: Path) -> None:
    with server(tmp_path) as first:
        fd = os.open(tmp_path / "memory.stat", os.O_RDONLY)
        first.stop(signal.SIGKILL)
        assert error_of(lambda: os.listdir(tmp_path)) == "ENOTCONN"
        assert error_of(lambda: os.close(fd)) in ("ok", "ENOTCONN")
        refused = fakecg("mount", tmp_path)
        assert refused.returncode == 4
        assert "stale mount" in one_line(refused.stderr)
        assert fakecg("ps", tmp_path).returncode == 4
        assert "stale" in fakecg("doctor").stdout
        with server(tmp_path, "--replace"):
            assert (tmp_path / "memory.stat").read_text().startswith("anon ")


def test_clients_at_work_do_not_hang_when_the_server_is_killed(tmp_path: Path) -> None:
    with server(tmp_path, "--ram", "1G", "--clock", "manual") as mount:
        (tmp_path / "job").mkdir()
        assert fakecg("spawn", tmp_path, "job", "--size", "256M", "--content", "half").returncode == 0
        sleeper = client(EVENTS_OF_A_POLL, tmp_path / "job" / "memory.events")
        assert sleeper.stdout is not None
        assert sleeper.stdout.readline() == "ready\n"
        writer = client(ERROR_OF_A_WRITE, tmp_path / "job" / "memory.reclaim")
        wait_until(lambda: "zswapped 0\n" not in (tmp_path / "job" / "memory.stat").read_text(), "the write is at work")
        mount.stop(signal.SIGKILL)
        assert writer.communicate(timeout=30)[0].strip() in ("ECONNABORTED", "ENOTCONN")
        assert int(sleeper.communicate(timeout=30)[0]) & select.POLLERR


ERROR_OF_A_WRITE = """
try:
    os.write(os.open(sys.argv[1], os.O_WRONLY), b"250M")
    print("done")
except OSError as error:
    print(errno.errorcode[error.errno])
"""
EVENTS_OF_A_POLL = """
import select
fd = os.open(sys.argv[1], os.O_RDONLY)
os.read(fd, 1000)
poller = select.poll()
poller.register(fd, select.POLLPRI)
print("ready", flush=True)
print(poller.poll(20_000)[0][1])
"""


def test_a_stale_mount_can_be_unmounted(tmp_path: Path) -> None:
    with server(tmp_path) as mount:
        mount.stop(signal.SIGKILL)
        assert fakecg("umount", tmp_path).returncode == 0
        assert not is_mounted(tmp_path)


def test_a_server_that_does_not_answer_is_told_of_and_unmounted(tmp_path: Path) -> None:
    with server(tmp_path) as mount:
        mount.process.send_signal(signal.SIGSTOP)
        assert f"mount {tmp_path}: its server does not answer -> fakecg umount --lazy {tmp_path}" in fakecg("doctor").stdout
        assert fakecg("umount", "--lazy", tmp_path).returncode == 0
        assert not is_mounted(tmp_path)
        mount.process.send_signal(signal.SIGCONT)
        assert mount.process.wait(timeout=30) == 0


def test_a_busy_mount_point_is_refused(tmp_path: Path) -> None:
    with server(tmp_path):
        refused = fakecg("mount", tmp_path)
        assert refused.returncode == 3
        assert "busy" in one_line(refused.stderr)


def test_a_directory_with_files_is_refused_unless_asked_for(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    refused = fakecg("mount", tmp_path)
    assert refused.returncode == 3
    assert "not empty" in one_line(refused.stderr)
    with server(tmp_path, "-o", "nonempty"):
        assert "precious" not in os.listdir(tmp_path)


def test_a_mount_point_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    missing = fakecg("mount", tmp_path / "missing")
    assert missing.returncode == 2
    assert "does not exist" in one_line(missing.stderr)
    (tmp_path / "file").touch()
    assert "not a directory" in one_line(fakecg("mount", tmp_path / "file").stderr)


def test_what_the_library_refuses_is_told_in_one_line(tmp_path: Path) -> None:
    refused = fakecg("mount", tmp_path, "-o", "no_such_option")
    assert refused.returncode == 1
    assert "no_such_option" in one_line(refused.stderr)
    assert not is_mounted(tmp_path)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--ram", "lots"], "not a size"),
        (["--clock", "slow"], "--clock"),
        (["--zswap", "enabled"], "KEY=VALUE"),
        (["--zswap", "nonsense=1"], "nonsense"),
        (["--profile", "v2.4"], "unknown profile"),
        (["--proactive", "v2,v3"], "different meanings"),
        (["--scenario", "nowhere"], "unknown scenario"),
        (["--log-level", "loud"], "--log-level"),
        (["--layout", "round"], "--layout"),
        (["--nodes", "none"], "--nodes"),
    ],
)
def test_a_wrong_option_is_told_in_one_line(tmp_path: Path, options: list[str], complaint: str) -> None:
    refused = fakecg("mount", tmp_path, *options)
    assert refused.returncode == 2
    assert complaint in one_line(refused.stderr)
    assert not is_mounted(tmp_path)


def test_without_libfuse_the_exit_code_is_5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSE_LIBRARY_PATH", str(tmp_path / "libfuse.so"))
    refused = fakecg("mount", tmp_path)
    assert refused.returncode == 5
    assert "apt-get install" in one_line(refused.stderr)
    told = fakecg("doctor")
    assert told.returncode == 5
    assert "MISSING" in told.stdout
