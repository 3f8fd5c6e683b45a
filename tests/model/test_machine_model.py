"""Anything done to a machine in any order, also while something else is at work: no counter is wrong and no byte is lost.

After each step the invariants of observe/check.py are computed anew and every page's bytes are compared, wherever they are; a call may fail
only with an errno the kernel has for it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from memory_host import MemoryHost

#: After how many steps, and what.
Intrusion = tuple[int, tuple[Any, ...]] | None

numbers = st.integers(0, 11)
pages = st.sampled_from((1, 7, 33, 100, 300, 700))
starts = st.integers(0, 700)
booleans = st.booleans()
names = st.sampled_from("abc")
contents = st.sampled_from(("text", "half", "random", "zero", "ratio=4", "mix:text=1,random=1,zero=1"))
accesses = st.sampled_from(("once", "none", "uniform:200/s", "hotcold:0.2,300/s,write=0.3", "seq:400/s,write=0.5"))
limits = st.sampled_from(("max", "0", "64K", "400K", "1M", "2M", "4M"))
limit_names = st.sampled_from(
    ("memory.max", "memory.high", "memory.low", "memory.min", "memory.swap.max", "memory.swap.high", "memory.zswap.max")
)
flags = st.sampled_from("01")
flag_names = st.sampled_from(("memory.zswap.writeback", "memory.oom.group"))
sizes = st.sampled_from(("0", "4K", "128K", "1M", "4M", "64M"))
swappiness = st.sampled_from(("", " swappiness=0", " swappiness=60", " swappiness=200"))
signals = st.sampled_from((None, None, None, 0, 2, 9))
parameters = st.sampled_from(
    (
        ("sys/module/zswap/parameters/enabled", "N"),
        ("sys/module/zswap/parameters/enabled", "Y"),
        ("sys/module/zswap/parameters/max_pool_percent", "0"),
        ("sys/module/zswap/parameters/max_pool_percent", "3"),
        ("sys/module/zswap/parameters/max_pool_percent", "20"),
        ("sys/module/zswap/parameters/accept_threshold_percent", "50"),
        ("sys/module/zswap/parameters/shrinker_enabled", "Y"),
        ("sys/module/zswap/parameters/shrinker_enabled", "N"),
        ("proc/sys/vm/swappiness", "0"),
        ("proc/sys/vm/swappiness", "200"),
        ("proc/sys/vm/page-cluster", "0"),
        ("proc/sys/vm/page-cluster", "3"),
        ("proc/sys/vm/page-cluster", "5"),
    )
)
durations = st.sampled_from(("10ms", "1s", "5s", "1m"))
faults = st.sampled_from((("read", 1), ("read", 40), ("read", 0), ("write", 1), ("write", 40), ("write", 0), ("full", 1), ("full", 0)))
machines = st.fixed_dictionaries(
    {
        "ram": st.sampled_from(("4M", "12M", "40M")),
        "swap": st.sampled_from(("0", "2M", "16M", ["2M,prio=5", "4M,prio=5", "8M"], ["1M,prio=1", "8M,device=hdd"])),
        "nodes": st.sampled_from((1, 1, 2)),
        "profile": st.sampled_from(("v6.12", "v6.12", "v7.1")),
        "cost": st.sampled_from(("nvme", "virtio", "instant")),
    }
)
#: What another thread may do in the middle of somebody's work.
intrusions = st.one_of(
    st.tuples(st.just("kill"), numbers),
    st.tuples(st.just("kill_busy")),
    st.tuples(st.just("touch"), numbers, starts, pages, booleans),
    st.tuples(st.just("rewrite"), numbers, st.lists(starts, min_size=1, max_size=8)),
    st.tuples(st.just("write"), numbers, limit_names, limits),
    st.tuples(st.just("write"), numbers, flag_names, flags),
    st.tuples(st.just("reclaim"), numbers, sizes, swappiness, st.none()),
    st.tuples(st.just("writeback"), numbers, st.integers(0, 3), st.none()),
    st.tuples(st.just("migrate"), numbers, numbers),
    st.tuples(st.just("rmdir"), numbers),
    st.tuples(st.just("mkdir"), numbers, names),
    st.tuples(st.just("switch_controller"), numbers, st.sampled_from(("+memory", "-memory"))),
    st.tuples(st.just("pageout"), numbers, starts, pages),
    st.tuples(st.just("swapoff"), numbers),
    st.tuples(st.just("spawn"), numbers, pages, contents, accesses, st.just(0), st.just(0)),
)
#: Nobody, or somebody after so many steps of the work.
maybe_intrusion = st.one_of(st.none(), st.none(), st.tuples(st.integers(1, 30), intrusions))
#: (file, command, whether the cgroup's writeback setting is looked at) of each interface version.
REQUESTS = {
    "v1": [("memory.zswap.proactive_writeback", text, True) for text in ("1", "max=40K 1", "max=1M 30", "60")],
    "v2": [("memory.reclaim", f"{size} zswap_writeback_only", False) for size in ("4K", "100K", "1M", "64M")],
    "v3": [("memory.reclaim", f"{size} zswap_writeback_only", False) for size in ("4K", "100K", "1M", "64M")],
    "v4": [("memory.reclaim", f"{size} zswap_writeback_only", True) for size in ("4K", "100K", "1M", "64M")],
    "v5": [("memory.reclaim", f"{size} source=zswap", True) for size in ("1", "50K", "1M", "64M")],
}


class MachineModel(RuleBasedStateMachine):
    """Common to all interface versions.

    Attributes:
        version: of the proactive-writeback interface.
        nr_steps: over all runs.
    """

    version = "v1"
    nr_steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.memory = MemoryHost(proactive=self.version)

    @initialize(
        options=machines, tasks=st.lists(st.tuples(numbers, pages, contents, st.sampled_from((0, 50, 300))), min_size=1, max_size=4)
    )
    def boot(self, options: dict[str, Any], tasks: list[tuple[int, int, str, int]]) -> None:
        self.memory.close()
        self.memory = MemoryHost(proactive=self.version, **options)
        for name in ("a", "b", "a/c"):
            self.memory.host.mkdir(name)
        for where, nr_pages, content, cache_pages in tasks:
            self.memory.spawn(where, nr_pages, content, "once", cache_pages, 0)
        for where in range(3):
            self.memory.write(where, "memory.reclaim", "600K", errno.EAGAIN)
        self.memory.advance("2s")

    def expect(self, intrusion: Intrusion) -> None:
        if intrusion is not None:
            nr_steps, action = intrusion
            self.memory.interrupt_next(nr_steps, lambda: self.do(*action))

    def do(self, name: str, *arguments: Any) -> None:
        action: Callable[..., None] = getattr(self, "_" + name, None) or getattr(self.memory, name)
        action(*arguments)

    @rule(where=numbers, name=names)
    def mkdir(self, where: int, name: str) -> None:
        self.memory.mkdir(where, name)

    @precondition(lambda self: len(self.memory.groups()) > 2)
    @rule(where=numbers)
    def rmdir(self, where: int) -> None:
        self.memory.rmdir(where)

    @rule(where=numbers, word=st.sampled_from(("+memory", "-memory")))
    def switch_controller(self, where: int, word: str) -> None:
        self.memory.switch_controller(where, word)

    @rule(
        where=numbers,
        nr_pages=pages,
        content=contents,
        access=accesses,
        cache_pages=st.sampled_from((0, 0, 50, 300)),
        oom_score_adj=st.sampled_from((0, 0, 500, -1000)),
        intrusion=maybe_intrusion,
    )
    def spawn(
        self, where: int, nr_pages: int, content: str, access: str, cache_pages: int, oom_score_adj: int, intrusion: Intrusion
    ) -> None:
        self.expect(intrusion)
        self.memory.spawn(where, nr_pages, content, access, cache_pages, oom_score_adj)

    @precondition(lambda self: len(self.memory.host.jobs) > 2)
    @rule(which=numbers)
    def kill(self, which: int) -> None:
        self.memory.kill(which)

    @rule(which=numbers, start=starts, nr_pages=pages, write=booleans, intrusion=maybe_intrusion)
    def touch(self, which: int, start: int, nr_pages: int, write: bool, intrusion: Intrusion) -> None:
        self.expect(intrusion)
        self.memory.touch(which, start, nr_pages, write)

    @rule(which=numbers, indices=st.lists(starts, min_size=1, max_size=40), intrusion=maybe_intrusion)
    def rewrite(self, which: int, indices: list[int], intrusion: Intrusion) -> None:
        self.expect(intrusion)
        self.memory.rewrite(which, indices)

    @rule(which=numbers, start=starts, nr_pages=pages, write=booleans, intrusion=maybe_intrusion)
    def read_file(self, which: int, start: int, nr_pages: int, write: bool, intrusion: Intrusion) -> None:
        self.expect(intrusion)
        self.memory.read_file(which, start, nr_pages, write)

    @rule(which=numbers, start=starts, nr_pages=pages, intrusion=maybe_intrusion)
    def pageout(self, which: int, start: int, nr_pages: int, intrusion: Intrusion) -> None:
        self.expect(intrusion)
        self.memory.pageout(which, start, nr_pages)

    @rule(which=numbers, where=numbers)
    def migrate(self, which: int, where: int) -> None:
        self.memory.migrate(which, where)

    @rule(where=numbers, name=limit_names, value=limits, signal_after=signals, intrusion=maybe_intrusion)
    def limit(self, where: int, name: str, value: str, signal_after: int | None, intrusion: Intrusion) -> None:
        self.expect(intrusion)
        self.memory.write(where, name, value, signal_after=signal_after)

    @rule(where=numbers, name=flag_names, value=flags)
    def flag(self, where: int, name: str, value: str) -> None:
        self.memory.write(where, name, value)

    @rule(where=numbers, size=sizes, balance=swappiness, signal_after=signals, intrusion=maybe_intrusion)
    def reclaim(self, where: int, size: str, balance: str, signal_after: int | None, intrusion: Intrusion) -> None:
        self.expect(intrusion)
        self._reclaim(where, size, balance, signal_after)

    def _reclaim(self, where: int, size: str, balance: str, signal_after: int | None) -> None:
        self.memory.write(where, "memory.reclaim", size + balance, errno.EAGAIN, signal_after=signal_after)

    @rule(where=numbers, request=st.integers(0, 3), signal_after=signals, intrusion=maybe_intrusion)
    def writeback(self, where: int, request: int, signal_after: int | None, intrusion: Intrusion) -> None:
        self.expect(intrusion)
        self._writeback(where, request, signal_after)

    def _writeback(self, where: int, request: int, signal_after: int | None) -> None:
        name, text, checks_setting = REQUESTS[self.version][request]
        self.memory.proactive(where, name, text, signal_after, checks_setting)

    @rule(parameter=parameters)
    def set_parameter(self, parameter: tuple[str, str]) -> None:
        self.memory.write_system_file(*parameter)

    @rule(fault=faults)
    def inject(self, fault: tuple[str, int]) -> None:
        self.memory.inject(*fault)

    @rule(number=numbers, intrusion=maybe_intrusion)
    def swapoff(self, number: int, intrusion: Intrusion) -> None:
        self.expect(intrusion)
        if number < 2:
            self.memory.swapoff(number)

    @rule(duration=durations, intrusion=maybe_intrusion)
    def advance(self, duration: str, intrusion: Intrusion) -> None:
        self.expect(intrusion)
        self.memory.advance(duration)

    @invariant()
    def nothing_is_wrong_or_lost(self) -> None:
        type(self).nr_steps += 1
        self.memory.verify()

    def teardown(self) -> None:
        self.memory.close()


def test_a_machine_with_v1():
    run_state_machine_as_test(MachineModel)


@pytest.mark.parametrize("version", ["v2", "v3", "v4", "v5"])
def test_a_machine_with_a_later_interface(version):
    machine = type(f"MachineModel_{version}", (MachineModel,), {"version": version})
    examples = max(5, settings().max_examples // 5)
    run_state_machine_as_test(machine, settings=settings(max_examples=examples))
