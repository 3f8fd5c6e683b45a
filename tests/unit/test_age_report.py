"""Ages of zswap entries, and what a writeback by age would do."""

import errno
from random import Random

import pytest

from fakecg import Host, ManualClock, UsageError
from fakecg.abi.errors import NotEnoughProgress
from fakecg.observe.check import check


@pytest.fixture
def host():
    with Host(ram="1G", swap="1G", seed=3, cost="instant") as host:
        yield host


def store(group, size):
    """Put a new task's memory into zswap; returns how many entries there are then in the group's subtree."""
    group.host.spawn(group, size=size, content="rec:half")
    for _ in range(20):
        try:
            group["memory.reclaim"] = size
        except NotEnoughProgress:
            break
    return group.stat["zswapped"] // 4096


def write_back(group, request):
    """errno, pages, compressed bytes and pool pages of a real writeback."""
    before, pool = group.stat, group.host.machine.zswap.pool.nr_pages
    error = 0
    try:
        group["memory.zswap.proactive_writeback"] = request
    except OSError as refusal:
        error = refusal.errno
    after = group.stat
    nr_pages = after["zswpwb_proactive"] - before["zswpwb_proactive"]
    return error, nr_pages, before["zswap"] - after["zswap"], pool - group.host.machine.zswap.pool.nr_pages


def lists(host):
    """Order, bits and cursors of everything in zswap."""
    zswap = host.machine.zswap
    return [
        (list(zswap.links.oldest(lru, lru.size)), bytes(zswap.referenced), memcg.writeback_cursor)
        for memcg in host.machine.memcgs.values()
        for lru in memcg.zswap_lrus
    ]


def test_entries_are_counted_by_age_in_the_whole_subtree(host):
    # parent: none of its own
    #   old:  1 MiB, stored 2 h ago
    #   new:  2 MiB, stored just now
    parent = host.mkdir("parent")
    old, new = parent.mkdir("old"), parent.mkdir("new")
    nr_old = store(old, "1M")
    host.advance("2h")
    nr_new = store(new, "2M")
    report = host.age_report(parent)
    assert (nr_old, nr_new) == (256, 512)
    assert report.nr_entries == 768
    assert report.nr_bytes == parent.stat["zswap"]
    assert report.oldest_ns == 2 * 3600 * 10**9
    assert {band.age_s: band.nr_entries for band in report.bands if band.nr_entries} == {3600: 256, 0: 512}
    assert report.dry_run is None
    assert host.age_report("/parent/new").nr_entries == 512


def test_without_entries_there_is_no_oldest(host):
    report = host.age_report(host.mkdir("job"))
    assert (report.nr_entries, report.nr_bytes, report.oldest_ns) == (0, 0, None)
    assert report.pool.nr_pages == report.pool.hole_bytes == report.pool.rounding_bytes == report.pool.tail_bytes == 0


@pytest.mark.parametrize("seed", range(12))
def test_the_dry_run_tells_what_the_write_does(seed):
    # parent        entries of its own, of a removed child, and of three children; one of them may not write back
    #   a, b, c
    random = Random(seed)
    with Host(ram="1G", swap="1G", seed=seed, cost="instant", nodes=random.choice((1, 2))) as host:
        parent = host.mkdir("parent")
        children = [parent.mkdir(name) for name in "abc"]
        gone = parent.mkdir("gone")
        store(gone, "1M")
        gone["cgroup.kill"] = 1
        gone.rmdir()
        for _ in range(6):
            host.advance(f"{random.randrange(1, 40)}m")
            store(random.choice(children), f"{random.choice((64, 500, 2000, 3000))}K")
            if random.random() < 0.5:
                children[0].host.kill(random.choice(host.tasks()).pid)
        if random.random() < 0.5:
            children[1]["memory.zswap.writeback"] = 0
        for _ in range(8):
            target = random.choice([parent, *children])
            age_s = random.choice((1, 600, 1800, 3600, 7200))
            max_bytes = random.choice((None, 4096, 100_000, 1 << 20, 4 << 20))
            before = lists(host)
            run = host.age_report(target, age_s=age_s, max_bytes=max_bytes).dry_run
            assert lists(host) == before
            request = f"{age_s}" if max_bytes is None else f"max={max_bytes} {age_s}"
            assert (run.errno, run.nr_written, run.written_bytes, run.pool_pages) == write_back(target, request), request
            assert run.nr_written + run.nr_missed <= max(run.nr_old, run.nr_written)
        check(host)


