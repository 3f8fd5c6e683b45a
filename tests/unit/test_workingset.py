"""Refaults: how far back an eviction lies, whether the page would have fitted, and what comes of it."""

import pytest
from mm_bench import PAGE, file_of, memory_of, reclaim, set_parameter, stat_change


@pytest.fixture
def host(boot):
    host = boot()
    set_parameter(host, "proc/sys/vm/page-cluster", 0)
    return host


@pytest.fixture
def job(host):
    return host.mkdir("job")


def refaults(stat, kind):
    return tuple(stat[f"workingset_{what}_{kind}"] for what in ("refault", "activate", "restore"))


def flush(group):
    """Sizes are taken as of the last flush of statistics, which a read is."""
    assert group["memory.stat"]


def drop_file(job):
    """Reclaim all page cache."""
    job.host.advance("3s")
    reclaim(job, "256M swappiness=0")


def test_a_first_read_is_no_refault(job):
    memory = memory_of(job, 1)
    file_of(job.host, 100).read(memory)
    assert refaults(job.stat, "file") == (0, 0, 0)


def test_a_page_that_comes_back_is_counted(job):
    memory = memory_of(job, 1)
    file = file_of(job.host, 100)
    file.read(memory)
    drop_file(job)
    assert job.stat["file"] == 0
    file.read(memory, 0, 30)
    assert job.stat["workingset_refault_file"] == 30
    file.read(memory, 0, 30)
    assert job.stat["workingset_refault_file"] == 30, "it is there now"


def test_a_short_distance_activates(job):
    # 2000 anonymous pages to compete with; 100 file pages were evicted since.
    memory = memory_of(job, 2000)
    file = file_of(job.host, 100)
    file.read(memory)
    drop_file(job)
    job.host.advance("3s")
    flush(job)
    file.read(memory)
    assert refaults(job.stat, "file") == (100, 100, 0)
    job.host.advance("1s")
    assert job.stat["active_file"] > 0


def test_a_long_distance_does_not(job):
    memory = memory_of(job, 1)
    file, flood = file_of(job.host, 100), file_of(job.host, 3000)
    file.read(memory)
    drop_file(job)
    flood.read(memory)
    drop_file(job)
    # 3000 evictions lie between, and there is next to nothing to compete with.
    stat = stat_change(job)
    file.read(memory)
    assert refaults(stat, "file") == (100, 0, 0)
    assert job.stat["active_file"] == 0


def test_a_workingset_page_that_comes_back_is_restored(job):
    memory = memory_of(job, 2000)
    file = file_of(job.host, 60)
    file.read(memory)
    file.read(memory)
    job.host.advance("1s")
    # Deactivated on its way out, so it was part of the workingset.
    drop_file(job)
    assert job.stat["file"] == 0
    flush(job)
    stat = stat_change(job)
    file.read(memory)
    refaulted, activated, restored = refaults(stat, "file")
    assert refaulted == activated == 60
    assert restored > 0


def test_every_anonymous_page_that_comes_back_is_counted(job):
    memory = memory_of(job, 100)
    memory.pageout()
    memory.touch()
    assert job.stat["workingset_refault_anon"] == 100
    memory.pageout()
    memory.touch(0, 10, write=True)
    assert job.stat["workingset_refault_anon"] == 110


def test_zero_pages_count_too(job):
    memory = memory_of(job, 20, "zero")
    memory.pageout()
    memory.touch()
    assert job.stat["workingset_refault_anon"] == 20


def test_an_anonymous_page_competes_with_the_cache_and_active_memory(job):
    # Its own kind's inactive list does not count: 100 evictions are more than nothing.
    memory = memory_of(job, 200)
    memory.pageout(0, 100)
    flush(job)
    memory.touch(0, 1)
    assert refaults(job.stat, "anon") == (1, 0, 0)
    file_of(job.host, 500).read(memory)
    job.host.advance("3s")
    flush(job)
    memory.touch(50, 51)
    assert refaults(job.stat, "anon") == (2, 1, 0)


def test_the_one_who_evicted_measures_the_distance(boot):
    # Evicted by reclaim of top: it is top's evictions and top's lists that count, b's included.
    top = boot().mkdir("top")
    a, b = top.mkdir("a"), top.mkdir("b")
    reader, other = memory_of(a, 1), memory_of(b, 2000)
    file = file_of(top.host, 50)
    file.read(reader)
    top.host.advance("3s")
    reclaim(top, "200K swappiness=0")
    assert a.stat["file"] == 0
    flush(top)
    file.read(reader)
    assert refaults(a.stat, "file") == (50, 50, 0)
    assert refaults(top.stat, "file") == (50, 50, 0)
    assert other.task.is_alive
    # Evicted by a's own reclaim there is nothing to compete with.
    top.host.advance("3s")
    reclaim(a, "1M swappiness=0")
    flood = file_of(top.host, 500)
    flood.read(reader)
    top.host.advance("3s")
    reclaim(a, "4M swappiness=0")
    flush(top)
    stat = stat_change(a)
    file.read(reader)
    assert refaults(stat, "file") == (50, 0, 0)


def test_the_page_is_counted_where_it_is_charged(host):
    old, new = host.mkdir("old"), host.mkdir("new")
    first, second = memory_of(old, 1), memory_of(new, 1)
    file = file_of(host, 40)
    file.read(first)
    drop_file(old)
    file.read(second)
    assert old.stat["workingset_refault_file"] == 0
    assert new.stat["workingset_refault_file"] == 40


def test_who_evicted_is_gone_and_nothing_is_activated(host):
    top = host.mkdir("top")
    gone, stays = top.mkdir("gone"), top.mkdir("stays")
    first, second = memory_of(gone, 1), memory_of(stays, 2000)
    file = file_of(host, 40)
    file.read(first)
    drop_file(gone)
    host.kill(first.task.pid)
    gone.rmdir()
    host.advance("3s")
    flush(stays)
    file.read(second)
    assert refaults(stays.stat, "file") == (40, 0, 0)


def test_refaults_of_the_workingset_are_memory_pressure(boot):
    host = boot(cost="nvme")
    set_parameter(host, "proc/sys/vm/page-cluster", 0)
    job = host.mkdir("job")
    memory = memory_of(job, 500)
    memory.pageout(0, 100)
    memory.touch(0, 100)
    totals = [int(line.rpartition("=")[2]) for line in job["memory.pressure"].splitlines()]
    assert totals == [0, 0], "those pages had never been active"
    assert job.stat["workingset_restore_anon"] == 0


def test_freed_memory_has_no_past(job):
    memory = memory_of(job, 50)
    memory.pageout()
    job.host.kill(memory.task.pid)
    memory_of(job, 50)
    assert job.stat["workingset_refault_anon"] == 0
    assert int(job["memory.swap.current"]) == 0
    assert job.stat["anon"] == 50 * PAGE
