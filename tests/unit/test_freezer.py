from __future__ import annotations

import errno

import pytest
from cgroup_tree import Tree, refuses

from fakecg.sched.task import ThreadInfo


@pytest.fixture
def tree() -> Tree:
    tree = Tree([ThreadInfo(100, 100)])
    tree.mkdir("a")
    tree.mkdir("a/x")
    tree.mkdir("a/y")
    return tree


def frozen(tree: Tree, *paths: str) -> list[bool]:
    return ["frozen 1" in tree.read(f"/{path}/cgroup.events") for path in paths]


def test_an_empty_cgroup_is_frozen_at_once(tree: Tree) -> None:
    tree.write("/a/x/cgroup.freeze", "1")
    assert frozen(tree, "a/x", "a/y", "a") == [True, False, False]
    tree.write("/a/x/cgroup.freeze", "0")
    assert frozen(tree, "a/x") == [False]


@pytest.mark.parametrize(("text", "code"), [("2", errno.ERANGE), ("-1", errno.ERANGE), ("\n", errno.EINVAL), ("y", errno.EINVAL)])
def test_freeze_takes_0_and_1(tree: Tree, text: str, code: int) -> None:
    with refuses(code):
        tree.write("/a/cgroup.freeze", text)


def test_the_whole_subtree_freezes_but_reads_its_own_setting(tree: Tree) -> None:
    task = tree.spawn("a/x")
    tree.write("/a/cgroup.freeze", "1")
    assert task.frozen
    assert frozen(tree, "a", "a/x", "a/y") == [True, True, True]
    assert tree.read("/a/x/cgroup.freeze") == "0\n"
    tree.write("/a/cgroup.freeze", "0")
    assert not task.frozen
    assert frozen(tree, "a", "a/x", "a/y") == [False, False, False]


def test_a_child_made_below_a_frozen_cgroup_is_frozen(tree: Tree) -> None:
    tree.write("/a/cgroup.freeze", "1")
    tree.mkdir("a/new")
    assert tree.read("/a/new/cgroup.freeze") == "0\n"
    assert frozen(tree, "a/new", "a") == [True, True]
    tree.rmdir("a/new")
    tree.write("/a/cgroup.freeze", "0")
    assert frozen(tree, "a") == [False]


def test_a_child_made_below_two_frozen_cgroups_stays_frozen_until_both_thaw(tree: Tree) -> None:
    tree.write("/a/cgroup.freeze", "1")
    tree.write("/a/x/cgroup.freeze", "1")
    tree.mkdir("a/x/new")
    tree.write("/a/cgroup.freeze", "0")
    assert frozen(tree, "a/x/new") == [True]
    tree.write("/a/x/cgroup.freeze", "0")
    assert frozen(tree, "a/x/new", "a/x", "a") == [False, False, False]


def test_nested_settings_thaw_one_by_one(tree: Tree) -> None:
    task = tree.spawn("a/x")
    tree.write("/a/cgroup.freeze", "1")
    tree.write("/a/x/cgroup.freeze", "1")
    tree.write("/a/cgroup.freeze", "0")
    assert frozen(tree, "a", "a/x") == [False, True]
    assert task.frozen
    tree.write("/a/x/cgroup.freeze", "0")
    assert not task.frozen


def test_a_write_that_changes_no_state_is_told_nevertheless(tree: Tree) -> None:
    told: list[str] = []
    tree.write("/a/cgroup.freeze", "1")
    tree.pass_time(1)
    tree.hierarchy.on_notify.append(lambda cgroup, name: told.append(cgroup.path()))
    tree.write("/a/x/cgroup.freeze", "1")
    assert told == ["/a/x"]
    tree.write("/a/x/cgroup.freeze", "1")
    tree.pass_time(1)
    assert told == ["/a/x"]


def test_moving_in_freezes_and_moving_out_thaws(tree: Tree) -> None:
    tree.write("/a/x/cgroup.freeze", "1")
    task = tree.spawn("a/y")
    tree.write("/a/x/cgroup.procs", str(task.pid))
    assert task.frozen
    assert frozen(tree, "a/x") == [True]
    tree.write("/a/y/cgroup.procs", str(task.pid))
    assert not task.frozen
    assert frozen(tree, "a/x", "a/y") == [True, False]


def test_a_frozen_task_can_be_killed_and_the_cgroup_stays_frozen(tree: Tree) -> None:
    task = tree.spawn("a/x")
    tree.write("/a/x/cgroup.freeze", "1")
    tree.write("/a/x/cgroup.kill", "1")
    assert task.is_zombie
    assert tree.read("/a/x/cgroup.events") == "populated 0\nfrozen 1\n"


def test_a_task_born_frozen_keeps_the_cgroup_frozen(tree: Tree) -> None:
    tree.write("/a/x/cgroup.freeze", "1")
    assert tree.spawn("a/x").frozen
    assert frozen(tree, "a/x") == [True]


def test_a_kernel_thread_never_freezes(tree: Tree) -> None:
    task = tree.spawn("a/x", is_kthread=True)
    tree.write("/a/x/cgroup.freeze", "1")
    assert not task.frozen
    assert frozen(tree, "a/x") == [False]


def test_real_processes_are_told_to_stop_and_to_go_on(tree: Tree) -> None:
    tree.write("/a/x/cgroup.procs", "100")
    tree.write("/a/cgroup.freeze", "1")
    tree.write("/a/cgroup.freeze", "0")
    assert tree.real.signals == [("stop", 100), ("continue", 100)]


def test_an_ancestor_is_frozen_only_with_all_descendants(tree: Tree) -> None:
    tree.spawn("a/x", is_kthread=True)
    tree.write("/a/cgroup.freeze", "1")
    assert frozen(tree, "a", "a/x", "a/y") == [False, False, True]
