from __future__ import annotations

import errno

import pytest
from cgroup_tree import Tree, refuses

from fakecg.cgroup.io_files import IoController


@pytest.fixture
def tree() -> Tree:
    tree = Tree()
    tree.write("/cgroup.subtree_control", "+cpu +io +pids")
    tree.mkdir("a")
    return tree


def test_pids_count_tasks_of_the_subtree(tree: Tree) -> None:
    tree.write("/a/cgroup.subtree_control", "+pids")
    tree.mkdir("a/b")
    tasks = [tree.spawn("a/b"), tree.spawn("a/b")]
    assert (tree.read("/a/pids.current"), tree.read("/a/b/pids.current")) == ("2\n", "2\n")
    tasks[0].kill()
    assert (tree.read("/a/pids.current"), tree.read("/a/pids.peak")) == ("1\n", "2\n")
    tree.write("/cgroup.procs", str(tasks[1].pid))
    assert tree.read("/a/pids.current") == "0\n"


def test_pids_counts_follow_a_state_that_appears_and_vanishes(tree: Tree) -> None:
    tree.write("/cgroup.subtree_control", "-pids")
    task = tree.spawn("a")
    tree.write("/cgroup.subtree_control", "+pids")
    assert tree.read("/a/pids.current") == "1\n"
    tree.write("/cgroup.subtree_control", "-pids")
    tree.write("/cgroup.subtree_control", "+pids")
    assert tree.read("/a/pids.current") == "1\n"
    task.kill()
    assert tree.read("/a/pids.current") == "0\n"


def test_a_fork_past_pids_max_is_refused_and_counted(tree: Tree) -> None:
    tree.write("/a/cgroup.subtree_control", "+pids")
    tree.mkdir("a/b")
    tree.write("/a/pids.max", "1")
    tree.spawn("a/b")
    with refuses(errno.EAGAIN):
        tree.spawn("a/b")
    assert (tree.read("/a/pids.events"), tree.read("/a/pids.events.local")) == ("max 1\n", "max 1\n")
    assert (tree.read("/a/b/pids.events"), tree.read("/a/b/pids.events.local")) == ("max 0\n", "max 0\n")
    assert tree.read("/a/b/cgroup.procs").count("\n") == 1


def test_a_move_past_pids_max_is_allowed(tree: Tree) -> None:
    tree.write("/a/pids.max", "0")
    task = tree.spawn("/")
    tree.write("/a/cgroup.procs", str(task.pid))
    assert tree.read("/a/pids.current") == "1\n"


@pytest.mark.parametrize(
    ("text", "after"),
    [("1", "1"), (" max\n", "max"), ("010", "8"), ("4194304", "4194304")],
)
def test_pids_max_takes_numbers_below_the_largest_pid(tree: Tree, text: str, after: str) -> None:
    tree.write("/a/pids.max", text)
    assert tree.read("/a/pids.max") == after + "\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("-1", errno.EINVAL),
        ("4194305", errno.EINVAL),
        ("MAX", errno.EINVAL),
        ("1K", errno.EINVAL),
        ("9223372036854775808", errno.ERANGE),
        ("\n", errno.EINVAL),
    ],
)
def test_pids_max_refuses(tree: Tree, text: str, code: int) -> None:
    with refuses(code):
        tree.write("/a/pids.max", text)


@pytest.mark.parametrize(
    ("name", "text", "after"),
    [
        ("cpu.weight", "2\n", "2\n"),
        ("cpu.weight", "10000", "10000\n"),
        ("cpu.weight.nice", "-20", "-20\n"),
        ("cpu.weight.nice", "19", "19\n"),
        ("cpu.idle", "1", "1\n"),
        ("cpu.max", "50000", "50000 100000\n"),
        ("cpu.max", "max 20000", "max 20000\n"),
        ("cpu.max", " 1000junk 1000 more", "1000 1000\n"),
        ("cpu.max.burst", "500", "500\n"),
    ],
)
def test_cpu_settings_read_back(tree: Tree, name: str, text: str, after: str) -> None:
    tree.write(f"/a/{name}", text)
    assert tree.read(f"/a/{name}") == after


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("cpu.weight", "0", errno.ERANGE),
        ("cpu.weight", "10001", errno.ERANGE),
        ("cpu.weight", " 1", errno.EINVAL),
        ("cpu.weight.nice", "20", errno.ERANGE),
        ("cpu.idle", "2", errno.EINVAL),
        ("cpu.max", "\n", errno.EINVAL),
        ("cpu.max", "999", errno.EINVAL),
        ("cpu.max", "max 999", errno.EINVAL),
        ("cpu.max", "max 1000001", errno.EINVAL),
        ("cpu.max", "MAX", errno.EINVAL),
        ("cpu.max", "17592186044416", errno.EINVAL),
    ],
)
def test_cpu_settings_refuse(tree: Tree, name: str, text: str, code: int) -> None:
    with refuses(code):
        tree.write(f"/a/{name}", text)


