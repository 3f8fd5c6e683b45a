"""Pressure triggers: what is accepted, when they fire, what poll sees."""

import errno
import json
from pathlib import Path

import pytest
from cgroup_tree import ROOT, Tree, refuses

from fakecg.abi.errors import ControlError
from fakecg.cgroup.cftype import Caller, OpenFile
from fakecg.cgroup.pressure_files import DEFAULT_POLLMASK, POLLERR, POLLPRI, PROC_PRESSURE_FILES, poll_mask
from fakecg.sched.clock import NSEC_PER_SEC, ManualClock
from fakecg.sched.psi import PSI_PERIOD_NS, PsiGroup
from fakecg.sched.psi_trigger import parse_trigger
from fakecg.sched.timer import TimerQueue, advance_to

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "pressure.json").read_text())
MSEC = 1_000_000
USER = Caller(tid=0, uid=1000)
QUIET, EVENT, GONE = DEFAULT_POLLMASK, DEFAULT_POLLMASK | POLLPRI, DEFAULT_POLLMASK | POLLPRI | POLLERR
TRIGGER = b"some 150000 1000000"


@pytest.fixture
def tree():
    tree = Tree()
    tree.mkdir("/a")
    return tree


def advance(tree, delta_ns):
    for _ in advance_to(tree.clock, tree.timers, tree.clock.now_ns() + delta_ns):
        pass


def outcome(write, data):
    """As recorded: the length, or the errno's name."""
    try:
        write(data)
    except ControlError as error:
        return {"errno": errno.errorcode[error.errno]}
    return {"ret": len(data)}


def recorded_input(case):
    text = case["in"] if "in" in case else "".join(char * count for char, count in case["in_rle"])
    return text.encode("latin-1")


CASES = [
    pytest.param(name, case, id=f"{name}-{recorded_input(case)[:40]!r}")
    for name, cases in GOLDEN["writes"].items()
    for case in cases
    if 0 < case["len"] <= 4096
]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_pressure_file_answers_as_recorded(tree, name, case):
    open_file = tree.open(f"/a/{name}")
    expected = {key: case[key] for key in ("ret", "errno") if key in case}
    assert outcome(lambda data: tree.write(open_file, data), recorded_input(case)) == expected


@pytest.mark.parametrize(("text", "expected"), GOLDEN["open_files"]["uid1000_owner"])
def test_without_privilege_windows_are_multiples_of_two_seconds(tree, text, expected):
    open_file = tree.open("/a/memory.pressure", USER)
    assert outcome(lambda data: tree.write(open_file, data), text.encode()) == expected


@pytest.mark.parametrize(("text", "expected"), GOLDEN["open_files"]["proc_pressure_memory"])
def test_proc_pressure_takes_the_last_byte_for_a_newline(tree, text, expected):
    row = PROC_PRESSURE_FILES[1]
    assert row.name == "pressure/memory"
    open_file = OpenFile(row, tree["/"], ROOT, ROOT)
    assert outcome(lambda data: row.write(open_file.css, data, open_file), text.encode("latin-1")) == expected


def test_proc_pressure_uses_31_bytes_only(tree):
    row = PROC_PRESSURE_FILES[1]
    open_file = OpenFile(row, tree["/"], ROOT, ROOT)
    with refuses(errno.EINVAL):
        row.write(open_file.css, b"some " + b" " * 40 + b"150000 1000000\n", open_file)


def test_proc_pressure_reads_as_the_root_cgroup(tree):
    tree["/a"].psi.memstall(MSEC, tree.clock.now_ns())
    advance(tree, MSEC)
    assert "total=1000" in tree.read("/memory.pressure")
    for row in PROC_PRESSURE_FILES:
        open_file = OpenFile(row, tree["/"], ROOT, ROOT)
        assert row.show(open_file.css, open_file) == tree.read("/" + row.name.removeprefix("pressure/") + ".pressure")


def test_a_second_trigger_on_one_open_file_is_busy(tree):
    open_file = tree.open("/a/memory.pressure")
    tree.write(open_file, TRIGGER)
    with refuses(errno.EBUSY):
        tree.write(open_file, TRIGGER)
    with refuses(errno.EBUSY):
        tree.write(open_file, b"rubbish")


def test_a_refused_trigger_does_not_occupy_the_open_file(tree):
    open_file = tree.open("/a/memory.pressure")
    with refuses(errno.EINVAL):
        tree.write(open_file, b"some 0 1000000")
    tree.write(open_file, TRIGGER)


