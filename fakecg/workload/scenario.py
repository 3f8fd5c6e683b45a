"""Scenario files: which machine, which cgroups with which limits, which jobs, and what is written when.

A scenario is TOML in which every value has a name; docs and the bundled scenarios show it. Jobs have regions and phases, as masim has them.
A file is checked to the end before anything is said: all mistakes are reported together, each with its place, and an unknown key is one.
Sizes and durations are read by the same parsers as on the command line; what goes into an interface file is checked by that file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from fakecg.abi.errors import UsageError
from fakecg.abi.profile import DEFAULT_PROACTIVE, DEFAULT_PROFILE, Features
from fakecg.mm.swap_spec import SwapSpec
from fakecg.sched.cost import CostModel
from fakecg.workload import toml_table as read
from fakecg.workload.content import ContentSpec
from fakecg.workload.job import JobSpec, Phase, Region
from fakecg.workload.pattern import PATTERNS, AccessSpec, check_pattern
from fakecg.workload.toml_table import Table, hint


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupSpec:
    """A cgroup to be made, and what is written to its files at the start, in this order."""

    path: str
    files: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedJob:
    """A job and where it runs; ``count`` tasks of it, started ``start_ns`` after the scenario."""

    cgroup: str
    spec: JobSpec
    start_ns: int = 0
    count: int = 1
    oom_score_adj: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedWrite:
    """A write to an interface file ``at_ns`` after the start, and every ``every_ns`` from then on unless that is None."""

    cgroup: str
    file: str
    value: str
    at_ns: int = 0
    every_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A whole scenario.

    Attributes:
        host: options of the machine by name (ram, swap, nodes, seed, profile, proactive, zswap, cost), only those given.
    """

    name: str
    description: str = ""
    host: Mapping[str, Any] = field(default_factory=dict)
    cgroups: tuple[CgroupSpec, ...] = ()
    jobs: tuple[PlacedJob, ...] = ()
    writes: tuple[TimedWrite, ...] = ()


def bundled() -> dict[str, str]:
    """Descriptions of the scenarios that come with the package, by name."""
    return {path.name.removesuffix(".toml"): load(path.name.removesuffix(".toml")).description for path in _bundled_files()}


def _bundled_files() -> list[Any]:
    directory = resources.files("fakecg.workload") / "scenarios"
    return sorted((path for path in directory.iterdir() if path.name.endswith(".toml")), key=lambda path: path.name)


def load(name_or_path: str) -> Scenario:
    """A bundled scenario by its name, or the one in a file (anything with a slash or ending in .toml).

    Raises:
        UsageError: no such scenario, not readable, or mistakes in it, one a line.
    """
    if "/" in name_or_path or name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        try:
            return parse(path.read_text(encoding="utf-8"), path.name)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{name_or_path}: {getattr(error, 'strerror', None) or error}") from None
    known = {path.name.removesuffix(".toml"): path for path in _bundled_files()}
    if name_or_path not in known:
        raise UsageError(f"unknown scenario {name_or_path!r}{hint(name_or_path, list(known))}")
    return parse(known[name_or_path].read_text(encoding="utf-8"), known[name_or_path].name)


