"""The order in which zswap entries are written back: second chance, and what becomes of a removed cgroup's entries."""

import pytest
from mm_bench import PAGE, memory_of, reclaim, set_parameter, stat_change


def entries(group, node=0):
    """Slots of a cgroup's own entries, oldest first, each with its referenced bit."""
    memcg = group.cgroup.css["memory"]
    zswap = memcg.mm.zswap
    lru = memcg.zswap_lrus[node]
    return [(slot, zswap.referenced[slot]) for slot in zswap.links.oldest(lru, lru.size)]


def pages_of(memory, entries):
    """Page numbers of entries."""
    swap = memory.host.machine.swap
    return [swap.page[slot] - memory.space.base for slot, _ in entries]


def write_back(group, nr_pages):
    """v2 of the proposal; False for EAGAIN."""
    return reclaim(group, f"{nr_pages * PAGE} zswap_writeback_only")


@pytest.fixture
def host(boot):
    return boot(proactive="v1,v2")


@pytest.fixture
def job(host):
    return host.mkdir("job")


def test_entries_stand_in_the_order_of_their_stores_and_are_referenced(job):
    memory = memory_of(job, 40)
    memory.pageout(20, 40)
    memory.pageout(0, 20)
    assert pages_of(memory, entries(job)) == [*range(20, 40), *range(20)]
    assert all(referenced for _, referenced in entries(job))


def test_a_page_stored_again_is_the_youngest(job):
    set_parameter(job.host, "proc/sys/vm/page-cluster", 0)
    memory = memory_of(job, 20)
    memory.pageout()
    memory.touch_pages([3])
    memory.pageout()
    assert pages_of(memory, entries(job)) == [*range(3), *range(4, 20), 3]


def test_a_fresh_entry_has_a_second_chance(job):
    memory = memory_of(job, 300)
    memory.pageout()
    # A visit of 128 looks for one page clears bits and puts those entries behind the others.
    stat = stat_change(job)
    job["memory.zswap.max"] = PAGE
    memory_of(job, 1).pageout()
    assert stat["zswpwb"] == 0
    assert pages_of(memory, entries(job))[-1] == 0
    assert [referenced for _, referenced in entries(job)] == [1] * 299 + [0]


def test_an_entry_looked_at_twice_is_written(job):
    memory = memory_of(job, 40)
    memory.pageout()
    # For one page 16 entries are looked at: 0-15 and 16-31 lose their bit, then 32-39 do, and 0-7 are written.
    assert write_back(job, 1)
    assert job.stat["zswpwb"] == 8
    assert pages_of(memory, entries(job)) == list(range(8, 40))
    assert not any(referenced for _, referenced in entries(job))


def test_a_written_back_page_is_a_clean_page_of_the_swap_cache(job):
    memory = memory_of(job, 64, "rec:half")
    memory.pageout()
    stat = stat_change(job)
    swap = job["memory.swap.current"]
    assert write_back(job, 64)
    assert memory.states() == (64, 0, 0)
    assert stat["zswpwb"] == job.host.vmstat["pswpout"] == stat["workingset_refault_anon"] == 64
    assert stat["swapcached"] == 64 * PAGE
    assert stat["zswapped"] == -64 * PAGE
    assert (stat["zswpin"], stat["pgsteal"]) == (0, 0)
    assert job["memory.swap.current"] == swap
    # The next reclaim only drops them.
    reclaim(job, 64 * PAGE)
    assert memory.states() == (0, 0, 64)
    assert job.host.vmstat["pswpout"] == 64


def test_the_entries_of_a_removed_cgroup_are_the_oldest_of_its_parent(job):
    child = job.mkdir("child")
    job.host.mkdir("other")
    task_in_child = memory_of(child, 10)
    task_in_child.pageout()
    before = entries(child)
    zswap = job.stat["zswap"], job.stat["zswapped"], job["memory.zswap.current"], job["memory.swap.current"]
    # The pages outlive their cgroup: their task moves out, their entries stay.
    job.host.group("other")["cgroup.procs"] = str(task_in_child.task.pid)
    child.rmdir()
    assert entries(job) == before
    assert (job.stat["zswap"], job.stat["zswapped"], job["memory.zswap.current"], job["memory.swap.current"]) == zswap


