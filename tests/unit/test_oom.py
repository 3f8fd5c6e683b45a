"""Out of memory: who is killed, who goes along, and where it is counted."""

import pytest
from mm_bench import PAGE, memory_of

EVENTS = ("oom", "oom_kill", "oom_group_kill")


def oom_events(group):
    return tuple(group.events[key] for key in EVENTS)


def local_events(group):
    local = dict(line.split() for line in group["memory.events.local"].splitlines())
    return tuple(int(local[key]) for key in EVENTS)


@pytest.fixture
def top(boot):
    return boot(swap=0).mkdir("top")


def exhaust(group, nr_pages=1):
    """Leave no room in a cgroup: somebody there must go."""
    group["memory.max"] = group.stat["anon"] + group.stat["kernel"] - nr_pages * PAGE


def test_the_largest_process_goes(top):
    sizes = [100, 300, 200]
    memories = [memory_of(top, size) for size in sizes]
    exhaust(top)
    assert [memory.task.is_alive for memory in memories] == [True, False, True]
    assert top["memory.current"] == str(300 * PAGE)


def test_swapped_and_compressed_pages_count(boot):
    job = boot().mkdir("job")
    large, small = memory_of(job, 400, "rec:half"), memory_of(job, 300)
    large.pageout()
    job["memory.swap.max"] = 0
    exhaust(job, 64)
    assert (large.task.is_alive, small.task.is_alive) == (False, True)


def test_oom_score_adj_shifts_the_choice(boot):
    host = boot(ram="64M", swap=0)
    job = host.mkdir("job")
    job["memory.max"] = 1000 * PAGE
    # Thousandths of the limit: 300 + 0 against 100 + 250 pages.
    large, small = memory_of(job, 300), memory_of(job, 100, oom_score_adj=250)
    memory_of(job, 700, touched=False).touch(0, 650, write=True)
    assert (large.task.is_alive, small.task.is_alive) == (True, True), "the newcomer was the largest"
    rest = memory_of(job, 590, oom_score_adj=-1000)
    assert rest.states() == (590, 0, 0)
    filler = memory_of(job, 50, touched=False, oom_score_adj=-1000)
    filler.touch(write=True)
    assert (large.task.is_alive, small.task.is_alive) == (True, False)


def test_an_unkillable_process_is_never_chosen(top):
    large, small = memory_of(top, 300, oom_score_adj=-1000), memory_of(top, 50)
    exhaust(top)
    assert (large.task.is_alive, small.task.is_alive) == (True, False)


def test_only_the_limits_subtree_is_looked_at(top):
    inside, outside = top.mkdir("inside"), top.mkdir("outside")
    small, large = memory_of(inside, 100), memory_of(outside, 500)
    exhaust(inside)
    assert (small.task.is_alive, large.task.is_alive) == (False, True)


def test_oom_is_counted_at_the_limit_and_the_kill_at_the_victim(top):
    # top: the limit
    #   middle
    #     leaf: the victim
    middle = top.mkdir("middle")
    leaf = middle.mkdir("leaf")
    memory_of(leaf, 100)
    exhaust(top)
    assert local_events(top)[0] >= 1
    assert local_events(top)[1:] == (0, 0)
    assert local_events(middle) == (0, 0, 0)
    assert local_events(leaf) == (0, 1, 0)
    assert oom_events(leaf) == (0, 1, 0)
    assert oom_events(middle) == (0, 1, 0)
    assert oom_events(top)[1] == 1
    assert top.host.vmstat["oom_kill"] == 1


def test_a_group_goes_as_a_whole(top):
    group, other = top.mkdir("group"), top.mkdir("other")
    group["memory.oom.group"] = 1
    members = [memory_of(group, size) for size in (100, 200, 50)]
    bystander = memory_of(other, 150)
    exhaust(top)
    assert not any(memory.task.is_alive for memory in members)
    assert bystander.task.is_alive
    # Three processes, the first of them counted once more: as recorded.
    assert local_events(group) == (0, 4, 1)
    assert oom_events(top)[1:] == (4, 1)
    assert top.host.vmstat["oom_kill"] == 4


def test_unkillable_members_of_a_group_are_spared(top):
    group = top.mkdir("group")
    group["memory.oom.group"] = 1
    victim, spared = memory_of(group, 200), memory_of(group, 50, oom_score_adj=-1000)
    exhaust(top)
    assert (victim.task.is_alive, spared.task.is_alive) == (False, True)
    assert local_events(group) == (0, 2, 1)


def test_the_highest_group_below_the_limit_goes(top):
    # top: the limit, a group itself
    #   middle: a group
    #     leaf: the victim's, a group
    #   other
    middle, other = top.mkdir("middle"), top.mkdir("other")
    leaf, cousin = middle.mkdir("leaf"), middle.mkdir("cousin")
    for group in (middle, leaf):
        group["memory.oom.group"] = 1
    victim, near, far = memory_of(leaf, 300), memory_of(cousin, 20), memory_of(other, 20)
    exhaust(top)
    assert (victim.task.is_alive, near.task.is_alive, far.task.is_alive) == (False, False, True)
    assert local_events(middle) == (0, 0, 1)
    assert local_events(leaf)[2] == 0
    top["memory.oom.group"] = 1
    exhaust(top)
    assert not far.task.is_alive
    assert local_events(top)[2] == 1


def test_a_group_above_the_limit_is_left_alone(top):
    group = top.mkdir("group")
    top["memory.oom.group"] = 1
    victim, other = memory_of(group, 100), memory_of(top.mkdir("other"), 100)
    exhaust(group)
    assert (victim.task.is_alive, other.task.is_alive) == (False, True)
    assert top.events["oom_group_kill"] == 0


def test_with_nobody_to_kill_oom_is_counted_alone(top):
    memory_of(top, 100, oom_score_adj=-1000)
    exhaust(top)
    assert oom_events(top)[0] >= 1
    assert oom_events(top)[1:] == (0, 0)


def test_a_victims_pages_slots_and_entries_are_free_at_once(boot):
    job = boot().mkdir("job")
    memory = memory_of(job, 400, "rec:half")
    memory.pageout(0, 300)
    job["memory.swap.max"] = 0
    job["memory.max"] = 10 * PAGE
    assert not memory.task.is_alive
    assert (job["memory.current"], job["memory.swap.current"], job["memory.zswap.current"]) == ("0", "0", "0")
    assert job["cgroup.procs"] == ""
    assert "populated 0" in job["cgroup.events"]


def test_a_machine_out_of_memory_kills_the_largest_of_all(boot):
    host = boot(ram="8M", swap=0)
    small, large = memory_of(host.mkdir("a"), 300), memory_of(host.mkdir("b"), 800)
    last = memory_of(host.mkdir("c"), 1200)
    assert not large.task.is_alive or not last.task.is_alive
    assert small.task.is_alive
    assert host.vmstat["oom_kill"] >= 1
    assert host.group("b").events["oom_kill"] + host.group("c").events["oom_kill"] == host.vmstat["oom_kill"]
