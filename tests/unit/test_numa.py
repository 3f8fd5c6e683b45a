"""Several nodes: where memory comes from, and what is counted by node."""

import pytest
from mm_bench import PAGE, file_of, memory_of, reclaim, set_parameter

NODES = 3


def numa_stat(group):
    """memory.numa_stat: lists by key."""
    rows = {}
    for line in group["memory.numa_stat"].splitlines():
        key, *values = line.split()
        assert [value.split("=")[0] for value in values] == [f"N{node}" for node in range(len(values))]
        rows[key] = [int(value.split("=")[1]) for value in values]
    return rows


@pytest.fixture
def host(boot):
    return boot(ram="48M", nodes=NODES)


@pytest.fixture
def job(host):
    return host.mkdir("job")


def placed(group, *nodes, pages_each=62):
    """A task with pages on these nodes in turn."""
    memory = memory_of(group, pages_each * len(nodes), touched=False)
    memory.space.node_of = [node for node in nodes for _ in range(pages_each)]
    memory.touch(write=True)
    return memory


def test_memory_is_split_evenly(host):
    assert [node.nr_pages for node in host.machine.nodes] == [4096] * 3
    assert host.vmstat["nr_free_pages"] == 3 * 4096


def test_memory_comes_from_the_first_node_while_it_has_some(job):
    memory_of(job, 1000)
    assert numa_stat(job)["anon"] == [1000 * PAGE, 0, 0]


def test_the_next_node_takes_what_the_first_has_no_room_for(job):
    memory_of(job, 5000)
    first, second, third = numa_stat(job)["anon"]
    assert first + second == 5000 * PAGE
    assert 3900 * PAGE <= first <= 4096 * PAGE
    assert third == 0
    assert job.host.vmstat["pgscan_kswapd"] == 0, "nobody needs to reclaim for that"


def test_a_policy_places_each_page(job):
    placed(job, 2, 0, 1, 2, pages_each=31)
    assert numa_stat(job)["anon"] == [31 * PAGE, 31 * PAGE, 62 * PAGE]
    assert [node.nr_pages - node.nr_free for node in job.host.machine.nodes] == [31, 31, 62]


def test_a_task_may_live_on_a_node(job):
    job.host.spawn(job, size="1M", node=2)
    assert numa_stat(job)["anon"] == [0, 0, 256 * PAGE]


def test_lines_by_node_add_up_to_memory_stat(job):
    set_parameter(job.host, "proc/sys/vm/page-cluster", 0)
    memory = placed(job, 0, 1, 2, 1)
    file_of(job.host, 100).read(memory)
    memory.pageout(0, 100)
    memory.touch(0, 50)
    stat = job.stat
    rows = numa_stat(job)
    for key, values in rows.items():
        assert len(values) == NODES
        assert sum(values) == stat[key], key
    assert sum(rows["anon"]) > 0
    assert sum(rows["workingset_refault_anon"]) == 50


def test_only_node_items_have_lines(job):
    rows = numa_stat(job)
    stat = list(job.stat)
    assert list(rows) == [key for key in stat if key in rows], "in the order of memory.stat"
    assert {"anon", "file", "inactive_anon", "swapcached", "workingset_refault_anon"} <= set(rows)
    assert not {"zswap", "zswapped", "kernel", "pgfault", "pgscan", "pgsteal", "slab", "zswpout"} & set(rows)


def test_the_sum_of_a_subtree_is_shown_by_node(job):
    placed(job.mkdir("a"), 0, 1)
    placed(job.mkdir("b"), 1, 2)
    assert numa_stat(job)["anon"] == [62 * PAGE, 124 * PAGE, 62 * PAGE]


def test_reclaim_takes_from_all_nodes(job):
    memory = placed(job, 0, 1, 2, pages_each=310)
    reclaim(job, "64M")
    assert memory.states() == (0, 930, 0)
    assert numa_stat(job)["inactive_anon"] == [0, 0, 0]


def test_a_page_comes_back_to_its_node(job):
    memory = placed(job, 2, 1)
    before = numa_stat(job)["anon"]
    memory.pageout()
    assert numa_stat(job)["anon"] == [0, 0, 0]
    memory.touch()
    assert numa_stat(job)["anon"] == before


def test_kswapd_works_for_its_own_node(boot):
    # Node 0 is full of one task's memory, bound to it; node 1 has none.
    host = boot(ram="16M", nodes=2)
    job = host.mkdir("job")
    bound = memory_of(job, 2100, touched=False)
    bound.space.node_of = [0] * 2100
    elsewhere = memory_of(job, 500, touched=False)
    elsewhere.space.node_of = [1] * 500
    elsewhere.touch(write=True)
    bound.touch(write=True)
    assert host.vmstat["pgsteal_kswapd"] + host.vmstat["pgsteal_direct"] > 0
    assert host.machine.nodes[0].nr_free >= host.machine.nodes[0].min_wmark - 64


def test_one_node_is_called_n0(boot):
    job = boot().mkdir("job")
    memory_of(job, 10)
    assert "anon N0=40960\n" in job["memory.numa_stat"] + "\n"
