"""The recorded machine with one version of the proactive-writeback interface, and what a row of its recordings compares."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from fakecg.cgroup.cftype import OpenFile
from fakecg.cgroup.hierarchy import ROOT_CALLER
from fakecg.host import Host
from fakecg.mm import filemap
from fakecg.mm.address_space import SyntheticAddressSpace
from fakecg.mm.folio_batch import lru_add_drain_all
from fakecg.sched.clock import ManualClock
from fakecg.sched.task import Task
from fakecg.workload.content import ContentSpec

GOLDEN = Path(__file__).parents[1] / "golden"
PAGE_SIZE = 4096
#: The recordings and their version; where the name does not say lru_gen0 the machine had the multi-generation LRU on.
FILES = {
    "proactive.json": "v1",
    "proactive_lrugen0.json": "v1",
    "proactive_v2.json": "v2",
    "proactive_v3.json": "v3",
    "proactive_v4.json": "v4",
    "proactive_v5.json": "v5",
    "proactive_v5_lrugen0.json": "v5",
}
NUMA_FILES = {f"proactive_{version}_numa2.json": version for version in ("v2", "v3", "v4", "v5")}
UPTIME_S = 40.0
#: Anonymous pages of a recorded process when it starts, and some more from its first command on: stack, libc, buffers.
OWN_PAGES = 15
OWN_PAGES_LATER = 3

Outcome = dict[str, Any]


@cache
def recording(file: str) -> dict[str, Any]:
    """A whole recording."""
    with (GOLDEN / file).open() as text:
        loaded: dict[str, Any] = json.load(text)
    return loaded


def is_classic(file: str) -> bool:
    """Whether the machine had the LRU lists that are modelled."""
    return "lrugen0" in file


def result_of(outcome: Mapping[str, Any]) -> Outcome:
    """A recorded result without its time."""
    return {key: outcome[key] for key in ("ret", "errno") if key in outcome and outcome[key] != -1}


def difference(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Changes of counters."""
    return {key: value - before[key] for key, value in after.items()}


def recorded_changes(delta: Mapping[str, int]) -> dict[str, int]:
    """The changes of a recorded call, under the names and in the units of PoolMachine.counters()."""
    changes = {}
    for key, value in delta.items():
        if key.startswith("zswpwb_proactive"):
            changes["counter"] = value
        elif key in ("zswapped", "swapcached", "current", "swap.current"):
            changes[key] = value // PAGE_SIZE
        elif key != "zswap.current":
            changes[key] = value
    return changes


class RememberedPages:
    """Recorded contents, each page made once for all scenarios."""

    def __init__(self, kind: str) -> None:
        self._content = ContentSpec.parse(f"rec:{kind}")
        self._pages: dict[tuple[int, int], bytes] = {}

    def page(self, seed: int, index: int, generation: int = 0) -> bytes:
        page = self._pages.get((seed, index))
        if page is None:
            page = self._pages[seed, index] = self._content.page(seed, index)
        return page


remembered = cache(RememberedPages)


