"""Charging pages: in batches, against limits, with reclaim, throttling, and in the end a kill."""

import pytest
from mm_bench import PAGE, file_of, memory_of, reclaim, stat_change, swap_events


@pytest.fixture
def job(boot):
    return boot().mkdir("job")


def current(group):
    return int(group["memory.current"])


def total_us(group):
    """Stall time of memory.pressure, some and full."""
    return tuple(int(line.rpartition("total=")[2]) for line in group["memory.pressure"].splitlines())


# -- the stock ----------------------------------------------------------------------------------------------------------------------------


def test_pages_are_charged_64_at_a_time(job):
    memory = memory_of(job, 200, touched=False)
    assert current(job) == 0
    for nr_touched, nr_charged in [(1, 64), (64, 64), (65, 128), (130, 192)]:
        memory.touch(0, nr_touched)
        assert current(job) == nr_charged * PAGE
        assert job.stat["anon"] == nr_touched * PAGE, "statistics count pages"


def test_another_cgroups_charge_gives_the_stock_back(job):
    memory_of(job, 10)
    assert current(job) == 64 * PAGE
    other = job.host.mkdir("other")
    memory_of(other, 1)
    assert current(job) == 10 * PAGE
    assert current(other) == 64 * PAGE


def test_a_limit_write_gives_the_stock_back(job):
    memory_of(job, 10)
    job["memory.high"] = 20 * PAGE
    assert current(job) == 10 * PAGE


def test_near_the_limit_pages_are_charged_one_by_one(job):
    job["memory.max"] = 70 * PAGE
    memory = memory_of(job, 70)
    assert current(job) == 70 * PAGE
    assert memory.states() == (70, 0, 0)
    assert job.events["max"] == 0


def test_a_chain_of_cgroups_is_charged_as_one(boot):
    top = boot().mkdir("top")
    leaf = top.mkdir("middle").mkdir("leaf")
    memory_of(leaf, 100)
    assert current(top) == current(leaf) == 128 * PAGE


# -- memory.max ---------------------------------------------------------------------------------------------------------------------------


def test_at_the_limit_other_pages_are_reclaimed(job):
    job["memory.max"] = 200 * PAGE
    memory = memory_of(job, 300, "rec:same")
    assert current(job) <= 200 * PAGE
    assert sum(memory.states()) == 300
    assert memory.states()[1] >= 100
    assert job.events["max"] > 0
    assert (job.events["oom"], job.events["oom_kill"], job.events["high"]) == (0, 0, 0)


def test_clean_cache_makes_room_before_anybody_is_killed(boot):
    host = boot(swap=0)
    job = host.mkdir("job")
    memory = memory_of(job, 200, touched=False)
    file_of(host, 300).read(memory)
    job["memory.max"] = 320 * PAGE
    memory.touch(write=True)
    assert job.stat["file"] < 130 * PAGE
    assert job.events["oom"] == 0


def test_the_event_is_the_limits_owners(boot):
    top = boot().mkdir("top")
    leaf = top.mkdir("leaf")
    top["memory.max"] = 200 * PAGE
    memory_of(leaf, 300, "rec:same")
    assert leaf.events["max"] == 0
    assert top.events["max"] > 0
    assert "max 0\n" not in top["memory.events.local"] + "\n"


def test_18_attempts_come_before_a_kill(boot):
    # One before the stock is given back, and 17 more.
    host = boot(swap=0)
    job = host.mkdir("job")
    job["memory.max"] = 100 * PAGE
    memory = memory_of(job, 101)
    assert not memory.task.is_alive
    assert job.events == {"low": 0, "high": 0, "max": 18, "oom": 1, "oom_kill": 1, "oom_group_kill": 0}
    assert host.vmstat["oom_kill"] == 1
    assert current(job) == 0


def test_a_limit_below_usage_is_enforced_by_the_writer(job):
    memory = memory_of(job, 500, "rec:same")
    job["memory.max"] = 100 * PAGE
    assert current(job) <= 100 * PAGE
    assert memory.task.is_alive
    assert job.events["oom"] == 0
    assert job.events["max"] <= 4, "a few kernel pages for what is compressed meanwhile, none for the write"
    assert total_us(job) == (0, 0), "the writer's reclaim is nobody's stall"


def test_a_limit_that_reclaim_cannot_meet_kills_and_the_write_succeeds(boot):
    job = boot(swap=0).mkdir("job")
    memory = memory_of(job, 500)
    job["memory.max"] = 100 * PAGE
    assert not memory.task.is_alive
    assert job.events["oom"] >= 1
    assert (job.events["oom_kill"], job.events["max"], job.events["high"]) == (1, 0, 0)
    assert job["memory.max"] == str(100 * PAGE)


def test_a_limit_with_nobody_to_kill_stands_all_the_same(boot):
    job = boot(swap=0).mkdir("job")
    memory_of(job, 50, oom_score_adj=-1000)
    job["memory.max"] = 10 * PAGE
    assert current(job) == 50 * PAGE
    assert job.events["oom_kill"] == 0


def test_an_empty_write_is_a_limit_of_nothing(job):
    memory = memory_of(job, 50)
    job["memory.swap.max"] = 0
    job["memory.max"] = "\n"
    assert job["memory.max"] == "0"
    assert not memory.task.is_alive


# -- memory.high --------------------------------------------------------------------------------------------------------------------------


def test_a_write_of_high_reclaims_and_counts_nothing(job):
    memory = memory_of(job, 500, "rec:same")
    job["memory.high"] = 100 * PAGE
    assert current(job) <= 100 * PAGE
    assert sum(memory.states()) == 500
    assert job.events["high"] == 0
    assert total_us(job) == (0, 0)