def test_numbers_wrap_at_32_bits():
    assert parse_trigger(b"full 4294967297 4295967296 rest", True) == (True, 1_000, NSEC_PER_SEC)
    assert parse_trigger(b"some " + b"0" * 5000 + b"7 1000", True) == (False, 7_000, MSEC)


def test_an_open_file_with_a_trigger_reads_the_normal_text(tree):
    open_file = tree.open("/a/memory.pressure")
    tree.write(open_file, TRIGGER)
    assert tree.read(open_file) == GOLDEN["open_files"]["same_fd"][3][1]["ret"]


def test_poll_without_a_trigger_is_error_and_priority(tree):
    assert poll_mask(tree.open("/a/memory.pressure")) == GONE


def stall_all_the_time(tree, seconds):
    tree["/a"].psi.memstall(round(seconds * NSEC_PER_SEC), tree.clock.now_ns())


def test_poll_reports_an_event_once(tree):
    open_file = tree.open("/a/memory.pressure")
    tree.write(open_file, TRIGGER)
    assert poll_mask(open_file) == QUIET
    stall_all_the_time(tree, 0.5)
    advance(tree, 400 * MSEC)
    assert poll_mask(open_file) == EVENT
    assert poll_mask(open_file) == QUIET


def test_an_event_stays_until_it_is_polled(tree):
    open_file = tree.open("/a/memory.pressure")
    tree.write(open_file, TRIGGER)
    stall_all_the_time(tree, 0.5)
    advance(tree, 3600 * NSEC_PER_SEC)
    assert poll_mask(open_file) == EVENT
    assert poll_mask(open_file) == QUIET


def test_continuous_stall_gives_one_event_per_window(tree):
    open_file = tree.open("/a/memory.pressure")
    tree.write(open_file, TRIGGER)
    stall_all_the_time(tree, 10)
    nr_events = 0
    for _ in range(1000):
        advance(tree, 10 * MSEC)
        nr_events += poll_mask(open_file) == EVENT
    assert nr_events in (9, 10)


def test_less_stall_than_the_threshold_gives_no_event(tree):
    open_file = tree.open("/a/memory.pressure")
    tree.write(open_file, TRIGGER)
    for tenth in range(100):
        tree["/a"].psi.memstall(12 * MSEC, tree.clock.now_ns() + tenth * 100 * MSEC)
    advance(tree, 20 * NSEC_PER_SEC)
    assert poll_mask(open_file) == QUIET


def test_stall_before_the_trigger_does_not_count(tree):
    stall_all_the_time(tree, 1)
    advance(tree, 5 * NSEC_PER_SEC)
    open_file = tree.open("/a/memory.pressure")
    tree.write(open_file, TRIGGER)
    tree["/a"].psi.memstall(MSEC, tree.clock.now_ns())
    advance(tree, 5 * NSEC_PER_SEC)
    assert poll_mask(open_file) == QUIET


def test_a_trigger_set_during_a_stall_sees_the_rest_of_it(tree):
    stall_all_the_time(tree, 3)
    advance(tree, NSEC_PER_SEC)
    open_file = tree.open("/a/memory.pressure")
    tree.write(open_file, TRIGGER)
    advance(tree, NSEC_PER_SEC)
    assert poll_mask(open_file) == EVENT


def test_an_idle_trigger_costs_no_timers(tree):
    open_file = tree.open("/a/memory.pressure")
    tree.write(open_file, TRIGGER)
    assert len(tree.timers) == 0
    stall_all_the_time(tree, 0.5)
    advance(tree, 60 * NSEC_PER_SEC)
    assert len(tree.timers) == 0


def test_a_trigger_watches_its_resource_and_kind_only(tree):
    full, io = tree.open("/a/memory.pressure"), tree.open("/a/io.pressure")
    tree.write(full, b"full 150000 1000000")
    tree.write(io, TRIGGER)
    tree["/a"].psi.memstall(NSEC_PER_SEC, tree.clock.now_ns(), full=False)
    advance(tree, 2 * NSEC_PER_SEC)
    assert poll_mask(full) == poll_mask(io) == QUIET
    tree["/a"].psi.stall("io", NSEC_PER_SEC, tree.clock.now_ns())
    advance(tree, 2 * NSEC_PER_SEC)
    assert (poll_mask(full), poll_mask(io)) == (QUIET, EVENT)


def test_an_ancestor_s_trigger_fires_too(tree):
    open_file = tree.open("/memory.pressure")
    tree.write(open_file, TRIGGER)
    stall_all_the_time(tree, 1)
    advance(tree, NSEC_PER_SEC)
    assert poll_mask(open_file) == EVENT