def test_the_walk_misses_old_entries_that_stand_behind_its_scan_cap(host):
    # "max=4K" looks at 16 entries in each of 16 visits. A call for a higher age moves the 256 oldest to the young end; there the next
    # call does not come, although the index knows that they are old.
    job = host.mkdir("job")
    assert store(job, "1M") == 256
    host.advance("1h")
    store(job, "8M")
    host.advance("1m")
    assert host.age_report(job, age_s=3600, max_bytes=4096).dry_run.nr_missed == 0
    host.advance("2h")
    store(job, "1M")
    assert write_back(job, "max=4K 10900")[:2] == (errno.EAGAIN, 0)
    run = host.age_report(job, age_s=9000, max_bytes=4096).dry_run
    assert (run.errno, run.nr_old, run.nr_written, run.nr_missed) == (errno.EAGAIN, 256, 0, 1)
    assert run.nr_rotated == 15 * 16
    assert write_back(job, "max=4K 9000")[:2] == (errno.EAGAIN, 0)
    # A larger request looks further.
    run = host.age_report(job, age_s=9000, max_bytes=1 << 20).dry_run
    assert (run.errno, run.nr_missed) == (0, 0)


def test_where_writeback_is_off_the_dry_run_says_so(host):
    parent = host.mkdir("parent")
    child = parent.mkdir("child")
    store(child, "1M")
    host.advance("1h")
    child["memory.zswap.writeback"] = 0
    run = host.age_report(parent, age_s=60).dry_run
    assert (run.errno, run.nr_old, run.nr_barred, run.nr_written, run.nr_missed) == (errno.EAGAIN, 256, 256, 0, 0)
    parent["memory.zswap.writeback"] = 0
    run = host.age_report(parent, age_s=60).dry_run
    assert (run.errno, run.nr_barred, run.nr_written) == (errno.EINVAL, 256, 0)


def test_an_age_beyond_the_uptime_does_nothing():
    with Host(ram="1G", swap="1G", clock=ManualClock(start_s=60), cost="instant") as host:
        job = host.mkdir("job")
        store(job, "1M")
        run = host.age_report(job, age_s=60).dry_run
        assert (run.errno, run.nr_old, run.nr_written) == (0, 0, 0)
        assert write_back(job, "60")[:2] == (0, 0)


def test_the_pool_is_accounted_for_to_the_byte(host):
    job = host.mkdir("job")
    host.spawn(job, size="16M", content="text")
    job["memory.reclaim"] = "12M"
    host.spawn(job, size="4M", content="ratio=5")
    with pytest.raises(NotEnoughProgress):
        job["memory.reclaim"] = "32M"
    host.kill(host.tasks()[1].pid)
    host.advance("1h")
    job["memory.zswap.proactive_writeback"] = "max=5M 60"
    pool = host.age_report(job).pool
    assert pool.stored_bytes == job.stat["zswap"]
    assert pool.nr_objects == job.stat["zswapped"] // 4096
    assert pool.nr_pages * 4096 == pool.stored_bytes + pool.rounding_bytes + pool.hole_bytes + pool.tail_bytes
    assert pool.hole_bytes > 0
    assert pool.rounding_bytes >= 8 * pool.nr_objects  # an object has a handle of 8 bytes
    assert sum(each.nr_pages for each in pool.classes) == pool.nr_pages
    assert [each.object_bytes for each in pool.classes] == sorted(each.object_bytes for each in pool.classes)


def test_the_numbers_are_one_a_line(host):
    job = host.mkdir("job")
    store(job, "1M")
    lines = str(host.age_report(job, age_s=30, max_bytes=1 << 20)).splitlines()
    assert lines[0] == "entries 256"
    assert "dry_run.max_bytes 1048576" in lines
    assert all(len(line.split()) == 2 for line in lines)
    assert not any("max_bytes" in line for line in str(host.age_report(job, age_s=30)).splitlines())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"age_s": 0}, "not an age: 0"),
        ({"age_s": 1 << 32}, "not an age"),
        ({"age_s": 5, "max_bytes": 4095}, "less than a page"),
        ({"max_bytes": 4096}, "needs an age"),
    ],
)
def test_what_the_file_would_refuse_is_a_mistake(host, options, message):
    with pytest.raises(UsageError, match=message):
        host.age_report(host.mkdir("job"), **options)


def test_a_cgroup_without_the_memory_controller_has_no_ages(host):
    parent = host.mkdir("parent")
    parent.mkdir("child")
    parent["cgroup.subtree_control"] = "-memory"
    with pytest.raises(UsageError, match="not enabled"):
        host.age_report("/parent/child")