class PoolMachine:
    """The recorded guest: 2 GB, a swap disk of 1 GB, lz4."""

    def __init__(self, version: str, *, nodes: int = 1, uptime_s: float = UPTIME_S, groups: Sequence[str] = ("/D",)) -> None:
        self.version = version
        self.host = Host(
            ram="2036516K", swap="1048572K", nodes=nodes, proactive=version, clock=ManualClock(uptime_s), zswap={"shrinker_enabled": "N"}
        )
        self.machine = self.host.machine
        self.counter = "zswpwb_proactive_b" if version in ("v4", "v5") else "zswpwb_proactive"
        for group in groups:
            self.host.mkdir(group)

    def __enter__(self) -> PoolMachine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.host.close()

    def write(self, group: str, name: str, data: bytes | str, interrupted: Callable[[], bool] | None = None) -> Outcome:
        """One write to a fresh descriptor; ``interrupted`` says when a signal has come."""
        try:
            open_file = self.host.open_file(self.host.lookup(group), name.encode(), ROOT_CALLER)
            return {"ret": self.host.write(open_file, data.encode() if isinstance(data, str) else data, interrupted=interrupted)}
        except OSError as error:
            return {"errno": errno.errorcode[error.errno or 0]}

    def system_file(self, path: str) -> str:
        """A file of the machine."""
        return self.host.show(self.host.open_system_file(path, ROOT_CALLER)).decode()

    def set_zswap(self, parameter: str, value: str) -> None:
        """Write a module parameter."""
        self.host.write(self.host.open_system_file(f"sys/module/zswap/parameters/{parameter}", ROOT_CALLER), value.encode())

    def request(self, group: str, text: str, interrupted: Callable[[], bool] | None = None) -> Outcome:
        """One request: v1's whole text, or the size before the key."""
        return self.write(group, *self.command(text), interrupted=interrupted)

    def command(self, text: str) -> tuple[str, str]:
        """The file that takes a request, and what is written."""
        if self.version == "v1":
            return "memory.zswap.proactive_writeback", text
        key = "source=zswap" if self.version == "v5" else "zswap_writeback_only"
        return "memory.reclaim", f"{text} {key}"

    def work(self, group: str, text: str) -> Generator[Any, None, Any]:
        """A request, to be run step by step."""
        name, data = self.command(text)
        row, css = self.host.lookup(group).lookup_file(name.encode())
        steps: Generator[Any, None, Any] = row.write(css, data.encode(), OpenFile(row, css, ROOT_CALLER, ROOT_CALLER))
        return steps

    def clear(self, group: str, nr_calls: int) -> dict[str, Any]:
        """Take the referenced bits by small requests, as the recordings did; returns what they say about it."""
        before = self.counters(group)["zswpwb"]
        results: dict[str, int] = {}
        for _ in range(nr_calls):
            result = self.request(group, "1" if self.version == "v5" else "4096")
            name = result.get("errno", "ret")
            results[name] = results.get(name, 0) + 1
        after = self.counters(group)
        return {"calls": nr_calls, "results": results, "written": after["zswpwb"] - before, "entries": after["zswapped"]}

    def counters(self, group: str) -> dict[str, int]:
        """What a row compares: pages, but bytes of zswap and of the byte counter; memory.current without what was charged in advance."""
        self.machine.stock.drain()
        opened = self.host.group(group)
        stat = opened.stat
        values = {name: stat[name] for name in ("zswpwb", "zswpin", "zswpout", "zswap", "workingset_refault_anon")}
        values |= {name: stat[name] // PAGE_SIZE for name in ("zswapped", "swapcached")}
        values["counter"] = stat[self.counter]
        if group != "/":
            values |= {name: int(opened[f"memory.{name}"]) // PAGE_SIZE for name in ("current", "swap.current")}
        return values

    def drain(self) -> None:
        """Something ran on all CPUs."""
        lru_add_drain_all(self.machine)

    def totals(self) -> dict[str, int]:
        """What a row compares of the machine: lines of vmstat and files of debugfs."""
        counters = self.machine.zswap.counters
        return {
            "zswpwb": self.machine.vm.zswpwb,
            "pswpout": self.machine.vm.pswpout,
            "pgpgout": self.machine.vm.pgpgout,
            "stored_pages": counters.stored_pages,
            "written_back_pages": counters.written_back_pages,
            "reject_reclaim_fail": counters.reject_reclaim_fail,
        }

    def hog(self, group: str, nr_pages: int = 0, kind: str = "half", *, own: int = OWN_PAGES + OWN_PAGES_LATER) -> Hog:
        """A process in a cgroup, with a mapping."""
        hog = Hog(self, group, own)
        if nr_pages:
            hog.map(nr_pages, kind)
        return hog


def alternate(machine: PoolMachine, works: Sequence[Generator[Any, None, Any]]) -> list[int]:
    """Run processes on several CPUs, each a step faster than the one before; returns their errnos."""
    exits = dict.fromkeys(range(len(works)), 0)
    running = list(exits)
    with machine.host.lock:
        while running:
            for number in list(running):
                try:
                    for _ in range(1 + number):
                        next(works[number])
                except StopIteration:
                    running.remove(number)
                except OSError as error:
                    exits[number] = error.errno or 0
                    running.remove(number)
    return list(exits.values())


class Hog:
    """A recorded process: pages of its own, then mappings."""

    def __init__(self, guest: PoolMachine, group: str, own: int) -> None:
        self.guest = guest
        host = guest.host
        cgroup = host.lookup(group)
        with host.lock:
            self.task: Task = host._new_task(cgroup, "hog")
        self._nr_own_later = own - OWN_PAGES
        self.own = [self._new_space(OWN_PAGES, "eighth", 0)]
        self.touch(self.own[0], write=True)
        # The page of its stack that every command uses is on the active list.
        for _ in range(2):
            filemap.mark_accessed(guest.machine, self.own[0].base, self.task.mm.batches)
        self.maps: list[SyntheticAddressSpace] = []

    def _new_space(self, nr_pages: int, kind: str, mapping: int) -> SyntheticAddressSpace:
        return self.guest.host.task_memory.create_space(self.task, nr_pages, remembered(kind), mapping)

    def _run(self, steps: Generator[int | None, None, Any]) -> Any:
        with self.guest.host.lock:
            while True:
                try:
                    next(steps)
                except StopIteration as done:
                    return done.value

    def touch(self, space: SyntheticAddressSpace, start: int = 0, stop: int | None = None, *, write: bool = False) -> None:
        """Read, or write, one byte of each page."""
        memory = self.guest.host.task_memory
        self._run(memory.touch_range(self.task, space, start, space.nr_pages if stop is None else stop, write))

    def command(self) -> None:
        """The process gets a command and answers, on its own pages."""
        if len(self.own) == 1:
            self.own.append(self._new_space(self._nr_own_later, "eighth", 1))
        for space in self.own:
            self.touch(space)
            self.touch(space, write=True)

    def map(self, nr_pages: int, kind: str, *, node: int = 0) -> SyntheticAddressSpace:
        """Map memory, on a node, and write it."""
        self.command()
        space = self._new_space(nr_pages, kind, len(self.maps))
        space.node_of = bytes((node,)) * nr_pages
        self.maps.append(space)
        self.touch(space, write=True)
        return space

    def read(self, start: int = 0, stop: int | None = None) -> None:
        """Read pages of the first mapping."""
        self.command()
        self.touch(self.maps[0], start, stop)

    def faults(self, *, backward: bool = False) -> Generator[Any, None, None]:
        """Reads of the first mapping, one page after another, to be run step by step."""
        memory, space = self.guest.host.task_memory, self.maps[0]
        for page in range(space.nr_pages)[:: -1 if backward else 1]:
            yield from memory.touch_range(self.task, space, page, page + 1, False)
            yield None

    def pageout(self, start: int = 0, stop: int | None = None, index: int = 0) -> int:
        """madvise(MADV_PAGEOUT) of pages of a mapping; returns how many went."""
        space = self.maps[index]
        return int(self._run(self.guest.host.task_memory.pageout(self.task, space, start, space.nr_pages if stop is None else stop)))

    def pageout_own(self, nr_pages: int) -> None:
        """So many of the process's own pages go, the oldest first; the active one stays."""
        memory = self.guest.host.task_memory
        for space, first in zip(self.own, (1, 0), strict=False):
            stop = min(space.nr_pages, first + nr_pages)
            if stop > first:
                self._run(memory.pageout(self.task, space, first, stop))
                nr_pages -= stop - first

    def store_own(self, nr_pages: int) -> None:
        """Exactly so many of the process's own pages are in zswap."""
        self.command()
        self.pageout_own(nr_pages)

    def exit(self) -> None:
        """The process ends."""
        with self.guest.host.lock:
            self.task.kill()
