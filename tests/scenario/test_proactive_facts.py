"""What else was seen on the recorded kernels, without the counters of every step: stores over a limit, removed cgroups, bits that stay."""

from __future__ import annotations

from contextlib import suppress

import pytest
from pools import GROUP, Action, Tree

from fakecg.abi.profile import PROACTIVE_VERSIONS
from fakecg.cgroup.cftype import SIGNAL_POINT

#: A memory.zswap.max, and how many pages of half their size meet it.
LIMIT, NR_AT_LIMIT = "1040K", 512


def _at_limit(version: str) -> Tree:
    """A cgroup whose memory.zswap.max is met by fresh entries; more pages are in memory."""
    tree = Tree(version, {GROUP: 0})
    hog = tree.hogs[GROUP]
    hog.map(4 * NR_AT_LIMIT, "half")
    tree.run(Action(GROUP, LIMIT, "memory.zswap.max"))
    hog.pageout(0, NR_AT_LIMIT)
    assert tree.machine.counters(GROUP)["zswapped"] == NR_AT_LIMIT
    return tree


@pytest.mark.parametrize("version", PROACTIVE_VERSIONS)
def test_stores_refused_before_one_is_accepted(version: str) -> None:
    tree = _at_limit(version)
    nr_refused = 0
    while not tree.machine.counters(GROUP)["zswpwb"]:
        page = NR_AT_LIMIT + nr_refused
        tree.hogs[GROUP].pageout(page, page + 1)
        nr_refused += 1
    # The last one made room: v4 looks at sixteen entries for a store, the others at one.
    assert nr_refused - 1 == (32 if version == "v4" else NR_AT_LIMIT)
    assert tree.machine.counters(GROUP)["zswpwb"] == (16 if version == "v4" else 1)
    assert tree.machine.counters(GROUP)["counter"] == 0
    tree.remove()


@pytest.mark.parametrize("version", PROACTIVE_VERSIONS)
def test_one_in_for_each_one_out_but_sixteen_at_once_in_v4(version: str) -> None:
    tree = _at_limit(version)
    hog = tree.hogs[GROUP]
    nr_cleared = 32 if version == "v4" else NR_AT_LIMIT
    hog.pageout(NR_AT_LIMIT, NR_AT_LIMIT + nr_cleared)
    assert tree.machine.counters(GROUP)["zswpwb"] == 0
    written = []
    for page in range(NR_AT_LIMIT + nr_cleared, NR_AT_LIMIT + nr_cleared + 32):
        before = tree.machine.counters(GROUP)["zswpwb"]
        hog.pageout(page, page + 1)
        written.append(tree.machine.counters(GROUP)["zswpwb"] - before)
    if version == "v4":
        # Fifteen stores fit into what sixteen entries left.
        assert written[0] == 16
        assert not any(written[1:16])
    else:
        assert written == [1] * 32
    tree.remove()


@pytest.mark.parametrize("version", PROACTIVE_VERSIONS)
def test_entries_of_a_removed_child_go_first_and_count_in_the_parent(version: str) -> None:
    tree = Tree(version, {})
    tree.add("/D/gone", 256)
    tree.add("/D/left", 256)
    if version == "v1":
        tree.machine.host.advance("2s")
    else:
        tree.machine.clear("/D/gone", 2)
        tree.machine.clear("/D/left", 2)
    # The process moves, its pages stay charged where they were; then nobody is left there.
    hog = tree.hogs["/D/gone"]
    tree.machine.write("/D/left", "cgroup.procs", str(hog.task.pid))
    tree.machine.host.rmdir("/D/gone")
    del tree.hogs["/D/gone"]
    tree.groups.remove("/D/gone")
    changes = tree.run(Action("/D", "max=64K 1" if version == "v1" else "64K"))["changes"]
    assert changes["/D/left"]["zswpwb"] == 0
    assert changes["/D"]["zswpwb"] == (64 if version in ("v4", "v5") else 128)
    # What is written back has no cgroup of its own to be charged to: the parent's memory.current falls.
    assert changes["/D"]["swapcached"] == changes["/D"]["workingset_refault_anon"] == 0
    assert changes["/D"]["current"] < 0
    hog.exit()
    tree.remove()


def test_a_call_of_v1_leaves_young_entries_their_second_chance() -> None:
    tree = _at_limit("v1")
    assert tree.run(Action(GROUP, "30"))["result"] == {"errno": "EAGAIN"}
    tree.hogs[GROUP].pageout(NR_AT_LIMIT, 2 * NR_AT_LIMIT)
    assert tree.machine.counters(GROUP)["zswpwb"] == 0
    tree.remove()


def test_a_call_of_v1_takes_old_entries_whether_referenced_or_not() -> None:
    tree = _at_limit("v1")
    tree.machine.host.advance("2s")
    assert tree.run(Action(GROUP, "1"))["changes"][GROUP]["zswpwb"] == NR_AT_LIMIT
    tree.remove()


@pytest.mark.parametrize("version", PROACTIVE_VERSIONS)
def test_others_come_in_between_two_visits_and_signals_in_all_but_v4(version: str) -> None:
    tree = Tree(version, {GROUP: 1024})
    if version == "v1":
        tree.machine.host.advance("2s")
    steps = tree.machine.work(GROUP, "max=4M 1" if version == "v1" else "2M")
    pauses: list[str | None] = []
    with tree.machine.host.lock, suppress(BlockingIOError):
        pauses.extend(steps)
    nr_written = tree.machine.counters(GROUP)["zswpwb"]
    # v5 does not write in the first call on so many fresh entries; its visits pause all the same.
    assert nr_written == {"v2": 512, "v3": 512, "v5": 0}.get(version, 1024)
    assert len(pauses) >= (16 if version == "v5" else nr_written // 128)
    assert (SIGNAL_POINT in pauses) == (version != "v4")
    tree.remove()
