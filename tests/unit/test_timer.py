from hypothesis import given
from hypothesis import strategies as st

from fakecg.sched.clock import ManualClock, ScaledClock
from fakecg.sched.timer import TimerQueue, advance_to


def drain(steps):
    return sum(1 for _ in steps)


def test_timers_run_in_order_of_deadline_and_ties_in_order_of_age():
    timers, ran = TimerQueue(), []
    for name, deadline_ns in (("c", 30), ("a", 10), ("b1", 20), ("b2", 20), ("late", 31)):
        timers.add(deadline_ns, lambda name=name: ran.append(name))
    assert timers.run_due(30) == 4
    assert ran == ["a", "b1", "b2", "c"]
    assert timers.next_deadline_ns == 31


def test_a_cancelled_timer_does_not_run():
    timers, ran = TimerQueue(), []
    timer = timers.add(5, lambda: ran.append(1))
    assert timer.pending
    assert timers.cancel(timer)
    assert not timers.cancel(timer)
    assert not timers.cancel(None)
    assert timers.next_deadline_ns is None
    assert timers.run_due(10) == 0
    assert ran == []
    assert len(timers) == 0


def test_a_timer_that_ran_cannot_be_cancelled():
    timers = TimerQueue()
    timer = timers.add(5, lambda: None)
    timers.run_due(5)
    assert not timer.pending
    assert not timers.cancel(timer)
    assert len(timers) == 0


def test_a_callback_may_add_and_cancel_timers():
    timers, ran = TimerQueue(), []

    def first():
        ran.append("first")
        timers.cancel(second)
        timers.add(7, lambda: ran.append("third"))

    timers.add(5, first)
    second = timers.add(6, lambda: ran.append("second"))
    timers.run_due(10)
    assert ran == ["first", "third"]


def test_many_cancelled_timers_do_not_stay_in_the_heap():
    timers = TimerQueue()
    timers.add(1 << 40, lambda: None)
    for deadline_ns in range(10_000):
        timers.cancel(timers.add(deadline_ns, lambda: None))
    assert len(timers) == 1
    assert len(timers._heap) < 200


def test_generator_callbacks_pause_where_they_yield():
    timers, ran = TimerQueue(), []

    def work(name):
        for step in range(3):
            ran.append((name, step))
            yield

    timers.add(1, lambda: work("a"))
    timers.add(1, lambda: work("b"))
    steps = timers.run_due_steps(1)
    next(steps)
    assert ran == [("a", 0)]
    assert drain(steps) == 7
    assert ran == [(name, step) for name in "ab" for step in range(3)]


def test_run_due_runs_generator_callbacks_to_their_end():
    timers, ran = TimerQueue(), []

    def work():
        yield
        ran.append(1)

    timers.add(1, work)
    assert timers.run_due(1) == 1
    assert ran == [1]


def test_a_jump_runs_timers_with_the_clock_at_each_deadline():
    clock, timers, ran = ManualClock(0), TimerQueue(), []

    def every_ten():
        ran.append(clock.now_ns())
        timers.add(clock.now_ns() + 10, every_ten)

    timers.add(10, every_ten)
    timers.add(25, lambda: ran.append(("odd", clock.now_ns())))
    drain(advance_to(clock, timers, 35))
    assert ran == [10, 20, ("odd", 25), 30]
    assert clock.now_ns() == 35


def test_an_overdue_timer_does_not_take_the_clock_back():
    clock, timers, ran = ManualClock(1), TimerQueue(), []
    timers.add(5, lambda: ran.append(clock.now_ns()))
    drain(advance_to(clock, timers, clock.now_ns() + 1))
    assert ran == [1_000_000_000]


def test_a_running_clock_is_not_moved():
    clock, timers, ran = ScaledClock(), TimerQueue(), []
    timers.add(0, lambda: ran.append("due"))
    timers.add(1 << 60, lambda: ran.append("not due"))
    drain(advance_to(clock, timers, 1 << 61))
    assert ran == ["due"]


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=200), st.integers(0, 60))
def test_exactly_the_due_and_not_cancelled_timers_run(plan, now_ns):
    timers, ran = TimerQueue(), []
    added = [timers.add(deadline_ns, lambda number=number: ran.append(number)) for number, (deadline_ns, _) in enumerate(plan)]
    for timer, (_, cancelled) in zip(added, plan, strict=True):
        if cancelled:
            timers.cancel(timer)
    timers.run_due(now_ns)
    kept = [(deadline_ns, number) for number, (deadline_ns, cancelled) in enumerate(plan) if not cancelled]
    assert ran == [number for deadline_ns, number in sorted(kept) if deadline_ns <= now_ns]
    assert len(timers) == sum(deadline_ns > now_ns for deadline_ns, _ in kept)
