"""The machine that was recorded, with fakecg instead of its kernel: cgroups below /D, and processes that do what the recorded ones did."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from guest_process import OWN_PAGES, OWN_PAGES_LATER, Process

from fakecg.abi.keyed import parse_flat_keyed
from fakecg.cgroup.hierarchy import ROOT_CALLER
from fakecg.host import Host
from fakecg.mm.address_space import SyntheticAddressSpace
from fakecg.observe.check import check
from fakecg.workload.content import ContentSpec

_NSEC_PER_SEC = 1_000_000_000
_GROUP_FILES = ("memory.current", "memory.peak", "memory.swap.current", "memory.swap.peak", "memory.zswap.current")
_GROUP_EVENTS = ("memory.events", "memory.events.local", "memory.swap.events")


class Guest:
    """Two CPUs, 2 GB, a swap disk of 1 GB that claims to turn; zswap with lz4."""

    def __init__(self, groups: Sequence[str] = ("/D", "/D/a"), *, nodes: int = 1, ram: str = "2019124K") -> None:
        self.host = Host(ram=ram, swap="1048572K", nodes=nodes, proactive="none", cost="virtio", zswap={"shrinker_enabled": "N"})
        self.machine = self.host.machine
        self.groups: list[str] = []
        self.processes: list[Process] = []
        self.slept_ns = 0
        self.unfinished: Generator[int | None, None, Any] | None = None
        for group in ("/D", *groups):
            if group not in self.groups:
                self.mkdir(group)

    def mkdir(self, path: str) -> None:
        self.host.mkdir(path)
        self.groups.append(path)

    def rmdir(self, path: str) -> None:
        self.host.rmdir(path)
        self.groups.remove(path)

    def close(self) -> None:
        """Check the emulator's own sums, and stop."""
        for process in self.processes:
            process.release_kernel()
        check(self.host)
        self.host.close()

    def start(
        self,
        group: str,
        *,
        own: int = OWN_PAGES + OWN_PAGES_LATER,
        kind: str = "eighth",
        oom_score_adj: int = 0,
        active: int = 1,
        idle: int = 0,
    ) -> Process:
        """A process in a cgroup.

        Args:
            own: so many pages of its own it will have.
            kind: contents of the first 15.
            active: so many are active from the start.
            idle: so many it never uses again.
        """
        process = Process(self, group, own, f"rec:{kind}", oom_score_adj, active, idle)
        self.processes.append(process)
        return process

    def write(self, group: str, name: str, value: str) -> int:
        """One write(2); returns 0, or the errno."""
        try:
            self.host.group(group)[name] = value
        except OSError as error:
            return error.errno or 0
        return 0

    def end_all(self) -> None:
        """Kill every process."""
        for process in self.processes:
            with self.host.lock:
                if process.alive:
                    process.task.kill()
            process.reap()

    def set_zswap(self, parameter: str, value: str) -> None:
        open_file = self.host.open_system_file(f"sys/module/zswap/parameters/{parameter}", ROOT_CALLER)
        self.host.write(open_file, value.encode())

    def _system_file(self, path: str) -> str:
        return self.host.show(self.host.open_system_file(path, ROOT_CALLER)).decode()

    def advance(self, seconds: float) -> None:
        self.host.advance(seconds)

    def create_file(self, nr_pages: int, kind: str = "half") -> SyntheticAddressSpace:
        """A file on the data disk, nothing of it cached."""
        with self.host.lock:
            return self.machine.spaces.create(None, nr_pages, ContentSpec.parse(f"rec:{kind}"), 0, is_file=True)

    def drop_caches(self, file: SyntheticAddressSpace) -> None:
        """What vm.drop_caches does to a file's clean pages."""
        with self.host.lock:
            self.machine.spaces.zap(file, 0, file.nr_pages)

    def drain_oldest(self) -> None:
        """Others ran on the CPU that has had pages in its batch for the longest time."""
        next(iter(self.machine.lru_batches)).drain()

    def run(self, steps: Generator[int | None, None, Any], limit_s: float | None = None) -> bool:
        """Run a task's work; where it sleeps, time passes. Returns False if ``limit_s`` seconds were over before it was done."""
        end_ns = None if limit_s is None else self.host.clock.now_ns() + int(limit_s * _NSEC_PER_SEC)
        self.unfinished = None
        while True:
            with self.host.lock:
                try:
                    sleep_ns = next(steps)
                except StopIteration:
                    return True
                self.host._step_works()
            if sleep_ns:
                self.slept_ns += sleep_ns
                self.advance(sleep_ns / _NSEC_PER_SEC)
                if end_ns is not None and self.host.clock.now_ns() >= end_ns:
                    self.unfinished = steps
                    return False

    def snapshot(self) -> dict[str, dict[str, int]]:
        """Every counter the recordings have, by place (a cgroup, "vmstat", "zswap_debugfs") and name."""
        values: dict[str, dict[str, int]] = {}
        for process in self.processes:
            process.reap()
        with self.host.lock:
            self.machine.rstat.flush()
        for path in self.groups:
            group = self.host.group(path)
            counters = {f"stat.{key}": value for key, value in group.stat.items()}
            counters.update((name, int(group[name])) for name in _GROUP_FILES)
            for name in _GROUP_EVENTS:
                counters.update((f"{name}.{key}", value) for key, value in parse_flat_keyed(group[name]).items())
            values[path] = counters
        values["vmstat"] = parse_flat_keyed(self._system_file("proc/vmstat"))
        counters = {
            name: int(self._system_file(f"sys/kernel/debug/zswap/{name}"))
            for name in ("pool_limit_hit", "pool_total_size", "reject_alloc_fail", "reject_compress_fail", "reject_compress_poor",
                         "reject_kmemcache_fail", "reject_reclaim_fail", "stored_pages", "written_back_pages")
        }  # fmt: skip
        values["zswap_debugfs"] = counters
        return values
