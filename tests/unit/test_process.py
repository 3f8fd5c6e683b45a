from __future__ import annotations

import errno

import pytest
from cgroup_tree import Tree, refuses

from fakecg.cgroup.cftype import Caller
from fakecg.sched.task import Forked, Task, ThreadExited, ThreadInfo, ThreadStarted

SHELL = ThreadInfo(100, 100, "sh", uid=1000)
WORKER = (ThreadInfo(200, 200, "worker"), ThreadInfo(201, 200, "worker/1"))
KTHREADD = ThreadInfo(2, 2, "kthreadd", is_kthread=True, is_pinned=True)
ZOMBIE = ThreadInfo(300, 300, "dead", is_zombie=True)
FROM_SHELL = Caller(tid=100)


@pytest.fixture
def tree() -> Tree:
    tree = Tree([SHELL, *WORKER, KTHREADD, ZOMBIE])
    tree.write("/cgroup.subtree_control", "+cpu +memory +pids")
    tree.mkdir("a")
    tree.mkdir("b")
    return tree


@pytest.mark.parametrize("zero", ["0", "00", "+0", "-0", "0x0", " 0\n", "0\0x"])
def test_zero_moves_the_writers_process(tree: Tree, zero: str) -> None:
    tree.write("/a/cgroup.procs", zero, FROM_SHELL)
    assert tree.read("/a/cgroup.procs") == "100\n"
    assert tree.read("/a/cgroup.events") == "populated 1\nfrozen 0\n"


@pytest.mark.parametrize("text", ["\n", " ", "abc", "-1", "0 0", "0,0", "1\n2", "2147483648", "4294967296", "max", "1x"])
@pytest.mark.parametrize("name", ["cgroup.procs", "cgroup.threads"])
def test_anything_but_one_number_is_invalid(tree: Tree, name: str, text: str) -> None:
    with refuses(errno.EINVAL):
        tree.write(f"/a/{name}", text, FROM_SHELL)


def test_a_pid_nobody_has(tree: Tree) -> None:
    tree.spawn("a")
    for pid in (99999999, 4194304, 4194305, 2147483647):
        with refuses(errno.ESRCH):
            tree.write("/a/cgroup.procs", str(pid))


def test_a_writer_that_is_not_visible_cannot_move_itself(tree: Tree) -> None:
    with refuses(errno.ESRCH):
        tree.write("/a/cgroup.procs", "0")


def test_a_kernel_thread_must_stay(tree: Tree) -> None:
    with refuses(errno.EINVAL):
        tree.write("/a/cgroup.procs", "2")


def test_moving_a_zombie_is_a_success_without_effect(tree: Tree) -> None:
    tree.write("/a/cgroup.procs", "300")
    assert tree.read("/a/cgroup.procs") == ""


def test_a_thread_id_moves_the_whole_process(tree: Tree) -> None:
    tree.write("/a/cgroup.procs", "201")
    assert tree.read("/a/cgroup.procs") == "200\n"
    assert tree.read("/a/cgroup.threads") == "200\n201\n"
    tree.write("/b/cgroup.procs", "200")
    assert (tree.read("/a/cgroup.threads"), tree.read("/b/cgroup.threads")) == ("", "200\n201\n")


def test_processes_are_listed_in_the_order_they_came(tree: Tree) -> None:
    pids = [tree.spawn("a").pid for _ in range(3)]
    tree.write("/b/cgroup.procs", str(pids[1]))
    tree.write("/a/cgroup.procs", str(pids[1]))
    tree.write("/a/cgroup.procs", str(pids[2]))
    assert tree.read("/a/cgroup.procs").split() == [str(pids[0]), str(pids[2]), str(pids[1])]


def test_a_single_thread_cannot_leave_its_domain(tree: Tree) -> None:
    with refuses(errno.EOPNOTSUPP):
        tree.write("/a/cgroup.threads", "201")
    tree.write("/a/cgroup.procs", "200")
    tree.write("/a/cgroup.threads", "201")


def test_no_internal_processes(tree: Tree) -> None:
    tree.write("/a/cgroup.subtree_control", "+memory")
    with refuses(errno.EBUSY):
        tree.write("/a/cgroup.procs", "100")
    tree.write("/a/cgroup.subtree_control", "-memory +cpu")
    tree.write("/a/cgroup.procs", "100")
    with refuses(errno.EOPNOTSUPP):
        tree.write("/a/cgroup.subtree_control", "+memory")
    tree.write("/b/cgroup.procs", "200")
    with refuses(errno.EBUSY):
        tree.write("/b/cgroup.subtree_control", "+memory +pids")
    tree.write("/cgroup.procs", "100")