def parse(text: str, file_name: str) -> Scenario:
    """Read a scenario.

    Raises:
        UsageError: every mistake on a line of its own: ``web.toml: job[0].phase[2].duration: not a duration: ...``.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file_name}: {error}") from None
    errors: list[str] = []
    scenario = _scenario(Table(table, "", errors), Path(file_name).stem)
    if not errors:
        _check_places(scenario, errors)
    if errors:
        raise UsageError("\n".join(f"{file_name}: {error}" for error in errors))
    return scenario


# Readers of single values that only a scenario has.


def _content(value: Any) -> ContentSpec:
    return ContentSpec.parse(read.text(value))


def _cost(value: Any) -> str:
    CostModel.parse(read.text(value))
    return str(value)


def _swap(value: Any) -> Any:
    """A size, a device with its options, or a list of devices."""
    if isinstance(value, list):
        return [_swap(device) for device in value]
    if isinstance(value, str) and "," in value:
        SwapSpec.parse(value)
        return value
    return read.size(value)


def _any_cgroup(value: Any) -> str:
    return "/" if value == "/" else read.cgroup_path(value)


def _pattern(value: Any) -> str:
    check_pattern(read.text(value))
    return str(value)


# The tables.


def _scenario(table: Table, name: str) -> Scenario:
    scenario = Scenario(
        name=name,
        description=table.take("description", read.text, ""),
        host=_host(table.table("host")),
        cgroups=tuple(_cgroup(entry) for entry in table.tables("cgroup")),
        jobs=tuple(_job(entry) for entry in table.tables("job")),
        writes=tuple(_write(entry) for entry in table.tables("write")),
    )
    table.finish()
    return scenario


#: Options of the machine, as of ``fakecg mount``, and how to read them.
HOST_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "ram": read.size,
    "swap": _swap,
    "nodes": read.number(1, 64),
    "seed": read.number(0, (1 << 63) - 1),
    "profile": read.text,
    "proactive": read.text,
    "cost": _cost,
}


def _host(table: Table) -> dict[str, Any]:
    taken = {key: table.take(key, reader, None) for key, reader in HOST_OPTIONS.items()}
    options = {key: value for key, value in taken.items() if value is not None}
    zswap = table.table("zswap").every(read.scalar)
    if zswap:
        options["zswap"] = zswap
    try:
        Features.select(options.get("profile", DEFAULT_PROFILE), options.get("proactive", DEFAULT_PROACTIVE))
    except UsageError as error:
        table.error("profile" if "profile" in str(error) else "proactive", str(error))
    table.finish()
    return options


def _cgroup(table: Table) -> CgroupSpec:
    path = table.take("path", read.cgroup_path, "/", required=True)
    files = table.table("files").every(read.file_text)
    table.finish()
    return CgroupSpec(path=path, files=tuple(files.items()))


def _job(table: Table) -> PlacedJob:
    nr_errors = len(table.errors)
    name = table.take("name", read.text, "job")
    regions = tuple(_region(entry) for entry in table.tables("region"))
    phases = tuple(_phase(entry, [region.name for region in regions]) for entry in table.tables("phase"))
    repeat = table.take("repeat", read.flag, False)
    cache_pages = table.take("cache", read.pages, 0)
    node = table.take("node", read.number(0, 63), None)
    placed = PlacedJob(
        cgroup=table.take("cgroup", read.cgroup_path, "/", required=True),
        spec=JobSpec(name=name),
        start_ns=table.take("start", read.duration, 0),
        count=table.take("count", read.number(1, 10_000), 1),
        oom_score_adj=table.take("oom_score_adj", read.number(-1000, 1000), 0),
    )
    table.finish()
    if len(table.errors) > nr_errors:
        return placed
    try:
        spec = JobSpec(name=name, regions=regions, phases=phases, repeat=repeat, cache_pages=cache_pages, node=node)
    except UsageError as error:
        table.error("phase" if "phase" in str(error) else "region", str(error))
        return placed
    return PlacedJob(cgroup=placed.cgroup, spec=spec, start_ns=placed.start_ns, count=placed.count, oom_score_adj=placed.oom_score_adj)


def _region(table: Table) -> Region:
    region = Region(
        name=table.take("name", read.text, "", required=True),
        nr_pages=table.take("size", read.pages, 0, required=True),
        content=table.take("content", _content, ContentSpec.parse("text")),
        populate=table.take("populate", read.flag, True),
    )
    table.finish()
    return region


def _phase(table: Table, regions: list[str]) -> Phase:
    accesses = tuple(access for entry in table.tables("touch") if (access := _touch(entry, regions)) is not None)
    phase = Phase(accesses=accesses, duration_ns=table.take("duration", read.span, None))
    table.finish()
    return phase


def _touch(table: Table, regions: list[str]) -> tuple[str, AccessSpec] | None:
    region = table.take("region", read.text, "", required=True)
    if region and region not in regions:
        table.error("region", f"unknown region {region!r}{hint(region, regions)}")
    pattern = table.take("pattern", _pattern, "", required=True)
    write = table.take("write", read.share, 0.0)
    known = PATTERNS.get(pattern)
    if known is None:
        # Which values belong here depends on the pattern, so the others are not judged.
        return None
    values = {
        name: table.take(name, read.scalar, "", required=name in known.positional)
        for name in (*known.positional, *known.optional)
        if name in known.positional or table.has(name)
    }
    table.finish()
    if not all(values.values()):
        return None
    try:
        return region, AccessSpec.of(pattern, write=write, **values)
    except UsageError as error:
        table.error(next((name for name in values if str(error).startswith(name)), "rate"), str(error))
        return None


def _write(table: Table) -> TimedWrite:
    write = TimedWrite(
        cgroup=table.take("cgroup", lambda value: "/" if value == "/" else read.cgroup_path(value), "/", required=True),
        file=table.take("file", read.text, "", required=True),
        value=table.take("value", read.file_text, "", required=True),
        at_ns=table.take("at", read.duration, 0),
        every_ns=table.take("every", read.span, None),
    )
    table.finish()
    return write


def _check_places(scenario: Scenario, errors: list[str]) -> None:
    paths = [cgroup.path for cgroup in scenario.cgroups]
    for index, path in enumerate(paths):
        if path in paths[:index]:
            errors.append(f"cgroup[{index}].path: {path} is there twice")
    everything = {*paths, *(path[:end] for path in paths for end in range(1, len(path)) if path[end] == "/")}
    inner = {path.rpartition("/")[0] for path in everything}
    for index, job in enumerate(scenario.jobs):
        if job.cgroup not in everything:
            errors.append(f"job[{index}].cgroup: no such cgroup {job.cgroup!r}{hint(job.cgroup, sorted(everything))}")
        elif job.cgroup in inner:
            errors.append(f"job[{index}].cgroup: {job.cgroup} has child cgroups, and processes live in leaves only")
    for index, write in enumerate(scenario.writes):
        if write.cgroup != "/" and write.cgroup not in everything:
            errors.append(f"write[{index}].cgroup: no such cgroup {write.cgroup!r}{hint(write.cgroup, sorted(everything))}")
