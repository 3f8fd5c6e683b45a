"""A small machine for tests of the memory model: tasks whose touches the test makes itself, one call at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from fakecg import Group, Host
from fakecg.abi.errors import NotEnoughProgress
from fakecg.cgroup.hierarchy import ROOT_CALLER
from fakecg.mm.address_space import SyntheticAddressSpace
from fakecg.sched.task import Task
from fakecg.workload.content import ContentSpec
from fakecg.workload.job import JobSpec

PAGE = 4096


class Memory:
    """A task, and one mapping of it that nothing but the test touches."""

    def __init__(self, host: Host, task: Task, space: SyntheticAddressSpace) -> None:
        self.host = host
        self.task = task
        self.space = space

    def _drive(self, work: Any) -> Any:
        with self.host.locked():
            return self.host.drive(work)

    def touch(self, start: int = 0, stop: int | None = None, *, write: bool = False) -> int:
        """Touch pages in order; returns what it took in nanoseconds. Sleeps of a throttled task are skipped."""
        stop = self.space.nr_pages if stop is None else stop
        return self._drive(self.host.task_memory.touch_range(self.task, self.space, start, stop, write))

    def touch_pages(self, indices: Sequence[int], *, write: bool = False) -> int:
        return self._drive(self.host.task_memory.touch_pages(self.task, self.space, indices, write))

    def fill(self, index: int, data: bytes) -> None:
        """Give a page these bytes."""
        self.touch_pages([index], write=True)
        self.space.store(index, data)

    def pageout(self, start: int = 0, stop: int | None = None) -> int:
        """Have exactly these pages reclaimed; returns how many were freed."""
        stop = self.space.nr_pages if stop is None else stop
        return self._drive(self.host.task_memory.pageout(self.task, self.space, start, stop))

    def sleeps(self, start: int, stop: int, *, write: bool = True) -> list[int]:
        """Touch pages; the nanoseconds the task was made to sleep, sleep by sleep."""
        with self.host.locked():
            return [pause for pause in self.host.task_memory.touch_range(self.task, self.space, start, stop, write) if pause]

    def states(self) -> tuple[int, int, int]:
        """Pages in memory, in zswap, in swap elsewhere."""
        assert self.task.mm is not None
        return self.host.machine.spaces.count(self.task.mm)


class File:
    """A file that tasks read and write."""

    def __init__(self, host: Host, mapping: SyntheticAddressSpace) -> None:
        self.host = host
        self.mapping = mapping

    def read(self, memory: Memory, start: int = 0, stop: int | None = None) -> int:
        stop = self.mapping.nr_pages if stop is None else stop
        with self.host.locked():
            return self.host.drive(self.host.task_memory.read_cache(memory.task, self.mapping, start, stop))

    def write(self, memory: Memory, start: int = 0, stop: int | None = None) -> int:
        stop = self.mapping.nr_pages if stop is None else stop
        with self.host.locked():
            return self.host.drive(self.host.task_memory.write_cache(memory.task, self.mapping, start, stop))


def memory_of(
    group: Group, nr_pages: int, content: str = "half", *, touched: bool = True, oom_score_adj: int = 0, name: str = "job"
) -> Memory:
    """A task with a mapping of so many pages, all of them written once unless told otherwise."""
    host = group.host
    task = host.spawn_job(group.cgroup, JobSpec(name=name), oom_score_adj=oom_score_adj)
    space = host.task_memory.create_space(task, nr_pages, ContentSpec.parse(content), task.pid)
    host.jobs[task.pid].spaces = [space]
    memory = Memory(host, task, space)
    if touched:
        memory.touch(write=True)
    return memory


def file_of(host: Host, nr_pages: int) -> File:
    """A file of so many pages, nothing of it cached."""
    return File(host, host.task_memory.create_file(nr_pages, ContentSpec.parse("text"), 99))


def reclaim(group: Group, request: str | int) -> bool:
    """memory.reclaim; False for EAGAIN."""
    with contextlib.suppress(NotEnoughProgress):
        group["memory.reclaim"] = request
        return True
    return False


def set_parameter(host: Host, path: str, value: str | int) -> None:
    """Write a file of the machine: ``zswap/enabled`` is one of zswap's parameters, anything else a path."""
    head, _, name = path.partition("/")
    full = f"sys/module/zswap/parameters/{name}" if head == "zswap" else path
    host.write(host.open_system_file(full, ROOT_CALLER), str(value).encode())


def debugfs(host: Host, name: str) -> int:
    """A number of /sys/kernel/debug/zswap."""
    return int(host.show(host.open_system_file(f"sys/kernel/debug/zswap/{name}", ROOT_CALLER)))


def meminfo(host: Host) -> dict[str, int]:
    """/proc/meminfo, KiB."""
    text = host.show(host.open_system_file("proc/meminfo", ROOT_CALLER)).decode()
    return {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines()}


def swap_events(group: Group) -> dict[str, int]:
    """memory.swap.events."""
    return {key: int(value) for key, value in (line.split() for line in group["memory.swap.events"].splitlines())}


class Change:
    """What numbers grew by since this was made."""

    def __init__(self, read: Any) -> None:
        self._read = read
        self._before = read()

    def __getitem__(self, key: str) -> int:
        return self._read()[key] - self._before[key]

    def restart(self) -> None:
        self._before = self._read()


def stat_change(group: Group) -> Change:
    """Of memory.stat."""
    return Change(lambda: group.stat)


def vm_change(host: Host) -> Change:
    """Of /proc/vmstat."""
    return Change(lambda: host.vmstat)
