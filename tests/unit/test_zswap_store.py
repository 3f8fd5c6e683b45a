"""The way into zswap: which checks come in which order, and what each refusal leaves behind and counts."""

import pytest
from mm_bench import PAGE, debugfs, meminfo, memory_of, reclaim, set_parameter, stat_change, swap_events, vm_change

REJECTS = ("reject_alloc_fail", "reject_compress_fail", "reject_compress_poor", "reject_kmemcache_fail", "reject_reclaim_fail")


def counters(host):
    return {name: debugfs(host, name) for name in ("pool_limit_hit", *REJECTS)}


@pytest.fixture
def job(boot):
    return boot().mkdir("job")


def test_a_stored_page_is_counted_everywhere(job):
    memory = memory_of(job, 100, "rec:half")
    stat, vm, current = stat_change(job), vm_change(job.host), int(job["memory.current"])
    assert memory.pageout() == 100
    assert memory.states() == (0, 100, 0)
    assert stat["zswpout"] == vm["zswpout"] == 100
    assert stat["zswapped"] == 100 * PAGE
    assert stat["zswap"] == int(job["memory.zswap.current"]) == 100 * 2082
    assert stat["kernel"] == -(-100 * 2082 // PAGE) * PAGE
    assert debugfs(job.host, "stored_pages") == 100
    assert meminfo(job.host)["Zswapped"] == 400
    # 15 objects in 8 pages.
    assert debugfs(job.host, "pool_total_size") == 7 * 8 * PAGE == meminfo(job.host)["Zswap"] * 1024 == vm["nr_zspages"] * PAGE
    assert int(job["memory.swap.current"]) == 100 * PAGE
    assert vm["pswpout"] == 0
    assert vm["nr_vmscan_write"] == 100
    assert current - int(job["memory.current"]) >= 100 * PAGE - 100 * 2082 - 64 * PAGE
    assert counters(job.host) == dict.fromkeys(counters(job.host), 0)


def test_same_filled_pages_are_compressed_like_others(job):
    memory = memory_of(job, 1, "rec:same")
    memory.pageout()
    assert memory.states() == (0, 1, 0)
    assert int(job["memory.zswap.current"]) == 26


# -- before zswap -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("enabled", ["Y", "N"])
def test_a_zero_page_is_only_noted(job, enabled):
    set_parameter(job.host, "zswap/enabled", enabled)
    memory = memory_of(job, 50, "zero")
    stat, vm = stat_change(job), vm_change(job.host)
    assert memory.pageout() == 50
    assert stat["swpout_zero"] == vm["swpout_zero"] == 50
    assert stat["zswpout"] == stat["zswapped"] == vm["pswpout"] == 0
    assert vm["nr_vmscan_write"] == 50, "whatever becomes of it"
    assert int(job["memory.swap.current"]) == 50 * PAGE
    memory.touch()
    assert stat["swpin_zero"] == vm["swpin_zero"] == 50
    assert stat["pgmajfault"] == 50 // 8 + 1
    assert vm["pswpin"] == stat["zswpin"] == 0


def test_a_zero_page_goes_whatever_zswap_refuses(job):
    job["memory.zswap.max"] = 0
    job["memory.zswap.writeback"] = 0
    memory = memory_of(job, 10, "zero")
    assert memory.pageout() == 10


def test_a_page_with_a_single_other_byte_is_not_zero(job):
    memory = memory_of(job, 1, "zero")
    memory.fill(0, bytes(4095) + b"\1")
    memory.pageout()
    assert memory.states() == (0, 1, 0)


# -- enabled ------------------------------------------------------------------------------------------------------------------------------


def test_with_zswap_off_pages_go_to_the_disk_whatever_the_cgroup_says(job):
    memory = memory_of(job, 100)
    memory.pageout(0, 50)
    set_parameter(job.host, "zswap/enabled", "N")
    job["memory.zswap.writeback"] = 0
    vm = vm_change(job.host)
    memory.pageout(50, 100)
    reclaim(job, "200K")
    assert vm["pswpout"] == 50
    assert vm["zswpout"] == 0
    assert memory.states() == (0, 50, 50)
    # Entries stay loadable.
    memory.touch(0, 50)
    assert vm["zswpin"] == 50


# -- memory.zswap.max ---------------------------------------------------------------------------------------------------------------------


def test_max_0_sends_everything_to_the_disk_and_counts_no_refusal(job):
    job["memory.zswap.max"] = 0
    memory = memory_of(job, 60)
    vm = vm_change(job.host)
    memory.pageout()
    assert (vm["zswpout"], vm["pswpout"], vm["zswpwb"]) == (0, 60, 0)
    assert counters(job.host) == dict.fromkeys(counters(job.host), 0)


def test_the_cgroups_limit_is_looked_at_before_the_pools(job):
    set_parameter(job.host, "zswap/max_pool_percent", 0)
    job["memory.zswap.max"] = 0
    memory_of(job, 20).pageout()
    assert debugfs(job.host, "pool_limit_hit") == 0
    job["memory.zswap.max"] = "max"
    memory_of(job, 20).pageout()
    assert debugfs(job.host, "pool_limit_hit") == 20


def test_lowering_max_evicts_nothing(job):
    memory_of(job, 200, "rec:half").pageout()
    before = job["memory.zswap.current"]
    job["memory.zswap.max"] = "64K"
    job.host.advance("10s")
    assert job["memory.zswap.current"] == before
    assert job.stat["zswpwb"] == 0


def test_the_limit_is_reached_in_whole_pages_and_may_be_overshot_by_one_entry(job):
    job["memory.zswap.max"] = 2 * PAGE
    memory = memory_of(job, 8, "rec:half")
    memory.pageout()
    # 2082, 4164, 6246 bytes are less than two whole pages: the fourth is still stored, and then there are 8328.
    assert int(job["memory.zswap.current"]) == 4 * 2082
    assert memory.states()[1] == 4


def test_the_first_stores_over_the_limit_only_clear_bits(job):
    job["memory.zswap.max"] = 10 * 2082 // PAGE * PAGE
    memory = memory_of(job, 60, "rec:half")
    memory.pageout(0, 10)
    assert memory.states()[1] == 10
    vm = vm_change(job.host)
    memory.pageout(10, 20)
    # Ten fresh entries, ten refused stores.
    assert (vm["zswpout"], vm["zswpwb"], vm["pswpout"]) == (0, 0, 10)
    memory.pageout(20, 30)
    # One in, one out from now on.
    assert (vm["zswpout"], vm["zswpwb"], vm["pswpout"]) == (10, 10, 20)
    assert int(job["memory.zswap.current"]) == 10 * 2082


def test_being_far_over_the_limit_never_shrinks_zswap(job):
    memory = memory_of(job, 400, "rec:half")
    memory.pageout(0, 100)
    job["memory.zswap.max"] = 2 * PAGE
    before = int(job["memory.zswap.current"])
    memory.pageout(100, 400)
    assert job.stat["zswpwb"] > 50
    assert abs(int(job["memory.zswap.current"]) - before) < 100


def test_the_storing_cgroup_makes_room_although_an_ancestor_is_over(boot):
    # top: zswap.max reached by the sibling's entries alone
    #   full: 20 entries
    #   empty: nothing in zswap
    top = boot().mkdir("top")
    full, empty = top.mkdir("full"), top.mkdir("empty")
    memory_of(full, 20, "rec:half").pageout()
    top["memory.zswap.max"] = 5 * PAGE
    memory = memory_of(empty, 40, "rec:half")
    memory.pageout()
    assert memory.states()[1] == 0
    assert full.stat["zswapped"] == 20 * PAGE
    assert top.stat["zswpwb"] == 0


def test_each_store_over_the_limit_makes_room_by_one_entry_a_node(boot):
    host = boot(nodes=2)
    job = host.mkdir("job")
    memory = memory_of(job, 120, "rec:half", touched=False)
    memory.space.node_of = [index % 2 for index in range(120)]
    memory.touch(write=True)
    memory.pageout(0, 40)
    job["memory.zswap.max"] = 2 * PAGE
    # The 20 entries of each list lose their bits first.
    memory.pageout(40, 60)
    vm = vm_change(host)
    memory.pageout(60, 61)
    assert (vm["zswpout"], vm["zswpwb"]) == (1, 2)
    memory.pageout(61, 65)
    assert (vm["zswpout"], vm["zswpwb"]) == (5, 10)


def test_with_writeback_off_a_refused_page_stays_in_memory_with_its_slot(job):
    job["memory.zswap.max"] = 0
    job["memory.zswap.writeback"] = 0
    memory_of(job, 100)
    stat, vm = stat_change(job), vm_change(job.host)
    assert not reclaim(job, "1M")
    assert stat["pgsteal"] == vm["pswpout"] == 0
    assert stat["swapcached"] == int(job["memory.swap.current"]) == 100 * PAGE
    assert stat["active_anon"] > 0
    assert stat["pgactivate"] >= 100


def test_writeback_off_above_counts_as_well(boot):
    top = boot().mkdir("top")
    job = top.mkdir("job")
    top["memory.zswap.writeback"] = 0
    assert job["memory.zswap.writeback"] == "1"
    job["memory.zswap.max"] = 0
    memory = memory_of(job, 10)
    assert memory.pageout() == 0
    assert job.host.vmstat["pswpout"] == 0
    top["memory.zswap.writeback"] = 1
    reclaim(job, "40K")
    assert job.host.vmstat["pswpout"] == 10


# -- the pool's limit ---------------------------------------------------------------------------------------------------------------------


def test_a_full_pool_refuses_until_it_is_below_the_accept_threshold(boot):
    host = boot(ram="40M", proactive="none")
    set_parameter(host, "zswap/max_pool_percent", 1)
    set_parameter(host, "zswap/accept_threshold_percent", 50)
    job = host.mkdir("job")
    # 10240 pages of RAM: at most 102 pool pages, accepting again at 51. Objects of a page each.
    memory = memory_of(job, 300, "ratio=1.05")
    memory.pageout(0, 110)
    assert memory.states()[1] == 102
    assert debugfs(host, "pool_limit_hit") >= 1
    hits = debugfs(host, "pool_limit_hit")
    memory.touch(0, 30)
    vm = vm_change(host)
    memory.pageout(110, 114)
    # Below the limit but above the threshold: refused, and not counted as a hit.
    assert (vm["zswpout"], debugfs(host, "pool_limit_hit")) == (0, hits)
    memory.touch(30, 60)
    memory.pageout(114, 118)
    assert vm["zswpout"] == 4


def test_a_pool_of_nothing_refuses_everything(job):
    set_parameter(job.host, "zswap/max_pool_percent", 0)
    memory = memory_of(job, 30)
    memory.pageout()
    assert job.host.vmstat["pswpout"] == 30
    assert debugfs(job.host, "pool_limit_hit") == 30


def test_lowering_the_pools_limit_evicts_nothing_before_a_store_is_refused(job):
    memory = memory_of(job, 200)
    memory.pageout(0, 150)
    set_parameter(job.host, "zswap/max_pool_percent", 0)
    job.host.advance("10s")
    assert memory.states()[1] == 150


def test_the_worker_looks_at_every_entry_once_before_it_writes_one(boot):
    host = boot(ram="40M", proactive="none")
    set_parameter(host, "zswap/max_pool_percent", 1)
    job = host.mkdir("job")
    memory = memory_of(job, 2000, "ratio=1.05")
    memory.pageout(0, 102)
    assert host.vmstat["zswpwb"] == 0
    memory.pageout(102, 130)
    # Each run clears 16 bits and gives up; far fewer than 102 / 16 refusals cannot have brought it to a written entry.
    assert host.vmstat["zswpwb"] == 0
    memory.pageout(130, 2000)
    reclaim(job, "8M")
    assert host.vmstat["zswpwb"] > 0
    assert debugfs(host, "written_back_pages") == host.vmstat["zswpwb"]


def test_cgroups_without_writeback_are_left_out_by_the_worker(boot):
    host = boot(ram="40M", proactive="none")
    set_parameter(host, "zswap/max_pool_percent", 1)
    spared, taken = host.mkdir("spared"), host.mkdir("taken")
    spared["memory.zswap.writeback"] = 0
    memory_of(spared, 50, "ratio=1.05").pageout()
    memory = memory_of(taken, 2000, "ratio=1.05")
    memory.pageout()
    assert taken.stat["zswpwb"] > 0
    assert spared.stat["zswpwb"] == 0
    assert spared.stat["zswapped"] == 50 * PAGE


# -- pages that do not compress -----------------------------------------------------------------------------------------------------------


def test_an_incompressible_page_is_refused_and_goes_to_the_disk(job):
    memory = memory_of(job, 20, "random")
    vm = vm_change(job.host)
    memory.pageout()
    assert (vm["zswpout"], vm["pswpout"]) == (0, 20)
    assert counters(job.host) == {**dict.fromkeys(counters(job.host), 0), "reject_compress_fail": 20}


def test_an_incompressible_page_without_writeback_stays_in_memory(job):
    job["memory.zswap.writeback"] = 0
    memory = memory_of(job, 20, "random")
    assert memory.pageout() == 0
    assert memory.states() == (20, 0, 0)
    assert int(job["memory.swap.current"]) == 20 * PAGE


def test_newer_kernels_keep_an_incompressible_page_raw(boot):
    host = boot(profile="v7.1")
    job = host.mkdir("job")
    memory = memory_of(job, 20, "random")
    memory.pageout()
    assert memory.states() == (0, 20, 0)
    assert job.stat["zswap"] == job.stat["zswap_incomp"] == 20 * PAGE
    assert debugfs(host, "stored_incompressible_pages") == 20
    assert debugfs(host, "reject_compress_fail") == 0
    memory.touch(0, 8)
    assert job.stat["zswap_incomp"] == 12 * PAGE
    assert debugfs(host, "stored_incompressible_pages") == 12


def test_newer_kernels_refuse_an_incompressible_page_without_writeback(boot):
    host = boot(profile="v7.1")
    job = host.mkdir("job")
    job["memory.zswap.writeback"] = 0
    memory = memory_of(job, 20, "random")
    memory.pageout()
    assert memory.states() == (20, 0, 0)
    assert debugfs(host, "reject_compress_fail") == 20


def test_newer_kernels_look_at_32_entries_for_a_store_over_the_limit(boot):
    host = boot(profile="v7.1", proactive="none")
    job = host.mkdir("job")
    memory = memory_of(job, 80, "rec:half")
    memory.pageout(0, 40)
    job["memory.zswap.max"] = 2 * PAGE
    memory.pageout(40, 41)
    assert (host.vmstat["zswpout"], host.vmstat["zswpwb"]) == (40, 0), "32 bits cleared"
    memory.pageout(41, 42)
    # The other 8 bits, and then 24 entries that were looked at before.
    assert (host.vmstat["zswpout"], host.vmstat["zswpwb"]) == (41, 24)


# -- the slot comes first -----------------------------------------------------------------------------------------------------------------


def test_a_page_without_a_slot_is_not_even_offered(job):
    job["memory.swap.max"] = 10 * PAGE
    memory = memory_of(job, 30)
    memory.pageout()
    assert memory.states() == (20, 10, 0)
    assert swap_events(job) == {"high": 0, "max": 20, "fail": 20}
    assert job.stat["zswpout"] == 10


def test_a_stale_entry_of_the_slot_goes_whatever_becomes_of_the_store(job):
    memory = memory_of(job, 1)
    memory.pageout()
    memory.touch(write=False)
    assert job.stat["zswapped"] == 0, "loads are exclusive"
    memory.touch(write=True)
    set_parameter(job.host, "zswap/enabled", "N")
    memory.pageout()
    reclaim(job, PAGE)
    assert memory.states() == (0, 0, 1)
