"""Recorded calls of v2 to v5 on trees: whose entries go, what a fresh, empty, disabled or removed cgroup does to a call."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
from pools import LATER_FILES, Action, Tree, check_step, nr_clear_calls, scenario
from proactive import FILES, recording
from rows import Rows

WRITEBACK = "memory.zswap.writeback"
#: Trees whose parent gets the requests, and the children whose memory.zswap.writeback is 0.
TREES: dict[str, tuple[str, ...]] = {
    "q04_equal_small": (),
    "q04_equal_1M": (),
    "q04_unequal_256K": (),
    "q04_unequal_all": (),
    "q04_fresh_equal": (),
    "q04_cleared_and_fresh": (),
    "q04_20_empty_siblings": (),
    "q06_wb_disabled_child": ("/D/c0",),
    "q06_wb_disabled_all": ("/D/c0", "/D/c1", "/D/c2"),
}


@cache
def tree_outcomes(
    version: str,
    children: tuple[tuple[str, int], ...],
    clear_calls: tuple[tuple[str, int], ...],
    first: tuple[Action, ...],
    actions: tuple[Action, ...],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the small requests say, and the outcomes of the actions; the same in all recordings of a version."""
    tree = Tree(version, dict(children), clear_calls=dict(clear_calls))
    for action in first:
        tree.run(action)
    outcomes = [tree.run(action) for action in actions]
    tree.remove()
    return tree.cleared, outcomes


def _entries(recorded: dict[str, Any]) -> dict[str, int]:
    return {group: values["memory.stat"]["zswapped"] // 4096 for group, values in recorded["initial"]["cg"].items()}


@pytest.mark.parametrize("file", LATER_FILES)
@pytest.mark.parametrize("name", TREES)
def test_requests_on_a_parent(file: str, name: str, rows: Rows) -> None:
    recorded = scenario(file, name)
    clear = {f"/D{group}": said for group, said in recorded.get("clear_calls", {}).items()}
    children = [(group, n + clear.get(group, {"written": 0})["written"]) for group, n in _entries(recorded).items() if group != "/D"]
    children.sort(key=lambda child: int(child[0].removeprefix("/D/c")))
    steps = [step for step in recorded["steps"] if step["what"] != "exit"]
    requests = [match[1] for step in steps if (match := re.match("'(.*)' on the parent", step["what"]))]
    cleared, outcomes = tree_outcomes(
        FILES[file],
        tuple(children),
        tuple((group, said["calls"]) for group, said in clear.items()),
        tuple(Action(group, "0", WRITEBACK) for group in TREES[name]),
        tuple(Action("/D", request) for request in requests),
    )
    assert cleared == clear
    for step, outcome in zip(steps, outcomes, strict=True):
        check_step(rows, name, outcome, step)


@pytest.mark.parametrize("file", LATER_FILES)
def test_writeback_disabled_in_the_parent(file: str, rows: Rows) -> None:
    recorded = scenario(file, "q06_wb_disabled_parent")
    version = FILES[file]
    children = {group: n for group, n in _entries(recorded).items() if group != "/D"}
    tree = Tree(version, children, clear_calls={group: nr_clear_calls(version, n) for group, n in children.items()})
    parent, child, disabled, enabled = (
        Action("/D", "256K"),
        Action("/D/c0", "256K"),
        Action("", "N", "", "enabled"),
        Action("", "Y", "", "enabled"),
    )
    before = {
        "parent": (Action("/D", "0", WRITEBACK),),
        "zswap disabled: parent 256K": (disabled,),
        "zswap enabled: child": (enabled,),
        "writeback=1: child": (Action("/D", "1", WRITEBACK),),
    }
    request = {"parent": parent, "child c0, size 0": Action("/D/c0", "0"), "zswap disabled: parent 256K": parent}
    for step in recorded["steps"]:
        if step["what"] == "exit":
            continue
        for action in before.get(step["what"], ()):
            tree.run(action)
        check_step(rows, "q06_wb_disabled_parent", tree.run(request.get(step["what"], child)), step)
    tree.remove()


@pytest.mark.parametrize("file", LATER_FILES)
def test_nothing_in_zswap(file: str, rows: Rows) -> None:
    tree = Tree(FILES[file], {"/D/a": 0, "/D/b": 0, "/D/c": 0})
    for number, step in enumerate(scenario(file, "q07_nothing")["steps"]):
        size, where = re.match("'(.*)' (?:on an empty )?(.*)", step["what"]).groups()  # type: ignore[union-attr]
        if where == "tree of 53":
            for child in range(50):
                tree.add(f"/D/c{child}", 0)
        check_step(rows, f"q07_nothing #{number}", tree.run(Action("/D/a" if where == "leaf" else "/D", size)), step)
    tree.remove()


@pytest.mark.parametrize("file", [file for file in LATER_FILES if "q32_root" in recording(file)["scenarios"]])
def test_requests_on_the_root(file: str, rows: Rows) -> None:
    recorded = scenario(file, "q32_root")
    said = recorded["clear_calls"]
    tree = Tree(FILES[file], {"/D/a": said["entries"]}, clear_calls={"/D/a": said["calls"]})
    assert tree.cleared == {"/D/a": said}
    places = {"root": "/", "leaf": "/D/a", "the leaf": "/D/a"}
    for number, step in enumerate(recorded["steps"]):
        what = step["what"]
        if match := re.match("'(.*)' on (the leaf|root)", what):
            check_step(rows, f"q32_root #{number}", tree.run(Action(places[match[2]], match[1])), step)
        elif match := re.match("(root|leaf) (?:memory.zswap.)?writeback=(.)", what):
            check_step(rows, f"q32_root #{number}", tree.run(Action(places[match[1]], match[2], WRITEBACK)), step)
        else:
            assert what == "exit"
    tree.remove()
