"""Counts of a subtree against a cgroup's own, and what a removed cgroup leaves behind."""

import pytest
from mm_bench import PAGE, file_of, memory_of, reclaim, set_parameter, swap_events


def local(group):
    return {key: int(value) for key, value in (line.split() for line in group["memory.events.local"].splitlines())}


def cgroup_stat(group):
    return {key: int(value) for key, value in (line.split() for line in group["cgroup.stat"].splitlines())}


@pytest.fixture
def tree(boot):
    """top, top/middle, top/middle/leaf, top/other, and a cgroup beside them."""
    host = boot()
    set_parameter(host, "proc/sys/vm/page-cluster", 0)
    top = host.mkdir("top")
    middle = top.mkdir("middle")
    return top, middle, middle.mkdir("leaf"), top.mkdir("other"), host.mkdir("refuge")


def test_events_are_counted_here_and_above_local_ones_only_here(tree):
    top, middle, leaf, other, _ = tree
    leaf["memory.max"] = 100 * PAGE
    memory_of(leaf, 200, "rec:same")
    count = leaf.events["max"]
    assert count > 0
    assert [group.events["max"] for group in (top, middle, other)] == [count, count, 0]
    assert [local(group)["max"] for group in (top, middle, leaf)] == [0, 0, count]


def test_two_children_add_up(tree):
    top, _, leaf, other, _ = tree
    for group in (leaf, other):
        group["memory.high"] = 64 * PAGE
        memory_of(group, 200, "rec:same")
    assert top.events["high"] == leaf.events["high"] + other.events["high"] > 0
    assert local(top)["high"] == 0


def test_swap_events_go_up_too(tree):
    top, middle, leaf, _, _ = tree
    leaf["memory.swap.max"] = 10 * PAGE
    memory_of(leaf, 30).pageout()
    assert [swap_events(group)["max"] for group in (leaf, middle, top)] == [20, 20, 20]


def test_the_root_has_no_events_of_its_own(tree):
    with pytest.raises(OSError, match="ENOENT"):
        tree[0].host.root["memory.events"]


def test_events_of_a_removed_cgroup_stay_with_its_ancestors(tree):
    top, middle, leaf, _, _ = tree
    leaf["memory.max"] = 100 * PAGE
    memory = memory_of(leaf, 200, "rec:same")
    events, swap = leaf.events, swap_events(leaf)
    top.host.kill(memory.task.pid)
    leaf.rmdir()
    assert middle.events == events
    assert top.events == events
    assert swap_events(top) == swap
    again = middle.mkdir("leaf")
    assert set(again.events.values()) == {0}, "a new cgroup of that name starts anew"


def test_statistics_of_a_removed_cgroup_stay_with_its_ancestors(tree):
    top, middle, leaf, _, _ = tree
    memory = memory_of(leaf, 300)
    reclaim(leaf, "1M")
    top.host.kill(memory.task.pid)
    before = top.stat
    assert before["pgfault"] == 300
    assert before["pgsteal"] > 0
    leaf.rmdir()
    middle.rmdir()
    assert top.stat == before


def test_memory_of_a_removed_cgroup_stays_charged_above_it(tree):
    top, _, leaf, _, refuge = tree
    memory = memory_of(leaf, 200)
    memory.pageout(0, 50)
    memory.touch(0, 10)
    before = top.stat
    current, swap, zswap = (top[f"memory.{name}"] for name in ("current", "swap.current", "zswap.current"))
    refuge["cgroup.procs"] = str(memory.task.pid)
    leaf.rmdir()
    assert top.stat == {**before, "kernel": top.stat["kernel"]}
    assert abs(top.stat["kernel"] - before["kernel"]) <= PAGE
    assert top["memory.swap.current"] == swap
    assert top["memory.zswap.current"] == zswap
    assert abs(int(top["memory.current"]) - int(current)) <= 64 * PAGE
    assert memory.states() == (160, 40, 0)
    assert refuge.stat["anon"] == 0


