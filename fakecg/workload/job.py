"""Jobs: a task that touches its memory by the clock.

A job has regions (mappings with contents) and phases (for how long which region is touched how). It is one generator: it yields None where
others may run and a number of nanoseconds where it sleeps, be it that a page's owner is throttled or that its next touches are not due.
A timer resumes it; a frozen task waits, a killed one stops.

Invariant: a job is at one place in time: it touches nothing before what it did so far is paid for.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from fakecg.abi.errors import DataLost, UsageError
from fakecg.abi.units import PAGE_SIZE, parse_size
from fakecg.sched.clock import NSEC_PER_MSEC, NSEC_PER_SEC, Clock
from fakecg.sched.timer import Steps, Timer, TimerQueue
from fakecg.workload.content import ContentSpec, mix64
from fakecg.workload.pattern import AccessPattern, AccessSpec, Touches

if TYPE_CHECKING:
    from fakecg.sched.task import Task

#: Work of a task: None lets others run, a number sleeps that many nanoseconds.
Work = Generator[int | None, None, int]

#: A tick is as long as it takes for some touches to come together, within these bounds.
MIN_TICK_NS = 10 * NSEC_PER_MSEC
MAX_TICK_NS = NSEC_PER_SEC
_TOUCHES_PER_TICK = 64
_FROZEN_POLL_NS = 10 * NSEC_PER_MSEC


class MemoryModel(Protocol):
    """What a job needs of the memory it touches; see mm."""

    def create_space(self, task: Task, nr_pages: int, content: ContentSpec, seed: int) -> Any:
        """A mapping of anonymous memory, nothing of it touched."""

    def touch_range(self, task: Task, space: Any, start: int, stop: int, write: bool = False) -> Work:
        """Touch the pages start..stop-1; returns the cost in nanoseconds."""

    def touch_pages(self, task: Task, space: Any, indices: Sequence[int], write: bool = False) -> Work:
        """Touch pages in the order given; returns the cost in nanoseconds."""

    def read_cache(self, task: Task, mapping: Any, start: int, stop: int) -> Work:
        """Read pages of a file; returns the cost in nanoseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One mapping of a job. ``populate``: all of it is written when the job starts."""

    name: str
    nr_pages: int
    content: ContentSpec
    populate: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What is touched for a while: accesses by region name. ``duration_ns`` None lasts until the job ends."""

    accesses: tuple[tuple[str, AccessSpec], ...] = ()
    duration_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """A job to be started.

    Attributes:
        regions: its memory, in mapping order.
        phases: one after the other; a job without any touches what it populates and idles.
        repeat: starts over with the first phase.
        cache_pages: pages of a file that are read once at the start.
        node: NUMA node its memory comes from; None for the first one with free memory.
    """

    name: str = "job"
    regions: tuple[Region, ...] = ()
    phases: tuple[Phase, ...] = ()
    repeat: bool = False
    cache_pages: int = 0
    node: int | None = None

    def __post_init__(self) -> None:
        names = [region.name for region in self.regions]
        if len(set(names)) < len(names):
            raise UsageError(f"job {self.name}: two regions of one name")
        for phase in self.phases:
            for name, _ in phase.accesses:
                if name not in names:
                    raise UsageError(f"job {self.name}: no region {name!r} (known: {', '.join(names) or 'none'})")
            if phase.duration_ns is None and (self.repeat or phase is not self.phases[-1]):
                raise UsageError(f"job {self.name}: only the last phase of a job that does not repeat may last for ever")
            if phase.duration_ns is not None and phase.duration_ns <= 0:
                raise UsageError(f"job {self.name}: a phase without duration")

    @classmethod
    def simple(
        cls,
        *,
        size: str | int,
        content: str = "text",
        access: str = "once",
        cache: str | int | None = None,
        name: str | None = None,
        node: int | None = None,
    ) -> JobSpec:
        """One region touched in one way, as ``fakecg spawn`` has it.

        Raises:
            UsageError: a bad size, content or access.
        """
        spec = AccessSpec.parse(access)
        region = Region(name="memory", nr_pages=to_pages(size), content=ContentSpec.parse(content), populate=spec.populates)
        phases = (Phase(accesses=((region.name, spec),)),) if spec.rate else ()
        return cls(name=name or "job", regions=(region,), phases=phases, cache_pages=to_pages(cache) if cache else 0, node=node)


