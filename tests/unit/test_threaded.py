from __future__ import annotations

import errno

import pytest
from cgroup_tree import Tree, refuses

from fakecg.sched.task import Task, ThreadInfo


@pytest.fixture
def tree() -> Tree:
    tree = Tree([ThreadInfo(100, 100)])
    tree.mkdir("a")
    tree.mkdir("a/t")
    return tree


def types(tree: Tree, *paths: str) -> list[str]:
    return [tree.read(f"/{path}/cgroup.type").strip() for path in paths]


@pytest.mark.parametrize("text", ["domain", "x", "THREADED", "threadedx", "domain threaded", "\n"])
def test_only_threaded_can_be_written(tree: Tree, text: str) -> None:
    with refuses(errno.EINVAL):
        tree.write("/a/t/cgroup.type", text)


def test_a_threaded_child_makes_its_parent_a_thread_root_and_its_sibling_invalid(tree: Tree) -> None:
    tree.mkdir("a/s")
    tree.write("/a/t/cgroup.type", " threaded\n")
    tree.mkdir("a/late")
    tree.mkdir("a/t/below")
    assert types(tree, "a", "a/t", "a/s", "a/late", "a/t/below") == ["domain threaded", "threaded", *["domain invalid"] * 3]
    tree.write("/a/t/cgroup.type", "threaded")
    with refuses(errno.EINVAL):
        tree.write("/a/t/cgroup.type", "domain")


def test_removing_the_last_threaded_child_makes_the_parent_a_domain_again(tree: Tree) -> None:
    tree.write("/a/t/cgroup.type", "threaded")
    tree.rmdir("a/t")
    assert types(tree, "a") == ["domain"]


def test_a_populated_cgroup_cannot_become_threaded(tree: Tree) -> None:
    tree.spawn("a/t")
    with refuses(errno.EOPNOTSUPP):
        tree.write("/a/t/cgroup.type", "threaded")


def test_domain_controllers_for_children_keep_a_cgroup_from_thread_mode(tree: Tree) -> None:
    tree.write("/cgroup.subtree_control", "+memory +pids")
    tree.write("/a/cgroup.subtree_control", "+memory")
    with refuses(errno.EOPNOTSUPP):
        tree.write("/a/t/cgroup.type", "threaded")
    tree.write("/a/cgroup.subtree_control", "-memory +pids")
    tree.write("/a/t/cgroup.type", "threaded")


def test_a_populated_domain_child_keeps_the_parent_from_being_a_thread_root(tree: Tree) -> None:
    tree.mkdir("a/s")
    tree.spawn("a/s")
    with refuses(errno.EOPNOTSUPP):
        tree.write("/a/t/cgroup.type", "threaded")


def test_a_domain_invalid_cgroup_takes_no_processes_and_no_controllers(tree: Tree) -> None:
    tree.write("/cgroup.subtree_control", "+pids +memory")
    tree.write("/a/cgroup.subtree_control", "+pids")
    tree.write("/a/t/cgroup.type", "threaded")
    tree.mkdir("a/invalid")
    assert tree.read("/a/invalid/cgroup.procs") == ""
    with refuses(errno.EOPNOTSUPP):
        tree.write("/a/invalid/cgroup.procs", "100")
    with refuses(errno.EOPNOTSUPP):
        tree.write("/a/invalid/cgroup.subtree_control", "+pids")


def test_processes_beside_threaded_controllers_make_a_thread_root(tree: Tree) -> None:
    tree.write("/cgroup.subtree_control", "+cpu +memory +pids")
    tree.spawn("a")
    assert types(tree, "a", "a/t") == ["domain", "domain"]
    tree.write("/a/cgroup.subtree_control", "+cpu")
    assert types(tree, "a", "a/t") == ["domain threaded", "domain invalid"]
    for text in ("+memory", "+memory +pids"):
        with refuses(errno.EOPNOTSUPP):
            tree.write("/a/cgroup.subtree_control", text)
    tree.write("/a/cgroup.subtree_control", "+pids")


def test_no_domain_controllers_in_a_threaded_subtree(tree: Tree) -> None:
    tree.write("/cgroup.subtree_control", "+memory +pids")
    tree.write("/a/t/cgroup.type", "threaded")
    with refuses(errno.EOPNOTSUPP):
        tree.write("/a/cgroup.subtree_control", "+memory")
    tree.write("/a/cgroup.subtree_control", "+pids")
    assert tree.read("/a/t/cgroup.controllers") == "pids\n"
    with refuses(errno.ENOENT):
        tree.write("/a/t/cgroup.subtree_control", "+memory")


def test_threads_of_one_process_spread_over_a_threaded_subtree(tree: Tree) -> None:
    tree.write("/a/t/cgroup.type", "threaded")
    process = tree.spawn("a")
    thread = Task(tree.hierarchy.new_pid(), leader=process)
    tree.hierarchy.add_task(thread, tree["a"])
    tree.write("/a/t/cgroup.threads", str(thread.pid))
    assert tree.read("/a/cgroup.threads") == f"{process.pid}\n"
    assert tree.read("/a/t/cgroup.threads") == f"{thread.pid}\n"
    assert tree.read("/a/cgroup.procs") == f"{process.pid}\n"
    with refuses(errno.EOPNOTSUPP):
        tree.read("/a/t/cgroup.procs")
    tree.write("/a/t/cgroup.procs", str(thread.pid))
    assert tree.read("/a/t/cgroup.threads").split() == [str(thread.pid), str(process.pid)]
    assert tree.read("/a/cgroup.procs") == f"{process.pid}\n"


def test_kill_needs_a_whole_domain(tree: Tree) -> None:
    tree.write("/a/t/cgroup.type", "threaded")
    with refuses(errno.EOPNOTSUPP):
        tree.write("/a/t/cgroup.kill", "1")
    task = tree.spawn("a")
    tree.write("/a/t/cgroup.procs", str(task.pid))
    tree.write("/a/cgroup.kill", "1")
    assert task.is_zombie


def test_populated_counts_through_threaded_children(tree: Tree) -> None:
    tree.write("/a/t/cgroup.type", "threaded")
    task = tree.spawn("a")
    tree.write("/a/t/cgroup.procs", str(task.pid))
    assert tree.read("/a/cgroup.events") == "populated 1\nfrozen 0\n"
    with refuses(errno.EBUSY):
        tree.rmdir("a/t")
    task.kill()
    tree.rmdir("a/t")
    assert tree.read("/a/cgroup.events") == "populated 0\nfrozen 0\n"


def test_children_of_the_root_can_be_threaded_beside_domains(tree: Tree) -> None:
    tree.mkdir("b")
    tree.spawn("b")
    tree.write("/a/cgroup.type", "threaded")
    assert types(tree, "a", "b", "a/t") == ["threaded", "domain", "domain invalid"]
