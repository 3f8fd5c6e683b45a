"""The cpu controller: weights and bandwidth limits, stored and read back as the kernel does, without any effect.

Mirrors the interface half of kernel/sched/core.c. There is no scheduler: synthetic tasks run as long as their work takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakecg.abi.errors import InvalidInput, OutOfRange
from fakecg.abi.units import cut, kstrtoll, kstrtoull, scan_unsigned, scan_word
from fakecg.cgroup.cftype import ControlFile, OpenFile
from fakecg.cgroup.css import Controller, Css

if TYPE_CHECKING:
    from fakecg.cgroup.cgroup import Cgroup

NSEC_PER_USEC = 1000
WEIGHT_MIN, WEIGHT_DEFAULT, WEIGHT_MAX = 1, 100, 10000
NICE_MIN, NICE_MAX = -20, 19
#: Load weights: of nice 0, of an idle group, and the least a group can have. Source: kernel/sched/sched.h.
NICE_0_LOAD, IDLE_LOAD, MIN_LOAD, MAX_LOAD = 1024, 3, 2, 1 << 18
#: Load weight of each nice value from -20 to 19. Source: kernel/sched/core.c:sched_prio_to_weight.
NICE_LOADS = (
    *(88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916),
    *(9548, 7620, 6100, 4904, 3906, 3121, 2501, 1991, 1586, 1277),
    *(1024, 820, 655, 526, 423, 335, 272, 215, 172, 137),
    *(110, 87, 70, 56, 45, 36, 29, 23, 18, 15),
)
#: cpu.max: "no limit", bounds of the period, and the largest quota, in nanoseconds.
RUNTIME_INF = (1 << 64) - 1
PERIOD_MIN_NS, PERIOD_DEFAULT_NS, PERIOD_MAX_NS = 1_000_000, 100_000_000, 1_000_000_000
QUOTA_MAX_NS = ((1 << 44) - 1) * NSEC_PER_USEC


class CpuCss(Css):
    """Settings of one cgroup: load weight, idle flag, bandwidth in nanoseconds."""

    __slots__ = ("burst_ns", "idle", "load", "period_ns", "quota_ns")

    def __init__(self, controller: Controller, cgroup: Cgroup, parent: Css | None) -> None:
        super().__init__(controller, cgroup, parent)
        self.load = NICE_0_LOAD
        self.idle = 0
        self.period_ns = PERIOD_DEFAULT_NS
        self.quota_ns = RUNTIME_INF
        self.burst_ns = 0

    def set_load(self, load: int) -> None:
        """Set the weight.

        Raises:
            InvalidInput: the group is idle (EINVAL).

        Source: kernel/sched/fair.c:__sched_group_set_shares.
        """
        if self.idle:
            raise InvalidInput("the weight of an idle group cannot be set")
        self.load = min(max(load, MIN_LOAD), MAX_LOAD)

    def set_bandwidth(self, period_ns: int, quota_ns: int, burst_ns: int) -> None:
        """Set all three at once, or none.

        Raises:
            InvalidInput: a value out of its bounds (EINVAL).

        Source: kernel/sched/core.c:tg_set_cfs_bandwidth.
        """
        if quota_ns < PERIOD_MIN_NS or not PERIOD_MIN_NS <= period_ns <= PERIOD_MAX_NS:
            raise InvalidInput("cpu.max: quota below 1 ms, or a period not in 1 ms..1 s")
        if quota_ns != RUNTIME_INF:
            if quota_ns > QUOTA_MAX_NS:
                raise InvalidInput("cpu.max: quota too large")
            if burst_ns > quota_ns or burst_ns + quota_ns > QUOTA_MAX_NS:
                raise InvalidInput("cpu.max.burst: more than the quota")
        self.period_ns, self.quota_ns, self.burst_ns = period_ns, quota_ns, burst_ns


def _div_round_closest(value: int, divisor: int) -> int:
    return (value + divisor // 2) // divisor


def _show_weight(css: CpuCss, _open_file: OpenFile) -> str:
    return f"{min(max(_div_round_closest(css.load * WEIGHT_DEFAULT, NICE_0_LOAD), WEIGHT_MIN), WEIGHT_MAX)}\n"


def _write_weight(css: CpuCss, data: bytes, _open_file: OpenFile) -> None:
    weight = kstrtoull(data)
    if not WEIGHT_MIN <= weight <= WEIGHT_MAX:
        raise OutOfRange(f"cpu.weight: {weight} is not in {WEIGHT_MIN}..{WEIGHT_MAX}")
    css.set_load(_div_round_closest(weight * NICE_0_LOAD, WEIGHT_DEFAULT))


def _show_weight_nice(css: CpuCss, _open_file: OpenFile) -> str:
    # Source: kernel/sched/core.c:cpu_weight_nice_read_s64: the last value before the distance stops shrinking.
    nearest, last_delta = 0, 1 << 31
    for position, load in enumerate(NICE_LOADS):
        delta = abs(load - css.load)
        if delta >= last_delta:
            break
        nearest, last_delta = position, delta
    return f"{nearest + NICE_MIN}\n"


def _write_weight_nice(css: CpuCss, data: bytes, _open_file: OpenFile) -> None:
    nice = kstrtoll(data)
    if not NICE_MIN <= nice <= NICE_MAX:
        raise OutOfRange(f"cpu.weight.nice: {nice} is not in {NICE_MIN}..{NICE_MAX}")
    css.set_load(NICE_LOADS[nice - NICE_MIN])


def _show_idle(css: CpuCss, _open_file: OpenFile) -> str:
    return f"{css.idle}\n"


def _write_idle(css: CpuCss, data: bytes, _open_file: OpenFile) -> None:
    # Source: kernel/sched/fair.c:sched_group_set_idle.
    idle = kstrtoll(data)
    if idle not in (0, 1):
        raise InvalidInput(f"cpu.idle: {idle} is neither 0 nor 1")
    if idle != css.idle:
        css.idle = idle
        css.load = IDLE_LOAD if idle else NICE_0_LOAD


def _show_max(css: CpuCss, _open_file: OpenFile) -> str:
    quota = "max" if css.quota_ns == RUNTIME_INF else css.quota_ns // NSEC_PER_USEC
    return f"{quota} {css.period_ns // NSEC_PER_USEC}\n"


def _write_max(css: CpuCss, data: bytes, _open_file: OpenFile) -> None:
    # Source: kernel/sched/core.c:cpu_period_quota_parse. What follows a number is ignored, and products wrap.
    word = scan_word(cut(data), 20)
    if word is None:
        raise InvalidInput("cpu.max: empty")
    quota = scan_unsigned(word[0])
    if quota is None and word[0] != b"max":
        raise InvalidInput(f"cpu.max: not a quota: {word[0]!r}")
    period = scan_unsigned(word[1])
    period_ns = css.period_ns if period is None else period[0] * NSEC_PER_USEC % (1 << 64)
    quota_ns = RUNTIME_INF if quota is None else quota[0] * NSEC_PER_USEC % (1 << 64)
    css.set_bandwidth(period_ns, quota_ns, css.burst_ns)


def _show_max_burst(css: CpuCss, _open_file: OpenFile) -> str:
    return f"{css.burst_ns // NSEC_PER_USEC}\n"


def _write_max_burst(css: CpuCss, data: bytes, _open_file: OpenFile) -> None:
    burst_us = kstrtoull(data)
    if burst_us > ((1 << 64) - 1) // NSEC_PER_USEC:
        raise InvalidInput("cpu.max.burst: too large")
    css.set_bandwidth(css.period_ns, css.quota_ns, burst_us * NSEC_PER_USEC)


_NO_EFFECT = "Kept and checked, without effect: there is no scheduler."

CPU_FILES: tuple[ControlFile, ...] = tuple(
    ControlFile(name=name, show=show, write=write, fidelity="zero", summary=_NO_EFFECT)
    for name, show, write in (
        ("cpu.weight", _show_weight, _write_weight),
        ("cpu.weight.nice", _show_weight_nice, _write_weight_nice),
        ("cpu.idle", _show_idle, _write_idle),
        ("cpu.max", _show_max, _write_max),
        ("cpu.max.burst", _show_max_burst, _write_max_burst),
    )
)


class CpuController(Controller):
    """The controller named ``cpu``."""

    name = "cpu"
    threaded = True
    files = CPU_FILES

    def css_alloc(self, cgroup: Cgroup, parent: Css | None) -> CpuCss:
        """A state with default settings."""
        return CpuCss(self, cgroup, parent)
