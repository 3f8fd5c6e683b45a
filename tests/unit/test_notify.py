from __future__ import annotations

import pytest
from cgroup_tree import Tree


@pytest.fixture
def tree() -> Tree:
    tree = Tree()
    tree.write("/cgroup.subtree_control", "+memory")
    tree.mkdir("a")
    tree.notices: list[tuple[str, str]] = []  # type: ignore[attr-defined]
    tree.hierarchy.on_notify.append(lambda cgroup, name: tree.notices.append((cgroup.path(), name)))  # type: ignore[attr-defined]
    return tree


def test_at_most_one_notice_in_10_ms_and_the_last_change_is_told(tree: Tree) -> None:
    counts = tree["a"].event_counts
    assert counts == {}
    for _ in range(1000):
        tree["a"].notify("memory.events")
        tree.clock.jump_to(tree.clock.now_ns() + 5_000)
    assert counts == {"memory.events": 1}
    tree.pass_time(0.02)
    assert counts == {"memory.events": 2}
    tree.pass_time(1)
    assert counts == {"memory.events": 2}
    assert tree.notices == [("/a", "memory.events")] * 2  # type: ignore[attr-defined]


def test_files_have_a_rate_limit_each(tree: Tree) -> None:
    tree["a"].notify("memory.events")
    tree["a"].notify("cgroup.events")
    assert [name for _, name in tree.notices] == ["memory.events", "cgroup.events"]  # type: ignore[attr-defined]


def test_no_notice_for_a_file_that_is_not_there(tree: Tree) -> None:
    tree["/"].notify("memory.events")
    tree["a"].notify("memory.nothing")
    tree["a"].notify("memory.events")
    tree["a"].notify("memory.events")
    tree.write("/cgroup.subtree_control", "-memory")
    tree["a"].notify("memory.events")
    tree.pass_time(1)
    assert len(tree.notices) == 1  # type: ignore[attr-defined]


def test_a_put_off_notice_ends_with_the_cgroup(tree: Tree) -> None:
    tree["a"].notify("memory.events")
    tree["a"].notify("memory.events")
    tree.rmdir("a")
    tree.pass_time(1)
    assert len(tree.notices) == 1  # type: ignore[attr-defined]
