"""Jobs: populate, touch by the clock, pay for what they did, stand still when frozen, stop when killed."""

import pytest

from fakecg.abi.errors import DataLost, UsageError
from fakecg.sched.clock import NSEC_PER_SEC, ManualClock
from fakecg.sched.task import Task
from fakecg.sched.timer import TimerQueue, advance_to
from fakecg.workload.content import ContentSpec
from fakecg.workload.job import Job, JobSpec, Phase, Region, to_pages
from fakecg.workload.pattern import AccessSpec

MSEC = 1_000_000


class FakeMemory:
    """Records touches with their time; each costs ``touch_ns``, and ``sleeps`` are slept in the next touch."""

    def __init__(self, clock, touch_ns=0):
        self.clock = clock
        self.touch_ns = touch_ns
        self.touches = []
        self.sleeps = []
        self.spaces = []
        self.loses = False

    def create_space(self, task, nr_pages, content, seed):
        self.spaces.append((nr_pages, content.spec, seed))
        return len(self.spaces) - 1

    def touch_range(self, task, space, start, stop, write=False):
        return self._touch(space, list(range(start, stop)), write)

    def touch_pages(self, task, space, indices, write=False):
        return self._touch(space, list(indices), write)

    def read_cache(self, task, mapping, start, stop):
        return self._touch(mapping, list(range(start, stop)), False)

    def _touch(self, space, pages, write):
        if self.loses:
            raise DataLost("gone")
        while self.sleeps:
            yield self.sleeps.pop()
        yield None
        self.touches.append((self.clock.now_ns(), space, pages, write))
        return len(pages) * self.touch_ns

    def count(self, space=None):
        return sum(len(pages) for _, where, pages, _ in self.touches if space in (None, where))


class Bench:
    def __init__(self, spec, touch_ns=0, **job):
        self.clock, self.timers = ManualClock(0), TimerQueue()
        self.mm = FakeMemory(self.clock, touch_ns)
        self.task = Task(1)
        self.job = Job.create(self.task, spec, self.mm, self.clock, self.timers, **job)

    def advance(self, seconds):
        for _ in advance_to(self.clock, self.timers, self.clock.now_ns() + round(seconds * NSEC_PER_SEC)):
            pass


def test_sizes_are_rounded_up_to_pages():
    assert [to_pages(size) for size in ("0", "1", "4096", "4097", "64M", 8192)] == [0, 1, 1, 2, 16384, 2]
    with pytest.raises(UsageError, match="too large"):
        to_pages("8T")


def test_once_writes_every_page_at_the_start_and_idles():
    bench = Bench(JobSpec.simple(size="64K"), seed=7)
    assert bench.mm.spaces == [(16, "text", 7)]
    assert bench.mm.touches == []
    bench.advance(0)
    assert bench.mm.touches == [(0, 0, list(range(16)), True)]
    bench.advance(3600)
    assert bench.job.done
    assert bench.mm.count() == 16
    assert len(bench.timers) == 0


def test_none_touches_nothing_ever():
    bench = Bench(JobSpec.simple(size="64K", access="none"))
    bench.advance(10)
    assert bench.mm.touches == []
    assert bench.job.done


def test_a_rate_is_kept_after_the_start():
    bench = Bench(JobSpec.simple(size="64K", access="uniform:1k/s"))
    bench.advance(10)
    assert bench.job.nr_touches == bench.mm.count()
    assert bench.mm.count() == pytest.approx(16 + 10_000, abs=100)


def test_a_job_that_touches_seldom_ticks_seldom():
    bench = Bench(JobSpec.simple(size="64K", access="uniform:1/m"))
    bench.advance(0)
    runs = 0
    while bench.clock.now_ns() < 600 * NSEC_PER_SEC:
        bench.advance((bench.timers.next_deadline_ns - bench.clock.now_ns()) / NSEC_PER_SEC)
        runs += 1
    assert runs <= 601
    assert bench.mm.count() == pytest.approx(16 + 10, abs=1)


def test_a_job_is_not_faster_than_its_touches_cost():
    bench = Bench(JobSpec.simple(size="4K", access="uniform:10k/s"), touch_ns=MSEC)
    bench.advance(10)
    assert bench.mm.count() == pytest.approx(10_000, rel=0.03)


def test_the_start_is_paid_for_before_the_first_phase():
    bench = Bench(JobSpec.simple(size="400K", access="seq:100/s"), touch_ns=10 * MSEC)
    bench.advance(20)
    assert [when_ns for when_ns, *_ in bench.mm.touches[:2]] == [0, NSEC_PER_SEC]


def test_a_sleep_within_a_touch_is_slept():
    bench = Bench(JobSpec.simple(size="64K"))
    bench.mm.sleeps = [5 * MSEC, 2 * NSEC_PER_SEC]
    bench.advance(1.9)
    assert bench.mm.touches == []
    bench.advance(0.2)
    assert bench.mm.touches[0][0] == 2 * NSEC_PER_SEC + 5 * MSEC


