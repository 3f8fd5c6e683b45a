"""Recorded calls of v2 to v5 between other things: reclaim, faults, limits, the pool limit, a process that faults meanwhile."""

from __future__ import annotations

import errno
import re
from typing import Any

import pytest
from pools import LATER_FILES, Action, Tree, check_step, nr_clear_calls, scenario, step_changes
from proactive import FILES, PAGE_SIZE, Hog, alternate, difference, recorded_changes, recording, result_of
from rows import SLACK, Rows

GROUP = "/D/a"
#: The shrink worker runs beside the stores, on another CPU: in which step it ends a round of about 1024 pages is a matter of time.
WORKER_SLACK = {"zswpwb": 1100, "zswpout": 1100}
#: Pages of the process itself that ordinary reclaim takes, at most.
NR_OWN = 18


def _entries_after(step: dict[str, Any]) -> int:
    return int(step["after_stat"][GROUP].get("zswapped", 0)) // PAGE_SIZE


def _request(step: dict[str, Any]) -> str | None:
    match = re.match("'(.*)'", step["what"])
    return match[1] if match else None


def _store(hog: Hog, nr_own: int, start: int = 0, stop: int | None = None) -> None:
    """Reclaim takes pages of the process itself, then of the mapping."""
    hog.store_own(nr_own)
    hog.pageout(start, stop)


def _settle(tree: Tree, hog: Hog, nr_entries: int) -> None:
    """What ordinary reclaim takes of the process itself is not modelled: so many entries as were recorded, its own pages the rest."""
    hog.command()
    hog.store_own(nr_entries - tree.machine.counters(GROUP)["zswapped"])
    assert tree.machine.counters(GROUP)["zswapped"] == nr_entries


@pytest.mark.parametrize("file", LATER_FILES)
def test_requests_and_ordinary_reclaim(file: str, rows: Rows) -> None:
    recorded = scenario(file, "q02_basic")
    tree = Tree(FILES[file], {GROUP: 0})
    hog = tree.hogs[GROUP]
    before = {
        "map 8M half": lambda: hog.map(2048, "half"),
        "memory.reclaim 8M": lambda: _store(hog, nr_stored - 2048),
        "memory.reclaim 1M (ordinary: drops clean swap cache)": lambda: tree.machine.write(GROUP, "memory.reclaim", "1M"),
        "memory.reclaim 4M": lambda: tree.machine.write(GROUP, "memory.reclaim", "4M"),
        "read-touch the first 2M": lambda: hog.read(0, 512),
        "read-touch all": hog.read,
        "memory.reclaim 8M (clean on the disk?)": hog.pageout,
    }
    nr_stored = _entries_after(recorded["steps"][1])
    for number, step in enumerate(recorded["steps"]):
        request = _request(step)
        if request is not None:
            check_step(rows, f"q02_basic #{number}", tree.run(Action(GROUP, request)), step, nr_own=NR_OWN)
        elif step["what"] in before:
            before[step["what"]]()
            if number > 1:
                _settle(tree, hog, _entries_after(step))
    tree.remove()


@pytest.mark.parametrize("file", LATER_FILES)
def test_requests_and_faults(file: str, rows: Rows) -> None:
    recorded = scenario(file, "q10_fault_after")
    version = FILES[file]
    nr_pages = recorded["initial"]["cg"][GROUP]["memory.stat"]["zswapped"] // PAGE_SIZE
    tree = Tree(version, {GROUP: nr_pages}, clear_calls={GROUP: nr_clear_calls(version, nr_pages)})
    hog = tree.hogs[GROUP]
    stored_again = False
    for number, step in enumerate(recorded["steps"]):
        request = _request(step)
        if request is not None:
            check_step(rows, f"q10_fault_after #{number}", tree.run(Action(GROUP, request)), step, nr_own=NR_OWN)
        elif step["what"] == "read 256 pages at once":
            # They are still in memory: nothing is read from the disk.
            assert tree.machine.counters(GROUP)["swapcached"] == nr_pages
            hog.read(0, 256)
        elif step["what"] == "read all":
            hog.read()
        elif step["what"] == "write all":
            hog.touch(hog.maps[0], write=True)
        elif step["what"] == "reclaim 8M":
            if stored_again:
                _store(hog, _entries_after(step) - nr_pages)
            else:
                tree.machine.write(GROUP, "memory.reclaim", "8M")
                _settle(tree, hog, _entries_after(step))
            stored_again = True
    tree.remove()


