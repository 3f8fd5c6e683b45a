"""Reclaim: which pages go, in which order, from which lists and which cgroups, and what is counted."""

import pytest
from mm_bench import PAGE, file_of, memory_of, reclaim, set_parameter, stat_change, vm_change

from fakecg.mm.scan_control import inactive_is_low


@pytest.fixture
def job(boot):
    return boot().mkdir("job")


def settle(group):
    """Scan everything once, so that no page is young and none is on its way to a list."""
    group.host.advance("3s")
    reclaim(group, "4K")


# -- second chance ------------------------------------------------------------------------------------------------------------------------


def test_the_first_reclaim_after_a_fill_rotates_everything_once(job):
    memory = memory_of(job, 4096)
    stat, vm = stat_change(job), vm_change(job.host)
    assert reclaim(job, PAGE)
    # One round over the list to clear the young bits, then a batch or two are freed.
    assert 4096 <= stat["pgscan"] <= 4096 + 4 * 32
    assert 32 <= stat["pgsteal"] <= 64
    assert stat["pgactivate"] == 0
    assert memory.states()[0] == 4096 - stat["pgsteal"]
    stat.restart()
    assert reclaim(job, "4M")
    assert stat["pgscan"] == stat["pgsteal"] >= 1024
    assert (vm["pgscan_anon"], vm["pgsteal_anon"]) == (job.stat["pgscan"], job.stat["pgsteal"])
    assert vm["pgscan_direct"] == 0, "reclaim on behalf of a cgroup is not counted there"


def test_pages_go_in_the_order_they_came(job):
    memory = memory_of(job, 2048)
    settle(job)
    reclaim(job, "2M")
    table, base = job.host.machine.table, memory.space.base
    resident = [bool(table.flags[base + index] & 1) for index in range(2048)]
    nr_gone = 2048 - sum(resident)
    assert nr_gone >= 512
    assert resident == [False] * nr_gone + [True] * (2048 - nr_gone)


def test_a_page_touched_since_the_last_scan_stays_a_round_longer(job):
    memory = memory_of(job, 1024)
    settle(job)
    memory.touch(64, 128)
    reclaim(job, "1M")
    table, base = job.host.machine.table, memory.space.base
    assert all(table.flags[base + index] & 1 for index in range(64, 128))
    assert not any(table.flags[base + index] & 1 for index in range(128, 256))


def test_a_page_found_young_twice_is_activated(job):
    memory = memory_of(job, 256)
    settle(job)
    # Its first round set the referenced flag; young once more in the second, a page is activated.
    hot = range(100, 110)
    stat = stat_change(job)
    memory.touch_pages(hot)
    reclaim(job, "400K")
    table, base = job.host.machine.table, memory.space.base
    assert stat["pgactivate"] == 10
    assert job.stat["active_anon"] == 10 * PAGE
    assert all(table.flags[base + index] & 1 for index in hot)


def test_deactivated_pages_are_a_workingset(job):
    memory = memory_of(job, 256)
    for _ in range(2):
        memory.touch(write=True)
        settle(job)
    assert job.stat["active_anon"] > 0
    job.host.advance("3s")
    stat = stat_change(job)
    reclaim(job, "64M")
    assert stat["pgdeactivate"] == stat["pgrefill"] > 0
    memory.touch()
    assert stat["workingset_refault_anon"] == 256


@pytest.mark.parametrize(
    ("inactive", "active", "is_low"),
    # Pages. Below 1 GiB of a type as many inactive as active ones are enough; at 1 GiB a third (sqrt 10), at 10 GiB a tenth.
    [
        (100, 100, False),
        (99, 100, True),
        (0, 0, False),
        (60_000, 202_144, True),
        (90_000, 180_000, False),
        (250_000, 2_400_000, False),
        (230_000, 2_400_000, True),
    ],
)
def test_the_inactive_list_is_low_by_a_ratio_of_the_size(inactive, active, is_low):
    assert inactive_is_low(inactive, active) is is_low


# -- amounts ------------------------------------------------------------------------------------------------------------------------------


def test_a_small_request_frees_a_batch(job):
    memory = memory_of(job, 1024)
    settle(job)
    before = memory.states()[0]
    assert reclaim(job, PAGE)
    assert 32 <= before - memory.states()[0] < 64


@pytest.mark.parametrize("request_bytes", ["0", "1", "4095", "1K"])
def test_less_than_a_page_is_nothing(job, request_bytes):
    memory_of(job, 64)
    stat = stat_change(job)
    assert reclaim(job, request_bytes)
    assert stat["pgscan"] == 0


def test_more_than_there_is_fails_and_takes_all_the_same(job):
    memory = memory_of(job, 300)
    assert not reclaim(job, "2M")
    assert memory.states() == (0, 300, 0)
    assert job.stat["pgsteal"] == 300


