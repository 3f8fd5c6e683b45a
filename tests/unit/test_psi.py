"""Pressure: totals are unions of stalls, averages step as the kernel's do, and recordings can be replayed."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakecg.sched.clock import NSEC_PER_SEC, ManualClock
from fakecg.sched.psi import FIXED_1, PSI_PERIOD_NS, PsiGroup, calc_avgs, fixed_power_int, state_of
from fakecg.sched.stall_time import MAX_EARLIER, StallTime
from fakecg.sched.timer import TimerQueue, advance_to

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "psi.json").read_text())["runs"]
FRESH = "avg10=0.00 avg60=0.00 avg300=0.00 total=0"
MSEC = 1_000_000


class Machine:
    """A clock, timers, and a system group with two cgroups below it: root - a - b."""

    def __init__(self, start_s=0.0):
        self.clock = ManualClock(start_s)
        self.timers = TimerQueue()
        self.root = PsiGroup(None, self.clock, self.timers)
        self.a = PsiGroup(self.root, self.clock, self.timers)
        self.b = PsiGroup(self.a, self.clock, self.timers)

    def advance(self, delta_ns):
        for _ in advance_to(self.clock, self.timers, self.clock.now_ns() + delta_ns):
            pass


@pytest.fixture
def machine():
    return Machine()


def some(group, resource="memory"):
    return group.show(resource).splitlines()[0]


def test_a_fresh_group_reads_zero_exactly(machine):
    for resource in ("io", "memory", "cpu"):
        assert machine.b.show(resource) == f"some {FRESH}\nfull {FRESH}\n"


def test_total_grows_while_the_stall_lasts(machine):
    machine.b.memstall(10 * MSEC, 0)
    assert machine.b.total_ns("memory") == 0
    machine.advance(4 * MSEC)
    assert machine.b.total_ns("memory") == 4 * MSEC
    machine.advance(40 * MSEC)
    assert machine.b.total_ns("memory") == 10 * MSEC
    assert some(machine.b).endswith("total=10000")


def test_a_stall_counts_in_every_ancestor_and_nowhere_else(machine):
    sibling = PsiGroup(machine.a, machine.clock, machine.timers)
    machine.b.memstall(MSEC, 0)
    machine.advance(MSEC)
    assert [group.total_ns("memory") for group in (machine.root, machine.a, machine.b, sibling)] == [MSEC, MSEC, MSEC, 0]


def test_stalls_that_overlap_count_once_in_the_common_ancestor(machine):
    sibling = PsiGroup(machine.a, machine.clock, machine.timers)
    machine.b.memstall(10 * MSEC, 0)
    sibling.memstall(10 * MSEC, 5 * MSEC)
    machine.advance(NSEC_PER_SEC)
    assert machine.b.total_ns("memory") == sibling.total_ns("memory") == 10 * MSEC
    assert machine.a.total_ns("memory") == machine.root.total_ns("memory") == 15 * MSEC


def test_full_is_separate_from_some(machine):
    machine.b.memstall(10 * MSEC, 0, full=False)
    machine.b.memstall(3 * MSEC, 2 * MSEC)
    machine.advance(NSEC_PER_SEC)
    assert machine.b.total_ns("memory") == 10 * MSEC
    assert machine.b.total_ns("memory", full=True) == 3 * MSEC


def test_resources_are_separate(machine):
    machine.b.stall("io", MSEC, 0)
    machine.advance(MSEC)
    assert machine.b.total_ns("io") == MSEC
    assert machine.b.total_ns("memory") == machine.b.total_ns("cpu") == 0


def test_cpu_full_of_the_system_is_zero(machine):
    machine.b.stall("cpu", MSEC, 0)
    machine.advance(MSEC)
    assert machine.b.show("cpu").endswith(f"full {FRESH[:-1]}1000\n")
    assert machine.root.show("cpu") == f"some {FRESH[:-1]}1000\nfull {FRESH}\n"


def test_a_full_period_of_stall_gives_18_11_then_decays_to_14_83(machine):
    machine.b.memstall(PSI_PERIOD_NS, 0)
    machine.advance(PSI_PERIOD_NS)
    assert some(machine.b) == "some avg10=18.11 avg60=3.27 avg300=0.68 total=2004000"
    machine.advance(PSI_PERIOD_NS)
    assert some(machine.b).startswith("some avg10=14.83 ")


def test_two_full_periods_of_stall_give_32_94(machine):
    machine.b.memstall(2 * PSI_PERIOD_NS, 0)
    machine.advance(2 * PSI_PERIOD_NS)
    assert some(machine.b).startswith("some avg10=32.94 ")


def test_averages_stand_still_between_two_steps(machine):
    machine.b.memstall(NSEC_PER_SEC, 0)
    machine.advance(PSI_PERIOD_NS - 1)
    assert some(machine.b).startswith("some avg10=0.00 ")
    machine.advance(1)
    assert not some(machine.b).startswith("some avg10=0.00 ")


def test_decay_happens_also_when_nobody_reads():
    read, unread = Machine(), Machine()
    for machine in (read, unread):
        machine.b.memstall(PSI_PERIOD_NS, 0)
    for _ in range(12):
        read.advance(PSI_PERIOD_NS)
        read.b.show("memory")
    unread.advance(12 * PSI_PERIOD_NS)
    for one, other in zip(read.b.averages("memory"), unread.b.averages("memory"), strict=True):
        assert one == pytest.approx(other, abs=0.05)


def test_less_than_one_percent_moves_the_total_only(machine):
    machine.b.memstall(PSI_PERIOD_NS // 101, 0)
    machine.advance(PSI_PERIOD_NS)
    assert some(machine.b) == "some avg10=0.00 avg60=0.00 avg300=0.00 total=19841"


def test_each_group_steps_on_its_own_clock(machine):
    machine.advance(NSEC_PER_SEC)
    late = PsiGroup(machine.a, machine.clock, machine.timers)
    late.memstall(NSEC_PER_SEC, NSEC_PER_SEC)
    machine.advance(PSI_PERIOD_NS - NSEC_PER_SEC)
    assert not some(machine.a).startswith("some avg10=0.00 ")
    assert some(late).startswith("some avg10=0.00 ")
    machine.advance(NSEC_PER_SEC)
    assert not some(late).startswith("some avg10=0.00 ")


def test_more_stall_than_time_is_carried_to_the_next_period(machine):
    stall = machine.b.stalls[state_of("memory", False)]
    machine.advance(PSI_PERIOD_NS)
    stall.total_ns += 2 * PSI_PERIOD_NS
    assert some(machine.b).startswith("some avg10=18.11 ")
    machine.advance(PSI_PERIOD_NS)
    assert some(machine.b).startswith("some avg10=32.94 ")
    machine.advance(PSI_PERIOD_NS)
    assert some(machine.b).startswith("some avg10=26.97 ")


def test_a_disabled_group_counts_nothing_and_its_ancestors_do(machine):
    machine.b.memstall(MSEC, 0)
    machine.advance(MSEC)
    machine.b.disable()
    machine.b.memstall(5 * MSEC, MSEC)
    machine.advance(5 * MSEC)
    assert machine.b.total_ns("memory") == MSEC
    assert machine.a.total_ns("memory") == 6 * MSEC
    machine.b.enable()
    machine.b.memstall(2 * MSEC, 6 * MSEC)
    machine.advance(2 * MSEC)
    assert machine.b.total_ns("memory") == 3 * MSEC


def test_disabling_cuts_a_stall_that_lasts(machine):
    machine.b.memstall(10 * MSEC, 0)
    machine.advance(4 * MSEC)
    machine.b.disable()
    machine.b.enable()
    machine.advance(10 * MSEC)
    assert machine.b.total_ns("memory") == 4 * MSEC
    assert machine.a.total_ns("memory") == 10 * MSEC


def test_a_stall_reported_after_a_read_is_not_lost(machine):
    machine.advance(10 * MSEC)
    machine.b.show("memory")
    machine.b.memstall(4 * MSEC, 8 * MSEC)
    assert machine.b.total_ns("memory") == 2 * MSEC
    machine.advance(2 * MSEC)
    assert machine.b.total_ns("memory") == 4 * MSEC


def test_many_short_stalls_keep_their_sum(machine):
    for number in range(50_000):
        machine.b.memstall(10_000, number * 100_000)
    assert len(machine.b.stalls[state_of("memory", False)].earlier) <= MAX_EARLIER
    machine.advance(3 * NSEC_PER_SEC)
    assert machine.b.total_ns("memory") == pytest.approx(300 * MSEC, abs=5 * MSEC)
    machine.advance(3 * NSEC_PER_SEC)
    assert machine.b.total_ns("memory") == 500 * MSEC


INTERVALS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=40)


@given(INTERVALS, st.lists(st.integers(0, 100), max_size=8))
def test_credited_time_is_the_length_of_the_union(intervals, looks):
    stall = StallTime(0)
    for start_ns, length_ns in intervals:
        stall.add(start_ns, start_ns + length_ns)
    covered = {point for start_ns, length_ns in intervals for point in range(start_ns, start_ns + length_ns)}
    for now_ns in sorted(looks):
        stall.credit(now_ns)
        assert stall.total_ns == sum(point < now_ns for point in covered)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30), st.integers(0, 20)), max_size=40))
def test_totals_never_fall_nor_exceed_elapsed_time(events):
    stall = StallTime(0)
    now_ns = before_ns = 0
    for start_ns, length_ns, step_ns in events:
        stall.add(start_ns, start_ns + length_ns)
        now_ns += step_ns
        stall.credit(now_ns)
        assert before_ns <= stall.total_ns <= now_ns
        before_ns = stall.total_ns


@given(st.lists(st.integers(0, 100), min_size=1, max_size=60))
def test_averages_stay_between_0_and_100_percent(percents):
    avg = [0, 0, 0]
    for percent in percents:
        avg = calc_avgs(avg, 0, percent * 20_040_000, PSI_PERIOD_NS)
        assert all(0 <= value <= 100 * FIXED_1 for value in avg)


@given(st.integers(0, 2047), st.integers(0, 300))
def test_power_by_squaring_is_close_to_the_real_power(base, exponent):
    assert fixed_power_int(base, exponent) / FIXED_1 == pytest.approx((base / FIXED_1) ** exponent, abs=0.012)


# Recordings. The phase of a group's clock and fractions of a hundredth are not in a recording, and neither is when within a second a stall
# happened; a step may be off by one percent of a period, which is 0.18 in avg10.


def averages_of(text):
    return [float(value) for value in re.findall(r"avg\d+=(\S+)", text.splitlines()[0])]


def total_ns_of(text):
    return int(re.search(r"total=(\d+)", text)[1]) * 1000


def machine_with_phase(phase_ns, averages):
    """Averages step next ``phase_ns`` after the returned machine's time."""
    machine = Machine(100)
    group = PsiGroup(machine.root, machine.clock, machine.timers)
    group._avg[state_of("memory", False)] = [round(value * FIXED_1 + 10) for value in averages]
    machine.advance(PSI_PERIOD_NS - phase_ns)
    return machine, group