def test_the_opener_needs_write_access_to_the_common_ancestor(tree: Tree) -> None:
    someone = Caller(tid=100, uid=1000, gid=1000)
    tree.mkdir("mine", someone)
    tree.mkdir("mine/x", someone)
    tree.mkdir("mine/y", someone)
    opened_by_someone = tree.open("/mine/x/cgroup.procs", someone)
    with refuses(errno.EACCES):
        tree.write(opened_by_someone, "100", someone)
    with refuses(errno.EACCES):
        tree.write(opened_by_someone, "100", Caller(tid=1))
    tree.write("/mine/y/cgroup.procs", "100")
    tree.write(opened_by_someone, "100", someone)
    assert tree.read("/mine/x/cgroup.procs") == "100\n"


def test_chmod_of_cgroup_procs_counts_for_moves(tree: Tree) -> None:
    someone = Caller(tid=100, uid=1000, gid=1000)
    tree["/"].lookup_node(b"cgroup.procs").mode = 0o646
    tree.mkdir("mine", someone)
    tree.write(tree.open("/mine/cgroup.procs", someone), "100", someone)
    node = tree["/"].lookup_node(b"cgroup.procs")
    node.uid = 1000
    assert [node.may_write(Caller(1, uid, gid)) for uid, gid in ((1000, 0), (5, 0), (5, 5), (0, 9))] == [True, False, True, True]
    assert not node.may_write(Caller(1, 5, 5, frozenset({4, 0}))), "the group's right, though others have more"
    node.mode = 0o664
    assert node.may_write(Caller(1, 5, 5, frozenset({4, 0})))
    assert not node.may_write(Caller(1, 5, 5, frozenset({4})))


def test_checks_come_in_the_order_number_task_permission_destination(tree: Tree) -> None:
    tree.write("/a/cgroup.subtree_control", "+memory")
    stranger = Caller(tid=100, uid=5, gid=5)
    open_file = tree.open("/a/cgroup.procs", stranger)
    with refuses(errno.EINVAL):
        tree.write(open_file, "x")
    with refuses(errno.ESRCH):
        tree.write(open_file, "999")
    with refuses(errno.EACCES):
        tree.write(open_file, "100")


def test_reading_does_not_list_a_real_process_that_never_moved_in(tree: Tree) -> None:
    assert tree.read("/cgroup.procs") == ""
    reader = tree.open("/cgroup.procs", Caller(tid=201))
    assert tree.read(reader) == "200\n"
    assert tree.read(tree.open("/cgroup.threads", Caller(tid=201))) == "201\n"
    tree.write("/a/cgroup.procs", "200")
    assert tree.read(reader) == ""


def test_a_real_process_stays_listed_in_the_root_it_was_moved_to(tree: Tree) -> None:
    tree.write("/cgroup.procs", "100")
    assert tree.read("/cgroup.procs") == "100\n"


def test_children_of_real_processes_are_born_where_their_parent_is(tree: Tree) -> None:
    tree.write("/a/cgroup.procs", "100")
    assert tree.real.followed == [100]
    tree.real.pending = [Forked(100, ThreadInfo(101, 101)), ThreadStarted(ThreadInfo(102, 101))]
    assert tree.read("/a/cgroup.procs") == "100\n101\n"
    assert tree.read("/a/cgroup.threads") == "100\n101\n102\n"
    tree.real.pending = [ThreadExited(100)]
    assert tree.read("/a/cgroup.procs") == "101\n"


def test_the_cgroup_is_empty_when_the_last_thread_has_exited(tree: Tree) -> None:
    tree.write("/a/cgroup.procs", "200")
    tree.real.pending = [ThreadExited(200)]
    assert tree.read("/a/cgroup.procs") == "200\n"
    assert tree.read("/a/cgroup.threads") == "201\n"
    tree.real.pending = [ThreadExited(201)]
    assert tree.read("/a/cgroup.events") == "populated 0\nfrozen 0\n"
    assert 200 not in tree.hierarchy.tasks
    tree.rmdir("a")


