"""The tree reached through the Python API, with processes made up by the test."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from backends import Backend, Outcome, Process, errno_name, outcome

from fakecg.abi.errors import ControlError
from fakecg.cgroup.cftype import Caller
from fakecg.cgroup.kernfs import name_hash
from fakecg.cgroup.real_tasks import refresh
from fakecg.host import Host
from fakecg.sched.task import Change, ThreadExited, ThreadInfo


class FakeTasks:
    """The processes of the machine an API test runs on."""

    def __init__(self) -> None:
        self.infos: dict[int, ThreadInfo] = {
            1: ThreadInfo(1, 1, "init"),
            2: ThreadInfo(2, 2, "kthreadd", is_kthread=True, is_pinned=True),
        }
        self.pending: list[Change] = []
        self.followed: set[int] = set()
        self.killed: set[int] = set()
        self._next = 500
        self.on_exit: Callable[[], None] = lambda: None

    def start(self, nr_threads: int = 1) -> list[int]:
        tgid = self._next
        tids = list(range(tgid, tgid + nr_threads))
        self._next += nr_threads
        for tid in tids:
            self.infos[tid] = ThreadInfo(tid, tgid, "sleep")
        return tids

    def end(self, tgid: int, zombie: bool = False) -> None:
        for info in [info for info in self.infos.values() if info.tgid == tgid]:
            if not info.is_zombie and tgid in self.followed:
                self.pending.append(ThreadExited(info.tid))
            if zombie and info.tid == tgid:
                self.infos[tgid] = ThreadInfo(tgid, tgid, info.name, is_zombie=True)
            else:
                del self.infos[info.tid]
        self.on_exit()

    def find(self, tid: int) -> ThreadInfo | None:
        return self.infos.get(tid)

    def threads(self, tgid: int) -> list[ThreadInfo]:
        return [info for info in self.infos.values() if info.tgid == tgid and not info.is_zombie]

    def follow(self, tgid: int) -> None:
        self.followed.add(tgid)

    def changes(self) -> list[Change]:
        changes, self.pending = self.pending, []
        return changes

    def kill(self, tgid: int) -> None:
        self.killed.add(tgid)
        self.end(tgid, zombie=True)

    def freeze(self, tgid: int, frozen: bool) -> None:
        """Nothing to stop."""


class ApiProcess(Process):
    def __init__(self, tasks: FakeTasks, nr_threads: int) -> None:
        self._tasks = tasks
        self.tids = tasks.start(nr_threads)
        self.pid = self.tids[0]

    def exit_code(self) -> int | None:
        return -signal.SIGKILL if self.pid in self._tasks.killed else None

    def wait_killed(self) -> None:
        assert self.pid in self._tasks.killed

    def become_zombie(self) -> None:
        self._tasks.end(self.pid, zombie=True)

    def reap(self) -> None:
        if self.pid in self._tasks.infos:
            self._tasks.end(self.pid)


class ApiBackend(Backend):
    """A host without a mount."""

    name = "api"
    has_vfs = False

    def __init__(self, host: Host) -> None:
        self.host = host
        self.tasks = FakeTasks()
        host.hierarchy.task_source = self.tasks
        self.tasks.on_exit = partial(refresh, host.hierarchy)
        (self.recorder,) = self.tasks.start()
        self.caller = Caller(tid=self.recorder)

    def mkdir(self, path: str, mode: int = 0o755) -> None:
        parent, _, name = path.rpartition("/")
        self.host.mkdir_at(self.host.lookup(parent), os.fsencode(name), mode, self.caller)

    def rmdir(self, path: str) -> None:
        self.host.rmdir_at(self.host.lookup(path))

    def _open(self, path: str, caller: Caller) -> Any:
        parent, _, name = path.rpartition("/")
        return self.host.open_file(self.host.lookup(parent), os.fsencode(name), caller)

    def read(self, path: str) -> str | Outcome:
        try:
            open_file = self._open(path, self.caller)
        except ControlError as error:
            return {"open_errno": errno_name(error)}
        try:
            return self.host.show(open_file).decode("latin-1")
        except ControlError as error:
            return {"read_errno": errno_name(error)}
        finally:
            self.host.release(open_file)

    def write(self, path: str, data: bytes, caller: Caller | None = None) -> Outcome:
        caller = caller or self.caller
        try:
            open_file = self._open(path, caller)
        except ControlError as error:
            return {"open_errno": errno_name(error)}
        try:
            return outcome(lambda: self.host.write(open_file, data, caller))
        finally:
            self.host.release(open_file)

    def write_as_process(self, path: str, data: bytes) -> Outcome:
        process = ApiProcess(self.tasks, 1)
        result = self.write(path, data, Caller(tid=process.pid))
        process.reap()
        return result

    def settle(self) -> None:
        self.host.advance("1s")

    def listdir(self, path: str) -> list[str]:
        cgroup = self.host.lookup(path)
        names = [*cgroup.children, *(row.name.encode() for row in cgroup.files())]
        return [os.fsdecode(name) for name in sorted(names, key=lambda name: (name_hash(name), name))]

    def directories(self, path: str) -> list[str]:
        return [os.fsdecode(name) for name in self.host.lookup(path).children]

    def stat(self, path: str) -> Outcome:
        parent, _, name = path.rpartition("/")
        cgroup = self.host.lookup(parent)
        node: Any = cgroup.children.get(os.fsencode(name)) if name else cgroup
        if node is not None:
            return _stat(0o40000 | node.mode, 2 + len(node.children), node)
        node = cgroup.lookup_node(os.fsencode(name))
        return _stat(0o100000 | node.mode, 1, node)

    def spawn(self, path: str, threads: int = 1) -> Process:
        process = ApiProcess(self.tasks, threads)
        assert "ret" in self.write(f"{path}/cgroup.procs", str(process.pid).encode())
        return process


def _stat(mode: int, nlink: int, node: Any) -> Outcome:
    return {"mode": oct(mode), "size": 0, "nlink": nlink, "uid": node.uid, "gid": node.gid, "ino": node.ino}
