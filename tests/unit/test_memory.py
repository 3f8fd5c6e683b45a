"""Page faults: what a touch finds, what it brings in, what happens to the slot, and who pays and is counted."""

import pytest
from mm_bench import PAGE, memory_of, reclaim, set_parameter, stat_change, vm_change


@pytest.fixture
def host(boot):
    host = boot()
    set_parameter(host, "proc/sys/vm/page-cluster", 0)
    return host


@pytest.fixture
def job(host):
    return host.mkdir("job")


def to_disk(memory, group):
    """All of a task's pages to the disk, and out of the swap cache."""
    set_parameter(memory.host, "zswap/enabled", "N")
    memory.pageout()
    reclaim(group, memory.space.nr_pages * PAGE)
    set_parameter(memory.host, "zswap/enabled", "Y")
    assert memory.states() == (0, 0, memory.space.nr_pages)


def test_a_first_touch_is_a_minor_fault(job):
    memory = memory_of(job, 100, touched=False)
    stat, vm = stat_change(job), vm_change(job.host)
    assert memory.states() == (0, 0, 0)
    memory.touch(10, 40)
    assert memory.states() == (30, 0, 0)
    assert (stat["pgfault"], stat["pgmajfault"], stat["anon"]) == (30, 0, 30 * PAGE)
    assert (vm["pgfault"], vm["pgmajfault"], vm["nr_anon_pages"]) == (30, 0, 30)
    memory.touch(0, 50, write=True)
    assert stat["pgfault"] == 50, "a page that is mapped does not fault"


def test_pages_in_any_order_are_touched_once_each(job):
    memory = memory_of(job, 100, touched=False)
    memory.touch_pages([7, 3, 7, 99, 3])
    assert memory.states() == (3, 0, 0)
    assert job.stat["pgfault"] == 3


def test_each_fault_is_a_major_one_without_readahead(job):
    memory = memory_of(job, 40)
    memory.pageout()
    stat, vm = stat_change(job), vm_change(job.host)
    memory.touch()
    assert (stat["pgfault"], stat["pgmajfault"], vm["pgmajfault"]) == (40, 40, 40)
    assert (stat["zswpin"], vm["zswpin"], vm["pswpin"], vm["swap_ra"]) == (40, 40, 0, 0)


def test_a_read_from_zswap_frees_the_entry_and_keeps_the_slot(job):
    memory = memory_of(job, 60, "rec:half")
    memory.pageout()
    swap = job["memory.swap.current"]
    stat = stat_change(job)
    memory.touch(0, 20)
    assert stat["zswapped"] == -20 * PAGE
    assert stat["zswap"] == -20 * 2082
    assert stat["swapcached"] == 20 * PAGE
    assert job["memory.swap.current"] == swap
    # The only copy now: it must be compressed again.
    stat.restart()
    assert memory.pageout(0, 20) == 20
    assert stat["zswpout"] == 20
    assert job["memory.swap.current"] == swap


def test_a_write_fault_frees_the_slot(job):
    memory = memory_of(job, 60)
    memory.pageout()
    memory.touch(0, 20, write=True)
    assert int(job["memory.swap.current"]) == 40 * PAGE
    assert job.stat["swapcached"] == 0


def test_a_write_to_a_page_mapped_by_a_read_keeps_its_slot(job):
    memory = memory_of(job, 60)
    memory.pageout()
    memory.touch(0, 20)
    stat = stat_change(job)
    memory.touch(0, 20, write=True)
    assert stat["pgfault"] == 0
    assert int(job["memory.swap.current"]) == 60 * PAGE


def test_a_clean_page_from_the_disk_is_dropped_without_io(job):
    memory = memory_of(job, 40)
    to_disk(memory, job)
    vm = vm_change(job.host)
    memory.touch()
    assert (vm["pswpin"], vm["pgpgin"], vm["zswpin"]) == (40, 160, 0)
    vm.restart()
    assert memory.pageout() == 40
    assert (vm["pswpout"], vm["zswpout"], vm["nr_vmscan_write"]) == (0, 0, 0)
    assert memory.states() == (0, 0, 40)


def test_a_page_from_the_disk_that_was_written_is_written_out_again(job):
    memory = memory_of(job, 2)
    to_disk(memory, job)
    memory.touch()
    memory.fill(1, b"new".ljust(PAGE, b"."))
    vm = vm_change(job.host)
    memory.pageout()
    assert vm["zswpout"] == 1
    assert memory.states() == (0, 1, 1)
    memory.touch()
    assert bytes(memory.space.contents([memory.space.base + 1])[0]) == b"new".ljust(PAGE, b".")


