"""Setting a scenario up on a host: cgroups, limits, jobs, and the writes that come later."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from fakecg.abi.errors import ControlError, UsageError
from fakecg.sched.clock import Clock
from fakecg.sched.timer import Steps, TimerQueue
from fakecg.workload.job import JobSpec
from fakecg.workload.scenario import Scenario, TimedWrite

if TYPE_CHECKING:
    from fakecg.sched.task import Task


class ScenarioHost(Protocol):
    """What a scenario needs of the host."""

    clock: Clock
    timers: TimerQueue

    def mkdir(self, path: str) -> Any:
        """Make a cgroup, controllers enabled for it."""

    def write_file(self, path: str, name: str, data: bytes) -> None:
        """One write to an interface file."""

    def write_file_steps(self, path: str, name: str, data: bytes) -> Steps:
        """The same for a timer's callback, which runs with the host's lock held already."""

    def spawn_job(self, path: str, spec: JobSpec, *, delay_ns: int = 0, oom_score_adj: int = 0) -> Task:
        """Start a task for a job."""


def stage(scenario: Scenario, host: ScenarioHost, on_refusal: Callable[[str], None]) -> None:
    """Make the cgroups, write their files, start the jobs, and arm a timer for every later write.

    Args:
        on_refusal: told when a later write is refused, as an agent would be; it is not an error of the scenario.

    Raises:
        UsageError: a cgroup cannot be made or a file refuses its value; says which.
    """
    made: set[str] = set()
    for cgroup in scenario.cgroups:
        parts = cgroup.path[1:].split("/")
        for depth in range(1, len(parts) + 1):
            path = "/" + "/".join(parts[:depth])
            if path not in made:
                made.add(path)
                _or_complain(scenario, path, lambda path=path: host.mkdir(path))  # type: ignore[misc]
        for name, value in cgroup.files:
            _or_complain(scenario, f"{cgroup.path}/{name} = {value!r}", _writer(host, cgroup.path, name, value))
    for job in scenario.jobs:
        for _ in range(job.count):
            host.spawn_job(job.cgroup, job.spec, delay_ns=job.start_ns, oom_score_adj=job.oom_score_adj)
    start_ns = host.clock.now_ns()
    for write in scenario.writes:
        _arm(write, start_ns + write.at_ns, host, on_refusal)


def _writer(host: ScenarioHost, path: str, name: str, value: str) -> Callable[[], None]:
    return lambda: host.write_file(path, name, value.encode())


def _or_complain(scenario: Scenario, what: str, act: Callable[[], Any]) -> None:
    try:
        act()
    except ControlError as error:
        raise UsageError(f"scenario {scenario.name}: {what}: {error}") from None


def _arm(write: TimedWrite, when_ns: int, host: ScenarioHost, on_refusal: Callable[[str], None]) -> None:
    def run() -> Steps:
        if write.every_ns is not None:
            _arm(write, when_ns + write.every_ns, host, on_refusal)
        try:
            yield from host.write_file_steps(write.cgroup, write.file, write.value.encode())
        except ControlError as error:
            on_refusal(f"{write.cgroup}/{write.file} = {write.value!r}: {error}")

    host.timers.add(when_ns, run)
