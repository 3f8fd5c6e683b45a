"""Page cache: who pays for it, when a page counts as used, and how dirty pages become clean."""

import pytest
from mm_bench import PAGE, file_of, memory_of, reclaim, stat_change, vm_change


@pytest.fixture
def host(boot):
    return boot()


@pytest.fixture
def job(host):
    return host.mkdir("job")


def test_the_first_reader_pays(host, job):
    other = host.mkdir("other")
    first, second = memory_of(job, 1), memory_of(other, 1)
    file = file_of(host, 100)
    file.read(first)
    file.read(second)
    assert job.stat["file"] == 100 * PAGE
    assert other.stat["file"] == 0


def test_a_page_read_once_is_inactive_and_read_twice_active(job):
    memory = memory_of(job, 1)
    file = file_of(job.host, 310)
    file.read(memory)
    assert (job.stat["inactive_file"], job.stat["active_file"]) == (310 * PAGE, 0)
    stat = stat_change(job)
    file.read(memory, 0, 62)
    assert stat["pgactivate"] == 62
    assert job.stat["active_file"] == 62 * PAGE
    file.read(memory, 0, 62)
    assert stat["pgactivate"] == 62, "once is enough"


def test_an_activation_ages_what_is_gone_and_further_reads_do_not(job):
    memory = memory_of(job, 1)
    file = file_of(job.host, 62)
    lruvec = job.cgroup.css["memory"].lruvecs[0]
    for nr_reads, age in [(1, 0), (1, 62), (1, 62), (2, 62)]:
        for _ in range(nr_reads):
            file.read(memory)
        assert lruvec.nonresident_age == age


def test_reading_counts_no_faults(job):
    memory = memory_of(job, 1)
    stat = stat_change(job)
    file_of(job.host, 50).read(memory)
    assert stat["pgfault"] == stat["anon"] == 0


def test_a_written_page_is_dirty_until_the_flusher_comes(job):
    memory = memory_of(job, 1)
    file = file_of(job.host, 100)
    vm = vm_change(job.host)
    file.write(memory, 0, 40)
    file.write(memory, 0, 40)
    assert (job.stat["file_dirty"], vm["nr_dirtied"], vm["nr_dirty"]) == (40 * PAGE, 40, 40)
    job.host.advance("60s")
    assert (job.stat["file_dirty"], vm["nr_written"], vm["nr_dirty"]) == (0, 40, 0)
    assert job.stat["file"] == 40 * PAGE, "clean, and still cached"
    file.write(memory, 0, 1)
    assert vm["nr_dirtied"] == 41


def test_clean_cache_is_dropped_and_swap_is_not_touched(job):
    memory = memory_of(job, 1)
    file_of(job.host, 500).read(memory)
    job.host.advance("3s")
    vm = vm_change(job.host)
    reclaim(job, "4M swappiness=0")
    assert job.stat["file"] == 0
    assert vm["pgsteal_file"] == 500
    assert (vm["nr_vmscan_write"], vm["pswpout"], vm["zswpout"]) == (0, 0, 0)


def test_cache_outlives_its_reader(job):
    memory = memory_of(job, 10)
    file_of(job.host, 100).read(memory)
    job.host.kill(memory.task.pid)
    assert (job.stat["file"], job.stat["anon"]) == (100 * PAGE, 0)
    job.host.advance("3s")
    reclaim(job, "400K")
    assert job.stat["file"] == 0


def test_cache_outlives_its_cgroup_and_is_the_parents_to_reclaim(host):
    top = host.mkdir("top")
    child = top.mkdir("child")
    memory = memory_of(child, 1)
    file_of(host, 100).read(memory)
    host.kill(memory.task.pid)
    child.rmdir()
    assert top.stat["file"] == 100 * PAGE
    assert "nr_dying_descendants 1" in top["cgroup.stat"]
    host.advance("3s")
    reclaim(top, "1M")
    assert top.stat["file"] == 0
    assert top["memory.current"] == "0"
    assert "nr_dying_descendants 0" in top["cgroup.stat"]


def test_a_limit_holds_for_cache(job):
    job["memory.max"] = 200 * PAGE
    memory = memory_of(job, 1)
    file_of(job.host, 1000).read(memory)
    assert int(job["memory.current"]) <= 200 * PAGE
    assert job.stat["file"] >= 100 * PAGE
    assert memory.task.is_alive


def test_a_job_with_a_cache_reads_it_at_its_start(job):
    job.host.spawn(job, size="400K", cache="1M")
    assert (job.stat["file"], job.stat["anon"]) == (256 * PAGE, 100 * PAGE)


def test_a_read_waits_for_the_device(boot):
    host = boot(cost="touch=0ns,file_read=1ms,file_read_page=10us")
    job = host.mkdir("job")
    memory = memory_of(job, 1)
    file = file_of(host, 10)
    assert file.read(memory) == 1_000_000 + 9 * 10_000
    assert file.read(memory) == 0
