"""Swap readahead: how many neighbours come in with a page, which, and what is counted."""

import pytest
from mm_bench import memory_of, set_parameter, stat_change, vm_change


@pytest.fixture
def job(boot):
    return boot().mkdir("job")


def resident(memory):
    """Numbers of the pages in memory."""
    table, base = memory.host.machine.table, memory.space.base
    return [index for index in range(memory.space.nr_pages) if table.flags[base + index] & 1]


@pytest.mark.parametrize(("page_cluster", "nr_major"), [(0, 512), (1, 256), (2, 128), (3, 64), (5, 16)])
def test_a_sequential_reader_faults_once_a_window(job, page_cluster, nr_major):
    set_parameter(job.host, "proc/sys/vm/page-cluster", page_cluster)
    memory = memory_of(job, 512)
    memory.pageout()
    stat, vm = stat_change(job), vm_change(job.host)
    memory.touch()
    assert stat["pgfault"] == 512
    # The window grows to its full size in the first few faults.
    assert nr_major <= stat["pgmajfault"] <= nr_major + 4
    assert stat["zswpin"] == 512
    assert vm["swap_ra"] == vm["swap_ra_hit"] == 512 - stat["pgmajfault"]


def test_it_is_the_same_from_the_disk(job):
    set_parameter(job.host, "zswap/enabled", "N")
    memory = memory_of(job, 512)
    memory.pageout()
    memory.pageout()
    job["memory.reclaim"] = "2M"
    assert memory.states() == (0, 0, 512)
    stat, vm = stat_change(job), vm_change(job.host)
    memory.touch()
    assert 64 <= stat["pgmajfault"] <= 68
    assert vm["pswpin"] == 512


def test_a_window_lies_ahead_of_a_reader_that_goes_up(job):
    memory = memory_of(job, 512)
    memory.pageout()
    memory.touch_pages(range(100, 137))
    # The first fault has its window around it; from then on windows begin at the fault.
    assert 97 <= min(resident(memory)) <= 100
    assert 136 <= max(resident(memory)) <= 144


def test_a_window_lies_behind_a_reader_that_goes_down(job):
    memory = memory_of(job, 512)
    memory.pageout()
    memory.touch_pages(range(300, 250, -1))
    vm = vm_change(job.host)
    memory.touch_pages(range(250, 210, -1))
    assert max(resident(memory)) <= 304
    assert vm["pgmajfault"] <= 40 // 8 + 1


@pytest.mark.parametrize("cost", ["instant", "virtio"])
def test_the_window_shrinks_when_what_it_brings_is_not_used(boot, cost):
    job = boot(cost=cost).mkdir("job")
    memory = memory_of(job, 4000)
    memory.pageout()
    spread = [(index * 617) % 4000 for index in range(200)]
    memory.touch_pages(spread[:100])
    vm = vm_change(job.host)
    memory.touch_pages(spread[100:])
    # Nobody's neighbours are asked for: soon single pages are read.
    assert vm["swap_ra"] <= 10
    assert vm["zswpin"] <= 110


def test_a_window_ends_with_the_mapping(job):
    memory = memory_of(job, 20)
    other = memory_of(job, 20)
    memory.pageout()
    other.pageout()
    memory.touch_pages([19, 18, 17])
    assert other.states() == (0, 20, 0)


def test_a_window_stays_within_a_page_table(job):
    memory = memory_of(job, 1024)
    memory.pageout()
    memory.touch(500, 510)
    memory.touch_pages([510, 511])
    assert 512 not in resident(memory)


def test_pages_of_a_window_that_are_in_memory_are_left_alone(job):
    memory = memory_of(job, 64)
    memory.pageout(0, 32)
    stat = stat_change(job)
    memory.touch(0, 64)
    assert stat["zswpin"] == 32


def test_a_turning_disk_reads_ahead_by_slot(boot):
    host = boot(cost="virtio")
    job = host.mkdir("job")
    memory = memory_of(job, 64)
    # Slots in the order of reclaim: even pages first.
    for index in [*range(0, 64, 2), *range(1, 64, 2)]:
        memory.pageout(index, index + 1)
    assert memory.states()[0] == 0
    memory.touch_pages([20])
    brought = resident(memory)
    assert len(brought) == 8
    assert all(index % 2 == 0 for index in brought)


def test_readahead_by_slot_crosses_owners(boot):
    host = boot(cost="virtio")
    first, second = host.mkdir("first"), host.mkdir("second")
    one, two = memory_of(first, 4), memory_of(second, 60)
    one.pageout()
    two.pageout()
    one.touch_pages([3])
    assert two.states()[0] > 0
    assert second.stat["anon"] == 0, "it is in the swap cache, charged to its owner, but nobody maps it"
    assert second.stat["swapcached"] > 0
