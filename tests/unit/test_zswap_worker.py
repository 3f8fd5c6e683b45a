"""The shrink worker runs beside stores that are refused, and by itself once nobody stores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakecg import Host
from fakecg.group import Group
from fakecg.mm.zswap_worker import START_STORES, WRITE_STORES


@pytest.fixture
def host() -> Iterator[Host]:
    # v5 has the worker look at 64 entries in a visit.
    with Host(ram="256M", swap="1G", proactive="v5", zswap={"max_pool_percent": 2}) as host:
        yield host


def fill(host: Host, *, cleared: bool) -> Group:
    """A cgroup that has nearly as many pages in zswap as its pool takes, and more in memory."""
    job = host.mkdir("job")
    host.spawn(job, size="48M", content="half", access="once")
    zswap = host.machine.zswap
    while zswap.pool.nr_pages < zswap.limits.max_pages - 40:
        job["memory.reclaim"] = "128K"
    if cleared:
        zswap.referenced[:] = bytes(len(zswap.referenced))
    return job


def test_stores_are_refused_until_the_worker_has_written_enough(host: Host) -> None:
    job = fill(host, cleared=True)
    zswap = host.machine.zswap
    stored, hits = job.stat["zswpout"], zswap.counters.pool_limit_hit
    job["memory.reclaim"] = "16M"
    assert zswap.counters.pool_limit_hit > hits
    nr_written = job.stat["zswpwb"]
    nr_refused = host.machine.vm.pswpout - nr_written
    assert nr_written
    # The last visit may have gone on after the last store.
    assert START_STORES <= nr_refused <= START_STORES + WRITE_STORES * (nr_written + 64)
    assert job.stat["zswpout"] > stored


def test_when_nobody_stores_it_goes_on_until_the_pool_accepts(host: Host) -> None:
    job = fill(host, cleared=True)
    zswap = host.machine.zswap
    job["memory.reclaim"] = "512K"
    assert zswap.limits.is_full
    # The call is over, and so is the work it began.
    assert zswap.pool.nr_pages <= zswap.limits.accept_pages
    assert not host.works
    stored = job.stat["zswpout"]
    # What was written back is dropped first.
    job["memory.reclaim"] = "4M"
    assert job.stat["zswpout"] > stored


def test_it_gives_up_after_sixteen_visits_in_vain() -> None:
    # Without the proposal a visit is one look.
    with Host(ram="256M", swap="1G", proactive="none", zswap={"max_pool_percent": 2}) as host:
        job = fill(host, cleared=False)
        zswap = host.machine.zswap
        nr_referenced, nr_stored = sum(zswap.referenced), job.stat["zswpout"]
        job["memory.reclaim"] = "512K"
        assert zswap.limits.is_full
        assert job.stat["zswpwb"] == 0
        nr_cleared = nr_referenced + job.stat["zswpout"] - nr_stored - sum(zswap.referenced)
        # A run begins where the last one stopped, behind the only cgroup: the end of that pass is its first failure.
        nr_runs, rest = divmod(nr_cleared - 1, 15)
        assert rest == 0
        assert nr_runs >= host.machine.vm.pswpout // START_STORES
        assert not host.works