def test_nothing_to_reclaim_is_a_failure(job):
    assert not reclaim(job, "1M")


def test_pages_that_wait_for_their_list_are_found_in_the_end(job):
    # Fewer than 31: all are in the task's batch.
    memory = memory_of(job, 20)
    assert job.stat["inactive_anon"] == 0
    reclaim(job, "80K")
    assert memory.states() == (0, 20, 0)


def test_pages_on_their_way_to_the_disk_are_scanned_twice(job):
    set_parameter(job.host, "zswap/enabled", "N")
    memory = memory_of(job, 1024)
    settle(job)
    reclaim(job, "4M")
    reclaim(job, "4M")
    stat = job.stat
    assert memory.states() == (0, 0, 1024)
    # The round that cleared the bits, the write, the drop.
    assert 3 * 1024 <= stat["pgscan"] <= 3 * 1024 + 200
    assert job.host.vmstat["pgrotated"] == 1024


# -- which type ---------------------------------------------------------------------------------------------------------------------------


def half_and_half(job, *, active=False):
    """512 pages of each type, nothing young; the file's inactive, unless it was read twice."""
    memory = memory_of(job, 512)
    file = file_of(job.host, 512)
    file.read(memory)
    if active:
        file.read(memory)
    settle(job)
    return memory, file


def gone(job, memory):
    """Pages that left, by type."""
    return 512 - memory.states()[0], 512 - job.stat["file"] // PAGE


def test_swappiness_0_takes_files_alone(job):
    memory, _ = half_and_half(job)
    assert not reclaim(job, "4M swappiness=0")
    assert gone(job, memory)[1] == 512
    assert memory.states()[0] >= 512 - 64, "what settling took"


def test_without_slots_files_alone_are_taken_whatever_swappiness(boot):
    host = boot(swap=0)
    job = host.mkdir("job")
    memory, _ = half_and_half(job)
    assert not reclaim(job, "4M swappiness=200")
    assert gone(job, memory) == (0, 512)


def test_with_swap_max_used_up_files_alone_are_taken(job):
    job["memory.swap.max"] = 0
    memory, _ = half_and_half(job)
    assert not reclaim(job, "4M swappiness=200")
    assert gone(job, memory) == (0, 512)


def test_cache_read_once_goes_first_whatever_swappiness(job):
    # Cache trim: the inactive file list is long, and nothing of it was of use.
    memory = memory_of(job, 512)
    file = file_of(job.host, 8192)
    file.read(memory)
    job.host.advance("3s")
    reclaim(job, "128K")
    before = memory.states()[0]
    assert reclaim(job, "4M swappiness=200")
    assert memory.states()[0] == before
    assert job.stat["file"] <= (8192 - 1024) * PAGE