def test_a_write_of_high_that_cannot_be_met_succeeds(boot):
    job = boot(swap=0).mkdir("job")
    memory = memory_of(job, 500)
    job["memory.high"] = 100 * PAGE
    assert memory.states() == (500, 0, 0)
    assert job["memory.high"] == str(100 * PAGE)


def test_a_task_above_high_is_reclaimed_from_and_not_throttled_if_that_helps(job):
    job["memory.high"] = 300 * PAGE
    memory = memory_of(job, 600, "rec:same", touched=False)
    assert memory.sleeps(0, 600) == []
    assert current(job) <= 400 * PAGE
    assert job.events["high"] > 0


@pytest.mark.parametrize(
    ("percent_over", "sleep_ms"),
    # At HZ 250: overage squared, in 4 ms ticks, for 64 pages; below 10 ms not at all, never more than 2 s.
    [(1, None), (5, 156), (10, 636), (15, 1436), (18, 2000), (40, 2000)],
)
def test_the_penalty_grows_with_the_square_of_the_excess(boot, percent_over, sleep_ms):
    host = boot(ram="512M", swap=0)
    job = host.mkdir("job")
    # A multiple of the batch of 64, so that the measured batch is charged exactly at the wanted excess.
    high = 64 * 100
    over = high * percent_over // 100
    memory = memory_of(job, high + over + 1, "rec:same", touched=False)
    memory.touch(0, high + over - 64, write=True)
    assert current(job) == (high + over - 64) * PAGE
    job["memory.high"] = high * PAGE
    before = job.events["high"]
    # Reclaim is tried 16 times more before the sleep; without any penalty once.
    assert memory.sleeps(high + over - 64, high + over) == ([] if sleep_ms is None else [sleep_ms * 1_000_000])
    assert job.events["high"] - before == (1 if sleep_ms is None else 17)


def test_a_throttled_task_stalls_for_as_long(boot):
    host = boot(swap=0)
    top = host.mkdir("top")
    job = top.mkdir("job")
    job["memory.high"] = 100 * PAGE
    task = host.spawn(job, size="1M", content="rec:same")
    host.advance("20s")
    assert task.is_alive
    # 256 pages in batches of 64: 100 are free, two are throttled by the full 2 s at least.
    some, full = total_us(job)
    assert 2_000_000 <= some == full <= 20_000_000
    assert total_us(top) == (some, full)


def test_high_of_an_ancestor_throttles_too(boot):
    host = boot(swap=0)
    top = host.mkdir("top")
    job = top.mkdir("job")
    top["memory.high"] = 64 * PAGE
    memory = memory_of(job, 256, "rec:same", touched=False)
    assert memory.sleeps(0, 256)
    assert job.events["high"] == 0
    assert top.events["high"] >= 17


def test_swap_high_throttles_who_charges_memory(job):
    memory = memory_of(job, 300, touched=False)
    memory.touch(0, 200, write=True)
    memory.pageout(0, 200)
    job["memory.swap.high"] = 100 * PAGE
    assert int(job["memory.swap.current"]) == 200 * PAGE, "the write itself does nothing"
    assert memory.sleeps(200, 300)[0] == 2_000_000_000
    assert swap_events(job)["high"] > 0
    assert job.events["high"] == 0


# -- kernel memory ------------------------------------------------------------------------------------------------------------------------


def test_compressed_pages_are_charged_as_kernel_memory(job):
    memory = memory_of(job, 256, "rec:half")
    stat = stat_change(job)
    memory.pageout()
    kernel = -(-256 * 2082 // PAGE)
    assert stat["kernel"] == kernel * PAGE
    memory.touch(write=True)
    assert stat["kernel"] == 0
    # What is given back goes to the stock, which never keeps more than a batch.
    assert job.stat["anon"] <= current(job) <= job.stat["anon"] + 64 * PAGE


def test_the_stock_keeps_64_pages_and_gives_everything_back_beyond(job):
    memcg, stock = job.cgroup.css["memory"], job.host.machine.stock
    memcg.memory.charge(70)
    stock.refill(memcg, 60)
    stock.refill(memcg, 4)
    assert (stock.nr_pages, memcg.memory.usage) == (64, 70)
    stock.refill(memcg, 1)
    assert (stock.nr_pages, memcg.memory.usage) == (0, 5)
    memcg.memory.uncharge(5)


def test_freed_kernel_memory_does_not_pile_up_in_the_stock(job):
    memory = memory_of(job, 512, "rec:half")
    memory.pageout()
    with job.host.locked():
        job.host.machine.spaces.zap(memory.space, 0, 512)
    assert current(job) <= 64 * PAGE


def test_memory_current_falls_by_what_compression_saves(job):
    memory_of(job, 2048, "rec:half")
    job.host.advance("3s")
    reclaim(job, PAGE)
    before = current(job)
    nr_stored = job.stat["zswapped"] // PAGE
    reclaim(job, "4M")
    nr_stored = job.stat["zswapped"] // PAGE - nr_stored
    assert nr_stored >= 1024
    assert before - current(job) == pytest.approx(nr_stored * (PAGE - 2082), abs=130 * PAGE)


def test_a_move_charges_nothing_and_moves_nothing(boot):
    host = boot()
    old, new = host.mkdir("old"), host.mkdir("new")
    memory = memory_of(old, 100)
    before = old.stat["anon"]
    new["cgroup.procs"] = str(memory.task.pid)
    assert (old.stat["anon"], new.stat["anon"], current(new)) == (before, 0, 0)
