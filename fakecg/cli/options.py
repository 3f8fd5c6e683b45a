"""Options of a mount, shared by the subcommands that make one."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fakecg.abi.errors import UsageError
from fakecg.abi.profile import DEFAULT_PROACTIVE, PROFILES
from fakecg.fs.names import LAYOUTS

if TYPE_CHECKING:
    from fakecg.fs.mount import MountOptions
    from fakecg.host import Host
    from fakecg.sched.clock import Clock

#: Options of the emulated machine; a scenario may give them, the command line overrides it.
_MACHINE = ("ram", "swap", "swap_file", "nodes", "seed", "profile", "proactive", "cost")


def add_mount_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``fakecg mount`` besides the mount point."""
    machine = parser.add_argument_group("the machine")
    machine.add_argument("--ram", metavar="SIZE", help="memory (4G)")
    machine.add_argument(
        "--swap",
        action="append",
        metavar="SIZE[,OPTION...]",
        help="swap device, 0 for none (8G); may be repeated; options: prio=N, device=MODEL as for --cost, file=PATH",
    )
    machine.add_argument("--swap-file", metavar="PATH", help="file of the first swap device, instead of an unnamed temporary one")
    machine.add_argument("--nodes", type=int, metavar="N", help="NUMA nodes (1)")
    machine.add_argument("--zswap", action="append", default=[], metavar="KEY=VALUE", help="zswap module parameter, may be repeated")
    machine.add_argument("--profile", help=f"which kernel: {', '.join(PROFILES)}")
    machine.add_argument("--proactive", metavar="LIST", help=f"versions of the proactive-writeback proposal, or none ({DEFAULT_PROACTIVE})")
    machine.add_argument("--cost", metavar="MODEL", help="latencies: nvme, ssd, hdd, instant, or numbers (nvme)")
    machine.add_argument("--seed", type=int, metavar="N", help="of contents and access patterns (0)")
    machine.add_argument("--clock", default="real", metavar="real|xN|manual", help="real time, N times as fast, or moved by hand (real)")
    machine.add_argument("--scenario", metavar="FILE|NAME", help="cgroups, limits and jobs to start with")
    mount = parser.add_argument_group("the mount")
    mount.add_argument("--layout", choices=LAYOUTS, default="cgroup", help="the tree itself, or a root directory with it at sys/fs/cgroup")
    mount.add_argument("-o", dest="fuse", action="append", default=[], metavar="OPTIONS", help="options for FUSE, separated by commas")
    mount.add_argument("--allow-other", action="store_true", help="let other users in")
    mount.add_argument("--replace", action="store_true", help="unmount a stale mount first")
    mount.add_argument("--log-level", default="INFO", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR (INFO)")
    mount.add_argument("--log-file", metavar="PATH", help="write the log here too")


def make_clock(word: str) -> Clock:
    """A clock from ``real``, ``xN`` or ``manual``.

    Raises:
        UsageError: something else.
    """
    from fakecg.sched.clock import ManualClock, ScaledClock

    if word == "manual":
        return ManualClock()
    if word == "real":
        return ScaledClock()
    with suppress(ValueError, UsageError):
        if word.startswith("x"):
            return ScaledClock(float(word[1:]))
    raise UsageError(f"--clock: {word!r} is none of real, xN (x60: an hour in a minute), manual")


def host_factory(arguments: argparse.Namespace) -> Callable[[], Host]:
    """What makes the host. Mistakes that show without making it are told at once.

    Raises:
        UsageError: a value that makes no sense.
    """
    from fakecg.workload import scenario as scenarios

    scenario = scenarios.load(arguments.scenario) if arguments.scenario else None
    options: dict[str, Any] = dict(scenario.host) if scenario else {}
    options |= {name: getattr(arguments, name) for name in _MACHINE if getattr(arguments, name) is not None}
    zswap = dict(options.pop("zswap", {}))
    for word in arguments.zswap:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"--zswap: {word!r} is not KEY=VALUE")
        zswap[key] = value
    clock = make_clock(arguments.clock)
    _check_machine(arguments)

    def make_host() -> Host:
        from fakecg.host import Host
        from fakecg.workload.stage import stage

        try:
            host = Host(clock=clock, zswap=zswap or None, **options)
        except OSError as error:
            raise UsageError(f"no such machine can be made here: {error.strerror}", 1) from error
        if scenario is not None:
            stage(scenario, host, logging.getLogger("fakecg").info)
        return host

    return make_host


def _check_machine(arguments: argparse.Namespace) -> None:
    """Raises UsageError for what would be wrong on every machine, with the option's name."""
    from fakecg.mm.swap_spec import SwapSpec
    from fakecg.sched.cost import CostModel

    for spec in arguments.swap or ():
        SwapSpec.parse(spec)
    if arguments.cost is not None:
        try:
            CostModel.parse(arguments.cost)
        except UsageError as error:
            raise UsageError(f"--cost {arguments.cost}: {error}") from None
    if arguments.seed is not None and arguments.seed < 0:
        raise UsageError(f"--seed: 0 or more, not {arguments.seed}")


def mount_options(arguments: argparse.Namespace) -> MountOptions:
    """How to mount.

    Raises:
        UsageError: no such log level.
    """
    from fakecg.fs.mount import MountOptions

    level = arguments.log_level.upper()
    if not isinstance(logging.getLevelName(level), int):
        raise UsageError(f"--log-level: {arguments.log_level!r} is none of DEBUG, INFO, WARNING, ERROR")
    fuse = [option for group in arguments.fuse for option in group.split(",") if option]
    if arguments.allow_other and "allow_other" not in fuse:
        fuse.append("allow_other")
    return MountOptions(layout=arguments.layout, fuse=tuple(fuse), replace=arguments.replace, log_level=level, log_file=arguments.log_file)
