import pytest

from fakecg.abi.errors import UsageError
from fakecg.sched.clock import NSEC_PER_SEC, ManualClock, ScaledClock


def test_manual_clock_stands_still_until_moved():
    clock = ManualClock(0)
    assert clock.now_ns() == 0
    assert clock.now_ns() == 0
    clock.jump(1.5)
    assert clock.now_ns() == 1_500_000_000


def test_manual_clock_starts_at_an_uptime():
    assert ManualClock(3600).now_ns() == 3600 * NSEC_PER_SEC


@pytest.mark.parametrize("move", [lambda clock: clock.jump(-1), lambda clock: clock.jump_to(5)])
def test_time_cannot_go_backwards(move):
    clock = ManualClock(1)
    with pytest.raises(UsageError, match="backwards"):
        move(clock)
    assert clock.now_ns() == NSEC_PER_SEC


def test_waiting_does_not_move_a_manual_clock():
    clock = ManualClock(1)
    assert clock.real_delay_ns(NSEC_PER_SEC) == 0
    assert clock.real_delay_ns(NSEC_PER_SEC + 1) is None


def test_scaled_clock_is_real_time_times_its_rate(monkeypatch):
    real_ns = 1_000
    monkeypatch.setattr("fakecg.sched.clock.time.monotonic_ns", lambda: real_ns)
    clock = ScaledClock(rate=60, start_s=10)
    assert clock.now_ns() == 10 * NSEC_PER_SEC
    real_ns += NSEC_PER_SEC
    assert clock.now_ns() == 70 * NSEC_PER_SEC
    assert clock.real_delay_ns(130 * NSEC_PER_SEC) == NSEC_PER_SEC
    assert clock.real_delay_ns(0) == 0


@pytest.mark.parametrize("rate", [0, -1, float("inf"), float("nan")])
def test_a_rate_is_above_zero(rate):
    with pytest.raises(UsageError, match="rate"):
        ScaledClock(rate=rate)


@pytest.mark.parametrize("clock", [ManualClock, ScaledClock])
def test_uptime_is_not_negative(clock):
    with pytest.raises(UsageError, match="start_s"):
        clock(start_s=-1)
