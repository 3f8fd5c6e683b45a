"""Kernels that drop written-back pages as soon as their I/O ends (profile v7.1)."""

import pytest

from fakecg import Host
from fakecg.observe.check import check


@pytest.mark.parametrize("content", ["text", "random", "mix:text=0.6,zero=0.2,random=0.2"])
def test_pages_written_back_in_the_middle_of_reclaim_leave_memory_after_their_write(content):
    # 2 % of 256 MiB: the pool is full, so the shrink worker writes entries back while reclaim holds pages off the lists.
    with Host(ram="256M", swap="1G", seed=5, profile="v7.1", cost="instant", zswap={"max_pool_percent": 2}) as host:
        job = host.mkdir("job")
        job["memory.max"] = "32M"
        host.spawn(job, size="60M", content=content)
        check(host)
        assert job.stat["zswpwb"] > 0
        assert host.verify() == 60 * 256


def test_proactive_writeback_leaves_nothing_in_the_swap_cache():
    with Host(ram="256M", swap="1G", seed=5, profile="v7.1", proactive="v1") as host:
        job = host.mkdir("job")
        host.spawn(job, size="16M")
        job["memory.reclaim"] = "8M"
        host.advance("1h")
        before = int(job["memory.current"])
        job["memory.zswap.proactive_writeback"] = "max=4M 60"
        assert job.stat["zswpwb"] == 1024
        assert job.stat["swapcached"] == 0
        assert int(job["memory.current"]) < before
        check(host)
