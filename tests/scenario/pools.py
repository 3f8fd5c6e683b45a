"""Pools of a known state: processes whose pages are in zswap, on machines that several tests share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from proactive import FILES, Hog, PoolMachine, difference, recorded_changes, recording, result_of
from rows import Rows

LATER_FILES = [file for file, version in FILES.items() if version != "v1"]
GROUP = "/D/a"
#: Pages of a process itself.
OWN = 22
#: Counters of memory.stat in a row, beside the proposal's own.
COMPARED = ("zswpwb", "zswpin", "zswpout", "zswap", "workingset_refault_anon", "zswapped", "swapcached")


def scenario(file: str, name: str) -> dict[str, Any]:
    """A recorded scenario."""
    found: dict[str, Any] = recording(file)["scenarios"][name]
    return found


def nr_clear_calls(version: str, nr_entries: int) -> int:
    """Small requests that take the referenced bits of a pool."""
    if version in ("v2", "v3"):
        return 1 + -(-(nr_entries - 256) // 240)
    return -(-nr_entries // (256 if version == "v4" else 1024))


@cache
def machine_of(version: str) -> PoolMachine:
    """A machine for all pools of a version, up for longer than any recorded age but one; it is left as it was found."""
    return PoolMachine(version, uptime_s=1000.0)


class Pool:
    """A process whose pages are in zswap."""

    def __init__(
        self, version: str, nr_entries: int, kind: str = "half", *, nr_own: int = 0, clear_calls: int = 0, nr_more: int = 0
    ) -> None:
        self.machine = machine_of(version)
        self.machine.host.mkdir(GROUP)
        self.hog: Hog = self.machine.hog(GROUP, nr_entries - nr_own + nr_more, kind, own=max(nr_own + 1, 18))
        self.hog.pageout_own(nr_own)
        self.hog.pageout(stop=nr_entries - nr_own)
        if version == "v1":
            self.machine.host.advance("2s")
        self.cleared = self.machine.clear(GROUP, clear_calls) if clear_calls else None

    def call(self, request: str) -> dict[str, Any]:
        """One request: its result and the changes."""
        before = self.machine.counters(GROUP)
        result = self.machine.request(GROUP, request)
        return {"result": result, "entries_before": before["zswapped"], "changes": difference(before, self.machine.counters(GROUP))}

    def remove(self) -> None:
        self.hog.exit()
        self.machine.host.rmdir(GROUP)


class Tree:
    """A parent, /D, and children whose pages are in zswap; the changes of a call are those of all of them."""

    def __init__(self, version: str, children: Mapping[str, int], *, clear_calls: Mapping[str, int] | None = None) -> None:
        """``children``: path and number of entries stored; ``clear_calls``: small requests that take their referenced bits."""
        self.machine = machine_of(version)
        self.hogs: dict[str, Hog] = {}
        self.groups = ["/D"]
        self._renew_parent()
        for group, nr_entries in children.items():
            self.add(group, nr_entries)
        self.cleared = {group: self.machine.clear(group, nr_calls) for group, nr_calls in (clear_calls or {}).items()}

    def _renew_parent(self) -> None:
        # A cursor stays with its cgroup, so each tree has a new one. A test that failed has left something there.
        self.machine.write("/D", "cgroup.kill", "1")
        for child in list(self.machine.host.lookup("/D").descendants_pre())[::-1]:
            self.machine.host.rmdir(child.path())
        self.machine.host.mkdir("/D")

    def add(self, group: str, nr_entries: int, *, nr_own: int = 0, own: int = OWN) -> Hog:
        """A child with a process, ``nr_own`` of whose own pages are in zswap too."""
        self.machine.host.mkdir(group)
        self.groups.append(group)
        hog = self.hogs[group] = self.machine.hog(group, nr_entries - nr_own, own=max(nr_own + 1, own))
        hog.pageout_own(nr_own)
        if hog.maps:
            hog.pageout()
        return hog

    def drop(self, group: str) -> None:
        """The process of a child ends, the child is removed."""
        self.hogs.pop(group).exit()
        self.groups.remove(group)
        self.machine.host.rmdir(group)

    def run(self, action: Action) -> dict[str, Any]:
        """Do something and return its result and the changes of each cgroup."""
        groups = [*self.groups, *(("/",) if action.group == "/" else ())]
        before, machine_before = {group: self.machine.counters(group) for group in groups}, self.machine.totals()
        if action.file:
            result = self.machine.write(action.group, action.file, action.value)
        elif action.parameter:
            self.machine.set_zswap(action.parameter, action.value)
            result = {}
        else:
            result = self.machine.request(action.group, action.value)
        changes = {group: difference(before[group], self.machine.counters(group)) for group in groups}
        return {"result": result, "changes": changes, "machine": difference(machine_before, self.machine.totals())}

    def remove(self) -> None:
        for group in list(self.hogs):
            self.drop(group)
        self._renew_parent()


@dataclass(frozen=True)
class Action:
    """What a recorded step did: a request, or, where named, a write to a file of the cgroup or to a module parameter."""

    group: str
    value: str
    file: str = ""
    parameter: str = ""


def check_step(
    rows: Rows, name: str, outcome: dict[str, Any], step: dict[str, Any], *, nr_own: int = 0, slack: Mapping[str, int] | None = None
) -> None:
    """Compare a step with the recorded one: its result, and what changed in each cgroup."""
    modelled, recorded = dict(outcome["result"]), result_of(step["result"]) if step["result"] else {}
    if not modelled:
        recorded = {}
    for group in outcome["changes"].keys() & step["after"].keys():
        changes = outcome["changes"][group]
        modelled |= {f"{group} {key}": value for key, value in changes.items() if key != "swap.current"}
        recorded |= {f"{group} {key}": value for key, value in step_changes(step, group).items() if key != "swap.current"}
    delta = step.get("delta", {})
    totals = {**delta.get("vmstat", {}), **delta.get("zswap_debugfs", {})}
    for key, value in outcome["machine"].items():
        modelled[f"machine {key}"], recorded[f"machine {key}"] = value, totals.get(key, 0)
    rows.check(f"{name} {step['what']}", modelled, recorded, own_pages=nr_own, slack=slack)


def step_changes(step: Mapping[str, Any], group: str) -> dict[str, int]:
    """The recorded changes of a cgroup that PoolMachine.counters() has too."""
    delta = step.get("delta", {}).get("cg", {}).get(group, {})
    stat = {key: value for key, value in delta.get("memory.stat", {}).items() if key in COMPARED or key.startswith("zswpwb_proactive")}
    return recorded_changes({**stat, **({"current": delta["memory.current"]} if "memory.current" in delta else {})})


def check_call(rows: Rows, name: str, outcome: dict[str, Any], row: dict[str, Any], *, nr_own: int = 0) -> None:
    """Compare a call with a recorded one: result, pages written, the counter, and the changes where they are recorded."""
    result = row.get("result", row)
    changes = outcome["changes"]
    modelled = {**outcome["result"], "written": changes["zswpwb"], "counter": changes["counter"]}
    recorded = {**result_of(result), "written": row["written"], "counter": row.get("counter", row.get("proactive"))}
    if "entries_before" in row:
        modelled["entries_before"], recorded["entries_before"] = outcome["entries_before"], row["entries_before"]
    if "delta" in row:
        modelled |= {key: value for key, value in changes.items() if key not in ("swap.current", "zswpin", "zswpout")}
        recorded |= recorded_changes(row["delta"])
    rows.check(name, modelled, recorded, own_pages=nr_own)
