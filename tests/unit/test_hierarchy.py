from __future__ import annotations

import errno

import pytest
from cgroup_tree import ROOT, LimitCss, Tree, refuses

from fakecg.cgroup.cftype import Caller


@pytest.fixture
def tree() -> Tree:
    tree = Tree()
    tree.write("/cgroup.subtree_control", "+cpu +io +memory +pids")
    return tree


def test_inode_numbers_count_over_directories_and_files() -> None:
    tree = Tree()
    root = tree["/"]
    assert root.ino == 1
    assert sorted(root.lookup_node(row.name.encode()).ino for row in root.files()) == list(range(2, 2 + len(root.files())))
    a = tree.mkdir("a")
    assert a.ino == 2 + len(root.files())
    b = tree.mkdir("b")
    assert b.ino == a.ino + 1 + len(a.files())


def test_files_of_a_controller_get_their_numbers_when_it_is_enabled(tree: Tree) -> None:
    a = tree.mkdir("a")
    first = a.lookup_node(b"memory.max").ino
    b = tree.mkdir("b")
    tree.write("/cgroup.subtree_control", "-memory")
    tree.write("/cgroup.subtree_control", "-io")
    tree.write("/cgroup.subtree_control", "+memory")
    assert a.lookup_node(b"memory.max").ino > b.ino > first


def test_mkdir_of_a_name_in_use_exists(tree: Tree) -> None:
    tree.mkdir("a")
    for name in ("a", "cgroup.procs", "memory.stat", "cpu.pressure"):
        with refuses(errno.EEXIST):
            tree.mkdir(name)
    for name in ("memory.max", "memory.foo", "cgroup.foo", "tasks", "memory", "a b", "\udcff", "x" * 4000):
        tree.hierarchy.mkdir(tree["/"], name.encode("utf-8", "surrogateescape"))


def test_mkdir_of_a_hidden_pressure_file_exists(tree: Tree) -> None:
    tree.mkdir("a")
    tree.write("/a/cgroup.pressure", "0")
    with refuses(errno.EEXIST):
        tree.mkdir("a/memory.pressure")


@pytest.mark.parametrize("name", ["\n", "a\n", "a\nb"])
def test_mkdir_with_a_newline_is_invalid(tree: Tree, name: str) -> None:
    with refuses(errno.EINVAL):
        tree.hierarchy.mkdir(tree["/"], name.encode())


def test_mkdir_keeps_the_sticky_bit_and_drops_setuid(tree: Tree) -> None:
    assert tree.hierarchy.mkdir(tree["/"], b"a", 0o7777).mode == 0o1777


def test_mkdir_past_max_depth_of_any_ancestor_tries_again(tree: Tree) -> None:
    tree.mkdir("a")
    tree.write("/a/cgroup.max.depth", "1")
    tree.mkdir("a/b")
    with refuses(errno.EAGAIN):
        tree.mkdir("a/b/c")
    tree.write("/a/cgroup.max.depth", "0")
    with refuses(errno.EAGAIN):
        tree.mkdir("a/d")


def test_mkdir_past_max_descendants_of_any_ancestor_tries_again(tree: Tree) -> None:
    tree.mkdir("a")
    tree.mkdir("a/b")
    tree.write("/a/cgroup.max.descendants", "1")
    with refuses(errno.EAGAIN):
        tree.mkdir("a/b/c")
    tree.rmdir("a/b")
    tree.mkdir("a/b")


def test_an_existing_name_is_reported_before_a_limit(tree: Tree) -> None:
    tree.mkdir("a")
    tree.write("/cgroup.max.descendants", "0")
    with refuses(errno.EEXIST):
        tree.mkdir("a")


def test_rmdir_with_children_or_processes_is_busy(tree: Tree) -> None:
    tree.mkdir("a")
    tree.mkdir("a/b")
    task = tree.spawn("a/b")
    with refuses(errno.EBUSY):
        tree.rmdir("a")
    with refuses(errno.EBUSY):
        tree.rmdir("a/b")
    task.kill()
    tree.rmdir("a/b")
    tree.rmdir("a")
    with refuses(errno.EBUSY):
        tree.rmdir("/")


def test_rmdir_with_only_a_zombie_succeeds(tree: Tree) -> None:
    tree.mkdir("a")
    task = tree.spawn("a")
    tree.hierarchy.exit_task(task)
    assert task.is_zombie
    assert tree.hierarchy.tasks[task.pid] is task
    tree.rmdir("a")
    assert task.cgroup is not None
    assert (task.cgroup.path(), task.cgroup.online) == ("/a", False)