def test_a_removed_cgroups_entries_stand_before_its_parents_own(boot):
    # parent: as it may not have tasks, its own entries are those of an earlier child.
    host = boot(proactive="v1,v2")
    parent, refuge = host.mkdir("parent"), host.mkdir("refuge")
    stored = []
    for name in ("first", "second"):
        child = parent.mkdir(name)
        memory = memory_of(child, 10)
        memory.pageout()
        stored.append(entries(child))
        refuge["cgroup.procs"] = str(memory.task.pid)
        child.rmdir()
    assert entries(parent) == stored[1] + stored[0]
    assert parent.stat["zswapped"] == 20 * PAGE


def test_the_parents_setting_counts_for_inherited_entries(boot):
    host = boot(proactive="v1,v2")
    parent, refuge = host.mkdir("parent"), host.mkdir("refuge")
    child = parent.mkdir("child")
    child["memory.zswap.writeback"] = 0
    memory = memory_of(child, 10)
    memory.pageout()
    assert not write_back(parent, 10)
    refuge["cgroup.procs"] = str(memory.task.pid)
    child.rmdir()
    assert write_back(parent, 10)
    assert parent.stat["zswpwb"] == 10


def test_loads_of_inherited_entries_are_credited_to_the_parent(boot):
    host = boot()
    parent, refuge = host.mkdir("parent"), host.mkdir("refuge")
    child = parent.mkdir("child")
    memory = memory_of(child, 16)
    memory.pageout()
    refuge["cgroup.procs"] = str(memory.task.pid)
    child.rmdir()
    memory.touch()
    assert parent.stat["zswpin"] == 16
    assert refuge.stat["zswpin"] == 0
    # The dead cgroup cannot be charged any more: who needs the pages pays.
    assert refuge.stat["anon"] == 16 * PAGE


def test_cursors_move_past_a_removed_cgroup(boot):
    # v1's turn stands on b when b goes: it moves on to c, and the next call goes on behind that.
    host = boot(proactive="v1")
    top = host.mkdir("top")
    groups = [top.mkdir(name) for name in "abc"]
    memories = [memory_of(group, 40) for group in groups]
    for memory in memories:
        memory.pageout()
    host.advance("10s")
    top["memory.zswap.proactive_writeback"] = f"max={PAGE} 1"
    assert groups[0].stat["zswpwb"] > 0
    top["memory.zswap.proactive_writeback"] = f"max={PAGE} 1"
    assert groups[1].stat["zswpwb"] > 0
    memcg = top.cgroup.css["memory"]
    assert memcg.writeback_cursor is groups[1].cgroup.css["memory"]
    host.kill(memories[1].task.pid)
    groups[1].rmdir()
    assert memcg.writeback_cursor is groups[2].cgroup.css["memory"]
    before = groups[0].stat["zswpwb"]
    top["memory.zswap.proactive_writeback"] = f"max={PAGE} 1"
    assert groups[0].stat["zswpwb"] > before
    assert groups[2].stat["zswpwb"] == 0
    top["memory.zswap.proactive_writeback"] = "1"
    assert groups[0].stat["zswapped"] == groups[2].stat["zswapped"] == 0


def test_lists_are_kept_by_node(boot):
    host = boot(nodes=2)
    job = host.mkdir("job")
    memory = memory_of(job, 40, touched=False)
    memory.space.node_of = [0] * 10 + [1] * 30
    memory.touch(write=True)
    memory.pageout()
    assert pages_of(memory, entries(job, 0)) == list(range(10))
    assert pages_of(memory, entries(job, 1)) == list(range(10, 40))


def test_entries_outlive_the_end_of_zswap(job):
    memory = memory_of(job, 20)
    memory.pageout()
    set_parameter(job.host, "zswap/enabled", "N")
    assert write_back(job, 5)
    assert job.stat["zswpwb"] >= 5