def test_populated_flips_are_told_up_to_where_nothing_changes(tree: Tree) -> None:
    told: list[str] = []
    tree.mkdir("a/x")
    tree.mkdir("a/y")
    tree.hierarchy.on_notify.append(lambda cgroup, name: told.append(f"{cgroup.path()} {name}"))
    first = tree.spawn("a/x")
    assert told == ["/a/x cgroup.events", "/a cgroup.events"]
    tree.pass_time(1)
    told.clear()
    second = tree.spawn("a/y")
    assert told == ["/a/y cgroup.events"]
    tree.pass_time(1)
    told.clear()
    first.kill()
    assert told == ["/a/x cgroup.events"]
    tree.pass_time(1)
    told.clear()
    second.kill()
    assert told == ["/a/y cgroup.events", "/a cgroup.events"]


def test_kill_takes_only_1_and_reaches_the_whole_subtree(tree: Tree) -> None:
    tree.mkdir("a/x")
    tasks = [tree.spawn("a"), tree.spawn("a/x"), tree.spawn("b")]
    kernel_thread = tree.spawn("a", is_kthread=True)
    tree.write("/a/cgroup.procs", "100")
    for text, code in (("0", errno.ERANGE), ("2", errno.ERANGE), ("-1", errno.ERANGE), ("", errno.EINVAL), ("y", errno.EINVAL)):
        with refuses(code):
            tree.write("/a/cgroup.kill", text or "\n")
    tree.write("/a/cgroup.kill", "1\n")
    assert [task.is_zombie for task in tasks] == [True, True, False]
    assert tree.real.signals == [("kill", 100)]
    assert tree.read("/a/cgroup.procs").split() == [str(kernel_thread.pid), "100"]
    with refuses(errno.EINVAL):
        tree.read("/a/cgroup.kill")


def test_kill_of_an_empty_cgroup_succeeds(tree: Tree) -> None:
    tree.write("/a/cgroup.kill", "1")


def test_kill_calls_the_hook_once_for_the_process(tree: Tree) -> None:
    killed: list[int] = []
    task = Task(tree.hierarchy.new_pid())
    thread = Task(tree.hierarchy.new_pid(), leader=task)
    task.on_kill = lambda leader: killed.append(leader.pid)
    tree.hierarchy.add_task(task, tree["a"])
    tree.hierarchy.add_task(thread, tree["a"])
    thread.kill()
    task.kill()
    assert killed == [task.pid]
    assert not task.is_alive
    assert not thread.is_alive


def test_reaping_frees_the_pid(tree: Tree) -> None:
    task = tree.spawn("a")
    tree.hierarchy.exit_task(task)
    tree.write("/b/cgroup.procs", str(task.pid))
    tree.hierarchy.reap_task(task)
    with refuses(errno.ESRCH):
        tree.write("/b/cgroup.procs", str(task.pid))


def test_a_move_changes_the_state_of_each_controller_that_differs(tree: Tree) -> None:
    tree.mkdir("a/x")
    task = tree.spawn("a/x")
    tree.memory.calls.clear()
    tree.write("/a/cgroup.procs", str(task.pid))
    assert tree.memory.calls == []
    tree.write("/b/cgroup.procs", str(task.pid))
    assert tree.memory.calls == [(f"attach {task.pid}", "/b")]


def test_a_zombie_counts_in_pids_until_it_is_waited_for(tree: Tree) -> None:
    tree.write("/a/cgroup.procs", "100")
    tree.write("/a/cgroup.procs", "200")
    assert tree.read("/a/pids.current") == "3\n"
    tree.real.infos[100] = ThreadInfo(100, 100, "sh", is_zombie=True)
    tree.real.pending = [ThreadExited(100), ThreadExited(201)]
    del tree.real.infos[201]
    assert (tree.read("/a/pids.current"), tree.read("/a/cgroup.procs")) == ("2\n", "200\n"), "threads leave no zombie"
    tree.write("/a/pids.max", "2")
    with refuses(errno.EAGAIN):
        tree.spawn("a")
    del tree.real.infos[100]
    tree.spawn("a")
    assert tree.read("/a/pids.current") == "2\n"


def test_a_removed_cgroup_is_dying_while_a_zombie_of_it_is_left(tree: Tree) -> None:
    tree.write("/a/cgroup.procs", "100")
    tree.real.infos[100] = ThreadInfo(100, 100, "sh", is_zombie=True)
    tree.real.pending = [ThreadExited(100)]
    tree.rmdir("/a")
    tree.pass_time(1)
    assert "nr_dying_descendants 1\n" in tree.read("/cgroup.stat")
    for name in ("cpu", "memory", "pids"):
        assert f"nr_dying_subsys_{name} 1\n" in tree.read("/cgroup.stat")
    del tree.real.infos[100]
    assert "nr_dying_descendants 0\n" in tree.read("/cgroup.stat")
