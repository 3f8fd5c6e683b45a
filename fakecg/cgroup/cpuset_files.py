"""The cpuset controller: masks of cpus and memory nodes, kept, checked and inherited as the kernel does, without effect on where work runs.

Mirrors the interface half of kernel/cgroup/cpuset.c, without partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

from fakecg.abi.bitmap import format_list, parse_list
from fakecg.abi.errors import InvalidInput, NoSpace, NotSupported
from fakecg.abi.units import kstrip
from fakecg.cgroup import real_tasks
from fakecg.cgroup.cftype import ControlFile, OpenFile, Show, Write
from fakecg.cgroup.css import Controller, Css

if TYPE_CHECKING:
    from fakecg.cgroup.cgroup import Cgroup

#: The width of a node mask, whatever the machine has. Source: CONFIG_NODES_SHIFT=10 of the recorded kernel.
MAX_NUMNODES = 1024


class CpusetCss(Css):
    """Masks of one cgroup: ``cpus``, ``mems`` and ``exclusive`` as written, empty for "as the parent"."""

    __slots__ = ("cpus", "exclusive", "mems")

    def __init__(self, controller: Controller, cgroup: Cgroup, parent: Css | None) -> None:
        super().__init__(controller, cgroup, parent)
        self.cpus: frozenset[int] = frozenset()
        self.mems: frozenset[int] = frozenset()
        self.exclusive: frozenset[int] = frozenset()

    def available(self, kind: str) -> frozenset[int]:
        """Every bit the machine has, of ``cpus``, ``mems`` or ``exclusive``."""
        controller = cast(CpusetController, self.controller)
        return frozenset(range(controller.nr_nodes if kind == "mems" else controller.nr_cpus))

    def siblings(self) -> Iterator[CpusetCss]:
        """The other states below the same parent."""
        for cgroup in self.cgroup.parent.children.values() if self.cgroup.parent is not None else ():
            css = cgroup.own_css(self.controller.name)
            if css is not None and css is not self:
                yield cast(CpusetCss, css)

    def effective(self, kind: str) -> frozenset[int]:
        """What the parent grants of the own mask; all of it where nothing would be left. Source: cpuset.c:compute_effective_cpumask."""
        if self.parent is None:
            return self.available(kind)
        granted = cast(CpusetCss, self.parent).effective(kind)
        own: frozenset[int] = getattr(self, kind)
        return own & granted or granted


def _show(kind: str) -> Show:
    def show(css: CpusetCss, _open_file: OpenFile) -> str:
        return format_list(getattr(css, kind))

    return show


def _write(kind: str) -> Write:
    def write(css: CpusetCss, data: bytes, _open_file: OpenFile) -> None:
        # Source: cpuset.c:cpuset_write_resmask, update_cpumask, update_nodemask, update_exclusive_cpumask.
        available = css.available(kind)
        bits = parse_list(kstrip(data), MAX_NUMNODES if kind == "mems" else len(available))
        if not bits <= available:
            raise InvalidInput(f"cpuset.{kind}: not there: {format_list(bits - available).strip()}")
        if bits != getattr(css, kind):
            _validate_change(css, kind, bits)
        setattr(css, kind, bits)

    return write


def _validate_change(css: CpusetCss, kind: str, bits: frozenset[int]) -> None:
    # Source: cpuset.c:validate_change. A list of cpus that breaks another's exclusiveness is taken; it would end partitions.
    if kind == "exclusive":
        if bits and any(_excludes(bits, sibling) for sibling in css.siblings()):
            raise InvalidInput(f"cpuset.cpus.exclusive: {css.cgroup.path()}: taken by a sibling")
        return
    real_tasks.refresh(css.cgroup.hierarchy)
    if not bits and css.cgroup.is_populated:
        raise NoSpace(f"cpuset.{kind}: {css.cgroup.path()} has processes")


def _excludes(bits: frozenset[int], sibling: CpusetCss) -> bool:
    if sibling.exclusive:
        return bool(bits & sibling.exclusive)
    return bool(sibling.cpus) and sibling.cpus <= bits


def _show_effective(kind: str) -> Callable[[CpusetCss, OpenFile], str]:
    def show(css: CpusetCss, _open_file: OpenFile) -> str:
        return format_list(css.effective(kind))

    return show


def _show_empty(_css: CpusetCss, _open_file: OpenFile) -> str:
    return "\n"


def _show_partition(_css: CpusetCss, _open_file: OpenFile) -> str:
    return "member\n"


def _write_partition(_css: CpusetCss, data: bytes, _open_file: OpenFile) -> None:
    word = kstrip(data)
    if word in (b"root", b"isolated"):
        raise NotSupported("cpuset.cpus.partition: partitions are not emulated")
    if word != b"member":
        raise InvalidInput(f"cpuset.cpus.partition: not a partition type: {word[:40]!r}")


_KEPT = "Kept, checked and inherited, without effect: there are no cpus to run on and no placement."
_EFFECTIVE = "What the parent grants of the own list."

CPUSET_FILES: tuple[ControlFile, ...] = (
    ControlFile(name="cpuset.cpus", show=_show("cpus"), write=_write("cpus"), fidelity="zero", summary=_KEPT),
    ControlFile(name="cpuset.mems", show=_show("mems"), write=_write("mems"), fidelity="zero", summary=_KEPT),
    ControlFile(name="cpuset.cpus.effective", show=_show_effective("cpus"), on_root=True, fidelity="simplified", summary=_EFFECTIVE),
    ControlFile(name="cpuset.mems.effective", show=_show_effective("mems"), on_root=True, fidelity="simplified", summary=_EFFECTIVE),
    ControlFile(
        name="cpuset.cpus.partition",
        show=_show_partition,
        write=_write_partition,
        notifies=True,
        fidelity="zero",
        summary="Always member; the other types are refused (EOPNOTSUPP).",
    ),
    ControlFile(name="cpuset.cpus.exclusive", show=_show("exclusive"), write=_write("exclusive"), fidelity="zero", summary=_KEPT),
    ControlFile(name="cpuset.cpus.exclusive.effective", show=_show_empty, fidelity="zero", summary="Always empty: no partitions."),
    ControlFile(
        name="cpuset.cpus.isolated",
        show=_show_empty,
        on_root=True,
        off_root=False,
        fidelity="zero",
        summary="Always empty: no partitions.",
    ),
)


class CpusetController(Controller):
    """The controller named ``cpuset``.

    Args:
        nr_cpus, nr_nodes: of the emulated machine.
    """

    name = "cpuset"
    threaded = True
    files = CPUSET_FILES

    def __init__(self, nr_cpus: int = 2, nr_nodes: int = 1) -> None:
        self.nr_cpus = nr_cpus
        self.nr_nodes = nr_nodes

    def css_alloc(self, cgroup: Cgroup, parent: Css | None) -> CpusetCss:
        """A state with empty lists."""
        return CpusetCss(self, cgroup, parent)