def test_contents_survive_every_way_out_and_back(job):
    contents = [bytes([number]) * 100 + bytes(PAGE - 100) for number in range(1, 11)]
    memory = memory_of(job, 10)
    for index, data in enumerate(contents):
        memory.fill(index, data)
    for out in (memory.pageout, lambda: to_disk(memory, job), memory.pageout):
        out()
        assert memory.states()[0] == 0
        memory.touch()
        base = memory.space.base
        assert [bytes(item) for item in memory.space.contents(range(base, base + 10))] == contents


def test_reads_free_the_slot_when_half_of_swap_is_used(boot):
    host = boot(swap="1M")
    set_parameter(host, "proc/sys/vm/page-cluster", 0)
    job = host.mkdir("job")
    memory = memory_of(job, 200)
    memory.pageout(0, 100)
    memory.touch(0, 10)
    assert int(job["memory.swap.current"]) == 100 * PAGE, "100 of 256 slots"
    memory.pageout(100, 150)
    memory.touch(10, 15)
    # 150 of 256 slots: each swap-in gives its own back.
    assert int(job["memory.swap.current"]) == 145 * PAGE


def test_reads_free_the_slot_when_half_of_swap_max_is_used_here_or_above(boot):
    host = boot()
    set_parameter(host, "proc/sys/vm/page-cluster", 0)
    top = host.mkdir("top")
    job = top.mkdir("job")
    memory = memory_of(job, 100)
    memory.pageout()
    top["memory.swap.max"] = 201 * PAGE
    memory.touch(0, 10)
    assert int(job["memory.swap.current"]) == 100 * PAGE
    top["memory.swap.max"] = 200 * PAGE
    memory.touch(10, 20)
    # The first one frees its slot; then 99 are less than half.
    assert int(job["memory.swap.current"]) == 99 * PAGE
    top["memory.swap.max"] = "max"
    job["memory.swap.high"] = 100 * PAGE
    memory.touch(20, 30)
    assert int(job["memory.swap.current"]) == 89 * PAGE


def test_an_exit_frees_pages_slots_and_entries_and_counts_nothing(job):
    memory = memory_of(job, 90)
    to_disk_part = memory_of(job, 30)
    to_disk(to_disk_part, job)
    memory.pageout(0, 60)
    memory.touch(0, 20)
    stat, vm = stat_change(job), vm_change(job.host)
    job.host.kill(memory.task.pid)
    job.host.kill(to_disk_part.task.pid)
    assert job.stat["anon"] == job.stat["zswap"] == job.stat["swapcached"] == 0
    assert int(job["memory.swap.current"]) == 0
    assert stat["zswpin"] == stat["zswpwb"] == vm["pswpin"] == 0


def test_faults_of_a_moved_task_are_paid_by_the_old_cgroup_and_counted_in_the_new(host):
    old, new = host.mkdir("old"), host.mkdir("new")
    memory = memory_of(old, 60)
    memory.pageout(0, 20)
    new["cgroup.procs"] = str(memory.task.pid)
    assert old.stat["anon"] == 40 * PAGE, "what is charged stays"
    old_stat, new_stat = stat_change(old), stat_change(new)
    memory.touch(0, 20)
    assert (old_stat["zswpin"], old_stat["workingset_refault_anon"], old_stat["anon"]) == (20, 20, 20 * PAGE)
    assert (new_stat["zswpin"], new_stat["workingset_refault_anon"], new_stat["anon"]) == (0, 0, 0)
    assert (old_stat["pgfault"], old_stat["pgmajfault"]) == (0, 0)
    assert (new_stat["pgfault"], new_stat["pgmajfault"]) == (20, 20)
    assert int(old["memory.swap.current"]) == 20 * PAGE


def test_a_fault_costs_what_it_needs(boot):
    host = boot(cost="touch=100ns,minor_fault=1us,zswap_load=10us,swap_read=1ms,swap_read_page=0ns")
    set_parameter(host, "proc/sys/vm/page-cluster", 0)
    job = host.mkdir("job")
    memory = memory_of(job, 10, touched=False)
    assert memory.touch() == 10 * (100 + 1000)
    assert memory.touch() == 10 * 100
    memory.pageout()
    assert memory.touch() == 10 * (100 + 1000 + 10_000)
    to_disk(memory, job)
    assert memory.touch() == 10 * (100 + 1000 + 1_000_000)


def test_a_task_stuck_at_its_limit_sleeps_between_its_faults(boot):
    # Nothing can be reclaimed and nobody may be killed.
    host = boot(swap=0)
    job = host.mkdir("job")
    memory = memory_of(job, 40, touched=False, oom_score_adj=-1000)
    job["memory.max"] = 20 * PAGE
    with host.locked():
        work = host.task_memory.touch_range(memory.task, memory.space, 0, 40, True)
        sleeps = []
        while len(sleeps) < 3:
            pause = next(work)
            if pause:
                sleeps.append(pause)
        work.close()
    assert sleeps == [3_500_000] * 3
    assert memory.states() == (20, 0, 0)
    assert job.events["oom"] == 3
    assert job.events["oom_kill"] == 0
