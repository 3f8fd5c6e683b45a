"""Swap devices: which is used first, which slots, what happens when they are full, fail, or are taken away."""

import re

import pytest
from mm_bench import PAGE, memory_of, reclaim, set_parameter, stat_change, swap_events, vm_change

from fakecg.abi.errors import DataLost, InvalidInput, NoMemory, UsageError
from fakecg.mm.swapoff import swapoff


def used(host):
    """Pages in use on each device, in order of priority."""
    return [device.nr_used for device in host.machine.swap.devices]


def slots_of(memory, start=0, stop=None):
    base = memory.space.base
    return list(memory.host.machine.table.slot[base + start : base + (memory.space.nr_pages if stop is None else stop)])


@pytest.fixture
def disk(boot):
    """A machine whose pages go straight to the disk, one by one."""
    host = boot()
    set_parameter(host, "zswap/enabled", "N")
    set_parameter(host, "proc/sys/vm/page-cluster", 0)
    return host


def out(memory, group):
    """A task's pages to the disk and out of memory."""
    memory.pageout()
    reclaim(group, memory.space.nr_pages * PAGE)


# -- slots --------------------------------------------------------------------------------------------------------------------------------


def test_a_batch_gets_neighbouring_slots(disk):
    job = disk.mkdir("job")
    memory = memory_of(job, 64)
    memory.pageout()
    slots = slots_of(memory)
    assert slots == list(range(slots[0], slots[0] + 64))


def test_freed_slots_come_back_as_neighbours(boot):
    host = boot(swap="1M")
    job = host.mkdir("job")
    first, hole, last = (memory_of(job, 80) for _ in range(3))
    for memory in (first, hole, last):
        memory.pageout()
    wanted = slots_of(hole)
    host.kill(hole.task.pid)
    assert used(host) == [160]
    again = memory_of(job, 90)
    again.pageout()
    # 16 slots were never used, then comes the hole.
    assert sorted(slots_of(again))[:74] == wanted[:74]
    assert host.machine.swap.nr_free == 256 - 250


def test_the_highest_priority_is_used_first(boot):
    host = boot(swap=["1M,prio=1", "1M,prio=9", "1M,prio=5"])
    job = host.mkdir("job")
    memory = memory_of(job, 600)
    memory.pageout(0, 200)
    assert used(host) == [200, 0, 0]
    memory.pageout(200, 400)
    assert used(host) == [256, 144, 0]
    memory.pageout(400, 600)
    assert used(host) == [256, 256, 88]
    assert [device.priority for device in host.machine.swap.devices] == [9, 5, 1]


def test_devices_without_a_priority_come_in_order(boot):
    host = boot(swap=["1M", "1M"])
    assert [device.priority for device in host.machine.swap.devices] == [-2, -3]
    memory_of(host.mkdir("job"), 100).pageout()
    assert used(host) == [100, 0]


def test_devices_of_one_priority_take_turns(boot):
    host = boot(swap=["4M,prio=3", "4M,prio=3"])
    memory = memory_of(host.mkdir("job"), 640)
    for start in range(0, 640, 32):
        memory.pageout(start, start + 32)
    assert min(used(host)) >= 200


def test_pages_beside_a_devices_end_are_written_to_their_own_device(boot):
    host = boot(swap=["1M,prio=2", "1M,prio=1"])
    set_parameter(host, "zswap/enabled", "N")
    job = host.mkdir("job")
    memory = memory_of(job, 300)
    out(memory, job)
    assert memory.states() == (0, 0, 300)
    assert host.verify() == 300
    memory.touch()
    assert host.vmstat["pswpin"] == 300


# -- full ---------------------------------------------------------------------------------------------------------------------------------


def test_a_full_device_leaves_pages_in_memory(boot):
    host = boot(swap="256K")
    job = host.mkdir("job")
    memory = memory_of(job, 100)
    assert memory.pageout() == 64
    assert swap_events(job) == {"high": 0, "max": 0, "fail": 36}
    assert job.stat["active_anon"] == 36 * PAGE, "refused pages are activated"


def test_without_slots_reclaim_leaves_anonymous_memory_alone(boot):
    host = boot(swap="256K")
    job = host.mkdir("job")
    memory_of(job, 200).pageout(0, 64)
    stat = stat_change(job)
    assert not reclaim(job, "256K")
    assert (stat["pgscan"], stat["pgsteal"]) == (0, 0)


