"""How long what is in zswap has been there, what a writeback by age would write, and how full the pool's pages are.

Counts by age come from the age index. What a writeback would do comes from a rehearsal of the kernel's walk, which does not look at the
index: where the two differ, the walk misses old entries.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fakecg.abi.errors import NotEnoughProgress, UsageError
from fakecg.abi.keyed import flat_keyed
from fakecg.abi.units import PAGE_SHIFT, PAGE_SIZE
from fakecg.mm.memcontrol import MemCgroup
from fakecg.mm.zsmalloc import ClassUse
from fakecg.mm.zswap_rehearsal import Rehearsal
from fakecg.sched.clock import NSEC_PER_SEC

if TYPE_CHECKING:
    from fakecg.cgroup.cgroup import Cgroup
    from fakecg.mm.age_index import AgeIndex

#: Lower bounds of the bands of a histogram, seconds.
AGE_BANDS_S = (0, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
#: v1's ages are 32-bit.
MAX_AGE_S = (1 << 32) - 1
#: Pages of a request without max=.
NO_LIMIT = 1 << 64


@dataclass(frozen=True, slots=True)
class AgeBand:
    """Entries at least ``age_s`` old, and younger than the next band: their number and their compressed bytes."""

    age_s: int
    nr_entries: int
    nr_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What writing ``max=<max_bytes> <age_s>`` to memory.zswap.proactive_writeback would do.

    Attributes:
        errno: 0 for success; EAGAIN (nothing would be written) or EINVAL (writeback is disabled for the cgroup).
        nr_old, old_bytes: entries old enough, from the age index.
        nr_barred: those of them in cgroups below that may not write back.
        nr_written, written_bytes: what the walk would write back.
        nr_rotated: younger entries that the walk would move to the young end.
        nr_missed: entries that are old enough, asked for and allowed, and still not written: the walk gives up before it meets them.
        pool_pages: pages that the pool would give back.
    """

    age_s: int
    max_bytes: int | None
    errno: int = 0
    nr_old: int = 0
    old_bytes: int = 0
    nr_barred: int = 0
    nr_written: int = 0
    written_bytes: int = 0
    nr_rotated: int = 0
    nr_missed: int = 0
    pool_pages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUse:
    """The machine's pool: pages, live objects, their compressed bytes, and the classes they are in."""

    nr_pages: int
    nr_objects: int
    stored_bytes: int
    classes: tuple[ClassUse, ...]

    @property
    def rounding_bytes(self) -> int:
        """Lost because an object takes its class's size, handle included."""
        return sum((each.nr_room - each.nr_free) * each.object_bytes for each in self.classes) - self.stored_bytes

    @property
    def hole_bytes(self) -> int:
        """Free objects of zspages that are in use."""
        return sum(each.nr_free * each.object_bytes for each in self.classes)

    @property
    def tail_bytes(self) -> int:
        """Ends of zspages that are too short for an object."""
        return sum(each.nr_pages * PAGE_SIZE - each.nr_room * each.object_bytes for each in self.classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgeReport:
    """Ages of a subtree's entries. ``str()`` gives ``KEY VALUE`` lines.

    Attributes:
        nr_entries, nr_bytes: all entries of the subtree, and their compressed bytes.
        oldest_ns: age of the oldest; None without entries.
        bands: histogram, youngest first.
        dry_run: None if no age was asked for.
        pool: of the whole machine.
    """

    nr_entries: int
    nr_bytes: int
    oldest_ns: int | None
    bands: tuple[AgeBand, ...]
    dry_run: DryRun | None
    pool: PoolUse

    def numbers(self) -> Iterator[tuple[str, int]]:
        """Every number with its name; what does not apply has no line."""
        yield "entries", self.nr_entries
        yield "compressed_bytes", self.nr_bytes
        if self.oldest_ns is not None:
            yield "oldest_ns", self.oldest_ns
        for band in self.bands:
            yield f"age_{band.age_s}.entries", band.nr_entries
            yield f"age_{band.age_s}.compressed_bytes", band.nr_bytes
        run = self.dry_run
        if run is not None:
            yield "dry_run.age_s", run.age_s
            if run.max_bytes is not None:
                yield "dry_run.max_bytes", run.max_bytes
            yield "dry_run.errno", run.errno
            yield "dry_run.old_entries", run.nr_old
            yield "dry_run.old_bytes", run.old_bytes
            yield "dry_run.barred_entries", run.nr_barred
            yield "dry_run.written_entries", run.nr_written
            yield "dry_run.written_bytes", run.written_bytes
            yield "dry_run.rotated_entries", run.nr_rotated
            yield "dry_run.missed_entries", run.nr_missed
            yield "dry_run.pool_pages", run.pool_pages
        pool = self.pool
        yield "pool.pages", pool.nr_pages
        yield "pool.objects", pool.nr_objects
        yield "pool.stored_bytes", pool.stored_bytes
        yield "pool.rounding_bytes", pool.rounding_bytes
        yield "pool.hole_bytes", pool.hole_bytes
        yield "pool.tail_bytes", pool.tail_bytes
        for each in pool.classes:
            yield f"pool.class_{each.object_bytes}.pages", each.nr_pages
            yield f"pool.class_{each.object_bytes}.objects", each.nr_room - each.nr_free
            yield f"pool.class_{each.object_bytes}.free_objects", each.nr_free

    def __str__(self) -> str:
        return flat_keyed(self.numbers())


def _indices(cgroup: Cgroup) -> list[AgeIndex]:
    # Entries of removed children belong to the nearest ancestor that is left.
    indices = []
    for each in cgroup.descendants_pre():
        memcg = each.own_css("memory")
        if isinstance(memcg, MemCgroup):
            ages = memcg.mm.zswap.owners.ages
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


def survey(cgroup: Cgroup, *, age_s: int | None = None, max_bytes: int | None = None) -> Callable[[], AgeReport]:
    """Look at a subtree's ages, with the host's lock held; the returned function makes the report and needs no lock. Nothing is changed.

    Args:
        age_s: also rehearse a writeback of what is at least this old.
        max_bytes: and at most this many bytes of it, uncompressed; None for all.

    Raises:
        UsageError: no memory controller here, an age or size that the file would refuse.

    Cost: O(zspages); with ``age_s`` also O(entries of the subtree), most of it without the lock.
    """
    memcg = cgroup.own_css("memory")
    if not isinstance(memcg, MemCgroup):
        raise UsageError(f"{cgroup.path()}: the memory controller is not enabled here", 1)
    if age_s is None and max_bytes is not None:
        raise UsageError("a size needs an age beside it")
    if age_s is not None and not 1 <= age_s <= MAX_AGE_S:
        raise UsageError(f"not an age: {age_s} (1 to {MAX_AGE_S} seconds)")
    if max_bytes is not None and max_bytes < PAGE_SIZE:
        raise UsageError(f"less than a page: {max_bytes} bytes")
    zswap = memcg.mm.zswap
    now_ns = memcg.mm.clock.now_ns()
    indices = _indices(cgroup)
    oldest = [index.oldest_ns for index in indices if index.oldest_ns is not None]
    report = AgeReport(
        nr_entries=sum(index.nr_entries for index in indices),
        nr_bytes=sum(index.nr_bytes for index in indices),
        oldest_ns=now_ns - min(oldest) if oldest else None,
        bands=tuple(age_histogram(cgroup, now_ns)),
        dry_run=None,
        pool=PoolUse(
            nr_pages=zswap.pool.nr_pages,
            nr_objects=zswap.pool.nr_objects,
            stored_bytes=sum(index.nr_bytes for index in zswap.owners.ages.values()),
            classes=tuple(zswap.pool.class_use()),
        ),
    )
    if age_s is None:
        return lambda: report
    nr_old, old_bytes = older_than(cgroup, age_s * NSEC_PER_SEC, now_ns)
    planned = DryRun(age_s=age_s, max_bytes=max_bytes, nr_old=nr_old, old_bytes=old_bytes)
    if not memcg.zswap_writeback_enabled():
        barred = replace(planned, errno=errno.EINVAL, nr_barred=nr_old)
        return lambda: replace(report, dry_run=barred)
    if age_s * NSEC_PER_SEC >= now_ns:
        # Older than the machine: success, and nothing is done.
        return lambda: replace(report, dry_run=planned)
    rehearsal = Rehearsal(memcg)
    return lambda: replace(report, dry_run=_rehearse(rehearsal, planned, now_ns))


def _rehearse(rehearsal: Rehearsal, planned: DryRun, now_ns: int) -> DryRun:
    nr_pages = NO_LIMIT if planned.max_bytes is None else planned.max_bytes >> PAGE_SHIFT
    error = 0
    try:
        rehearsal.write_back(nr_pages, now_ns - planned.age_s * NSEC_PER_SEC)
    except NotEnoughProgress as refusal:
        error = refusal.errno or errno.EAGAIN
    wanted = min(planned.nr_old - rehearsal.nr_barred, nr_pages)
    return replace(
        planned,
        errno=error,
        nr_barred=rehearsal.nr_barred,
        nr_written=rehearsal.nr_written,
        written_bytes=rehearsal.written_bytes,
        nr_rotated=rehearsal.nr_rotated,
        nr_missed=max(0, wanted - rehearsal.nr_written),
        pool_pages=rehearsal.pool_pages,
    )
