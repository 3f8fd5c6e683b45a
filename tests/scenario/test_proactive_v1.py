"""Recorded calls of v1 on trees and by age: whose turn it is, and after a removal; entries that are young, old, stored again."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
from pools import GROUP, OWN, Action, Tree, check_step, scenario, step_changes
from proactive import FILES, PAGE_SIZE, Hog, result_of
from rows import Rows

V1_FILES = [file for file, version in FILES.items() if version == "v1"]
WRITEBACK = "memory.zswap.writeback"
#: Entries of pages of a process itself, among those that ordinary reclaim made.
NR_OWN = 18
ROUND_ROBIN = ("p04_rr_128", "p04_rr_64pages", "p04_rr_1page", "p04_rr_unequal", "p04_rr_2M_unequal")


def _request(what: str) -> str:
    match = re.search("'(.*?)'", what)
    assert match is not None, what
    return match[1]


def _children(recorded: dict[str, Any]) -> dict[str, int]:
    return {group: v["memory.stat"]["zswapped"] // PAGE_SIZE for group, v in recorded["initial"]["cg"].items() if group.startswith("/D/")}


def _tree(children: dict[str, int]) -> Tree:
    tree = Tree("v1", {})
    for group, nr_entries in children.items():
        tree.add(group, nr_entries, nr_own=NR_OWN)
    tree.machine.host.advance("2s")
    return tree


@pytest.mark.parametrize("file", V1_FILES)
@pytest.mark.parametrize("name", ROUND_ROBIN)
def test_each_child_has_its_turn(file: str, name: str, rows: Rows) -> None:
    recorded = scenario(file, name)
    tree = _tree(_children(recorded))
    for step in recorded["steps"]:
        if step["what"] != "exit":
            check_step(rows, name, tree.run(Action("/D", _request(step["what"]))), step, nr_own=3 * NR_OWN)
    tree.remove()


@pytest.mark.parametrize("file", V1_FILES)
def test_the_turn_goes_on_past_a_removed_child(file: str, rows: Rows) -> None:
    steps = scenario(file, "p04b_rmdir_cursor")["steps"]
    first = steps[0]["result"][1]
    tree = _tree({f"/D{group}": sum(counts) for group, counts in first.items()})
    for step in steps:
        what, result = step["what"], step["result"]
        if what == "kill and rmdir c1":
            tree.drop("/D/c1")
            said, result = result, {}
        else:
            if what == "'max=512K 1' with d3 #0":
                tree.add("/D/d3", sum(result[1]["/d3"]), nr_own=NR_OWN)
                tree.machine.host.advance("2s")
            group = "/D/c2" if what == "written on the child c2 itself" else "/D"
            modelled = tree.run(Action(group, "max=512K 1"))["result"]
            result, said = result
            result = result_of(result)
            assert modelled == result
        counters = {group: tree.machine.counters(f"/D{group}") for group in said}
        rows.check(
            f"p04b_rmdir_cursor {what}",
            {**result, **{group: [values["zswpwb"], values["zswapped"]] for group, values in counters.items()}},
            {**result, **said},
        )
    tree.remove()


@pytest.mark.parametrize("file", V1_FILES)
def test_writeback_disabled(file: str, rows: Rows) -> None:
    recorded = scenario(file, "p06_writeback_disabled")
    tree = _tree(_children(recorded))
    parent, child = Action("/D", "1"), Action("/D/c0", "1")
    script: dict[str, tuple[tuple[Action, ...], Action]] = {
        "c0 writeback=0: '1' with max=1M on the parent": ((Action("/D/c0", "0", WRITEBACK),), Action("/D", "1 max=1M")),
        "on c0 itself": ((), child),
        "'1' on the parent (all)": ((), parent),
        "parent writeback=0: on the parent": ((Action("/D", "0", WRITEBACK),), parent),
        "on c1": ((), Action("/D/c1", "1")),
        "all children disabled, parent enabled: on the parent": (
            (Action("/D", "1", WRITEBACK), Action("/D/c1", "0", WRITEBACK), Action("/D/c2", "0", WRITEBACK)),
            parent,
        ),
        "enabled again": (tuple(Action(f"/D/c{child}", "1", WRITEBACK) for child in range(3)), parent),
    }
    for step in recorded["steps"]:
        if step["what"] == "exit":
            continue
        first, request = script[step["what"]]
        for action in first:
            tree.run(action)
        check_step(rows, "p06_writeback_disabled", tree.run(request), step, nr_own=3 * NR_OWN)
    tree.remove()


@pytest.mark.parametrize("file", V1_FILES)
def test_nothing_in_zswap(file: str, rows: Rows) -> None:
    tree = Tree("v1", {"/D/a": 0, "/D/b": 0, "/D/c": 0})
    for number, step in enumerate(scenario(file, "p07_nothing")["steps"]):
        if step["what"].endswith("53"):
            for child in range(50):
                tree.add(f"/D/c{child}", 0)
        check_step(rows, f"p07_nothing #{number}", tree.run(Action("/D/a" if "leaf" in step["what"] else "/D", "1")), step)
    tree.remove()


# -- ages ---------------------------------------------------------------------------------------------------------------------------------


@cache
def _outcomes_of_young_pools() -> list[dict[str, Any]]:
    """'60' and 'max=4K 60' on pools of 1, 8, 32 and 128 megabytes that are all young."""
    tree = Tree("v1", {GROUP: 0})
    hog = tree.hogs[GROUP]
    hog.map(32768, "eighth")
    outcomes = []
    start = 0
    for nr_pages in (256, 2048, 8192, 32768):
        hog.pageout(start, nr_pages)
        start = nr_pages
        outcomes += [tree.run(Action(GROUP, request)) for request in ("60", "max=4K 60")]
    tree.remove()
    return outcomes


@pytest.mark.parametrize("file", V1_FILES)
def test_young_entries_only(file: str, rows: Rows) -> None:
    steps = [step for step in scenario(file, "p07b_fail_time_young")["steps"] if "60" in step["what"]]
    for number, (step, outcome) in enumerate(zip(steps, _outcomes_of_young_pools(), strict=True)):
        check_step(rows, f"p07b_fail_time_young #{number}", outcome, step)


def _aged(nr_pages: int, script: tuple[tuple[str, Any], ...]) -> tuple[Tree, Hog]:
    """A process whose pages were moved out in parts, with pauses between."""
    tree = Tree("v1", {GROUP: 0})
    hog = tree.hogs[GROUP]
    hog.map(nr_pages, "half")
    for name, value in script:
        if name == "out":
            hog.pageout(*value)
        else:
            tree.machine.host.advance(value)
    return tree, hog


@pytest.mark.parametrize("file", V1_FILES)
def test_entries_of_three_ages(file: str, rows: Rows) -> None:
    out = ("out", (0, 1024)), ("wait", "4s"), ("out", (1024, 2048)), ("wait", "4100ms"), ("out", (2048, 3072))
    tree, _ = _aged(4096, out)
    for step in scenario(file, "p05_young_old")["steps"]:
        if step["what"] == "'1'":
            tree.machine.host.advance("1600ms")
        if step["what"].startswith("'"):
            check_step(rows, "p05_young_old", tree.run(Action(GROUP, _request(step["what"]))), step)
    tree.remove()


@pytest.mark.parametrize("file", V1_FILES)
def test_few_old_entries_before_many_young(file: str, rows: Rows) -> None:
    tree, _ = _aged(8192, (("out", (0, 64)), ("wait", "5s"), ("out", (64, 4064))))
    for number, step in enumerate(scenario(file, "p05b_few_old_behind_many_young")["steps"]):
        if step["what"].startswith("'"):
            check_step(rows, f"p05b_few_old #{number}", tree.run(Action(GROUP, _request(step["what"]))), step)
    tree.remove()


@pytest.mark.parametrize("file", V1_FILES)
def test_a_call_for_a_high_age_rotates(file: str, rows: Rows) -> None:
    tree, _ = _aged(8192, (("out", (0, 1024)), ("wait", "3s"), ("out", (1024, 2048))))
    for number, step in enumerate(scenario(file, "p05c_old_at_the_tail")["steps"]):
        if step["what"].startswith("'"):
            outcome = tree.run(Action(GROUP, _request(step["what"])))
            if number == 0:
                # The recorded changes are those since before the pages were moved out.
                entries = tree.machine.counters(GROUP)
                outcome["changes"][GROUP] |= {key: entries[key] for key in ("zswap", "zswapped", "zswpout")}
                outcome["machine"]["stored_pages"] = entries["zswapped"]
                del outcome["changes"][GROUP]["current"]
                del step["delta"]["cg"][GROUP]["memory.current"]
            check_step(rows, f"p05c_old_at_the_tail #{number}", outcome, step)
    tree.remove()


@pytest.mark.parametrize("file", V1_FILES)
def test_age_of_all_entries(file: str, rows: Rows) -> None:
    recorded = scenario(file, "p02_basic")
    tree = Tree("v1", {GROUP: 0})
    hog = tree.hogs[GROUP]
    hog.map(8192, "half")
    waits = {"wait until 6.5 s after the store": "6500ms", "1 s later": "1s", "5 s later": "5s"}
    for number, step in enumerate(recorded["steps"]):
        what = step["what"]
        if what.startswith("memory.reclaim 31M (stored now)"):
            nr_entries = step["after_stat"][GROUP]["zswapped"] // PAGE_SIZE
            hog.store_own(NR_OWN)
            hog.pageout(0, nr_entries - NR_OWN)
        elif what in waits:
            tree.machine.host.advance(waits[what])
        elif "'" in what:
            check_step(rows, f"p02_basic #{number}", tree.run(Action(GROUP, _request(what))), step, nr_own=NR_OWN)
    tree.remove()


@pytest.mark.parametrize("file", V1_FILES)
def test_a_page_stored_again_is_young_again(file: str, rows: Rows) -> None:
    steps = scenario(file, "p14_restore_time")["steps"]
    old, again = (step["delta"]["cg"][GROUP]["memory.stat"]["zswpwb"] for step in steps[:2])
    # 512 pages were read and moved out again; the others are pages of the process itself.
    nr_read = 512
    tree = Tree("v1", {})
    hog = tree.add(GROUP, 0, own=max(OWN, again - nr_read + 1))
    hog.map(old + nr_read, "half")
    hog.store_own(again - nr_read)
    hog.pageout()
    tree.machine.host.advance("2200ms")
    hog.read(0, nr_read)
    hog.store_own(again - nr_read)
    hog.pageout(0, nr_read)
    for step, nr_written in ((steps[0], old), (steps[1], again)):
        outcome = tree.run(Action(GROUP, "2"))
        changes = outcome["changes"][GROUP]
        rows.check(
            f"p14_restore_time {step['what']}",
            {**outcome["result"], "zswpwb": changes["zswpwb"], "counter": changes["counter"]},
            {**result_of(step["result"]), "zswpwb": nr_written, "counter": step["delta"]["cg"][GROUP]["memory.stat"]["zswpwb_proactive"]},
        )
        tree.machine.host.advance("2500ms")
    tree.remove()


#: A request of reclaim ends with a batch; how many pages that is depends on the kind of LRU, and some of the pages are the process's own.
RECLAIM_SLACK = {"zswpwb": 64, "zswpout": 64}


@pytest.mark.parametrize("file", V1_FILES)
def test_writeback_for_a_limit_is_not_counted(file: str, rows: Rows) -> None:
    tree = Tree("v1", {})
    # Two of the pages of the process stay.
    tree.add(GROUP, 0, own=NR_OWN + 2).map(5120, "half")
    tree.run(Action(GROUP, "1M", "memory.zswap.max"))
    for step in scenario(file, "p16_other_paths")["steps"]:
        if step["what"].startswith("reclaim"):
            outcome = tree.run(Action(GROUP, "4M", "memory.reclaim"))
            changes, expected = outcome["changes"][GROUP], step_changes(step, GROUP)
            keys = (*RECLAIM_SLACK, "zswapped", "counter")
            rows.check(
                f"p16_other_paths {step['what']}",
                {**outcome["result"], **{key: changes[key] for key in keys}},
                {**result_of(step["result"]), **{key: expected.get(key, 0) for key in keys}},
                slack=RECLAIM_SLACK,
            )
            tree.machine.host.advance("2s")
        elif step["what"].startswith("'"):
            check_step(rows, "p16_other_paths", tree.run(Action(GROUP, "1")), step, nr_own=NR_OWN)
    tree.remove()