def test_an_unprivileged_trigger_fires_when_the_averages_step(tree):
    open_file = tree.open("/a/memory.pressure", USER)
    tree.write(open_file, b"some 150000 2000000")
    stall_all_the_time(tree, 10)
    advance(tree, PSI_PERIOD_NS - MSEC)
    assert poll_mask(open_file) == QUIET
    advance(tree, 10 * MSEC)
    assert poll_mask(open_file) == EVENT
    advance(tree, NSEC_PER_SEC)
    assert poll_mask(open_file) == QUIET
    advance(tree, 2 * NSEC_PER_SEC)
    assert poll_mask(open_file) == EVENT


def test_each_event_is_announced(tree):
    told = []
    tree.hierarchy.on_notify.append(lambda cgroup, name: told.append((cgroup.path(), name)))
    open_file = tree.open("/a/memory.pressure")
    tree.write(open_file, TRIGGER)
    stall_all_the_time(tree, 1)
    advance(tree, NSEC_PER_SEC)
    assert told == [("/a", "memory.pressure")]
    advance(tree, 10 * NSEC_PER_SEC)
    assert told == [("/a", "memory.pressure")], "an event that nobody polled is not announced again"


def test_closing_ends_the_trigger(tree):
    open_file = tree.open("/a/memory.pressure")
    tree.write(open_file, TRIGGER)
    stall_all_the_time(tree, 100)
    advance(tree, NSEC_PER_SEC)
    open_file.row.release(open_file.css, open_file)
    assert len(tree.timers) == 0
    assert not open_file.private.alive


def test_closing_one_trigger_leaves_the_others(tree):
    first, second = tree.open("/a/memory.pressure"), tree.open("/a/memory.pressure")
    tree.write(first, b"some 10000 500000")
    tree.write(second, TRIGGER)
    stall_all_the_time(tree, 1)
    first.row.release(first.css, first)
    advance(tree, NSEC_PER_SEC)
    assert poll_mask(second) == EVENT


def test_closing_without_a_trigger_is_nothing(tree):
    open_file = tree.open("/a/memory.pressure")
    open_file.row.release(open_file.css, open_file)


def test_rmdir_wakes_and_ends_the_trigger(tree):
    told = []
    open_file = tree.open("/a/memory.pressure")
    tree.write(open_file, TRIGGER)
    tree.hierarchy.on_notify.append(lambda cgroup, name: told.append(name))
    tree.rmdir("/a")
    assert "memory.pressure" in told
    assert poll_mask(open_file) == GONE
    with refuses(errno.ENODEV):
        tree.read(open_file)


def test_cgroup_pressure_0_ends_the_trigger(tree):
    open_file = tree.open("/a/memory.pressure")
    tree.write(open_file, TRIGGER)
    tree.write("/a/cgroup.pressure", b"0")
    assert poll_mask(open_file) == GONE
    tree.write("/a/cgroup.pressure", b"1")
    assert poll_mask(open_file) == GONE


def test_recorded_wakes_follow_from_recorded_stall():
    # Five triggers on one cgroup while one task thrashes, stalled about 49 % of the time, for 11.98 s; times count from the start of that.
    recorded = GOLDEN["wakes"]["wakes [t, trigger, revents]"]
    texts = [text for text, _, _ in GOLDEN["wakes"]["set"]]
    clock, timers = ManualClock(100), TimerQueue()
    group, wakes = PsiGroup(None, clock, timers), []
    triggers = {}

    def on_event(text):
        wakes.append((clock.now_ns() - 100 * NSEC_PER_SEC, text))
        assert triggers[text].take_event()

    for text in texts:
        triggers[text] = group.create_trigger("memory", text.encode(), True, lambda text=text: on_event(text))
    for msec in range(11_980):
        group.memstall(490_000, clock.now_ns() + msec * MSEC)
    for _ in advance_to(clock, timers, clock.now_ns() + 20 * NSEC_PER_SEC):
        pass
    for text in texts:
        want = [round(when_s * NSEC_PER_SEC) for when_s, trigger, _ in recorded if trigger == text]
        got = [when_ns for when_ns, trigger in wakes if trigger == text]
        assert len(got) == len(want), text
        # A poll every 56 ms: where the stall was a little more than its mean, the event came a poll earlier.
        assert all(abs(one - other) <= 58 * MSEC for one, other in zip(got, want, strict=True)), (text, got, want)