def test_weight_and_nice_are_two_views_of_one_load(tree: Tree) -> None:
    tree.write("/a/cpu.weight.nice", "5")
    assert tree.read("/a/cpu.weight") == "33\n"
    tree.write("/a/cpu.weight", "200")
    assert tree.read("/a/cpu.weight.nice") == "-3\n"


def test_an_idle_group_has_no_weight_to_set(tree: Tree) -> None:
    tree.write("/a/cpu.idle", "1")
    with refuses(errno.EINVAL):
        tree.write("/a/cpu.weight", "100")
    tree.write("/a/cpu.idle", "0")
    assert tree.read("/a/cpu.weight") == "100\n"


def test_burst_is_at_most_the_quota(tree: Tree) -> None:
    tree.write("/a/cpu.max", "2000")
    with refuses(errno.EINVAL):
        tree.write("/a/cpu.max.burst", "2001")
    tree.write("/a/cpu.max.burst", "2000")
    with refuses(errno.EINVAL):
        tree.write("/a/cpu.max", "1000")


def test_cpu_stat_has_the_controllers_lines_only_with_the_controller(tree: Tree) -> None:
    tree.mkdir("a/b")
    tree["a/b"].charge_cpu(3_000_000, 1_000_000)
    assert tree.read("/a/b/cpu.stat") == "usage_usec 4000\nuser_usec 3000\nsystem_usec 1000\nnice_usec 0\n"
    assert tree.read("/a/cpu.stat").splitlines()[0] == "usage_usec 4000"
    assert tree.read("/a/cpu.stat").splitlines()[4:] == [
        "nr_periods 0",
        "nr_throttled 0",
        "throttled_usec 0",
        "nr_bursts 0",
        "burst_usec 0",
    ]
    assert (tree.read("/a/cpu.stat.local"), tree.read("/a/b/cpu.stat.local")) == ("throttled_usec 0\n", "")


def test_io_stat_counts_up_the_tree(tree: Tree) -> None:
    controller = tree.hierarchy.controllers["io"]
    assert isinstance(controller, IoController)
    tree.mkdir("a/b")
    assert tree.read("/a/io.stat") == ""
    controller.account(tree["a/b"], 4096, is_write=True)
    controller.account(tree["a/b"], 8192, is_write=False, nr_ios=2)
    line = "254:0 rbytes=8192 wbytes=4096 rios=2 wios=1 dbytes=0 dios=0\n"
    assert tree.read("/a/io.stat") == tree.read("/io.stat") == line


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("254:0 rbps=1048576 wiops=120", "254:0 rbps=1048576 wbps=max riops=max wiops=120\n"),
        ("254:0 rbps=max", ""),
        ("254:0 rbps=2M", "254:0 rbps=2 wbps=max riops=max wiops=max\n"),
        ("254:0 riops=4294967296", ""),
        ("254:0\n", ""),
    ],
)
def test_io_max_reads_back(tree: Tree, text: str, after: str) -> None:
    tree.write("/a/io.max", text)
    assert tree.read("/a/io.max") == after


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", errno.EINVAL),
        ("254:0", errno.EINVAL),
        ("8:0 rbps=1M", errno.ENODEV),
        ("254:0 rbps=0", errno.ERANGE),
        ("254:0 rbps=1", errno.EINVAL),
        ("254:0 wiops=1", errno.EINVAL),
        ("254:0 foo=5", errno.EINVAL),
        ("254:0 rbps", errno.EINVAL),
        ("254:0 rbps=MAX", errno.EINVAL),
    ],
)
def test_io_max_refuses(tree: Tree, text: str, code: int) -> None:
    with refuses(code):
        tree.write("/a/io.max", text or "\n")


def test_io_max_takes_a_limit_of_one_from_6_13_on() -> None:
    tree = Tree(profile="v7.1")
    tree.write("/cgroup.subtree_control", "+io")
    tree.mkdir("a")
    tree.write("/a/io.max", "254:0 rbps=1 wiops=1")
    assert tree.read("/a/io.max") == "254:0 rbps=1 wbps=max riops=max wiops=1\n"


@pytest.mark.parametrize(("text", "weight"), [("50", 50), ("default 60", 60), ("default10000", 10000), (" 70 junk", 70)])
def test_io_weight(tree: Tree, text: str, weight: int) -> None:
    tree.write("/a/io.weight", text)
    assert tree.read("/a/io.weight") == f"default {weight}\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("0", errno.EINVAL),
        ("10001", errno.EINVAL),
        ("default", errno.EINVAL),
        (" default 5", errno.EINVAL),
        ("254:0 100", errno.EOPNOTSUPP),
        ("8:0 100", errno.ENODEV),
    ],
)
def test_io_weight_refuses(tree: Tree, text: str, code: int) -> None:
    with refuses(code):
        tree.write("/a/io.weight", text)
