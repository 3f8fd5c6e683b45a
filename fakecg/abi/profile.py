"""Which kernel is emulated, and which versions of the proactive-writeback proposal it carries.

Every difference between kernels is a field here; no other module compares versions.
"""

from __future__ import annotations

from dataclasses import dataclass

from fakecg.abi.errors import UsageError

#: Interface versions of the proactive-writeback proposal. v2, v3 and v4 use one key with different units, so at most one of them.
PROACTIVE_VERSIONS = ("v1", "v2", "v3", "v4", "v5")
_SAME_KEY = {"v2", "v3", "v4"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A kernel version's visible differences.

    Attributes:
        name: as given to ``--profile``.
        verified: ``recording`` when recordings of this kernel are tests, ``reading`` when it follows from sources only.
        has_stat_local: cgroup.stat.local exists (6.18).
        has_proactive_counters: memory.reclaim counts pgscan_proactive and pgsteal_proactive instead of *_direct (6.16).
        has_pswp_stat: pswpin and pswpout in memory.stat (6.13).
        has_moved_vmscan_stat: pgscan/pgsteal/pgrefill are node items, before pgpromote_success (7.x).
        keeps_incompressible: a page that does not compress is kept raw in zswap when writeback is allowed (6.18).
        has_incomp_stat: zswap_incomp in memory.stat (7.0).
        drops_behind: written-back pages are freed as soon as their I/O ends (7.x).
        has_swappiness_max: memory.reclaim takes swappiness=max (6.17).
        nonblock_skips_reclaim: O_NONBLOCK on memory.high and memory.max skips the reclaim (6.16).
        store_scan_entries: zswap entries looked at, per node, by a store over memory.zswap.max.
        has_sock_throttled: sock_throttled in memory.events.
        has_zpool_parameter: the zswap parameter zpool (gone in 6.18).
        io_max_takes_one: io.max takes a limit of 1 (6.13).
        dying_reclaim_stops: memory.reclaim in a dying cgroup ends with EAGAIN.
    """

    name: str
    verified: str
    has_stat_local: bool = False
    has_proactive_counters: bool = False
    has_pswp_stat: bool = False
    has_moved_vmscan_stat: bool = False
    keeps_incompressible: bool = False
    has_incomp_stat: bool = False
    drops_behind: bool = False
    has_swappiness_max: bool = False
    nonblock_skips_reclaim: bool = False
    store_scan_entries: int = 1
    has_sock_throttled: bool = False
    has_zpool_parameter: bool = True
    io_max_takes_one: bool = False
    dying_reclaim_stops: bool = False


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(name="v6.12", verified="recording"),
        Profile(
            name="v7.1",
            verified="reading",
            has_stat_local=True,
            has_proactive_counters=True,
            has_pswp_stat=True,
            has_moved_vmscan_stat=True,
            keeps_incompressible=True,
            has_incomp_stat=True,
            drops_behind=True,
            has_swappiness_max=True,
            nonblock_skips_reclaim=True,
            store_scan_entries=32,
            has_sock_throttled=True,
            has_zpool_parameter=False,
            io_max_takes_one=True,
            dying_reclaim_stops=True,
        ),
    )
}
DEFAULT_PROFILE = "v6.12"
DEFAULT_PROACTIVE = "v1,v5"


@dataclass(frozen=True, slots=True)
class Features:
    """A profile together with the selected interface versions of the proposal."""

    profile: Profile
    proactive: frozenset[str]

    @classmethod
    def select(cls, profile: str = DEFAULT_PROFILE, proactive: str = DEFAULT_PROACTIVE) -> Features:
        """Parse ``--profile`` and ``--proactive`` (``none`` or a comma-separated list).

        Raises:
            UsageError: unknown name, or two versions that give one key different meanings (exit code 2).
        """
        if profile not in PROFILES:
            raise UsageError(f"unknown profile {profile!r} (known: {', '.join(PROFILES)})")
        words = [word.strip() for word in proactive.split(",") if word.strip()]
        chosen = frozenset(word for word in words if word != "none")
        for word in sorted(chosen):
            if word not in PROACTIVE_VERSIONS:
                raise UsageError(f"unknown interface version {word!r} (known: none, {', '.join(PROACTIVE_VERSIONS)})")
        if "none" in words and chosen:
            raise UsageError("--proactive none excludes every version")
        if len(chosen & _SAME_KEY) > 1:
            both = ", ".join(sorted(chosen & _SAME_KEY))
            raise UsageError(f"{both} give the key zswap_writeback_only different meanings: choose one")
        return cls(PROFILES[profile], chosen)

    @property
    def store_scan_entries(self) -> int:
        """zswap entries a store over memory.zswap.max looks at, per node. Source: v4 of the proposal: 16."""
        return 16 if "v4" in self.proactive else self.profile.store_scan_entries

    @property
    def worker_scan_entries(self) -> int:
        """zswap entries the shrink worker looks at in one visit. Source: the helper patches of v4 and v5: 64."""
        return 64 if self.proactive & {"v4", "v5"} else self.profile.store_scan_entries

    @property
    def counts_proactive_pages(self) -> bool:
        """zswpwb_proactive, in pages, stands in memory.stat and vmstat (v1 to v3)."""
        return bool(self.proactive & {"v1", "v2", "v3"})

    @property
    def counts_proactive_bytes(self) -> bool:
        """zswpwb_proactive_b, in compressed bytes, stands in memory.stat (v4, v5)."""
        return bool(self.proactive & {"v4", "v5"})
