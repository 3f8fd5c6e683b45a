from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator

import pytest

from fakecg.host_tasks import HostTasks
from fakecg.sched.task import Forked, ThreadExited, ThreadStarted


@pytest.fixture
def tasks() -> Iterator[HostTasks]:
    tasks = HostTasks()
    yield tasks
    tasks.close()


@pytest.fixture
def shell() -> Iterator[subprocess.Popen[str]]:
    """A shell that runs a line per line it is sent, and answers with what the line prints."""
    process = subprocess.Popen(["/bin/sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    yield process
    process.kill()
    process.communicate()


def ask(shell: subprocess.Popen[str], line: str) -> str:
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write(line + "\n")
    shell.stdin.flush()
    return shell.stdout.readline().strip()


def test_a_process_is_found_with_its_owner_and_name(tasks: HostTasks) -> None:
    info = tasks.find(os.getpid())
    assert info is not None
    assert (info.tid, info.tgid, info.uid, info.is_zombie, info.is_kthread) == (os.getpid(), os.getpid(), os.geteuid(), False, False)


def test_nobody_has_an_impossible_id(tasks: HostTasks) -> None:
    assert tasks.find(1 << 30) is None
    assert list(tasks.threads(1 << 30)) == []
    tasks.follow(1 << 30)
    assert tasks.changes() == []


def test_a_thread_is_mapped_to_its_process(tasks: HostTasks) -> None:
    found: list[int] = []

    def look() -> None:
        info = tasks.find(threading.get_native_id())
        assert info is not None
        found.append(info.tgid)
        found.extend(each.tid for each in tasks.threads(os.getpid()))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found[:2] == [os.getpid(), os.getpid()]
    assert len(found) >= 3


def test_a_zombie_is_seen_as_one_and_its_end_reported_once(tasks: HostTasks) -> None:
    process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    tasks.follow(process.pid)
    assert tasks.changes() == []
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    info = tasks.find(process.pid)
    assert info is not None
    assert info.is_zombie
    assert tasks.changes() == [ThreadExited(process.pid)]
    assert tasks.changes() == []
    process.communicate()


def test_children_born_while_followed_are_reported_and_followed(tasks: HostTasks, shell: subprocess.Popen[str]) -> None:
    old = int(ask(shell, "sleep 1000 & echo $!"))
    tasks.follow(shell.pid)
    assert tasks.changes() == []
    new = int(ask(shell, "sleep 1000 & echo $!"))
    (change,) = tasks.changes()
    assert isinstance(change, Forked)
    assert (change.parent_tgid, change.child.tid) == (shell.pid, new)
    assert tasks.changes() == []
    tasks.kill(old)
    tasks.kill(new)
    assert ask(shell, f"wait {new}; echo $?") == str(128 + signal.SIGKILL)
    assert tasks.changes() == [ThreadExited(new)]
    os.kill(old, signal.SIGKILL)


def test_grandchildren_are_born_where_their_parent_was(tasks: HostTasks, shell: subprocess.Popen[str]) -> None:
    tasks.follow(shell.pid)
    grandchild = int(ask(shell, "sh -c 'sleep 1000 & echo $!; wait' &"))
    parents = {change.child.tid: change.parent_tgid for change in tasks.changes() if isinstance(change, Forked)}
    assert parents[parents[grandchild]] == shell.pid
    os.kill(grandchild, signal.SIGKILL)


def test_new_threads_of_a_followed_process_are_reported(tasks: HostTasks) -> None:
    tasks.follow(os.getpid())
    tasks.changes()
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    started = [change.thread.tid for change in tasks.changes() if isinstance(change, ThreadStarted)]
    release.set()
    thread.join()
    assert started == [thread.native_id]


def test_freeze_stops_a_process_and_lets_it_go_on(tasks: HostTasks, shell: subprocess.Popen[str]) -> None:
    tasks.follow(shell.pid)
    tasks.freeze(shell.pid, True)
    assert os.waitid(os.P_PID, shell.pid, os.WSTOPPED) is not None
    tasks.freeze(shell.pid, False)
    assert os.waitid(os.P_PID, shell.pid, os.WCONTINUED) is not None
    assert ask(shell, "echo alive") == "alive"


def test_the_emulator_itself_is_spared(tasks: HostTasks) -> None:
    tasks.follow(os.getpid())
    tasks.freeze(os.getpid(), True)
    tasks.kill(os.getpid())


def test_an_exit_is_told_without_asking() -> None:
    told = threading.Event()
    tasks = HostTasks(on_exit=told.set)
    process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    tasks.follow(process.pid)
    process.kill()
    assert told.wait(timeout=60)
    process.communicate()
    assert tasks.changes() == [ThreadExited(process.pid)]
    tasks.close()