def to_pages(size: str | int) -> int:
    """Pages that hold ``size`` bytes, rounded up.

    Raises:
        UsageError: not a size, or more than 2^31 pages.
    """
    nr_pages = -(-parse_size(size) // PAGE_SIZE)
    if nr_pages >= 1 << 31:
        raise UsageError(f"too large: {size!r}")
    return nr_pages


@dataclass(slots=True, eq=False)
class Job:
    """A job at work.

    Args:
        task: whose memory it is.
        spec: what to do.
        spaces: mappings of the regions, in their order.
        mapping: the file read at the start, if any.
        seed: of the draws.

    Attributes:
        nr_touches: touches made so far, of present and absent pages alike.
        done: nothing more will happen.
    """

    task: Task
    spec: JobSpec
    spaces: Sequence[Any]
    mm: MemoryModel
    clock: Clock
    timers: TimerQueue
    seed: int = 0
    mapping: Any = None
    nr_touches: int = 0
    done: bool = False
    _life: Work | None = field(default=None, repr=False)
    _timer: Timer | None = field(default=None, repr=False)
    _due_ns: int = 0

    @classmethod
    def create(
        cls,
        task: Task,
        spec: JobSpec,
        mm: MemoryModel,
        clock: Clock,
        timers: TimerQueue,
        seed: int = 0,
        mapping: Any = None,
        delay_ns: int = 0,
    ) -> Job:
        """Map the regions of ``spec`` and start with the run of the timers ``delay_ns`` from now."""
        spaces = [mm.create_space(task, region.nr_pages, region.content, seed + index) for index, region in enumerate(spec.regions)]
        job = cls(task, spec, spaces, mm, clock, timers, seed, mapping)
        job.start(delay_ns)
        return job

    def start(self, delay_ns: int = 0) -> None:
        """Begin ``delay_ns`` from now: with the first touch of all memory that is to be populated."""
        self._life = self._live()
        self._resume_at(self.clock.now_ns() + delay_ns)

    def stop(self) -> None:
        """Touch nothing any more; also from within a touch, whose generator then comes to its own end."""
        self.done = True
        self.timers.cancel(self._timer)
        self._timer = None

    def _resume_at(self, when_ns: int) -> None:
        self._due_ns = when_ns
        self._timer = self.timers.add(when_ns, self._resume)

    def _resume(self) -> Steps:
        self._timer = None
        if self.task.frozen and self.task.is_alive and not self.done:
            self._resume_at(self.clock.now_ns() + _FROZEN_POLL_NS)
            return
        assert self._life is not None
        while not self.done:
            if not self.task.is_alive:
                self.stop()
                break
            try:
                pause_ns = next(self._life)
            except StopIteration:
                self.stop()
                break
            except DataLost:
                # A kernel sends SIGBUS.
                self.stop()
                self.task.kill()
                raise
            if pause_ns:
                if not self.done:
                    self._resume_at(self.clock.now_ns() + pause_ns)
                return
            yield None
        self._life.close()

    def _live(self) -> Work:
        cost_ns = yield from self._begin()
        first = True
        while self.spec.phases and (first or self.spec.repeat):
            for number, phase in enumerate(self.spec.phases):
                if cost_ns:
                    yield cost_ns
                cost_ns = yield from self._phase(phase, number)
            first = False
        return cost_ns

    def _begin(self) -> Work:
        cost_ns = 0
        if self.mapping is not None and self.spec.cache_pages:
            cost_ns += yield from self.mm.read_cache(self.task, self.mapping, 0, self.spec.cache_pages)
        for region, space in zip(self.spec.regions, self.spaces, strict=True):
            if region.populate and region.nr_pages:
                cost_ns += yield from self._touch(space, (range(region.nr_pages), True))
        return cost_ns

    def _phase(self, phase: Phase, number: int) -> Work:
        started_ns = self.clock.now_ns()
        running = [self._bind(name, access, number) for name, access in phase.accesses]
        tick_ns = min((tick_of(pattern.spec) for _, pattern in running), default=MAX_TICK_NS)
        cost_ns = 0
        while True:
            left_ns = tick_ns if phase.duration_ns is None else started_ns + phase.duration_ns - self.clock.now_ns()
            if left_ns <= 0:
                return 0
            span_ns = min(tick_ns, left_ns)
            # A tick that comes late, because the emulator is slow, is longer; what a throttled task missed is not made up for.
            late_ns = min(max(0, self.clock.now_ns() - self._due_ns), tick_ns)
            cost_ns = 0
            for space, pattern in running:
                for touches in pattern.batch(span_ns + late_ns):
                    cost_ns += yield from self._touch(space, touches)
            if phase.duration_ns is None and not any(pattern.spec.rate for _, pattern in running):
                return cost_ns
            yield max(span_ns, cost_ns)

    def _bind(self, name: str, access: AccessSpec, number: int) -> tuple[Any, AccessPattern]:
        index = [region.name for region in self.spec.regions].index(name)
        rng = Random(mix64(self.seed, index, number))
        return self.spaces[index], access.start(self.spec.regions[index].nr_pages, rng)

    def _touch(self, space: Any, touches: Touches) -> Work:
        pages, write = touches
        self.nr_touches += len(pages)
        if isinstance(pages, range):
            return self.mm.touch_range(self.task, space, pages.start, pages.stop, write)
        return self.mm.touch_pages(self.task, space, pages, write)


def tick_of(access: AccessSpec) -> int:
    """How often a pattern touches something, nanoseconds: seldom if it touches little."""
    if not access.rate:
        return MAX_TICK_NS
    return int(min(max(_TOUCHES_PER_TICK / access.rate * NSEC_PER_SEC, MIN_TICK_NS), MAX_TICK_NS))