def truncated(averages):
    return [int(value * 100) / 100 for value in averages]


def stall_evenly(group, start_ns, span_ns, stall_ns, pieces=20):
    for piece in range(pieces):
        group.memstall(stall_ns // pieces, start_ns + span_ns * piece // pieces)


@pytest.mark.parametrize(
    ("run", "group_name", "phase_ms"),
    [
        ("one_task_20s", "cg", 1640),
        ("one_task_20s", "parent", 1640),
        ("fine_200ms", "cg", 1660),
        ("fine_200ms", "parent", 1120),
        ("with_busy_task", "cg", 1600),
        ("with_busy_task", "parent", 1300),
        ("disk", "cg", 1740),
        ("disk", "parent", 700),
    ],
)
def test_recorded_averages_follow_from_recorded_totals(run, group_name, phase_ms):
    samples = [(round(sample[0] * NSEC_PER_SEC), sample[1][group_name]) for sample in GOLDEN[run]["samples"]]
    machine, group = machine_with_phase(phase_ms * MSEC, averages_of(samples[0][1]))
    base_ns = machine.clock.now_ns()
    for (when_ns, text), (next_ns, next_text) in pairwise(samples):
        machine.advance(max(0, base_ns + when_ns - machine.clock.now_ns()))
        got, want = truncated(group.averages("memory")), averages_of(text)
        for value, recorded, tolerance in zip(got, want, (0.2, 0.05, 0.03), strict=True):
            assert value == pytest.approx(recorded, abs=tolerance), f"at {when_ns} ns: {got} recorded {want}"
        grown_ns = total_ns_of(next_text) - total_ns_of(text)
        if grown_ns:
            stall_evenly(group, machine.clock.now_ns(), next_ns - when_ns, grown_ns)


def test_a_recorded_first_read_after_seven_idle_seconds_folds_all_periods_in():
    run = GOLDEN["unread_then_read"]
    machine, group = machine_with_phase(1770 * MSEC, [0, 0, 0])
    machine.advance(2 * NSEC_PER_SEC)
    group.show("memory")
    loop_ns = round(float(run["loop 5s"].split("ms ")[1]) * MSEC)
    stall_evenly(group, machine.clock.now_ns(), loop_ns, total_ns_of(run["first read"]) - total_ns_of(run["before"]), pieces=500)
    machine.advance(loop_ns + round(run["gap after the loop s"] * NSEC_PER_SEC))
    assert truncated(group.averages("memory")) == averages_of(run["first read"])
    machine.advance(20 * NSEC_PER_SEC)
    assert truncated(group.averages("memory")) == averages_of(run["20 s later"])


def test_a_recorded_throttle_counts_in_full():
    run = GOLDEN["high_throttle"]
    text = run["after"]
    stall_ns = total_ns_of(text) - total_ns_of(run["before"])
    best = None
    for phase_ms in range(0, 2004, 50):
        machine, group = machine_with_phase(phase_ms * MSEC, averages_of(run["before"]))
        group.memstall(stall_ns, machine.clock.now_ns() + 100 * MSEC)
        machine.advance(round(5_465.6 * MSEC))
        off = max(abs(got - want) for got, want in zip(truncated(group.averages("memory")), averages_of(text), strict=True))
        best = off if best is None else min(best, off)
    assert best < 0.5