def test_what_a_sleeping_job_missed_is_not_made_up_for():
    bench = Bench(JobSpec.simple(size="64K", access="uniform:1k/s"))
    bench.advance(1)
    before = bench.mm.count()
    bench.mm.sleeps = [10 * NSEC_PER_SEC]
    bench.advance(10)
    assert bench.mm.count() - before <= 64
    bench.advance(1)
    assert bench.mm.count() - before == pytest.approx(1000, abs=130)


def test_a_frozen_task_touches_nothing_and_goes_on_later():
    bench = Bench(JobSpec.simple(size="64K", access="uniform:1k/s"))
    bench.advance(1)
    bench.task.frozen = True
    before = bench.mm.count()
    bench.advance(5)
    assert bench.mm.count() == before
    bench.task.frozen = False
    bench.advance(1)
    assert bench.mm.count() - before == pytest.approx(1000, abs=130)


def test_a_killed_task_stops_even_while_it_sleeps():
    bench = Bench(JobSpec.simple(size="64K", access="uniform:1k/s"))
    bench.mm.sleeps = [NSEC_PER_SEC]
    bench.advance(0.5)
    bench.task.kill()
    bench.advance(10)
    assert bench.mm.touches == []
    assert bench.job.done
    assert len(bench.timers) == 0


def test_a_frozen_task_that_is_killed_stops():
    bench = Bench(JobSpec.simple(size="64K", access="uniform:1k/s"))
    bench.task.frozen = True
    bench.advance(1)
    bench.task.kill()
    bench.advance(1)
    assert bench.job.done
    assert len(bench.timers) == 0


def test_a_job_may_be_stopped_from_within_its_own_touch():
    bench = Bench(JobSpec.simple(size="64K", access="uniform:1k/s"))
    bench.advance(1)

    def touch_pages(task, space, indices, write=False):
        bench.task.kill()
        bench.job.stop()
        yield None
        return 0

    bench.mm.touch_pages = touch_pages
    bench.advance(1)
    assert bench.job.done
    assert len(bench.timers) == 0


def test_a_stopped_job_leaves_no_timer():
    bench = Bench(JobSpec.simple(size="64K", access="uniform:1k/s"))
    bench.advance(1)
    bench.job.stop()
    assert len(bench.timers) == 0


def test_lost_data_kills_the_task():
    bench = Bench(JobSpec.simple(size="64K", access="uniform:1k/s"))
    bench.advance(1)
    bench.mm.loses = True
    with pytest.raises(DataLost):
        bench.advance(1)
    assert not bench.task.is_alive
    assert bench.job.done
    bench.advance(1)


def test_a_file_is_read_once_before_memory_is_touched():
    spec = JobSpec.simple(size="8K", cache="12K")
    bench = Bench(spec, mapping="file")
    bench.advance(1)
    assert [(where, pages) for _, where, pages, _ in bench.mm.touches] == [("file", [0, 1, 2]), (0, [0, 1])]


def two_regions(**job):
    return JobSpec(
        regions=(
            Region(name="heap", nr_pages=100, content=ContentSpec.parse("text")),
            Region(name="cold", nr_pages=50, content=ContentSpec.parse("zero"), populate=False),
        ),
        phases=(
            Phase(accesses=(("heap", AccessSpec.parse("seq:100/s")),), duration_ns=2 * NSEC_PER_SEC),
            Phase(duration_ns=3 * NSEC_PER_SEC),
            Phase(
                accesses=(("cold", AccessSpec.parse("once")), ("heap", AccessSpec.parse("seq:10/s,write=1"))),
                duration_ns=5 * NSEC_PER_SEC,
            ),
        ),
        **job,
    )


def test_phases_follow_one_another():
    bench = Bench(two_regions())
    bench.advance(2.5)
    assert bench.mm.count(0) == pytest.approx(100 + 200, abs=1)
    bench.advance(2.4)
    assert bench.mm.count() == pytest.approx(300, abs=1)
    bench.advance(0.2)
    assert bench.mm.count(1) == 50
    bench.advance(10)
    assert bench.mm.count(0) == pytest.approx(350, abs=2)
    assert bench.mm.count(1) == 50
    assert bench.job.done


def test_a_repeating_job_starts_over_with_the_first_phase():
    bench = Bench(two_regions(repeat=True))
    bench.advance(29.9)
    assert bench.mm.count(0) == pytest.approx(100 + 3 * 250, abs=8)
    assert bench.mm.count(1) == 150
    assert not bench.job.done


def test_regions_have_seeds_of_their_own():
    bench = Bench(two_regions(), seed=40)
    assert [seed for _, _, seed in bench.mm.spaces] == [40, 41]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"phases": (Phase(accesses=(("heap", AccessSpec.parse("once")),)),)}, "no region 'heap'"),
        ({"phases": (Phase(), Phase())}, "only the last phase"),
        ({"phases": (Phase(),), "repeat": True}, "only the last phase"),
        ({"phases": (Phase(duration_ns=0),)}, "without duration"),
        ({"regions": (Region(name="a", nr_pages=1, content=ContentSpec.parse("zero")),) * 2}, "two regions of one name"),
    ],
)
def test_an_impossible_job_is_refused(fields, message):
    with pytest.raises(UsageError, match=message):
        JobSpec(**fields)
