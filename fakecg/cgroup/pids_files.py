"""The pids controller: how many tasks a subtree may have.

Mirrors kernel/cgroup/pids.c. A process counts until somebody waited for it; a synthetic one is never left unwaited for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from fakecg.abi.errors import InvalidInput, NotEnoughProgress
from fakecg.abi.keyed import counter_or_max
from fakecg.abi.units import kstrip, kstrtoll
from fakecg.cgroup import real_tasks
from fakecg.cgroup.cftype import ControlFile, OpenFile
from fakecg.cgroup.css import Controller, Css

if TYPE_CHECKING:
    from fakecg.cgroup.cgroup import Cgroup
    from fakecg.cgroup.hierarchy import Hierarchy
    from fakecg.sched.task import Task

#: Above any possible number of tasks (PID_MAX_LIMIT + 1): ``max``.
PIDS_MAX = (1 << 22) + 1


class PidsCss(Css):
    """Tasks of one subtree.

    Attributes:
        nr_tasks: now; watermark: the most there ever were; limit: pids.max.
        events: forks refused because of a limit here or below; events_local: because of the limit here.
    """

    __slots__ = ("events", "events_local", "limit", "nr_tasks", "watermark")

    def __init__(self, controller: Controller, cgroup: Cgroup, parent: Css | None) -> None:
        super().__init__(controller, cgroup, parent)
        self.nr_tasks = 0
        self.watermark = 0
        self.limit = PIDS_MAX
        self.events = 0
        self.events_local = 0

    def charge(self, nr_tasks: int) -> None:
        """Count tasks that came or, negative, went, here and in every ancestor."""
        for css in _upward(self):
            css.nr_tasks += nr_tasks
            css.watermark = max(css.watermark, css.nr_tasks)


def _upward(css: PidsCss) -> Iterator[PidsCss]:
    node: Css | None = css
    while node is not None:
        yield cast(PidsCss, node)
        node = node.parent


def _show_max(css: PidsCss, _open_file: OpenFile) -> str:
    return counter_or_max(css.limit, PIDS_MAX)


def _write_max(css: PidsCss, data: bytes, _open_file: OpenFile) -> None:
    # Source: pids.c:pids_max_write. A limit below the present number only stops further forks.
    text = kstrip(data)
    limit = PIDS_MAX if text == b"max" else kstrtoll(text)
    if text != b"max" and not 0 <= limit < PIDS_MAX:
        raise InvalidInput(f"pids.max: {limit} is not in 0..{PIDS_MAX - 1}")
    css.limit = limit


def _show_current(css: PidsCss, _open_file: OpenFile) -> str:
    real_tasks.refresh(css.cgroup.hierarchy)
    cast(PidsController, css.controller).reap(css.cgroup.hierarchy)
    return f"{css.nr_tasks}\n"


def _show_peak(css: PidsCss, _open_file: OpenFile) -> str:
    real_tasks.refresh(css.cgroup.hierarchy)
    return f"{css.watermark}\n"


def _show_events(css: PidsCss, _open_file: OpenFile) -> str:
    return f"max {css.events}\n"


def _show_events_local(css: PidsCss, _open_file: OpenFile) -> str:
    return f"max {css.events_local}\n"


PIDS_FILES: tuple[ControlFile, ...] = (
    ControlFile(
        name="pids.max",
        show=_show_max,
        write=_write_max,
        fidelity="simplified",
        summary="How many tasks may be here and below. Synthetic tasks past it are refused (EAGAIN); forks of real processes are not.",
    ),
    ControlFile(name="pids.current", show=_show_current, summary="Tasks here and below."),
    ControlFile(name="pids.peak", show=_show_peak, summary="The most tasks there ever were."),
    ControlFile(name="pids.events", show=_show_events, notifies=True, summary="Forks refused because of a pids.max here or below."),
    ControlFile(name="pids.events.local", show=_show_events_local, notifies=True, summary="Forks refused because of the pids.max here."),
)


class PidsController(Controller):
    """The controller named ``pids``."""

    name = "pids"
    threaded = True
    files = PIDS_FILES

    def __init__(self) -> None:
        self._charged: dict[Task, PidsCss] = {}
        self._zombies: set[Task] = set()

    def css_alloc(self, cgroup: Cgroup, parent: Css | None) -> PidsCss:
        """A state without a limit."""
        return PidsCss(self, cgroup, parent)

    def can_fork(self, task: Task, css: Css) -> None:
        """Refuse a new task where a limit, here or above, is reached.

        Raises:
            NotEnoughProgress: pids.max (EAGAIN).

        Source: pids.c:pids_can_fork, pids_event.
        """
        self.reap(css.cgroup.hierarchy)
        for over in _upward(cast(PidsCss, css)):
            if over.nr_tasks + 1 > over.limit:
                over.events_local += 1
                over.cgroup.notify("pids.events.local")
                for each in _upward(over):
                    if each.parent is not None:
                        each.events += 1
                        each.cgroup.notify("pids.events")
                raise NotEnoughProgress(f"{over.cgroup.path()}: pids.max is {over.limit}")

    def attach(self, task: Task, css: Css) -> None:
        """Moves are never refused, whatever the limit. Source: pids.c:pids_can_attach."""
        before = self._charged.get(task)
        cast(PidsCss, css).charge(1)
        if before is not None:
            before.charge(-1)
        self._charged[task] = cast(PidsCss, css)

    def exit(self, task: Task, css: Css) -> None:
        """The task is gone, or a zombie that counts on."""
        self.reap(css.cgroup.hierarchy)
        if real_tasks.is_unreaped(css.cgroup.hierarchy, task):
            self._zombies.add(task)
        else:
            self._uncharge(task)

    def reap(self, hierarchy: Hierarchy) -> None:
        """Forget the zombies that were waited for. Source: pids.c:pids_release."""
        for task in [task for task in self._zombies if not real_tasks.is_unreaped(hierarchy, task)]:
            self._zombies.discard(task)
            self._uncharge(task)

    def _uncharge(self, task: Task) -> None:
        before = self._charged.pop(task, None)
        if before is not None:
            before.charge(-1)

    def is_dying(self, css: Css) -> bool:
        """Tasks are still counted here."""
        self.reap(css.cgroup.hierarchy)
        return cast(PidsCss, css).nr_tasks > 0
