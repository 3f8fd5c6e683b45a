"""hugetlb, rdma, misc and perf_event: controllers of resources the emulated machine has none of.

Mirrors the interface half of mm/hugetlb_cgroup.c, kernel/cgroup/rdma.c and misc.c on a machine without huge pages in use, rdma devices and
misc resources. They are here so that a program that turns on every controller, or looks for the files, finds what it finds on a kernel of
a distribution; nothing can ever be charged to them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fakecg.abi.errors import InvalidInput, NoSuchDevice
from fakecg.abi.keyed import counter_or_max
from fakecg.abi.units import INT_MAX, PAGE_COUNTER_MAX, PAGE_SIZE, kstrip, kstrtoull, page_counter_memparse, parse_integer
from fakecg.cgroup.cftype import ControlFile, OpenFile, Show, Write
from fakecg.cgroup.css import Controller, Css

if TYPE_CHECKING:
    from fakecg.cgroup.cgroup import Cgroup

HUGE_PAGE_SIZES = {"1GB": 1 << 30, "2MB": 2 << 20}
RDMA_RESOURCES = (b"hca_handle", b"hca_object")
MISC_RESOURCES = (b"sev", b"sev_es")
#: match_int copies a number into a buffer of this many bytes. Source: lib/parser.c.
_MATCH_NUMBER_BYTES = 24


class HugetlbCss(Css):
    """Limits in pages by file name."""

    __slots__ = ("limits", "nr_nodes")

    def __init__(self, controller: Controller, cgroup: Cgroup, parent: Css | None, nr_nodes: int) -> None:
        super().__init__(controller, cgroup, parent)
        self.limits: dict[str, int] = {}
        self.nr_nodes = nr_nodes


def _constant(text: str) -> Callable[[Css, OpenFile], str]:
    def show(_css: Css, _open_file: OpenFile) -> str:
        return text

    return show


def _hugetlb_limit(name: str, page_bytes: int) -> tuple[Show, Write]:
    top_pages = PAGE_COUNTER_MAX // (page_bytes // PAGE_SIZE) * (page_bytes // PAGE_SIZE)

    def show(css: HugetlbCss, _open_file: OpenFile) -> str:
        return counter_or_max(css.limits.get(name, top_pages) * PAGE_SIZE, top_pages * PAGE_SIZE)

    def write(css: HugetlbCss, data: bytes, _open_file: OpenFile) -> None:
        # Source: hugetlb_cgroup.c:hugetlb_cgroup_write: rounded down to whole huge pages.
        css.limits[name] = page_counter_memparse(data) // (page_bytes // PAGE_SIZE) * (page_bytes // PAGE_SIZE)

    return show, write


def _show_numa_stat(css: HugetlbCss, _open_file: OpenFile) -> str:
    return "total=0" + "".join(f" N{node}=0" for node in range(css.nr_nodes)) + "\n"


def _hugetlb_files(size: str, page_bytes: int) -> tuple[ControlFile, ...]:
    def row(name: str, show: Show, write: Write | None = None, notifies: bool = False) -> ControlFile:
        summary = f"Huge pages of {size}: there are none."
        return ControlFile(name=f"hugetlb.{size}.{name}", show=show, write=write, notifies=notifies, fidelity="zero", summary=summary)

    return (
        row("max", *_hugetlb_limit(f"{size}.max", page_bytes)),
        row("rsvd.max", *_hugetlb_limit(f"{size}.rsvd.max", page_bytes)),
        row("current", _constant("0\n")),
        row("rsvd.current", _constant("0\n")),
        row("events", _constant("max 0\n"), notifies=True),
        row("events.local", _constant("max 0\n"), notifies=True),
        row("numa_stat", _show_numa_stat),
    )


class HugetlbController(Controller):
    """The controller named ``hugetlb``."""

    name = "hugetlb"
    files = tuple(row for size, page_bytes in HUGE_PAGE_SIZES.items() for row in _hugetlb_files(size, page_bytes))

    def __init__(self, nr_nodes: int = 1) -> None:
        self.nr_nodes = nr_nodes

    def css_alloc(self, cgroup: Cgroup, parent: Css | None) -> HugetlbCss:
        """A state without limits."""
        return HugetlbCss(self, cgroup, parent, self.nr_nodes)


def _write_rdma_max(_css: Css, data: bytes, _open_file: OpenFile) -> None:
    # Source: kernel/cgroup/rdma.c:rdmacg_resource_set_max: the limits are parsed before the device is looked for.
    device, blank, options = kstrip(data).partition(b" ")
    for option in options.split(b" ") if blank else ():
        key, equals, value = option.partition(b"=")
        if key not in RDMA_RESOURCES or not equals or not _is_rdma_limit(value):
            raise InvalidInput(f"rdma.max: not a limit: {option[:40]!r}")
    raise NoSuchDevice(f"rdma.max: no device {device[:40]!r}")


def _is_rdma_limit(value: bytes) -> bool:
    # Source: rdma.c:parse_resource, lib/parser.c:match_int. What follows the digits is ignored, and so is a sign before nothing or 0; any
    # beginning of "max", even none, stands for it.
    digits = value.removeprefix(b"-")
    number, rest = parse_integer(digits)
    if digits is value and rest == value:
        return b"max".startswith(value)
    return len(value) < _MATCH_NUMBER_BYTES and number % (1 << 64) <= (INT_MAX if digits is value else 0)


def _write_misc_max(_css: Css, data: bytes, _open_file: OpenFile) -> None:
    # Source: kernel/cgroup/misc.c:misc_cg_max_write. The names are known, but no machine without the hardware has any of it.
    name, blank, limit = kstrip(data).partition(b" ")
    if blank and name in MISC_RESOURCES and limit != b"max":
        kstrtoull(limit)
    raise InvalidInput(f"misc.max: no resource of the name in {data[:40]!r}")


_NO_RDMA = "There are no rdma devices."
_NO_MISC = "There are no misc resources."


class RdmaController(Controller):
    """The controller named ``rdma``."""

    name = "rdma"
    files = (
        ControlFile(name="rdma.max", show=_constant(""), write=_write_rdma_max, fidelity="zero", summary=_NO_RDMA),
        ControlFile(name="rdma.current", show=_constant(""), fidelity="zero", summary=_NO_RDMA),
    )


class MiscController(Controller):
    """The controller named ``misc``."""

    name = "misc"
    files = (
        ControlFile(name="misc.max", show=_constant(""), write=_write_misc_max, fidelity="zero", summary=_NO_MISC),
        ControlFile(name="misc.current", show=_constant(""), on_root=True, fidelity="zero", summary=_NO_MISC),
        ControlFile(name="misc.peak", show=_constant(""), on_root=True, fidelity="zero", summary=_NO_MISC),
        ControlFile(name="misc.capacity", show=_constant(""), on_root=True, off_root=False, fidelity="zero", summary=_NO_MISC),
        ControlFile(name="misc.events", show=_constant(""), notifies=True, fidelity="zero", summary=_NO_MISC),
        ControlFile(name="misc.events.local", show=_constant(""), notifies=True, fidelity="zero", summary=_NO_MISC),
    )


class PerfEventController(Controller):
    """The controller named ``perf_event``: without files, and on by itself."""

    name = "perf_event"
    threaded = True
    implicit = True
