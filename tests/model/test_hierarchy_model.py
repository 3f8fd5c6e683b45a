"""Anything done to a tree in any order: what is counted as things change equals what a walk counts."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fakecg.abi.errors import ControlError
from fakecg.cgroup.cgroup import Cgroup
from fakecg.cgroup.pids_files import PidsCss
from fakecg.sched.task import Task

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
import contextlib

from cgroup_tree import Tree

NAMES = ("a", "b", "c")
CONTROLLERS = ("cpu", "io", "memory", "pids")


class Hierarchies(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.tree = Tree()
        self.tasks: list[Task] = []

    def pick(self, number: int) -> Cgroup:
        cgroups = list(self.tree["/"].descendants_pre())
        return cgroups[number % len(cgroups)]

    def path(self, number: int) -> str:
        return self.pick(number).path().rstrip("/")

    def attempt(self, path: str, text: str) -> None:
        if self.tree.exists(path):
            with contextlib.suppress(ControlError):
                self.tree.write(path, text)

    @rule(where=st.integers(0, 30), name=st.sampled_from(NAMES))
    def mkdir(self, where: int, name: str) -> None:
        parent = self.pick(where)
        if parent.level < 4 and name.encode() not in parent.children:
            self.tree.hierarchy.mkdir(parent, name.encode())

    @rule(where=st.integers(0, 30))
    def rmdir(self, where: int) -> None:
        cgroup = self.pick(where)
        try:
            self.tree.hierarchy.rmdir(cgroup)
        except ControlError:
            assert cgroup.parent is None or cgroup.children or cgroup.is_populated

    @rule(where=st.integers(0, 30), words=st.lists(st.tuples(st.sampled_from("+-"), st.sampled_from(CONTROLLERS)), max_size=3))
    def subtree_control(self, where: int, words: list[tuple[str, str]]) -> None:
        self.attempt(f"{self.path(where)}/cgroup.subtree_control", " ".join(sign + name for sign, name in words))

    @rule(where=st.integers(0, 30))
    def threaded(self, where: int) -> None:
        self.attempt(f"{self.path(where)}/cgroup.type", "threaded")

    @rule(where=st.integers(0, 30), value=st.sampled_from("01"))
    def freeze(self, where: int, value: str) -> None:
        self.attempt(f"{self.path(where)}/cgroup.freeze", value)

    @rule(where=st.integers(0, 30), nr_threads=st.integers(1, 2), is_kthread=st.booleans())
    def spawn(self, where: int, nr_threads: int, is_kthread: bool) -> None:
        hierarchy = self.tree.hierarchy
        cgroup = self.pick(where)
        leader = Task(hierarchy.new_pid(), is_kthread=is_kthread)
        try:
            hierarchy.add_task(leader, self.tree["/"])
            for _ in range(nr_threads - 1):
                hierarchy.add_task(Task(hierarchy.new_pid(), leader=leader, is_kthread=is_kthread), self.tree["/"])
            hierarchy.attach(leader, cgroup)
        except ControlError:
            pass
        self.tasks.append(leader)

    @precondition(lambda self: self.tasks)
    @rule(which=st.integers(0, 30), where=st.integers(0, 30), name=st.sampled_from(("cgroup.procs", "cgroup.threads")), last=st.booleans())
    def move(self, which: int, where: int, name: str, last: bool) -> None:
        leader = self.tasks[which % len(self.tasks)]
        task = list(leader.threads.values() or [leader])[-1 if last else 0]
        self.attempt(f"{self.path(where)}/{name}", str(task.pid))

    @precondition(lambda self: self.tasks)
    @rule(which=st.integers(0, 30))
    def end(self, which: int) -> None:
        task = self.tasks.pop(which % len(self.tasks))
        self.tree.hierarchy.exit_task(task)
        self.tree.hierarchy.reap_task(task)

    @rule(where=st.integers(0, 30))
    def kill(self, where: int) -> None:
        self.attempt(f"{self.path(where)}/cgroup.kill", "1")
        self.tasks = [task for task in self.tasks if not task.is_zombie]

    @rule()
    def wait(self) -> None:
        self.tree.pass_time(1)

    @invariant()
    def counters_equal_a_walk(self) -> None:
        for cgroup in self.tree["/"].descendants_pre():
            below = list(cgroup.descendants_pre())
            assert cgroup.nr_descendants == len(below) - 1
            for name in self.tree.hierarchy.controllers:
                assert cgroup.nr_css.get(name, 0) == sum(each.own_css(name) is not None for each in below), name
            children = [child for child in cgroup.children.values() if child.is_populated]
            assert cgroup.nr_populated_threaded_children == sum(child.is_threaded for child in children)
            assert cgroup.nr_populated_domain_children == sum(not child.is_threaded for child in children)
            assert cgroup.nr_threaded_children == sum(child.is_threaded for child in cgroup.children.values())
            assert cgroup.nr_frozen_descendants == sum(each.frozen for each in below[1:])
            assert cgroup.nr_frozen_tasks == sum(task.frozen for task in cgroup.tasks)
            assert cgroup.e_freeze == sum(each.freeze for each in cgroup.ancestors(include_self=True))
            assert all(task.frozen == (cgroup.e_freeze > 0) or task.is_kthread for task in cgroup.tasks)
            assert not (cgroup.frozen and not cgroup.e_freeze)

    @invariant()
    def states_follow_the_parents_subtree_control(self) -> None:
        for cgroup in self.tree["/"].descendants_pre():
            if cgroup.parent is not None:
                assert set(cgroup.css) - {"perf_event"} == set(cgroup.control)
                assert set(cgroup.css) | set(cgroup.hidden_css) == set(cgroup.ss_mask)
                assert cgroup.subtree_control <= cgroup.control
                for name, css in (*cgroup.css.items(), *cgroup.hidden_css.items()):
                    assert css.online
                    assert css.parent is cgroup.parent.e_css(name)
            assert set(cgroup.file_sets) == {"", *cgroup.css}

    @invariant()
    def no_internal_processes(self) -> None:
        for cgroup in self.tree["/"].descendants_pre():
            if cgroup.parent is not None and cgroup.tasks and not cgroup.is_threaded:
                assert not cgroup.subtree_control - self.tree.hierarchy.threaded_names

    @invariant()
    def tasks_are_where_they_say(self) -> None:
        listed = {task: cgroup for cgroup in self.tree["/"].descendants_pre() for task in cgroup.tasks}
        assert all(task.cgroup is cgroup for task, cgroup in listed.items())
        assert {task for leader in self.tasks for task in leader.threads.values()} == set(listed)
        for cgroup in self.tree["/"].descendants_pre():
            css = cgroup.css.get("pids")
            if isinstance(css, PidsCss):
                assert css.nr_tasks == sum(len(each.tasks) for each in cgroup.descendants_pre())

    @invariant()
    def inode_numbers_are_unique(self) -> None:
        inos = []
        for cgroup in self.tree["/"].descendants_pre():
            inos.append(cgroup.ino)
            inos += [cgroup.lookup_node(row.name.encode()).ino for row in cgroup.files()]
        assert len(inos) == len(set(inos))

    def teardown(self) -> None:
        for cgroup in reversed(list(self.tree["/"].descendants_pre())):
            for task in list(cgroup.tasks):
                self.tree.hierarchy.exit_task(task)
            if cgroup.parent is not None:
                self.tree.hierarchy.rmdir(cgroup)
        self.tree.pass_time(1)
        root = self.tree["/"]
        assert len(self.tree.hierarchy.dying) == 0
        assert root.nr_dying_descendants == 0
        assert not any(root.nr_dying_css.values())


TestHierarchies = Hierarchies.TestCase
TestHierarchies.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
