"""The arguments of docs/experiments.md hold, and its tables are what the experiments print."""

from __future__ import annotations

import re

import burst
import dying_reclaimer
import lowering_the_limit
import memory_reclaim_alone
import page
import pytest
import stores_to_converge

EXPERIMENTS = ("lowering_the_limit", "stores_to_converge", "dying_reclaimer", "burst", "memory_reclaim_alone")
#: A change of the model may move a number by so much before the page has to be made again. What a job that keeps faulting gets from the
#: disk depends on all that came before, so those numbers move more.
TOLERANCE = 0.1
TOLERANCE_WHILE_FAULTING = 0.5
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def test_lowering_the_limit_writes_nothing_back_until_a_store_comes() -> None:
    stored, lowered, an_hour_later, after_stores, after_write = (counters for _, counters in lowering_the_limit.measure())
    assert lowered == an_hour_later == stored
    assert stored.nr_entries >= 4096
    assert after_stores.zswpwb == 0, "the first stores find fresh entries only"
    assert after_stores.pswpout == after_stores.stores - stored.stores > 0
    assert after_write.zswap_bytes <= stored.zswap_bytes // 2
    assert after_write.stores == after_stores.stores


@pytest.mark.parametrize("nr_nodes", [2, 4])
def test_several_nodes_converge_later_than_one_entry_a_node_would_have_it(nr_nodes: int) -> None:
    found = stores_to_converge.measure("v6.12", nr_nodes)
    assert found.is_met
    expected = found.nr_entries / nr_nodes + found.nr_above / (nr_nodes - 1)
    assert 0.95 * expected < found.stores < 1.5 * expected
    assert found.stores > 3 * found.nr_above / nr_nodes
    assert found.to_disk >= found.nr_entries // nr_nodes


def test_one_node_never_converges() -> None:
    found = stores_to_converge.measure("v6.12", 1)
    assert not found.is_met
    assert found.stores >= stores_to_converge.NR_ROUNDS * found.nr_entries
    assert found.zswpwb > found.nr_above, "entries were written back, and as many came in"


@pytest.mark.parametrize(("profile", "nr_nodes"), stores_to_converge.MACHINES)
def test_one_proactive_write_meets_the_limit_on_every_machine(profile: str, nr_nodes: int) -> None:
    found = stores_to_converge.measure(profile, nr_nodes)
    assert found.is_met_proactively
    assert found.nr_above <= found.proactive < found.nr_above + 128


@pytest.mark.parametrize("disk", dying_reclaimer.DISKS)
def test_a_reclaimer_that_dies_leaves_a_limit_and_a_proactive_write_nothing(disk: str) -> None:
    _, to_disk, _, stall_ms = dying_reclaimer.measure(dying_reclaimer.no_agent, disk)
    assert to_disk == 0
    limit, to_disk, read, stall_with_limit_ms = dying_reclaimer.measure(dying_reclaimer.lower_and_restore, disk)
    assert limit != "max"
    assert min(to_disk, read) > 1000
    assert stall_with_limit_ms > 1.25 * stall_ms
    limit, to_disk, read, stall_after_write_ms = dying_reclaimer.measure(dying_reclaimer.write_proactively, disk)
    assert (limit, to_disk) == ("max", 0)
    assert 0 < read < 300
    assert stall_after_write_ms < stall_with_limit_ms


@pytest.mark.parametrize("cause", burst.CAUSES)
def test_a_burst_below_a_lowered_limit_writes_back_more_than_intended(cause: str) -> None:
    lowered, written = burst.measure("limit", cause), burst.measure("write", cause)
    assert lowered.before == lowered.start
    assert lowered.after.pswpout > 3 * lowered.intended
    assert lowered.after.zswpwb < lowered.intended, "hardly any of the cold entries"
    assert written.intended <= written.before.zswpwb < written.intended + 128
    assert written.after.pswpout == written.before.pswpout, "the burst is compressed"
    assert written.after.zswpout > written.before.zswpout


def test_memory_reclaim_leaves_entries_alone_without_the_shrinker() -> None:
    for request in memory_reclaim_alone.REQUESTS:
        done, before, after = memory_reclaim_alone.measure(request, "N")
        assert done == (request != "1G")
        assert after.zswpwb == 0
        assert after.zswap_bytes > before.zswap_bytes


def test_memory_reclaim_with_the_shrinker_writes_back_nothing_or_everything() -> None:
    assert memory_reclaim_alone.measure("1M", "Y")[2].zswpwb == 0
    assert memory_reclaim_alone.measure("4M", "Y")[2].zswpwb == 0
    done, before, after = memory_reclaim_alone.measure("1G", "Y")
    assert not done
    assert after.nr_entries == 0
    assert after.zswpwb > before.nr_entries


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_page_shows_what_the_experiment_prints(name: str) -> None:
    shown, printed = page.shown()[name], page.printed(name)
    assert NUMBER.sub("#", shown).split() == NUMBER.sub("#", printed).split(), "run make docs"
    tolerance = TOLERANCE_WHILE_FAULTING if name == "dying_reclaimer" else TOLERANCE
    for old, new in zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True):
        assert float(old) == pytest.approx(float(new), rel=tolerance, abs=10), f"run make docs: {old} on the page, {new} now"


def test_the_page_shows_every_experiment() -> None:
    assert set(page.shown()) == set(EXPERIMENTS)