def test_open_files_of_a_removed_cgroup_are_gone(tree: Tree) -> None:
    a = tree.mkdir("a")
    files = [tree.open(f"/a/{row.name}") for row in a.files()]
    tree.rmdir("a")
    for open_file in files:
        with refuses(errno.ENODEV):
            tree.read(open_file)
        with refuses(errno.ENODEV):
            tree.write(open_file, "0")
    with refuses(errno.ENOENT):
        tree.hierarchy.mkdir(a, b"b")
    with refuses(errno.ENOENT):
        tree.hierarchy.rmdir(a)
    assert a.files() == []
    assert list(a.children) == []


def test_values_are_never_inherited_at_mkdir(tree: Tree) -> None:
    tree.mkdir("a")
    tree.write("/a/cgroup.subtree_control", "+memory +pids")
    for name, value in (("memory.max", "5"), ("pids.max", "5"), ("cgroup.max.depth", "5"), ("cgroup.max.descendants", "5")):
        tree.write(f"/a/{name}", value)
    tree.mkdir("a/b")
    for name in ("memory.max", "pids.max", "cgroup.max.depth", "cgroup.max.descendants"):
        assert tree.read(f"/a/b/{name}") == "max\n"
    assert tree.read("/a/b/cgroup.subtree_control") == ""


def test_owner_of_core_files_is_who_made_the_directory_and_of_controller_files_who_enabled_it(tree: Tree) -> None:
    someone = Caller(5, uid=1000, gid=1001)
    tree.mkdir("a", someone)
    b = tree.mkdir("a/b", someone)
    tree.write("/a/cgroup.subtree_control", "+memory")
    assert (b.uid, b.gid) == (1000, 1001)
    core, memory = b.lookup_node(b"cgroup.procs"), b.lookup_node(b"memory.max")
    assert (core.uid, core.gid, memory.uid, memory.gid) == (1000, 1001, 0, 0)
    c = tree.mkdir("a/c", someone)
    assert c.lookup_node(b"memory.max").uid == 1000


def test_modes_follow_from_the_handlers(tree: Tree) -> None:
    a = tree.mkdir("a")
    modes = {row.name: row.default_mode for row in a.files()}
    assert modes["cgroup.kill"] == 0o200
    assert modes["cgroup.controllers"] == modes["cgroup.events"] == modes["cgroup.stat"] == modes["cpu.stat"] == 0o444
    assert modes["cgroup.procs"] == modes["cgroup.type"] == modes["pids.max"] == 0o644


def test_controllers_list_in_subsystem_order_whatever_order_was_written(tree: Tree) -> None:
    tree.mkdir("a")
    assert tree.read("/a/cgroup.controllers") == "cpu io memory pids\n"
    tree.write("/a/cgroup.subtree_control", "+pids +memory +cpu")
    assert tree.read("/a/cgroup.subtree_control") == "cpu memory pids\n"
    tree.mkdir("a/b")
    assert tree.read("/a/b/cgroup.controllers") == "cpu memory pids\n"


def test_no_controllers_read_nothing_at_all() -> None:
    tree = Tree()
    tree.mkdir("a")
    assert tree.read("/a/cgroup.controllers") == tree.read("/cgroup.subtree_control") == ""


@pytest.mark.parametrize("data", ["", "\n", " ", "+memory -memory", "-pids", "-memory -memory"])
def test_subtree_control_writes_that_change_nothing(tree: Tree, data: str) -> None:
    tree.mkdir("a")
    tree.write("/a/cgroup.subtree_control", data)
    assert tree.read("/a/cgroup.subtree_control") == ""


@pytest.mark.parametrize(
    "data", ["memory", "+", "-", "+foo", "-foo", "+ memory", "++memory", "+memory,+pids", "+memory\t+pids", "+Memory", "+memory\n+pids"]
)
def test_subtree_control_refuses_anything_but_signs_and_names(tree: Tree, data: str) -> None:
    tree.mkdir("a")
    for text in (data, f"+cpu {data}", f"{data} +cpu"):
        with refuses(errno.EINVAL):
            tree.write("/a/cgroup.subtree_control", text)
    assert tree.read("/a/cgroup.subtree_control") == ""


def test_the_last_sign_of_a_controller_wins(tree: Tree) -> None:
    tree.mkdir("a")
    tree.write("/a/cgroup.subtree_control", "-memory +memory +pids")
    assert tree.read("/a/cgroup.subtree_control") == "memory pids\n"


def test_enabling_what_the_parent_does_not_offer_is_not_found(tree: Tree) -> None:
    tree.mkdir("a")
    tree.mkdir("a/b")
    for name in ("memory", "perf_event"):
        with refuses(errno.ENOENT):
            tree.write("/a/b/cgroup.subtree_control", f"+{name}")
    with refuses(errno.ENOENT):
        tree.write("/cgroup.subtree_control", "+perf_event")
    tree.write("/cgroup.subtree_control", "-perf_event")