def test_a_removed_cgroup_lingers_until_nothing_is_charged_to_it(tree):
    top, middle, leaf, _, refuge = tree
    memory = memory_of(leaf, 100)
    refuge["cgroup.procs"] = str(memory.task.pid)
    leaf.rmdir()
    middle.rmdir()
    assert cgroup_stat(top)["nr_dying_descendants"] == 2
    assert cgroup_stat(top)["nr_dying_subsys_memory"] == 2
    assert cgroup_stat(top)["nr_descendants"] == 1
    top.host.kill(memory.task.pid)
    top.host.advance("5s")
    assert cgroup_stat(top)["nr_dying_descendants"] == 0
    assert top["memory.current"] == "0"


def test_slots_alone_keep_a_removed_cgroup(tree):
    top, _, leaf, _, refuge = tree
    memory = memory_of(leaf, 100, "zero")
    memory.pageout()
    refuge["cgroup.procs"] = str(memory.task.pid)
    leaf.rmdir()
    assert top["memory.current"] == "0"
    assert int(top["memory.swap.current"]) == 100 * PAGE
    assert cgroup_stat(top)["nr_dying_descendants"] == 1
    memory.touch(write=True)
    assert top["memory.swap.current"] == "0"
    top.host.advance("5s")
    assert cgroup_stat(top)["nr_dying_descendants"] == 0
    # The pages themselves were charged to the living cgroup of the task that needed them.
    assert refuge.stat["anon"] == 100 * PAGE


def test_slots_of_a_removed_cgroups_pages_belong_to_a_living_ancestor(tree):
    top, middle, leaf, _, refuge = tree
    memory = memory_of(leaf, 100)
    refuge["cgroup.procs"] = str(memory.task.pid)
    leaf.rmdir()
    middle["memory.swap.max"] = 30 * PAGE
    memory.pageout()
    assert int(middle["memory.swap.current"]) == 30 * PAGE
    assert swap_events(middle)["max"] == 70
    assert top.stat["zswapped"] == 30 * PAGE


def test_a_removed_cgroup_is_gone_once_a_living_one_has_all_its_slots(tree):
    top, middle, leaf, _, refuge = tree
    memory = memory_of(leaf, 100)
    refuge["cgroup.procs"] = str(memory.task.pid)
    leaf.rmdir()
    memory.pageout()
    top.host.advance("5s")
    assert cgroup_stat(top)["nr_dying_descendants"] == 0
    assert int(middle["memory.swap.current"]) == 100 * PAGE
    assert memory.states() == (0, 100, 0)


def test_protection_ends_with_the_cgroup(tree):
    top, _, leaf, _, refuge = tree
    for group in (top / "middle", leaf):
        group["memory.min"] = "8M"
    memory = memory_of(leaf, 500)
    assert not reclaim(top, "1M")
    refuge["cgroup.procs"] = str(memory.task.pid)
    leaf.rmdir()
    (top / "middle").rmdir()
    reclaim(top, "2M")
    assert memory.states()[0] < 100


def test_switching_the_controller_off_and_on_starts_anew(tree):
    top, middle, _, other, _ = tree
    memory = memory_of(other, 200)
    other["memory.max"] = "64M"
    before = top.stat["anon"]
    middle["cgroup.subtree_control"] = "-memory"
    top["cgroup.subtree_control"] = "-memory"
    with pytest.raises(OSError, match="ENOENT"):
        other["memory.current"]
    assert top.stat["anon"] == before
    memory_of(other, 50)
    assert top.stat["anon"] == before + 50 * PAGE
    top["cgroup.subtree_control"] = "+memory"
    assert (other["memory.max"], other["memory.current"]) == ("max", "0")
    assert set(other.events.values()) == {0}
    # What was charged before stays with the state that is gone, and comes back to life nowhere.
    memory.pageout()
    assert memory.states() == (0, 200, 0)
    assert other.stat["zswapped"] == 0
    assert top.stat["zswapped"] == 200 * PAGE


def test_cache_of_a_removed_cgroup_is_charged_anew_only_once_it_went(tree):
    top, _, leaf, other, _ = tree
    first, second = memory_of(leaf, 1), memory_of(other, 1)
    file = file_of(top.host, 80)
    file.read(first)
    top.host.kill(first.task.pid)
    leaf.rmdir()
    file.read(second)
    assert (top.stat["file"], other.stat["file"]) == (80 * PAGE, 0)
    top.host.advance("3s")
    reclaim(top, "64M swappiness=0")
    assert top.stat["file"] == 0
    file.read(second)
    assert (top.stat["file"], other.stat["file"]) == (80 * PAGE, 80 * PAGE)