def test_swap_max_refuses_at_the_limit_and_counts_with_the_page(boot):
    # The parent's limit is hit; the events are the child's, and so the parent's too.
    top = boot().mkdir("top")
    job = top.mkdir("job")
    top["memory.swap.max"] = 20 * PAGE
    memory = memory_of(job, 50)
    assert memory.pageout() == 20
    assert swap_events(job) == swap_events(top) == {"high": 0, "max": 30, "fail": 30}
    assert int(job["memory.swap.current"]) == 20 * PAGE


def test_lowering_swap_max_brings_nothing_back(boot):
    job = boot().mkdir("job")
    memory = memory_of(job, 50)
    memory.pageout(0, 30)
    job["memory.swap.max"] = 10 * PAGE
    job.host.advance("10s")
    assert int(job["memory.swap.current"]) == 30 * PAGE
    assert not reclaim(job, 10 * PAGE)
    assert memory.states() == (20, 30, 0)


def test_with_swap_max_0_not_even_zswap_takes_a_page(boot):
    job = boot().mkdir("job")
    job["memory.swap.max"] = 0
    memory_of(job, 50)
    assert not reclaim(job, "100K")
    assert job.stat["zswpout"] == 0


# -- faults -------------------------------------------------------------------------------------------------------------------------------


def test_a_failed_write_keeps_the_pages_in_memory_and_says_so(disk, no_warnings):
    no_warnings.append("injected write error")
    job = disk.mkdir("job")
    memory = memory_of(job, 40)
    disk.inject_swap_fault("write")
    assert memory.pageout() == 0
    assert memory.states() == (40, 0, 0)
    assert disk.vmstat["pswpout"] == 0
    assert disk.verify() == 40
    reclaim(job, "160K")
    reclaim(job, "160K")
    assert memory.states() == (0, 0, 40), "the next attempt is made as if nothing had been"
    assert disk.verify() == 40


def test_a_failed_writeback_from_zswap_loses_nothing(boot, no_warnings):
    no_warnings.append("injected write error")
    host = boot(proactive="v2")
    job = host.mkdir("job")
    memory = memory_of(job, 40)
    memory.pageout()
    host.inject_swap_fault("write", 100)
    reclaim(job, "160K zswap_writeback_only")
    assert memory.states()[2] == 0
    assert host.verify() == 40
    host.inject_swap_fault("write", 0)
    reclaim(job, "160K")
    assert host.verify() == 40


def test_a_failed_read_kills_the_task_that_needed_the_page_and_names_it(disk, no_warnings):
    job = disk.mkdir("job")
    task = disk.spawn(job, size="160K", content="half", access="seq:100/s")
    bystander = memory_of(job, 40)
    out(bystander, job)
    reclaim(job, "320K")
    base, table = disk.jobs[task.pid].spaces[0].base, disk.machine.table
    slots = list(table.slot[base : base + 40])
    disk.inject_swap_fault("read")
    disk.advance("1s")
    found = re.fullmatch(rf"task {task.pid} memory page (\d+): .*injected read error at slot (\d+)", disk.last_error)
    assert found
    no_warnings.append(disk.last_error)
    assert slots[int(found[1])] == int(found[2])
    assert not task.is_alive
    assert job["cgroup.procs"] == str(bystander.task.pid)
    assert disk.vmstat["oom_kill"] == 0
    # Nothing else is lost.
    assert bystander.task.is_alive
    bystander.touch()
    assert disk.verify() == 40


def test_a_failed_read_of_a_neighbour_kills_nobody(boot):
    host = boot()
    set_parameter(host, "zswap/enabled", "N")
    job = host.mkdir("job")
    memory = memory_of(job, 64)
    out(memory, job)
    memory.touch(0, 16)
    device = host.swap_device()
    real_read = device.read
    bad = host.machine.table.slot[memory.space.base + 20]

    def read(slot):
        if slot == bad:
            raise DataLost("bad slot")
        return real_read(slot)

    device.read = read
    memory.touch_pages([16])
    assert memory.task.is_alive
    with pytest.raises(DataLost, match=f"task {memory.task.pid} memory page 20"):
        memory.touch_pages([20])
    device.read = real_read
    memory.touch()


