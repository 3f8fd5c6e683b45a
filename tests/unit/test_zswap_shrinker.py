"""The dynamic shrinker: reclaim of a cgroup also writes its zswap entries back, if it is on."""

import pytest
from mm_bench import PAGE, memory_of, reclaim, set_parameter, vm_change

from fakecg.mm import zswap_shrinker


@pytest.fixture
def host(boot):
    host = boot(proactive="none")
    set_parameter(host, "zswap/shrinker_enabled", "Y")
    return host


def filled(group, nr_pages=1000, content="rec:half"):
    """A task with all its pages in zswap, no entry referenced any more."""
    memory = memory_of(group, nr_pages, content)
    memory.pageout()
    assert memory.states() == (0, nr_pages, 0)
    zswap = group.host.machine.zswap
    for slot in zswap.entries():
        zswap.referenced[slot] = 0
    return memory


def count(group):
    return zswap_shrinker._count(group.host.machine, group.cgroup.css["memory"], 0)


def test_it_is_off_by_default(boot):
    host = boot()
    job = host.mkdir("job")
    filled(job)
    assert not reclaim(job, "64M")
    assert job.stat["zswpwb"] == 0


def test_a_moderate_request_writes_nothing(host):
    # At priority 12 the share of 1000 entries is none.
    job = host.mkdir("job")
    filled(job)
    memory_of(job, 8192)
    host.advance("3s")
    reclaim(job, "4K")
    vm = vm_change(host)
    assert reclaim(job, "128K")
    assert vm["zswpwb"] == 0


def test_asking_for_more_than_there_is_writes_everything(host):
    job = host.mkdir("job")
    memory = filled(job)
    assert not reclaim(job, "64M")
    assert memory.states() == (0, 0, 1000), "and what was written is dropped by the same reclaim"
    assert job.stat["zswpwb"] == host.vmstat["pswpout"] == 1000
    assert host.vmstat["slabs_scanned"] > 0


def test_writeback_turned_off_here_or_above_is_respected(host):
    top = host.mkdir("top")
    job = top.mkdir("job")
    filled(job)
    top["memory.zswap.writeback"] = 0
    assert count(job) == 0
    reclaim(job, "64M")
    assert job.stat["zswpwb"] == 0


def test_only_the_reclaimed_subtree_is_shrunk(host):
    one, other = host.mkdir("one"), host.mkdir("other")
    filled(one, 300)
    filled(other, 300)
    reclaim(one, "64M")
    assert (one.stat["zswpwb"], other.stat["zswpwb"]) == (300, 0)


@pytest.mark.parametrize(("content", "bytes_each"), [("rec:half", 2082), ("rec:same", 26)])
def test_the_better_entries_compress_the_fewer_are_worth_a_look(host, content, bytes_each):
    job = host.mkdir("job")
    filled(job, 1000, content)
    stored_pages = job.stat["zswap"] // PAGE
    assert stored_pages == pytest.approx(1000 * bytes_each // PAGE, abs=1)
    assert count(job) == 1000 * stored_pages // 1000


def test_a_pass_takes_its_share_in_batches_of_128_and_leaves_the_rest_for_later(host):
    # 1000 entries of 2082 bytes are worth 508 looks; at priority 1 half of that, twice over (seeks 2): 508, in whole batches.
    job = host.mkdir("job")
    filled(job, 1000)
    memcg = job.cgroup.css["memory"]
    assert count(job) == 508
    with host.locked():
        host.drive(zswap_shrinker.shrink_slab(host.machine, memcg, 0, 1))
    assert job.stat["zswpwb"] == 3 * 128
    assert memcg.shrinker_deferred[0] == 508 - 3 * 128
    assert host.vmstat["slabs_scanned"] == 3 * 128


def test_pages_read_from_the_disk_protect_as_many_entries_once(host):
    job = host.mkdir("job")
    set_parameter(host, "proc/sys/vm/page-cluster", 0)
    set_parameter(host, "zswap/enabled", "N")
    on_disk = memory_of(job, 400)
    on_disk.pageout()
    on_disk.pageout()
    set_parameter(host, "zswap/enabled", "Y")
    set_parameter(host, "zswap/shrinker_enabled", "N")
    reclaim(job, "1600K")
    set_parameter(host, "zswap/shrinker_enabled", "Y")
    assert on_disk.states() == (0, 0, 400)
    filled(job, 1000)
    on_disk.touch()
    stored_pages = job.stat["zswap"] // PAGE
    assert count(job) == (1000 - 400) * stored_pages // 1000
    assert count(job) == 1000 * stored_pages // 1000, "the protection is used up"


def test_a_page_in_the_swap_cache_ends_the_round(host):
    # An entry whose page is being read cannot be written: that ends this shrinker's round, and nothing is lost.
    job = host.mkdir("job")
    memory = filled(job, 600)
    memory.touch(0, 100)
    reclaim(job, "64M")
    assert sum(memory.states()) == 600


def test_referenced_entries_have_a_second_chance_here_too(host):
    job = host.mkdir("job")
    memory = memory_of(job, 100)
    memory.pageout()
    zswap = host.machine.zswap
    assert all(zswap.referenced[slot] for slot in zswap.entries())
    reclaim(job, "64M")
    # Several rounds of a hopeless request: cleared in one, written in a later one.
    assert job.stat["zswpwb"] == 100
