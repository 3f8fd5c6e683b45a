"""Watermarks, kswapd between them, direct reclaim below them."""

from math import isqrt

import pytest
from mm_bench import file_of, memory_of, vm_change

from fakecg.mm.kswapd import Node, default_min_free_kbytes


@pytest.mark.parametrize(
    ("ram", "min_free_kbytes"),
    # sqrt(16 * KiB of memory), at least 128 and at most 262144.
    [("512K", 128), ("1M", 128), ("64M", 1024), ("1G", 4096), ("4G", 8192), ("16G", 16384), ("8192G", 262144)],
)
def test_min_free_kbytes_grows_with_the_root_of_memory(ram, min_free_kbytes):
    number, unit = int(ram[:-1]), {"K": 1, "M": 1 << 10, "G": 1 << 20}[ram[-1]]
    assert default_min_free_kbytes(number * unit // 4) == min_free_kbytes


def test_watermarks_are_a_gap_apart(boot):
    (node,) = boot(ram="64M").machine.nodes
    minimum = isqrt(16 * 64 * 1024) // 4
    assert node.min_wmark == minimum == 256
    # A quarter of min, or a thousandth of memory.
    assert (node.low_wmark - minimum, node.high_wmark - minimum) == (64, 128)
    (large,) = boot(ram="16G").machine.nodes
    assert large.low_wmark - large.min_wmark == 4194304 * 10 // 10000
    assert large.high_wmark - large.min_wmark == 2 * (4194304 * 10 // 10000)


def test_nodes_share_min_free_by_size():
    node = Node(1, 4096, 1024, 16384)
    assert node.min_wmark == 64


@pytest.fixture
def host(boot):
    # 4096 pages: min 128, low 160, high 192.
    host = boot(ram="16M")
    assert [(node.min_wmark, node.low_wmark, node.high_wmark) for node in host.machine.nodes] == [(128, 160, 192)]
    return host


def test_nobody_reclaims_above_the_low_watermark(host):
    memory_of(host.mkdir("job"), 3900)
    vm = host.vmstat
    assert vm["nr_free_pages"] == 196
    assert (vm["pageoutrun"], vm["pgscan_kswapd"], vm["pgscan_direct"], vm["allocstall_normal"]) == (0, 0, 0, 0)


def test_kswapd_runs_below_low_and_stops_at_high(host):
    job = host.mkdir("job")
    memory = memory_of(job, 6000, touched=False)
    memory.touch(0, 3900, write=True)
    # Its first run clears young bits and frees nothing.
    free = []
    for start in range(3900, 4200, 10):
        memory.touch(start, start + 10, write=True)
        free.append(host.vmstat["nr_free_pages"])
    vm = host.vmstat
    assert vm["pageoutrun"] >= 2
    assert vm["pgsteal_kswapd"] > 0
    assert min(free) > 128
    assert 192 <= max(free[10:]) <= 192 + 64, "and does not go on for ever"
    assert job.stat["pgsteal_kswapd"] == vm["pgsteal_kswapd"]
    assert sum(memory.states()) == 4200
    assert vm["pgscan_direct"] == 0


def test_kswapd_takes_from_every_cgroup(host):
    jobs = [host.mkdir(name) for name in "abc"]
    memories = [memory_of(job, 1300) for job in jobs]
    filler = memory_of(host.mkdir("filler"), 1000)
    assert host.vmstat["pgsteal_kswapd"] > 0
    assert all(job.stat["pgsteal_kswapd"] > 0 for job in jobs)
    assert [sum(memory.states()) for memory in (*memories, filler)] == [1300, 1300, 1300, 1000]


def test_kswapds_work_is_pressure_of_the_machine_alone(boot):
    host = boot(ram="16M", cost="nvme")
    job = host.mkdir("job")
    memory = memory_of(job, 6000, touched=False)
    memory.touch(0, 3920, write=True)
    for start in range(3920, 4220, 10):
        memory.touch(start, start + 10, write=True)
    assert host.vmstat["pgsteal_direct"] == 0
    assert host.vmstat["pgsteal_kswapd"] > 0
    host.advance("5s")
    some = [int(group["memory.pressure"].splitlines()[0].rpartition("=")[2]) for group in (host.root, job)]
    assert some[0] > 0
    assert some[1] == 0


def test_below_min_the_allocating_task_reclaims_itself(host):
    job = host.mkdir("job")
    memory = memory_of(job, 5500, touched=False)
    # kswapd has no chance to keep up: it is given up on.
    host.machine.nodes[0].kswapd_failures = 16
    vm = vm_change(host)
    memory.touch(write=True)
    assert vm["allocstall_normal"] > 0
    assert vm["pgsteal_direct"] > 0
    assert job.stat["pgsteal_direct"] == vm["pgsteal_direct"]
    assert host.vmstat["nr_free_pages"] >= 128 - 64
    assert memory.task.is_alive


def test_direct_reclaim_that_succeeds_gives_kswapd_another_chance(host):
    memory = memory_of(host.mkdir("job"), 5500, touched=False)
    host.machine.nodes[0].kswapd_failures = 16
    memory.touch(write=True)
    assert host.machine.nodes[0].kswapd_failures < 16
    assert host.vmstat["pageoutrun"] > 0


def test_kswapd_rests_after_16_runs_for_nothing(boot):
    host = boot(ram="16M", swap=0)
    memory = memory_of(host.mkdir("job"), 4000, touched=False, oom_score_adj=-1000)
    memory.touch(0, 3900, write=True)
    for page in range(3900, 3967):
        memory.touch(page, page + 1, write=True)
    vm = host.vmstat
    assert vm["nr_free_pages"] < 160
    assert vm["pageoutrun"] == 16
    assert vm["pgsteal_kswapd"] == 0
    assert memory.task.is_alive


def test_cache_goes_before_anonymous_memory(host):
    job = host.mkdir("job")
    memory = memory_of(job, 2000)
    file_of(host, 6000).read(memory)
    assert host.vmstat["pgsteal_file"] > 3000
    assert memory.states()[0] > 1900
    assert host.vmstat["nr_free_pages"] >= 160


def test_protected_memory_is_spared_by_kswapd(host):
    protected, other = host.mkdir("protected"), host.mkdir("other")
    protected["memory.min"] = "8M"
    memory = memory_of(protected, 1000)
    memory_of(other, 4000)
    assert memory.states() == (1000, 0, 0)
    assert other.stat["pgsteal_kswapd"] > 0


def test_compressed_pages_take_memory_too(host):
    job = host.mkdir("job")
    memory = memory_of(job, 1000, "rec:half")
    before = host.vmstat["nr_free_pages"]
    memory.pageout()
    # 15 objects in 8 pages.
    assert host.vmstat["nr_free_pages"] - before == 1000 - 67 * 8