def test_a_device_said_to_be_full_gives_no_slots_until_it_is_not(boot):
    host = boot()
    job = host.mkdir("job")
    memory = memory_of(job, 20)
    host.inject_swap_fault("full")
    assert memory.pageout() == 0
    assert swap_events(job)["fail"] == 20
    host.inject_swap_fault("full", 0)
    reclaim(job, 20 * PAGE)
    reclaim(job, 20 * PAGE)
    assert memory.states() == (0, 20, 0)


def test_an_unknown_fault_or_device_is_refused(boot):
    host = boot()
    with pytest.raises(UsageError, match="unknown swap fault"):
        host.inject_swap_fault("smoke")
    with pytest.raises(UsageError, match="no swap device"):
        host.inject_swap_fault("read", device="/dev/nowhere")


# -- swapoff ------------------------------------------------------------------------------------------------------------------------------


def test_swapoff_brings_everything_in(disk):
    job = disk.mkdir("job")
    on_disk, zero = memory_of(job, 30), memory_of(job, 20, "zero")
    out(on_disk, job)
    zero.pageout()
    set_parameter(disk, "zswap/enabled", "Y")
    in_zswap = memory_of(job, 40)
    in_zswap.pageout()
    vm = vm_change(disk)
    assert disk.swapoff() == 90
    assert [each.states() for each in (on_disk, zero, in_zswap)] == [(30, 0, 0), (20, 0, 0), (40, 0, 0)]
    assert (vm["pswpin"], vm["swpin_zero"], vm["zswpin"]) == (30, 20, 40)
    assert int(job["memory.swap.current"]) == 0
    assert job.stat["swapcached"] == 0
    assert disk.machine.swap.nr_slots == 0
    assert disk.verify() == 90


def test_swapoff_of_one_device_leaves_the_other(boot):
    host = boot(swap=["1M,prio=2", "1M,prio=1"])
    job = host.mkdir("job")
    memory = memory_of(job, 300)
    memory.pageout()
    assert used(host) == [256, 44]
    assert host.swapoff(host.machine.swap.devices[0].name) == 256
    assert memory.states() == (256, 44, 0)
    assert used(host) == [44]


def test_swapoff_fails_when_it_does_not_fit_and_the_device_stays(boot):
    host = boot()
    job = host.mkdir("job")
    memory = memory_of(job, 200, "rec:same")
    memory.pageout()
    job["memory.swap.max"] = 0
    job["memory.max"] = 100 * PAGE
    with pytest.raises(NoMemory, match="does not fit"):
        host.swapoff()
    job["memory.max"] = job["memory.swap.max"] = "max"
    assert host.swap_device().nr_slots == 64 << 8
    assert host.swapoff() > 0
    assert memory.states() == (200, 0, 0)


def test_swapoff_fails_at_a_page_that_cannot_be_read_and_can_be_repeated(disk):
    job = disk.mkdir("job")
    memory = memory_of(job, 30)
    out(memory, job)
    disk.inject_swap_fault("read")
    with pytest.raises(DataLost):
        disk.swapoff()
    assert memory.states()[2] == 30
    assert disk.swapoff() == 30
    assert disk.verify() == 30


def test_a_device_is_taken_out_of_use_by_one_at_a_time(disk):
    job = disk.mkdir("job")
    memory = memory_of(job, 30)
    out(memory, job)
    device = disk.swap_device()
    with disk.locked():
        first = swapoff(disk.machine, device)
        next(first)
        with pytest.raises(InvalidInput):
            next(swapoff(disk.machine, device))
        assert device.alloc(1) == ()
        assert disk.drive(first) == 30


def test_a_signal_ends_swapoff_and_leaves_the_device_in_use(disk):
    job = disk.mkdir("job")
    memory = memory_of(job, 30)
    out(memory, job)
    answers = iter([False] * 10 + [True])
    with pytest.raises(InterruptedError):
        disk.swapoff(interrupted=lambda: next(answers))
    assert memory.states()[0] == 11
    assert disk.machine.swap.nr_used == 19
    assert disk.swapoff() == 19


def test_a_page_that_comes_in_by_itself_during_swapoff_loses_its_slot_too(disk):
    job = disk.mkdir("job")
    memory = memory_of(job, 30)
    out(memory, job)
    with disk.locked():
        work = swapoff(disk.machine, disk.swap_device())
        for _ in range(5):
            next(work)
    memory.touch()
    with disk.locked():
        disk.drive(work)
    assert disk.machine.swap.nr_slots == disk.machine.swap.nr_used == 0
    assert memory.states() == (30, 0, 0)
