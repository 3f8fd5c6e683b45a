"""How long what is in zswap has been there: histograms and dry runs of a subtree, from the age index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fakecg.cgroup.cgroup import Cgroup
from fakecg.mm.age_index import AgeIndex
from fakecg.mm.memcontrol import MemCgroup
from fakecg.sched.clock import NSEC_PER_SEC

#: Lower bounds of the bands of a histogram, seconds.
AGE_BANDS_S = (0, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)


@dataclass(frozen=True, slots=True)
class AgeBand:
    """Entries at least ``age_s`` old, and younger than the next band: their number and their compressed bytes."""

    age_s: int
    nr_entries: int
    nr_bytes: int


def _indices(cgroup: Cgroup) -> list[AgeIndex]:
    # Entries of removed children belong to the nearest ancestor that is left.
    indices = []
    for each in cgroup.descendants_pre():
        memcg = each.own_css("memory")
        if isinstance(memcg, MemCgroup):
            ages = memcg.mm.zswap.ages
            indices += [ages[number] for number in memcg.objcgs]
    return indices


def older_than(cgroup: Cgroup, age_ns: int, now_ns: int) -> tuple[int, int]:
    """Entries and compressed bytes of a subtree that were stored ``age_ns`` ago or earlier: the most a writeback with this age can write.

    The host's lock is held by the caller.
    """
    found = [index.stored_until(now_ns - age_ns) for index in _indices(cgroup)]
    return sum(nr_entries for nr_entries, _ in found), sum(nr_bytes for _, nr_bytes in found)


def age_histogram(cgroup: Cgroup, now_ns: int, bands_s: Sequence[int] = AGE_BANDS_S) -> list[AgeBand]:
    """A subtree's zswap entries by age, youngest band first; ``bands_s`` ascends from 0. The host's lock is held by the caller."""
    totals = [older_than(cgroup, age_s * NSEC_PER_SEC, now_ns) for age_s in bands_s]
    bands = []
    for age_s, (entries, size), (older_entries, older_size) in zip(bands_s, totals, [*totals[1:], (0, 0)], strict=True):
        bands.append(AgeBand(age_s, entries - older_entries, size - older_size))
    return bands