def test_disabling_what_a_child_uses_is_busy(tree: Tree) -> None:
    tree.mkdir("a")
    tree.write("/a/cgroup.subtree_control", "+memory")
    with refuses(errno.EBUSY):
        tree.write("/cgroup.subtree_control", "-memory -cpu")
    assert "cpu" in tree.read("/cgroup.subtree_control")


def test_the_first_refusal_in_the_order_of_controllers_is_told(tree: Tree) -> None:
    tree.mkdir("a")
    tree.mkdir("a/b")
    tree.write("/cgroup.subtree_control", "-io -memory")
    tree.write("/a/cgroup.subtree_control", "+cpu +pids")
    tree.write("/a/b/cgroup.subtree_control", "+cpu")
    with refuses(errno.EBUSY):
        tree.write("/a/cgroup.subtree_control", "+memory -cpu")
    tree.write("/a/b/cgroup.subtree_control", "-cpu +pids")
    with refuses(errno.ENOENT):
        tree.write("/a/cgroup.subtree_control", "-pids +memory")
    assert tree.read("/a/cgroup.subtree_control") == "cpu pids\n"


def test_disable_and_enable_makes_a_new_state(tree: Tree) -> None:
    tree.mkdir("a")
    tree.write("/cgroup.subtree_control", "-io")
    tree.write("/a/memory.max", "5")
    before = tree.open("/a/memory.max")
    tree.write("/cgroup.subtree_control", "-memory")
    assert not tree.exists("/a/memory.max")
    with refuses(errno.ENODEV):
        tree.read(before)
    tree.write("/cgroup.subtree_control", "+memory")
    assert tree.read("/a/memory.max") == "max\n"
    with refuses(errno.ENODEV):
        tree.read(before)
    assert tree.memory.calls[-2:] == [("offline", "/a"), ("online", "/a")]


def test_a_state_another_controller_depends_on_is_hidden_and_reset(tree: Tree) -> None:
    tree.mkdir("a")
    tree.write("/a/memory.max", "5")
    css = tree["a"].css["memory"]
    tree.write("/cgroup.subtree_control", "-memory")
    assert not tree.exists("/a/memory.max")
    assert tree["a"].own_css("memory") is css
    assert tree["a"].e_css("memory") is css
    assert ("reset", "/a") in tree.memory.calls
    assert "nr_subsys_memory 1\n" in tree.read("/a/cgroup.stat")
    tree.write("/cgroup.subtree_control", "+memory")
    assert tree["a"].css["memory"] is css
    assert tree.read("/a/memory.max") == "max\n"


def test_io_alone_brings_a_hidden_memory_state() -> None:
    tree = Tree()
    tree.mkdir("a")
    tree.write("/cgroup.subtree_control", "+io")
    assert tree["a"].own_css("memory") is not None
    assert not tree.exists("/a/memory.max")
    tree.write("/cgroup.subtree_control", "-io")
    assert tree["a"].own_css("memory") is None


def test_a_child_named_like_a_file_makes_enabling_fail_as_a_whole(tree: Tree) -> None:
    tree.mkdir("a")
    tree.mkdir("a/b")
    tree.mkdir("a/b/memory.max")
    before = tree.read("/a/b/cgroup.controllers")
    with refuses(errno.EEXIST):
        tree.write("/a/cgroup.subtree_control", "+cpu +memory")
    assert tree.read("/a/cgroup.subtree_control") == ""
    assert tree.read("/a/b/cgroup.controllers") == before
    tree.write("/a/cgroup.subtree_control", "+cpu")


def test_tasks_get_the_state_that_appears_in_their_cgroup(tree: Tree) -> None:
    tree.mkdir("a")
    tree.mkdir("a/b")
    task = tree.spawn("a/b")
    assert tree.memory.calls[-1] == (f"attach {task.pid}", "/a")
    tree.write("/a/cgroup.subtree_control", "+memory")
    assert tree.memory.calls[-1] == (f"attach {task.pid}", "/a/b")
    tree.write("/a/cgroup.subtree_control", "-memory")
    assert tree.memory.calls[-1] == (f"attach {task.pid}", "/a")


def test_stat_counts_descendants_and_states_in_order(tree: Tree) -> None:
    tree.mkdir("a")
    tree.write("/a/cgroup.subtree_control", "+pids")
    tree.mkdir("a/b")
    stat = tree.read("/a/cgroup.stat").splitlines()
    assert stat[0] == "nr_descendants 1"
    assert [line.split()[0] for line in stat[1:10]] == [
        f"nr_subsys_{name}" for name in ("cpuset", "cpu", "io", "memory", "perf_event", "hugetlb", "pids", "rdma", "misc")
    ]
    counts = {line.split()[0]: int(line.split()[1]) for line in stat}
    assert (counts["nr_subsys_pids"], counts["nr_subsys_memory"], counts["nr_subsys_perf_event"]) == (2, 1, 2)
    assert list(counts)[10] == "nr_dying_descendants"


