"""How a mount in this process goes away: while requests are at work, when it could not be set up, after its process was killed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from mounting import client, error_of, fakecg, server, wait_until

from fakecg import Host, ManualClock, mounted
from fakecg.fs import serve
from fakecg.fs.mount import Notifier
from fakecg.fs.mountpoint import find_mount, mount_table
from fakecg.fs.names import FS_SOURCE

ERROR_OF_A_WRITE = """
try:
    os.write(os.open(sys.argv[1], os.O_WRONLY), sys.argv[2].encode())
    print("done")
except OSError as error:
    print(errno.errorcode[error.errno])
"""


def test_a_mount_that_ends_ends_the_writes_at_work() -> None:
    with Host(ram="64M", clock=ManualClock()) as host:
        began_ns = host.clock.now_ns()
        with mounted(host) as path:
            host.spawn(host.mkdir("job"), size="1M", access="uniform:1000/s")
            writer = client(ERROR_OF_A_WRITE, path / ".fakecg" / "advance", "3000d")
            wait_until(lambda: host.clock.now_ns() > began_ns, "the clock moves")
        # EINTR, after which Python's write tries again; a request that goes on would be a warning.
        assert writer.communicate(timeout=30)[0].strip() in ("ECONNABORTED", "ENOTCONN")
        assert host.clock.now_ns() - began_ns < 3000 * 86_400_000_000_000
        host.advance("1s")


def test_a_signal_ends_a_long_advance(tmp_path: Path) -> None:
    with server(tmp_path, "--clock", "manual"):
        (tmp_path / "job").mkdir()
        assert fakecg("spawn", tmp_path, "job", "--size", "1M", "--access", "uniform:1000/s").returncode == 0
        clock = tmp_path / ".fakecg" / "clock"
        before = clock.read_text()
        command = subprocess.Popen([sys.executable, "-m", "fakecg", "advance", str(tmp_path), "3000d"], stderr=subprocess.DEVNULL)
        wait_until(lambda: clock.read_text() != before, "the clock moves")
        command.send_signal(signal.SIGINT)
        assert command.wait(timeout=30)


def test_a_request_that_does_not_end_does_not_keep_the_mount(monkeypatch: pytest.MonkeyPatch, no_warnings: list[str]) -> None:
    no_warnings.append("unmounted while a request was still at work")
    monkeypatch.setattr(serve, "STOP_WAIT_S", 0.05)
    at_work, go_on = threading.Event(), threading.Event()

    def verify() -> int:
        at_work.set()
        assert go_on.wait(timeout=30)
        return 0

    with Host(ram="64M") as host:
        monkeypatch.setattr(host, "verify", verify)
        threads = set(threading.enumerate())
        with mounted(host) as path:
            reader = client("try: print(open(sys.argv[1]).read())\nexcept OSError: print('gone')", path / ".fakecg" / "verify")
            assert at_work.wait(timeout=30)
        assert find_mount(str(path)) is None
        assert not path.exists()
        assert reader.communicate(timeout=30)[0] == "gone\n"
        go_on.set()
        for thread in set(threading.enumerate()) - threads:
            thread.join(timeout=30)
            assert not thread.is_alive()


def test_others_are_served_while_a_report_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    with Host(ram="64M") as host:
        monkeypatch.setattr(host, "verify", lambda: int(go_on.wait(timeout=30)))
        with mounted(host) as path:
            reader = client("print(open(sys.argv[1]).read())", path / ".fakecg" / "verify")
            other = client("print(open(sys.argv[1]).read())", path / "memory.stat")
            assert other.communicate(timeout=20)[0].startswith("anon 0\n")
            go_on.set()
            assert reader.communicate(timeout=30)[0] == "1\n\n"


def test_a_mount_that_cannot_be_set_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_descriptors(notifier: Notifier) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with Host(ram="64M") as host:
        threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
        with monkeypatch.context() as patch:
            patch.setattr(Notifier, "start", no_descriptors)
            with pytest.raises(OSError, match="Too many open files"), mounted(host, tmp_path):
                pass
        assert find_mount(str(tmp_path)) is None
        assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (threads, descriptors)
        assert host.hierarchy.task_source is None
        assert host.hierarchy.on_remove == []
        with mounted(host, tmp_path):
            assert (tmp_path / "memory.stat").exists()


KILLED_WHILE_MOUNTED = """
import os, signal
from fakecg import Host, mounted
with Host(ram="64M") as host, mounted(host):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_mounted_is_removed_by_the_next_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_MOUNTED], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
    assert killed.returncode == -signal.SIGKILL

    def left() -> list[str]:
        return [entry.mount_point for entry in mount_table() if entry.source == FS_SOURCE and entry.mount_point.startswith(f"{tmp_path}/")]

    stale = left()
    assert len(stale) == 1
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Host(ram="64M") as host, mounted(host) as path:
        assert left() == [str(path)] != stale
        with mounted(host) as other:
            assert sorted(left()) == sorted([str(path), str(other)]), "a mount that is served is left alone"
    assert os.listdir(tmp_path) == []


def test_the_log_file_takes_names_that_are_not_text(tmp_path: Path) -> None:
    path, log = tmp_path / "mount", tmp_path / "log"
    path.mkdir()
    with server(path, "--log-file", str(log)):
        assert error_of(lambda: (path / ".fakecg" / "kill").write_bytes(b"x\xff")) == "EINVAL"
    assert "kill x\\udcff" in log.read_text()