@pytest.mark.parametrize(
    ("swappiness", "least", "most"),
    # As recorded: up to 100 files alone, 150 about 45 to 55, 200 anonymous memory alone.
    [(60, 0, 0), (100, 0, 0), (150, 0.35, 0.5), (180, 0.6, 0.8), (200, 1, 1)],
)
def test_swappiness_splits_between_types_that_have_both_been_of_use(job, swappiness, least, most):
    memory = memory_of(job, 2048)
    file = file_of(job.host, 2048)
    file.read(memory)
    file.read(memory)
    job.host.advance("3s")
    reclaim(job, f"4M swappiness={swappiness}")
    nr_anon = 2048 - memory.states()[0]
    assert least <= nr_anon / (nr_anon + 2048 - job.stat["file"] // PAGE) <= most


def test_machine_wide_swappiness_counts_where_none_is_given(job):
    set_parameter(job.host, "proc/sys/vm/swappiness", 0)
    memory, _ = half_and_half(job)
    assert not reclaim(job, "4M")
    assert memory.states()[0] == 512


def test_reclaim_leaves_dirty_cache_to_the_flusher(job):
    memory = memory_of(job, 1)
    file = file_of(job.host, 200)
    file.write(memory)
    assert job.stat["file_dirty"] == 200 * PAGE
    vm = vm_change(job.host)
    reclaim(job, "800K swappiness=0")
    # A page met dirty is activated; a batch of nothing else wakes the flusher.
    assert vm["nr_vmscan_immediate_reclaim"] > 0
    assert vm["pgactivate"] >= vm["nr_vmscan_immediate_reclaim"]
    assert vm["nr_vmscan_write"] == 0
    job.host.advance("40s")
    assert job.stat["file_dirty"] == 0
    assert vm["nr_written"] == 200
    reclaim(job, "800K swappiness=0")
    assert job.stat["file"] == 0


# -- whose turn ---------------------------------------------------------------------------------------------------------------------------


def test_repeated_small_requests_take_turns_among_the_children(boot):
    top = boot().mkdir("top")
    memories = [memory_of(top.mkdir(name), 1024) for name in "abc"]
    for memory in memories:
        settle(memory.host.group(memory.task.cgroup.path()))
    before = [memory.states()[0] for memory in memories]
    for _ in range(30):
        reclaim(top, PAGE)
    taken = [was - memory.states()[0] for was, memory in zip(before, memories, strict=True)]
    assert min(taken) >= 200, taken
    assert max(taken) <= 2 * min(taken), taken


def test_reclaim_stays_within_its_subtree(boot):
    host = boot()
    inside, outside = memory_of(host.mkdir("a"), 500), memory_of(host.mkdir("b"), 500)
    reclaim(host.group("a"), "64M")
    assert (inside.states()[0], outside.states()[0]) == (0, 500)


def test_pages_of_a_removed_cgroup_are_reclaimed_through_its_parent(boot):
    host = boot()
    top, refuge = host.mkdir("top"), host.mkdir("refuge")
    child = top.mkdir("child")
    memory = memory_of(child, 500)
    refuge["cgroup.procs"] = str(memory.task.pid)
    child.rmdir()
    assert top.stat["anon"] == 500 * PAGE
    # Its task lives elsewhere now: that it uses its pages does not count here.
    reclaim(top, "2M")
    assert memory.states()[0] < 100


# -- protection ---------------------------------------------------------------------------------------------------------------------------


def two_children(boot, **settings):
    """top: a with settings, b without; 1024 pages each, once scanned."""
    top = boot().mkdir("top")
    a, b = top.mkdir("a"), top.mkdir("b")
    memories = memory_of(a, 1024), memory_of(b, 1024)
    settle(a)
    settle(b)
    for name, value in settings.items():
        a[f"memory.{name}"] = value
    return top, a, b, memories


def test_memory_below_low_is_left_alone_while_others_have_some(boot):
    top, a, _, (one, two) = two_children(boot, low="8M")
    before = one.states()[0]
    assert reclaim(top, "2M")
    assert one.states()[0] == before
    assert two.states()[0] < 600
    assert a.events["low"] == 0


def test_low_is_broken_when_nothing_else_is_left_and_counted(boot):
    top, a, _, (one, two) = two_children(boot, low="8M")
    reclaim(top, "6M")
    assert two.states()[0] < 32
    assert one.states()[0] < 900
    assert a.events["low"] > 0
    assert top.events["low"] == a.events["low"]


def test_min_is_never_broken_and_not_counted(boot):
    top, a, _, (one, two) = two_children(boot, min="8M")
    before = one.states()[0]
    assert not reclaim(top, "7M")
    assert (one.states()[0], two.states()[0]) == (before, 0)
    assert a.events["low"] == 0


def test_partial_protection_shrinks_what_is_scanned(boot):
    top, _, _, (one, two) = two_children(boot, low="3M")
    before = one.states()[0], two.states()[0]
    reclaim(top, "2M")
    lost = before[0] - one.states()[0], before[1] - two.states()[0]
    assert lost[0] < lost[1]


def test_own_protection_does_not_help_against_own_reclaim(boot):
    _, a, _, (one, _) = two_children(boot, min="8M")
    assert reclaim(a, "2M")
    assert one.states()[0] <= 512


def test_a_grandchilds_protection_is_worth_nothing_without_its_parents(boot):
    top = boot().mkdir("top")
    middle = top.mkdir("middle")
    leaf = middle.mkdir("leaf")
    memory = memory_of(leaf, 1024)
    settle(leaf)
    leaf["memory.min"] = "8M"
    assert reclaim(top, "2M")
    assert memory.states()[0] <= 512
    middle["memory.min"] = "8M"
    before = memory.states()[0]
    assert not reclaim(top, "1M")
    assert memory.states()[0] == before
    # With middle itself as the target, leaf is its direct child.
    assert not reclaim(middle, "1M")
    assert memory.states()[0] == before


# -- causes -------------------------------------------------------------------------------------------------------------------------------


def test_newer_kernels_count_memory_reclaim_as_proactive(boot):
    host = boot(profile="v7.1")
    job = host.mkdir("job")
    memory_of(job, 500)
    reclaim(job, "1M")
    stat = job.stat
    assert stat["pgsteal_proactive"] == stat["pgsteal"] > 0
    assert stat["pgsteal_direct"] == 0
    job["memory.max"] = "500K"
    assert job.stat["pgsteal_direct"] > 0


def test_older_kernels_count_it_as_direct(job):
    memory_of(job, 500)
    reclaim(job, "1M")
    assert job.stat["pgsteal_direct"] == job.stat["pgsteal"] > 0
    assert job.host.vmstat["pgsteal_direct"] == 0
