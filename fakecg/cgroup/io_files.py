"""The io controller: what a subtree read from and wrote to the emulated devices; limits and weights are kept without effect.

Mirrors the interface half of block/blk-cgroup.c, blk-throttle.c and blk-iocost.c. Whoever does input or output for a cgroup reports it with
``IoController.account``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from fakecg.abi.errors import InvalidInput, NoSuchDevice, NotSupported, OutOfRange
from fakecg.abi.keyed import nested_keyed
from fakecg.abi.units import KERNEL_SPACE, cut, scan_unsigned, scan_word
from fakecg.cgroup.cftype import ControlFile, OpenFile
from fakecg.cgroup.css import Controller, Css

if TYPE_CHECKING:
    from fakecg.cgroup.cgroup import Cgroup

#: Number of the emulated swap disk, the first virtio disk of the recorded machine.
SWAP_DEVICE = "254:0"
WEIGHT_MIN, WEIGHT_DEFAULT, WEIGHT_MAX = 1, 100, 10000
LIMIT_KEYS = ("rbps", "wbps", "riops", "wiops")
U32_MAX, U64_MAX = (1 << 32) - 1, (1 << 64) - 1


class DeviceStat:
    """Bytes and requests of one device in one subtree."""

    __slots__ = ("rbytes", "rios", "wbytes", "wios")

    def __init__(self) -> None:
        self.rbytes = self.wbytes = self.rios = self.wios = 0


class IoCss(Css):
    """One cgroup: statistics by device (descendants included), limits by device, weight."""

    __slots__ = ("limits", "stats", "weight")

    def __init__(self, controller: Controller, cgroup: Cgroup, parent: Css | None) -> None:
        super().__init__(controller, cgroup, parent)
        self.stats: dict[str, DeviceStat] = {}
        self.limits: dict[str, list[int]] = {}
        self.weight = WEIGHT_DEFAULT


def _show_stat(css: IoCss, _open_file: OpenFile) -> str:
    return nested_keyed(
        (
            device,
            (
                ("rbytes", stat.rbytes),
                ("wbytes", stat.wbytes),
                ("rios", stat.rios),
                ("wios", stat.wios),
                ("dbytes", 0),
                ("dios", 0),
            ),
        )
        for device, stat in css.stats.items()
    )


def _open_device(css: IoCss, data: bytes) -> tuple[str, bytes]:
    # Source: blk-cgroup.c:blkg_conf_open_bdev.
    text = cut(data)
    major = scan_unsigned(text)
    minor = scan_unsigned(major[1][1:]) if major is not None and major[1][:1] == b":" else None
    if major is None or minor is None or not minor[1] or minor[1][0] not in KERNEL_SPACE:
        raise InvalidInput(f"not a device number and a setting: {text[:40]!r}")
    device = f"{major[0] & U32_MAX}:{minor[0] & U32_MAX}"
    if device not in cast(IoController, css.controller).devices:
        raise NoSuchDevice(f"no device {device}")
    return device, minor[1].lstrip(KERNEL_SPACE)


def _show_max(css: IoCss, _open_file: OpenFile) -> str:
    return nested_keyed(
        (device, [(key, "max" if value == top else value) for key, value, top in zip(LIMIT_KEYS, limits, _NO_LIMIT, strict=True)])
        for device, limits in css.limits.items()
        if tuple(limits) != _NO_LIMIT
    )


_NO_LIMIT = (U64_MAX, U64_MAX, U32_MAX, U32_MAX)


def _write_max(css: IoCss, data: bytes, _open_file: OpenFile) -> None:
    # Source: blk-throttle.c:tg_set_limit. What follows a number is ignored.
    device, rest = _open_device(css, data)
    limits = list(css.limits.get(device, _NO_LIMIT))
    while (word := scan_word(rest, 26)) is not None:
        token, rest = word
        key, equals, text = token.partition(b"=")
        number = scan_unsigned(text)
        if not equals or (number is None and text != b"max"):
            raise InvalidInput(f"io.max: not a limit: {token!r}")
        value = U64_MAX if number is None else number[0]
        if not value:
            raise OutOfRange("io.max: a limit of 0")
        name = key.decode("latin-1")
        if name not in LIMIT_KEYS or (value == 1 and not css.cgroup.hierarchy.features.profile.io_max_takes_one):
            raise InvalidInput(f"io.max: not a limit: {token!r}")
        position = LIMIT_KEYS.index(name)
        limits[position] = min(value, _NO_LIMIT[position])
    css.limits[device] = limits


def _show_weight(css: IoCss, _open_file: OpenFile) -> str:
    return f"default {css.weight}\n"


def _write_weight(css: IoCss, data: bytes, _open_file: OpenFile) -> None:
    # Source: blk-iocost.c:ioc_weight_write. The cost model is off on every device, so only the default can be set.
    text = cut(data)
    if b":" in text:
        device, _ = _open_device(css, data)
        raise NotSupported(f"io.weight: the cost model is not on for {device}")
    number = scan_unsigned(text.removeprefix(b"default"))
    weight = number[0] & U32_MAX if number is not None else 0
    if not WEIGHT_MIN <= weight <= WEIGHT_MAX:
        raise InvalidInput(f"io.weight: {text[:40]!r} is not in {WEIGHT_MIN}..{WEIGHT_MAX}")
    css.weight = weight


def _show_nothing(_css: IoCss, _open_file: OpenFile) -> str:
    return ""


def _write_cost(css: IoCss, data: bytes, _open_file: OpenFile) -> None:
    device, _ = _open_device(css, data)
    raise NotSupported(f"the cost model cannot be turned on for {device}")


IO_FILES: tuple[ControlFile, ...] = (
    ControlFile(
        name="io.stat",
        show=_show_stat,
        on_root=True,
        fidelity="simplified",
        summary="Bytes and requests to the emulated swap disk.",
    ),
    ControlFile(
        name="io.max", show=_show_max, write=_write_max, fidelity="zero", summary="Kept and checked, without effect: devices have no queue."
    ),
    ControlFile(name="io.weight", show=_show_weight, write=_write_weight, fidelity="zero", summary="Kept and checked, without effect."),
    ControlFile(
        name="io.cost.qos",
        show=_show_nothing,
        write=_write_cost,
        on_root=True,
        off_root=False,
        fidelity="zero",
        summary="Empty; the cost model cannot be turned on.",
    ),
    ControlFile(
        name="io.cost.model",
        show=_show_nothing,
        write=_write_cost,
        on_root=True,
        off_root=False,
        fidelity="zero",
        summary="Empty; the cost model cannot be turned on.",
    ),
)


class IoController(Controller):
    """The controller named ``io``; while it is on, the memory controller of the same cgroup stays alive behind it.

    Args:
        devices: numbers of the emulated devices.
    """

    name = "io"
    depends_on = ("memory",)
    files = IO_FILES

    def __init__(self, devices: Sequence[str] = (SWAP_DEVICE,)) -> None:
        self.devices = tuple(devices)

    def css_alloc(self, cgroup: Cgroup, parent: Css | None) -> IoCss:
        """A state with default settings."""
        return IoCss(self, cgroup, parent)

    def account(self, cgroup: Cgroup, nr_bytes: int, *, is_write: bool, nr_ios: int = 1, device: str = SWAP_DEVICE) -> None:
        """Count requests of a cgroup's tasks or pages, here and in every ancestor. Source: blk-cgroup.c:blk_cgroup_bio_start."""
        css = cgroup.e_css(self.name)
        while css is not None:
            stat = cast(IoCss, css).stats.setdefault(device, DeviceStat())
            if is_write:
                stat.wbytes += nr_bytes
                stat.wios += nr_ios
            else:
                stat.rbytes += nr_bytes
                stat.rios += nr_ios
            css = css.parent
