"""Event counts of the whole machine, as /proc/vmstat shows them beside the sums over all cgroups.

Mirrors mm/vmstat.c. Who counts where follows shrink_inactive_list: reclaim on behalf of a cgroup does not count pgscan_direct and the like
here, except on kernels where these are node items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakecg.mm.scan_control import ScanControl


@dataclass(slots=True)
class VmEvents:
    """Pages or events since start."""

    allocstall: int = 0
    nr_vmscan_write: int = 0
    nr_vmscan_immediate_reclaim: int = 0
    nr_dirtied: int = 0
    nr_written: int = 0
    pgpgin: int = 0
    pgpgout: int = 0
    pswpin: int = 0
    pswpout: int = 0
    pgfree: int = 0
    pgactivate: int = 0
    pgdeactivate: int = 0
    pgfault: int = 0
    pgmajfault: int = 0
    pgrefill: int = 0
    pgsteal_kswapd: int = 0
    pgsteal_direct: int = 0
    pgscan_kswapd: int = 0
    pgscan_direct: int = 0
    pgscan_anon: int = 0
    pgscan_file: int = 0
    pgsteal_anon: int = 0
    pgsteal_file: int = 0
    slabs_scanned: int = 0
    kswapd_low_wmark_hit_quickly: int = 0
    kswapd_high_wmark_hit_quickly: int = 0
    pageoutrun: int = 0
    pgrotated: int = 0
    oom_kill: int = 0
    swap_ra: int = 0
    swap_ra_hit: int = 0
    swpin_zero: int = 0
    swpout_zero: int = 0
    zswpin: int = 0
    zswpout: int = 0
    zswpwb: int = 0
    zswpwb_proactive: int = 0

    def count_scan(self, sc: ScanControl, is_file: bool, nr_pages: int) -> None:
        """Pages looked at on an inactive list."""
        if is_file:
            self.pgscan_file += nr_pages
        else:
            self.pgscan_anon += nr_pages
        if sc.is_kswapd:
            self.pgscan_kswapd += nr_pages
        elif sc.is_global:
            self.pgscan_direct += nr_pages

    def count_steal(self, sc: ScanControl, is_file: bool, nr_pages: int) -> None:
        """Pages freed."""
        if is_file:
            self.pgsteal_file += nr_pages
        else:
            self.pgsteal_anon += nr_pages
        if sc.is_kswapd:
            self.pgsteal_kswapd += nr_pages
        elif sc.is_global:
            self.pgsteal_direct += nr_pages

    def count_refill(self, sc: ScanControl, nr_pages: int) -> None:
        """Active pages scanned; all of them are deactivated."""
        if sc.is_global:
            self.pgrefill += nr_pages
        self.pgdeactivate += nr_pages
