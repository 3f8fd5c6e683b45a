"""Recordings of a real kernel, and how a replay is compared with them.

A recorded scenario is a list of steps, each with the change of every counter. A replay takes the same steps and compares the change of
each counter; what may differ, and by how much, is said where the scenario is.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from guest import Guest
from tolerances import BYTES, BYTES_FILES, DEBUGFS, DEFAULT, EXACT, INEXACT, NOT_MODELLED, VMSTAT, Tolerance, Tolerances

from fakecg.mm.folio_batch import PAGEVEC_SIZE

GOLDEN = Path(__file__).parents[1] / "golden"
PAGE_SIZE = 4096


@cache
def load(file_name: str) -> dict[str, Any]:
    """The scenarios of a recording by name."""
    with (GOLDEN / file_name).open() as file:
        scenarios: dict[str, Any] = json.load(file)["scenarios"]
    return scenarios


def _sum_up(deltas: list[dict[str, Any]]) -> dict[str, Any]:
    """Add nested dictionaries of numbers."""
    total: dict[str, Any] = {}
    for delta in deltas:
        for key, value in (delta or {}).items():
            if isinstance(value, dict):
                total[key] = _sum_up([total.get(key, {}), value])
            else:
                total[key] = total.get(key, 0) + value
    return total


def nr_changed(recorded: Any, key: str = "") -> int:
    """How many counters of a recorded change are not zero, of those that replays compare."""
    if isinstance(recorded, list):
        return sum(nr_changed(item) for item in recorded)
    if not isinstance(recorded, dict):
        return int(bool(recorded) and key not in NOT_MODELLED and not key.startswith("psi."))
    known = {"vmstat": VMSTAT, "zswap_debugfs": DEBUGFS, "meminfo_kB": ()}.get(key)
    return sum(nr_changed(item, name) for name, item in recorded.items() if known is None or name in known)


def nr_recorded(file_name: str, name: str) -> int:
    """How many counters changed in the steps of a scenario."""
    return sum(nr_changed(step["delta"]) for step in load(file_name)[name]["steps"])


@dataclass
class Difference:
    """A counter whose change is not what was recorded."""

    step: str
    counter: str
    modelled: float
    recorded: float

    def __str__(self) -> str:
        return f"{self.step}: {self.counter}: {self.modelled:g}, recorded {self.recorded:g}"


@dataclass
class Tally:
    """What was compared: counters, those that were exactly as recorded, and the differences beyond their tolerance."""

    nr_compared: int = 0
    nr_exact: int = 0
    nr_skipped: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def nr_matched(self) -> int:
        return self.nr_compared - self.nr_different

    @property
    def nr_different(self) -> int:
        return self.nr_skipped + len(self.differences)

    def compare(self, step: str, counter: str, modelled: float, recorded: float, tolerance: Tolerance = EXACT) -> None:
        if modelled or recorded:
            self.compare_always(step, counter, modelled, recorded, tolerance)

    def compare_always(self, step: str, counter: str, modelled: float, recorded: float, tolerance: Tolerance = EXACT) -> None:
        """Compare also what did not change."""
        self.nr_compared += 1
        if modelled == recorded:
            self.nr_exact += 1
        elif not tolerance.allows(modelled, recorded):
            self.differences.append(Difference(step, counter, modelled, recorded))


class Replay:
    """One scenario, step by step."""

    def __init__(self, scenario: Scenario) -> None:
        self.recorded: dict[str, Any] = load(scenario.file_name)[scenario.name]
        self._scenario = scenario
        self.guest = Guest(scenario.groups, nodes=scenario.nodes)
        self.tally = Tally()
        self.tolerances: Tolerances = {**DEFAULT, **scenario.tolerances}
        #: Whether every page is where it was in the recorded run.
        self.exact = True
        self._next = 0
        self._before = self.guest.snapshot()

    def new_guest(self, *groups: str) -> Guest:
        """A machine as after boot, for what was recorded in cgroups of its own."""
        self.guest.close()
        self.guest = Guest(groups or self._scenario.groups, nodes=self._scenario.nodes)
        self.exact = True
        self.skip_changes()
        return self.guest

    def skip_changes(self) -> None:
        """What happened since the last step is not compared."""
        self._before = self.guest.snapshot()

    def step(self, what: str, tolerances: Tolerances | None = None) -> None:
        """Compare everything with the next recorded step, whose name must start with ``what``."""
        recorded = self.recorded["steps"][self._next]
        assert recorded["what"].startswith(what), (recorded["what"], what)
        name = f"{self._next} {recorded['what']}"
        self._next += 1
        self.compare(name, recorded["delta"], tolerances)

    def take_disk_speed(self, nr_steps: int = 1) -> None:
        """Let the disk be as quick as it was in the next recorded steps.

        A page that zswap wrote back goes to the tail of its list if it is on one when the write ends, which pgrotated counts; the pages
        that reclaim writes itself all do.
        """
        changes = _sum_up([step["delta"].get("vmstat", {}) for step in self.recorded["steps"][self._next : self._next + nr_steps]])
        nr_written_back = changes.get("zswpwb", 0)
        if nr_written_back:
            nr_rotated = changes.get("pgrotated", 0) - (changes["pswpout"] - nr_written_back)
            early = 1 - min(max(nr_rotated / nr_written_back, 0), 1)
            self.guest.machine.page_io.nr_early_writes = round(early * PAGEVEC_SIZE)

    def skip(self, what: str) -> None:
        """A recorded step that is not replayed: none of its counters matches."""
        recorded = self.recorded["steps"][self._next]
        assert recorded["what"].startswith(what), (recorded["what"], what)
        self._next += 1
        self.tally.nr_compared += nr_changed(recorded["delta"])
        self.tally.nr_skipped += nr_changed(recorded["delta"])
        self.skip_changes()

    def steps(self, nr_steps: int, tolerances: Tolerances | None = None) -> None:
        """Compare with several recorded steps together, where how much falls into each depends on how fast the disk was."""
        recorded = self.recorded["steps"][self._next : self._next + nr_steps]
        name = f"{self._next}-{self._next + nr_steps - 1} {recorded[0]['what']} .. {recorded[-1]['what']}"
        self._next += nr_steps
        self.compare(name, _sum_up([step["delta"] for step in recorded]), tolerances)

    def finished(self) -> bool:
        """Whether every recorded step was taken."""
        return self._next == len(self.recorded.get("steps", ()))

    def compare(self, name: str, delta: dict[str, Any], tolerances: Tolerances | None = None) -> None:
        """Compare the changes since the last comparison with recorded ones."""
        allowed = self._allowed(tolerances)
        after = self.guest.snapshot()
        groups = delta.get("cg", {})
        shown = self.recorded.get("initial", {"cg": groups})["cg"]
        for place, counters in after.items():
            before = self._before.get(place, {})
            changes = {counter: value - before.get(counter, 0) for counter, value in counters.items()}
            if place.startswith("/"):
                if place in groups or place in shown:
                    self._compare_group(name, place, changes, groups.get(place, {}), allowed)
            else:
                known = VMSTAT if place == "vmstat" else DEBUGFS
                for counter in known:
                    self._compare_one(name, place, counter, changes[counter], (delta.get(place) or {}).get(counter, 0), allowed)
        self._before = after

    def compare_group(self, name: str, place: str, deltas: list[dict[str, Any]], tolerances: Tolerances | None = None) -> None:
        """Compare the changes of one cgroup since the last comparison with those of each repetition."""
        after = self.guest.snapshot()
        before = self._before[place]
        for delta in deltas:
            changes = {counter: value - before[counter] for counter, value in after[place].items()}
            self._compare_group(name, place, changes, delta, self._allowed(tolerances))
        self._before = after

    def compare_values(
        self, name: str, modelled: dict[str, int], recorded: dict[str, int], tolerances: Tolerances | None = None, *, place: str = "/D/a"
    ) -> None:
        """Compare values, those of ``modelled``."""
        for counter, value in modelled.items():
            self._compare_one(name, place, counter, value, recorded[counter], self._allowed(tolerances))

    def compare_result(self, name: str, errno_of_write: int, result: dict[str, Any]) -> None:
        """Compare what a write returned: 0 or an errno."""
        self.tally.compare_always(name, "errno", errno_of_write, getattr(errno, result["errno"]) if "errno" in result else 0)

    def _allowed(self, tolerances: Tolerances | None) -> Tolerances:
        return {**({} if self.exact else INEXACT), **self.tolerances, **(tolerances or {})}

    def _compare_group(self, name: str, place: str, changes: dict[str, int], delta: dict[str, Any], allowed: Tolerances) -> None:
        stat = delta.get("memory.stat", {})
        for counter, change in changes.items():
            file, _, key = counter.rpartition(".")
            if file == "stat":
                if key not in NOT_MODELLED:
                    self._compare_one(name, place, key, change, stat.get(key, 0), allowed)
            elif file.startswith("memory.") and file.endswith(("events", "local")):
                self._compare_one(name, place, counter, change, delta.get(file, {}).get(key, 0), allowed)
            else:
                self._compare_one(name, place, counter, change, delta.get(counter, 0), allowed)

    def _compare_one(self, name: str, place: str, counter: str, modelled: int, recorded: int, allowed: Tolerances) -> None:
        tolerance = allowed.get(counter, EXACT)
        if counter in BYTES or counter in BYTES_FILES:
            self.tally.compare(name, f"{place} {counter} (pages)", modelled / PAGE_SIZE, recorded / PAGE_SIZE, tolerance)
        else:
            self.tally.compare(name, f"{place} {counter}", modelled, recorded, tolerance)


@dataclass(frozen=True)
class Scenario:
    """A recorded scenario and the steps that replay it."""

    file_name: str
    name: str
    groups: tuple[str, ...]
    nodes: int
    tolerances: Tolerances
    run: Callable[[Replay], None]

    def replay(self) -> Tally:
        """Take all steps; returns what was compared."""
        replay = Replay(self)
        try:
            self.run(replay)
        finally:
            replay.guest.close()
        assert replay.finished()
        return replay.tally


SCENARIOS: dict[tuple[str, str], Scenario] = {}


def recorded(
    *groups: str, file_name: str = "dynamics_lrugen0.json", nodes: int = 1, tolerances: Tolerances | None = None
) -> Callable[[Callable[[Replay], None]], Callable[[Replay], None]]:
    """Register the steps of the scenario that has the function's name."""

    def register(run: Callable[[Replay], None]) -> Callable[[Replay], None]:
        SCENARIOS[file_name, run.__name__] = Scenario(file_name, run.__name__, groups or ("/D/a",), nodes, tolerances or {}, run)
        return run

    return register