def test_an_implicit_controller_is_on_everywhere_once_the_root_changed_its_controllers() -> None:
    tree = Tree()
    tree.mkdir("a")
    assert "nr_subsys_perf_event 0\n" in tree.read("/a/cgroup.stat")
    tree.write("/cgroup.subtree_control", "+pids")
    tree.mkdir("a/b")
    assert "nr_subsys_perf_event 2\n" in tree.read("/a/cgroup.stat")
    tree.write("/cgroup.subtree_control", "-pids")
    assert "nr_subsys_perf_event 2\n" in tree.read("/a/cgroup.stat")
    assert tree.read("/a/cgroup.controllers") == ""


def test_removed_cgroups_are_dying_until_nothing_holds_them(tree: Tree) -> None:
    def dying() -> tuple[int, int]:
        counts = dict(line.split() for line in tree.read("/cgroup.stat").splitlines())
        return int(counts["nr_dying_descendants"]), int(counts["nr_dying_subsys_memory"])

    tree.mkdir("a")
    tree.mkdir("b")
    css = tree["a"].css["memory"]
    assert isinstance(css, LimitCss)
    css.held = True
    tree.rmdir("a")
    tree.rmdir("b")
    assert dying() == (2, 2)
    tree.pass_time(1)
    assert dying() == (1, 1)
    css.held = False
    assert dying() == (0, 0)
    assert len(tree.hierarchy.dying) == 0


def test_dying_cgroups_do_not_count_against_limits(tree: Tree) -> None:
    tree.write("/cgroup.max.descendants", "1")
    for _ in range(3):
        tree.mkdir("a")
        tree.rmdir("a")


def test_a_dead_parent_stays_while_a_dead_child_is_held(tree: Tree) -> None:
    tree.mkdir("a")
    tree.write("/a/cgroup.subtree_control", "+memory")
    css = tree.mkdir("a/b").css["memory"]
    assert isinstance(css, LimitCss)
    css.held = True
    tree.rmdir("a/b")
    tree.rmdir("a")
    tree.pass_time(1)
    assert "nr_dying_descendants 2\n" in tree.read("/cgroup.stat")


def test_lookup_walks_from_the_root(tree: Tree) -> None:
    b = (tree.mkdir("a"), tree.mkdir("a/b"))[1]
    for path in ("a/b", "/a/b/", "//a/./b", "/a/b/../b", b"a/b"):
        assert tree.hierarchy.lookup(path) is b
    with refuses(errno.ENOENT):
        tree.hierarchy.lookup("/a/c")
    assert [each.path() for each in tree["/"].descendants_pre()] == ["/", "/a", "/a/b"]


def test_cost_of_mkdir_and_rmdir_does_not_depend_on_the_size_of_the_tree(tree: Tree) -> None:
    """Counted in calls, not in time: the tree is never walked."""
    for number in range(50):
        tree.mkdir(f"c{number}")
    walks = 0

    def counting(cgroup: object) -> object:
        nonlocal walks
        walks += 1
        return iter(())

    type(tree["/"]).descendants_pre, original = counting, type(tree["/"]).descendants_pre  # type: ignore[method-assign,assignment]
    try:
        tree.mkdir("x")
        tree.rmdir("x")
    finally:
        type(tree["/"]).descendants_pre = original  # type: ignore[method-assign]
    assert walks == 0


def test_root_has_the_files_declared_for_it_only(tree: Tree) -> None:
    names = {row.name for row in tree["/"].files()}
    assert {"cgroup.procs", "cgroup.stat", "memory.stat", "io.stat", "io.cost.qos", "cpu.stat", "memory.pressure"} <= names
    assert names.isdisjoint({"cgroup.type", "cgroup.events", "cgroup.freeze", "cgroup.kill", "memory.max", "pids.max", "cpu.weight"})


def test_rows_of_other_kernels_appear_with_their_profile() -> None:
    old, new = Tree(), Tree(profile="v7.1")
    old.mkdir("a")
    new.mkdir("a")
    assert not old.exists("/a/cgroup.stat.local")
    assert new.read("/a/cgroup.stat.local") == "frozen_usec 0\n"
    new.write("/a/cgroup.freeze", "1")
    new.pass_time(2)
    assert new.read("/a/cgroup.stat.local") == "frozen_usec 2000000\n"
    new.write("/a/cgroup.freeze", "0")
    new.pass_time(2)
    assert new.read("/a/cgroup.stat.local") == "frozen_usec 2000000\n"
    assert ROOT.is_root
