"""zswap's module parameters and debugfs files. Mirrors the parameter and debugfs parts of mm/zswap.c."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fakecg.abi.errors import InvalidInput, NoSuchFile, UsageError
from fakecg.abi.profile import Features
from fakecg.abi.units import PAGE_SIZE, kstrip, kstrtouint
from fakecg.cgroup.cftype import ControlFile, OpenFile

if TYPE_CHECKING:
    from fakecg.mm.machine import Machine

_PARAMETERS = "sys/module/zswap/parameters"
_DEBUGFS = "sys/kernel/debug/zswap"


def _parse_bool(data: bytes) -> bool:
    """Source: lib/kstrtox.c:kstrtobool: the first one or two characters decide."""
    text = data[:2].lower()
    if text[:1] in (b"y", b"t", b"1") or text == b"on":
        return True
    if text[:1] in (b"n", b"f", b"0") or text == b"of":
        return False
    raise InvalidInput(f"not a boolean: {data[:40]!r}")


def _flag(name: str, attribute: str, summary: str) -> ControlFile:
    def write(machine: Machine, data: bytes, _: OpenFile) -> None:
        setattr(machine.zswap, attribute, _parse_bool(data))

    def show(machine: Machine, _: OpenFile) -> str:
        return "Y\n" if getattr(machine.zswap, attribute) else "N\n"

    return ControlFile(name=f"{_PARAMETERS}/{name}", show=show, write=write, summary=summary)


def _percent(name: str, summary: str) -> ControlFile:
    def write(machine: Machine, data: bytes, _: OpenFile) -> None:
        setattr(machine.zswap.limits, name, kstrtouint(data))

    return ControlFile(
        name=f"{_PARAMETERS}/{name}", show=lambda machine, _: f"{getattr(machine.zswap.limits, name)}\n", write=write, summary=summary
    )


def _choice(name: str, value: str, summary: str, needs: Callable[[Features], bool] | None = None) -> ControlFile:
    """A parameter with one possible value: what the emulator really uses."""

    def write(machine: Machine, data: bytes, _: OpenFile) -> None:
        if kstrip(data) != value.encode():
            raise NoSuchFile(f"zswap {name}: only {value} is there, not {data[:40]!r}")

    return ControlFile(name=f"{_PARAMETERS}/{name}", show=lambda machine, _: f"{value}\n", write=write, summary=summary, needs=needs)


def _counter(name: str, get: Callable[[Machine], int], needs: Callable[[Features], bool] | None = None) -> ControlFile:
    return ControlFile(name=f"{_DEBUGFS}/{name}", show=lambda machine, _: f"{get(machine)}\n", needs=needs)


def _count_of(name: str) -> Callable[[Machine], int]:
    return lambda machine: int(getattr(machine.zswap.counters, name))


def _keeps_incompressible(features: Features) -> bool:
    return features.profile.keeps_incompressible


ZSWAP_PARAMETERS = (
    _percent("accept_threshold_percent", "A full pool accepts stores again at this share of its limit."),
    _choice("compressor", "lz4", "The compressor; this is the only one."),
    _flag("enabled", "enabled", "Whether pages are stored; entries stay loadable when switched off."),
    _percent("max_pool_percent", "Pool limit in percent of RAM."),
    _flag("shrinker_enabled", "shrinker_enabled", "Whether reclaim writes entries back."),
    _choice("zpool", "zsmalloc", "The allocator; this is the only one.", lambda features: features.profile.has_zpool_parameter),
)
ZSWAP_DEBUGFS = (
    *(
        _counter(name, _count_of(name))
        for name in (
            "pool_limit_hit",
            "reject_alloc_fail",
            "reject_compress_fail",
            "reject_compress_poor",
            "reject_kmemcache_fail",
            "reject_reclaim_fail",
            "stored_pages",
            "written_back_pages",
        )
    ),
    _counter("pool_total_size", lambda machine: machine.zswap.pool.nr_pages * PAGE_SIZE),
    _counter("decompress_fail", _count_of("decompress_fail"), _keeps_incompressible),
    _counter("stored_incompressible_pages", _count_of("stored_incompressible_pages"), _keeps_incompressible),
)


def configure_zswap(machine: Machine, parameters: dict[str, str | int]) -> None:
    """Set module parameters at start, as on a kernel command line.

    Raises:
        UsageError: unknown parameter or bad value.
    """
    rows = {row.name.rpartition("/")[2]: row for row in ZSWAP_PARAMETERS}
    for name, value in parameters.items():
        row = rows.get(name)
        if row is None or row.write is None:
            raise UsageError(f"--zswap: unknown parameter {name!r} (known: {', '.join(rows)})")
        try:
            row.write(machine, str(value).encode(), None)  # type: ignore[arg-type]
        except OSError as error:
            raise UsageError(f"--zswap {name}={value}: {error.strerror}") from error
