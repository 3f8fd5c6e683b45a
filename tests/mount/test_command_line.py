"""The subcommands against a real mount, and 'fakecg run'."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounting import FAKECG, fakecg, server

from fakecg.fs.mountpoint import find_mount, server_pid
from fakecg.fs.names import FS_SOURCE

TOP = Path(__file__).parents[2]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    with server(tmp_path, "--clock", "manual") as running:
        (running.path / "job").mkdir()
        yield running.path


def test_spawn_ps_kill_and_advance(mount: Path) -> None:
    spawned = fakecg("spawn", mount, "/job", "--size", "8M", "--content", "half", "--name", "my task")
    assert (spawned.returncode, spawned.stderr) == (0, "")
    pid = spawned.stdout.strip()
    (mount / "job" / "memory.reclaim").write_text("4M")
    header, row = fakecg("ps", mount).stdout.splitlines()
    assert header.split() == ["pid", "cgroup", "name", "resident", "zswapped", "swapped"]
    assert row.split()[:4] == [pid, "/job", "my", "task"]
    assert sum(map(int, fakecg("ps", "--bytes", mount).stdout.split()[-3:])) == 8 << 20
    before = float((mount / ".fakecg" / "clock").read_text())
    assert float(fakecg("advance", mount, "90m").stdout) == before + 5400
    assert fakecg("kill", mount, pid).returncode == 0
    assert fakecg("ps", mount).stdout.split() == header.split()


def test_a_cgroup_may_be_named_by_its_place_in_the_mount(mount: Path) -> None:
    assert fakecg("spawn", mount, mount / "job", "--size", "1M").returncode == 0
    assert fakecg("spawn", mount, "job", "--size", "1M").returncode == 0
    assert len((mount / "job" / "cgroup.procs").read_text().split()) == 2


def test_mistakes_are_one_line_and_have_exit_codes(mount: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for arguments, code, part in (
        (["spawn", mount, "/job"], 2, "--size"),
        (["spawn", mount, "/job", "--size", "much"], 2, "not a size"),
        (["spawn", mount, "/job", "--size", "1M", "--access", "sometimes"], 2, "sometimes"),
        (["spawn", mount, "/nowhere", "--size", "1M"], 1, "no cgroup"),
        (["spawn", elsewhere, "/job", "--size", "1M"], 1, "not a fakecg mount"),
        (["ps", elsewhere], 1, "not a fakecg mount"),
        (["umount", elsewhere], 1, "nothing is mounted"),
        (["umount", "/proc"], 1, "not ours"),
        (["kill", mount, "1"], 2, "no task"),
        (["kill", mount, "x"], 2, "PID"),
        (["advance", mount, "soon"], 2, "not a duration"),
        (["run"], 2, "a command"),
        (["explode"], 2, "unknown command"),
        ([], 2, "a command is needed"),
    ):
        result = fakecg(*arguments)
        assert (result.returncode, result.stdout) == (code, ""), arguments
        assert part in result.stderr, arguments
        assert result.stderr.count("\n") == 1, arguments


def test_help_and_version() -> None:
    assert "umount" in fakecg("--help").stdout
    assert "--scenario" in fakecg("mount", "--help").stdout
    assert fakecg("--version").stdout.startswith("fakecg 0.")


def test_the_script_is_the_subcommand(tmp_path: Path) -> None:
    refused = subprocess.run([sys.executable, TOP / "mount.py", tmp_path / "missing"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "does not exist" in refused.stderr


def test_the_command_line_starts_without_loading_the_model() -> None:
    program = "import sys; from fakecg.cli.main import main; main(['--version']); main(['ps', '/']); print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "'fakecg.cli.ps_command'" in loaded
    assert "fakecg.host" not in loaded
    assert "fakecg.mm" not in loaded


def test_a_scenario_is_running_when_mount_returns(tmp_path: Path) -> None:
    with server(tmp_path, "--scenario", "quickstart", "--clock", "manual") as running:
        assert (running.path / "job" / "memory.max").read_text() == f"{256 << 20}\n"
        assert int((running.path / "job" / "memory.current").read_text()) >= 64 << 20


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return fakecg("run", "--ram", "1G", "--swap", "2G", "--", *arguments)


def test_run_shows_the_tree_and_its_companions_in_their_places() -> None:
    script = """
        set -e
        grep '^cgroup2 /sys/fs/cgroup cgroup2 ' /proc/mounts
        mkdir /sys/fs/cgroup/job
        cat /sys/fs/cgroup/job/memory.max
        grep MemTotal /proc/meminfo
        sed -n 2p /proc/swaps
        cat /proc/pressure/memory
        echo 100 > /proc/sys/vm/swappiness
        cat /proc/sys/vm/swappiness
    """
    result = run("sh", "-c", script)
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0].startswith("cgroup2 ")
    assert lines[1:3] == ["max", "MemTotal:        1048576 kB"]
    assert lines[3].split()[2] == "2097152"
    assert lines[-1] == "100"
    for place in ("/sys/fs/cgroup", "/proc/meminfo", "/proc/sys/vm/swappiness"):
        mount = find_mount(place)
        assert mount is None or mount.source != FS_SOURCE, "nothing outside changed"


def test_run_gives_the_command_process_ids_of_its_own() -> None:
    result = run(
        "sh",
        "-c",
        "mkdir /sys/fs/cgroup/a; echo $$ > /sys/fs/cgroup/a/cgroup.procs; read pid < /sys/fs/cgroup/a/cgroup.procs; echo $$ $pid",
    )
    own, listed = map(int, result.stdout.split())
    assert own == listed < 100


def test_run_ends_as_the_command_does() -> None:
    assert run("sh", "-c", "exit 7").returncode == 7
    assert run("sh", "-c", "kill -TERM $$").returncode == 128 + 15
    missing = run("/no/such/program")
    assert missing.returncode == 127
    assert missing.stderr == "fakecg: /no/such/program: No such file or directory\n"
    assert run("/etc/passwd").returncode == 126


def test_doctor_finds_what_a_mount_needs() -> None:
    result = fakecg("doctor")
    assert result.returncode == 0, result.stdout
    assert os.path.exists("/dev/fuse")
    assert "MISSING" not in result.stdout


def test_run_moves_and_kills_the_processes_that_the_command_names() -> None:
    script = """
        mkdir /sys/fs/cgroup/a /sys/fs/cgroup/b
        sleep 60 & echo $! > /sys/fs/cgroup/a/cgroup.procs
        echo 1 > /sys/fs/cgroup/a/cgroup.kill
        wait $!; echo $?
        echo 0 > /sys/fs/cgroup/b/cgroup.procs
        read pid < /sys/fs/cgroup/b/cgroup.procs; test $pid = $$ && echo moved
    """
    result = run("sh", "-c", script)
    assert result.stdout == "137\nmoved\n"
    assert result.stderr in ("", "Killed\n"), "a shell may or may not tell of it"


def test_run_has_statfs_call_the_tree_cgroup2() -> None:
    script = """
        stat -f -c %t /sys/fs/cgroup /sys/fs/cgroup/memory.stat
        cd /sys/fs/cgroup; sh -c 'stat -f -c %t memory.stat'
        exec "$0" -S -E -c "$1"
    """
    # As systemd does it: fstatfs of a descriptor; struct statfs begins with the type.
    program = """if True:
        import ctypes, os
        libc, answer = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(120)
        for path in ("/sys/fs/cgroup", "/"):
            assert libc.fstatfs(os.open(path, os.O_RDONLY), answer) == 0
            print(hex(int.from_bytes(answer[:8], "little")))
        print(libc.statfs(b"/nowhere", answer), ctypes.get_errno())
    """
    result = run("sh", "-c", script, sys.executable, program)
    assert result.stderr == ""
    *tree, root, missing = result.stdout.splitlines()
    assert tree == ["63677270"] * 3 + ["0x63677270"]
    assert root != "0x63677270"
    assert missing == "-1 2"


def test_run_tells_why_it_cannot() -> None:
    result = fakecg("run", "-o", "no_such_option", "true")
    assert result.returncode == 1
    assert result.stderr.startswith("fakecg: cannot mount on ")
    assert result.stderr.count("\n") == 1


def test_a_notice_does_not_keep_a_mount_busy(tmp_path: Path) -> None:
    assert fakecg("mount", tmp_path, "--clock", "manual").returncode == 0
    (tmp_path / "job").mkdir()
    assert fakecg("spawn", tmp_path, "job", "--size", "1M").returncode == 0
    (tmp_path / "job" / "cgroup.kill").write_text("1")
    result = fakecg("umount", tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_command_does_not_outlive_a_killed_run(tmp_path: Path) -> None:
    command = [*FAKECG, "run", "--ram", "64M", "--", "sh", "-c", "echo ready; exec sleep 100"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}) as run_process:
        assert run_process.stdout is not None
        assert run_process.stdout.readline() == "ready\n"
        run_process.kill()
        # The end of the file comes when nobody has it open any more.
        assert run_process.communicate(timeout=20)[0] == ""


def test_a_server_may_open_as_many_files_as_its_user_may(tmp_path: Path) -> None:
    limited = subprocess.run(
        ["sh", "-c", 'ulimit -S -n 64 && exec "$@"', "sh", *FAKECG, "mount", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert limited.returncode == 0, limited.stderr
    try:
        limits = Path(f"/proc/{server_pid(str(tmp_path))}/limits").read_text()
        soft, hard = next(line.split()[3:5] for line in limits.splitlines() if line.startswith("Max open files"))
        assert soft == hard != "64"
    finally:
        assert fakecg("umount", tmp_path).returncode == 0
