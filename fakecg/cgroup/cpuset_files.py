"""The cpuset controller: masks of cpus and memory nodes, kept, checked and inherited as the kernel does, without effect on where work runs.

Mirrors the interface half of kernel/cgroup/cpuset.c, without partitions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from fakecg.abi.errors import InvalidInput, NotSupported, OutOfRange
from fakecg.abi.units import kstrip
from fakecg.cgroup.cftype import ControlFile, OpenFile, Show, Write
from fakecg.cgroup.css import Controller, Css

if TYPE_CHECKING:
    from fakecg.cgroup.cgroup import Cgroup

_SEPARATORS = b", \t\n\v\f\r\xa0"


def parse_list(text: bytes, nr_bits: int) -> frozenset[int]:
    """A list of ranges such as ``0-2,5``, ``N`` for the last bit, ``all``, and groups ``0-7:2/4``.

    Raises:
        InvalidInput: not such a list (EINVAL).
        OutOfRange: a number past the last bit (ERANGE).

    Source: lib/bitmap-str.c:bitmap_parselist.
    """
    bits: set[int] = set()
    for word in _words(text):
        region, colon, group = word.partition(b":")
        if region.lower() == b"all":
            first, last = 0, nr_bits - 1
        else:
            start, dash, stop = region.partition(b"-")
            first = _number(start, nr_bits)
            last = _number(stop, nr_bits) if dash else first
        used, slash, size = group.partition(b"/")
        if colon and not slash:
            raise InvalidInput(f"not a list: {text[:40]!r}")
        step = _number(size, nr_bits) if colon else last - first + 1
        nr_used = _number(used, nr_bits) if colon else step
        if first > last or not 0 < nr_used <= step:
            raise InvalidInput(f"not a list: {text[:40]!r}")
        if last >= nr_bits:
            raise OutOfRange(f"past the last number {nr_bits - 1}: {text[:40]!r}")
        bits.update(bit for bit in range(first, last + 1) if (bit - first) % step < nr_used)
    return frozenset(bits)


def _words(text: bytes) -> list[bytes]:
    for separator in _SEPARATORS:
        text = text.replace(bytes([separator]), b",")
    return [word for word in text.split(b",") if word]


def _number(text: bytes, nr_bits: int) -> int:
    if text == b"N":
        return nr_bits - 1
    if not text.isdigit() or len(text) > 20:
        raise InvalidInput(f"not a number: {text[:40]!r}")
    if int(text) >= 1 << 32:
        raise OutOfRange(f"does not fit 32 bits: {text!r}")
    return int(text)


def format_list(bits: frozenset[int]) -> str:
    """Ranges in rising order with a newline: ``0-2,5``. Source: lib/bitmap-str.c:bitmap_print_to_pagebuf."""
    ranges: list[list[int]] = []
    for bit in sorted(bits):
        if ranges and ranges[-1][1] == bit - 1:
            ranges[-1][1] = bit
        else:
            ranges.append([bit, bit])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges) + "\n"


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
        # Source: cpuset.c:cpuset_write_resmask.
        available = css.available(kind)
        setattr(css, kind, parse_list(kstrip(data), len(available)))

    return write


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
