"""A bare hierarchy for tests: no memory model, no filesystem, a clock that stands still."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from fakecg.abi.errors import ControlError, Gone, InvalidInput, NoSuchFile
from fakecg.abi.profile import Features
from fakecg.cgroup.cftype import Caller, ControlFile, OpenFile
from fakecg.cgroup.cgroup import Cgroup
from fakecg.cgroup.cpu_files import CpuController
from fakecg.cgroup.css import Controller, Css
from fakecg.cgroup.hierarchy import Hierarchy, require_live
from fakecg.cgroup.io_files import IoController
from fakecg.cgroup.pids_files import PidsController
from fakecg.cgroup.unused_files import PerfEventController
from fakecg.sched.clock import ManualClock
from fakecg.sched.task import Change, Task, ThreadInfo
from fakecg.sched.timer import TimerQueue

ROOT = Caller(tid=0)


def _show_limit(css: LimitCss, _open_file: OpenFile) -> str:
    return css.limit + "\n"


def _write_limit(css: LimitCss, data: bytes, _open_file: OpenFile) -> None:
    css.limit = data.decode().strip()


class LimitCss(Css):
    """One stored word."""

    __slots__ = ("held", "limit")

    def __init__(self, controller: Controller, cgroup: Cgroup, parent: Css | None) -> None:
        super().__init__(controller, cgroup, parent)
        self.limit = "max"
        self.held = False


class FakeMemory(Controller):
    """A domain controller in the place of memory, which records the calls of its hooks."""

    name = "memory"
    files = (
        ControlFile(name="memory.max", show=_show_limit, write=_write_limit),
        ControlFile(name="memory.stat", show=_show_limit, on_root=True),
        ControlFile(name="memory.events", show=_show_limit, notifies=True),
    )

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def css_alloc(self, cgroup: Cgroup, parent: Css | None) -> Css:
        return LimitCss(self, cgroup, parent)

    def css_online(self, css: Css) -> None:
        self.calls.append(("online", css.cgroup.path()))

    def css_offline(self, css: Css) -> None:
        assert not css.online
        self.calls.append(("offline", css.cgroup.path()))

    def css_reset(self, css: Css) -> None:
        assert isinstance(css, LimitCss)
        css.limit = "max"
        self.calls.append(("reset", css.cgroup.path()))

    def attach(self, task: Task, css: Css) -> None:
        self.calls.append((f"attach {task.pid}", css.cgroup.path()))

    def is_dying(self, css: Css) -> bool:
        assert isinstance(css, LimitCss)
        return css.held


class FakeTasks:
    """A source of "real" tasks made up by the test."""

    def __init__(self, infos: Iterable[ThreadInfo] = ()) -> None:
        self.infos = {info.tid: info for info in infos}
        self.pending: list[Change] = []
        self.followed: list[int] = []
        self.signals: list[tuple[str, int]] = []

    def find(self, tid: int) -> ThreadInfo | None:
        return self.infos.get(tid)

    def threads(self, tgid: int) -> list[ThreadInfo]:
        return [info for info in self.infos.values() if info.tgid == tgid and not info.is_zombie]

    def follow(self, tgid: int) -> None:
        self.followed.append(tgid)

    def changes(self) -> list[Change]:
        changes, self.pending = self.pending, []
        return changes

    def kill(self, tgid: int) -> None:
        self.signals.append(("kill", tgid))

    def freeze(self, tgid: int, frozen: bool) -> None:
        self.signals.append(("stop" if frozen else "continue", tgid))


class Tree:
    """A hierarchy with shorthands that go through the rows as the filesystem does."""

    def __init__(self, infos: Sequence[ThreadInfo] = (), profile: str = "v6.12") -> None:
        self.clock = ManualClock()
        self.timers = TimerQueue()
        self.memory = FakeMemory()
        self.real = FakeTasks(infos)
        self.hierarchy = Hierarchy(
            self.clock,
            self.timers,
            Features.select(profile),
            (PidsController(), self.memory, IoController(), PerfEventController(), CpuController()),
            task_source=self.real,
        )

    def __getitem__(self, path: str) -> Cgroup:
        return self.hierarchy.lookup(path)

    def mkdir(self, path: str, caller: Caller = ROOT) -> Cgroup:
        parent, _, name = path.strip("/").rpartition("/")
        return self.hierarchy.mkdir(self[parent], name.encode(), 0o755, caller)

    def rmdir(self, path: str) -> None:
        self.hierarchy.rmdir(self[path])

    def open(self, path: str, opener: Caller = ROOT) -> OpenFile:
        directory, _, name = path.rpartition("/")
        row, css = self[directory].lookup_file(name.encode())
        return OpenFile(row, css, opener, opener)

    def read(self, file: str | OpenFile) -> str:
        open_file = self.open(file) if isinstance(file, str) else file
        require_live(open_file)
        if open_file.row.show is None:
            raise InvalidInput("no show")
        return open_file.row.show(open_file.css, open_file)

    def write(self, file: str | OpenFile, data: bytes | str, writer: Caller | None = None) -> None:
        open_file = self.open(file) if isinstance(file, str) else file
        require_live(open_file)
        if open_file.row.write is None:
            raise InvalidInput("no write")
        open_file.writer = writer or open_file.opener
        steps = open_file.row.write(open_file.css, data.encode() if isinstance(data, str) else data, open_file)
        assert steps is None

    def exists(self, path: str) -> bool:
        try:
            self.open(path)
        except (NoSuchFile, Gone):
            return False
        return True

    def spawn(self, path: str, **fields: object) -> Task:
        task = Task(self.hierarchy.new_pid(), **fields)  # type: ignore[arg-type]
        self.hierarchy.add_task(task, self[path])
        return task

    def pass_time(self, seconds: float) -> None:
        self.clock.jump(seconds)
        self.timers.run_due(self.clock.now_ns())


@contextmanager
def refuses(code: int) -> Iterator[None]:
    """The block raises a ControlError with this errno."""
    with pytest.raises(ControlError) as caught:
        yield
    assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[code], str(caught.value)