@pytest.mark.parametrize("file", LATER_FILES)
def test_requests_above_a_lowered_limit(file: str, rows: Rows) -> None:
    recorded = scenario(file, "q17_over_limit")
    tree = Tree(FILES[file], {GROUP: 0})
    hog = tree.hogs[GROUP]
    hog.map(4096, "half")
    for number, step in enumerate(recorded["steps"]):
        request = _request(step)
        if request is not None:
            check_step(rows, f"q17_over_limit #{number}", tree.run(Action(GROUP, request)), step, nr_own=NR_OWN + 1)
        elif number == 0:
            nr_entries = _entries_after(step)
            _store(hog, NR_OWN, 0, nr_entries - NR_OWN)
            assert tree.run(Action(GROUP, "1M", "memory.zswap.max"))["result"] == {"ret": 2}
    tree.remove()


@pytest.mark.parametrize("file", LATER_FILES)
def test_requests_at_memory_max(file: str, rows: Rows) -> None:
    recorded = scenario(file, "q28_at_memory_max")
    said, initial = recorded["clear_calls"], recorded["initial"]["cg"][GROUP]
    tree = Tree(FILES[file], {})
    # One page of the process stays.
    tree.add(GROUP, said["entries"], own=initial["memory.stat"]["anon"] // PAGE_SIZE + 1)
    assert tree.machine.clear(GROUP, said["calls"]) == said
    for number, step in enumerate(recorded["steps"]):
        if step["what"].startswith("memory.max = "):
            # What the CPUs have in stock can still be charged.
            stock = initial["memory.current"] - initial["memory.stat"]["anon"] - initial["memory.stat"]["kernel"]
            current = tree.machine.counters(GROUP)["current"] * PAGE_SIZE
            tree.machine.write(GROUP, "memory.max", str(current + stock + 65536))
        elif (request := _request(step)) is not None:
            outcome = tree.run(Action(GROUP, request))
            # How much reclaim takes at the limit is up to the stock too, as memory.current is.
            check_step(rows, f"q28_at_memory_max #{number}", outcome, step, nr_own=NR_OWN, slack={"swapcached": SLACK["current"]})
    tree.remove()


@pytest.mark.parametrize("file", [file for file in LATER_FILES if "q31_concurrent_faults" in recording(file)["scenarios"]])
def test_faults_at_the_same_time(file: str, rows: Rows) -> None:
    version = FILES[file]
    for number, row in enumerate(scenario(file, "q31_concurrent_faults")["rows"]):
        nr_entries = row["entries_before"]
        tree = Tree(version, {GROUP: nr_entries}, clear_calls={GROUP: nr_clear_calls(version, nr_entries)})
        before = tree.machine.counters(GROUP)
        faults = tree.hogs[GROUP].faults(backward=row["order"] == "backward")
        exits = alternate(tree.machine, [tree.machine.work(GROUP, "1G"), faults])
        exits += [errno.EAGAIN] if "errno" in tree.machine.request(GROUP, "1G") else [0]
        changes = difference(before, tree.machine.counters(GROUP))
        assert changes["counter"] == changes["zswpwb"] if version in ("v2", "v3") else 0 < changes["counter"] < -changes["zswap"]
        modelled = {key: changes[key] for key in ("zswap", "zswapped", "swapcached", "workingset_refault_anon", "current")}
        expected = {key: value for key, value in recorded_changes(row["delta"]).items() if key in modelled}
        # Which of the two gets a page is a matter of time.
        modelled |= {"exits": exits[:1] + exits[2:], "written or loaded": changes["zswpwb"] + changes["zswpin"]}
        expected |= {
            "exits": [errno.EAGAIN if "errno" in call else 0 for call in row["calls"]],
            "written or loaded": row["delta"]["zswpwb"] + row["delta"]["zswpin"],
        }
        rows.check(f"q31_concurrent_faults {row['order']} #{number}", modelled, expected)
        tree.remove()


@pytest.mark.parametrize("file", LATER_FILES)
def test_pool_limit(file: str, rows: Rows) -> None:
    recorded = scenario(file, "q18_pool_limit")
    tree = Tree(FILES[file], {GROUP: 0})
    tree.hogs[GROUP].map(24576, "half")
    tree.run(Action("", "1", "", "max_pool_percent"))
    for step in recorded["steps"]:
        if step["what"].startswith("reclaim"):
            outcome = tree.run(Action(GROUP, "16M", "memory.reclaim"))
            changes, expected = outcome["changes"][GROUP], step_changes(step, GROUP)
            rows.check(
                f"q18_pool_limit {step['what']}",
                {**outcome["result"], **{key: changes[key] for key in WORKER_SLACK}, "counter": changes["counter"]},
                {**result_of(step["result"]), **{key: expected.get(key, 0) for key in WORKER_SLACK}, "counter": expected.get("counter", 0)},
                slack=WORKER_SLACK,
            )
    tree.run(Action("", "20", "", "max_pool_percent"))
    tree.remove()
