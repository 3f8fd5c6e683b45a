"""Recordings: numbers of chosen cgroups, sampled by the clock of the host.

The columns are not listed here: they follow from the interface files a cgroup has and from the table of memory.stat. ``memory.current`` is
a column, ``memory.stat.anon`` and ``memory.pressure.some.avg10`` are, and ``zswap.age.3600`` is the compressed bytes at least an hour old
and younger than the next band.

A recording is a text file of JSON lines: a header with what is needed to make it again, then a row for each cgroup and sample.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from fakecg.abi.errors import ControlError, NoSuchFile, UsageError
from fakecg.abi.profile import Features
from fakecg.abi.stat import memory_stat_rows
from fakecg.abi.units import parse_duration
from fakecg.cgroup.cftype import ControlFile, OpenFile
from fakecg.cgroup.cgroup import Cgroup
from fakecg.cgroup.hierarchy import ROOT_CALLER
from fakecg.host import Host
from fakecg.mm.age_report import age_histogram
from fakecg.sched.clock import NSEC_PER_SEC
from fakecg.sched.timer import Timer

FORMAT = "fakecg recording 1"
DEFAULT_COLUMNS = (
    "memory.current",
    "memory.swap.current",
    "memory.zswap.current",
    "memory.stat.*",
    "memory.events.*",
    "memory.swap.events.*",
    "memory.pressure.*",
    "zswap.age.*",
)
#: Files whose every line has one value per node; the sums are in memory.stat.
_LEFT_OUT = ("memory.numa_stat",)


@dataclass(frozen=True, slots=True)
class Column:
    """One number of a cgroup over time. ``is_event``: it only grows. ``unit``: ``B``, ``us``, ``%`` or nothing for a count."""

    name: str
    unit: str = ""
    is_event: bool = False


@dataclass(slots=True)
class Recording:
    """Samples of some cgroups.

    Attributes:
        about: what made it: profile, proactive, seed, scenario, interval_s.
        columns: of each row.
        rows: (seconds of boottime, path, values); a value is None where the cgroup had no such number (``max``, or no such file).
    """

    about: dict[str, Any] = field(default_factory=dict)
    columns: list[Column] = field(default_factory=list)
    rows: list[tuple[float, str, list[float | None]]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        """The recorded cgroups, in the order of their first row."""
        return list(dict.fromkeys(path for _, path, _ in self.rows))

    def series(self, path: str, column: str) -> list[tuple[float, float]]:
        """(seconds, value) of one column of one cgroup, gaps left out; raises UsageError for an unknown column."""
        names = [each.name for each in self.columns]
        if column not in names:
            raise UsageError(f"no column {column!r} in this recording")
        index = names.index(column)
        found = ((when_s, values[index]) for when_s, where, values in self.rows if where == path)
        return [(when_s, value) for when_s, value in found if value is not None]

    def save(self, path: str | Path) -> None:
        """Write to a file."""
        header = {"format": FORMAT, **self.about, "columns": [asdict(column) for column in self.columns]}
        lines = [header, *([when_s, where, values] for when_s, where, values in self.rows)]
        Path(path).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Recording:
        """Read from a file.

        Raises:
            UsageError: not readable or not a recording; names the line.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
        number = 1
        try:
            header = json.loads(lines[0])
            if header.pop("format") != FORMAT:
                raise ValueError
            recording = cls(columns=[Column(**column) for column in header.pop("columns")], about=header)
            for line in lines[1:]:
                number += 1
                when_s, where, values = json.loads(line)
                if len(values) != len(recording.columns):
                    raise ValueError
                recording.rows.append((float(when_s), str(where), values))
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            raise UsageError(f"{path}: line {number}: not a recording of fakecg") from None
        return recording


def numbers_of(file_name: str, text: str) -> Iterator[tuple[str, float | None]]:
    """Column names and numbers in the text of an interface file: one value, ``key value`` lines, or pressure lines."""
    for line in text.splitlines():
        key, *words = line.split()
        if not words:
            yield file_name, _number(key)
        elif "=" in words[0]:
            for word in words:
                name, _, value = word.partition("=")
                yield f"{file_name}.{key}.{name}", _number(value)
        elif len(words) == 1:
            yield f"{file_name}.{key}", _number(words[0])


def _number(word: str) -> float | None:
    try:
        return int(word)
    except ValueError:
        try:
            return float(word)
        except ValueError:
            return None


def describe(name: str, features: Features) -> Column:
    """Unit and kind of a column."""
    file_name, _, key = name.rpartition(".")
    if file_name == "memory.stat":
        for row in memory_stat_rows(features):
            if row.key == key:
                return Column(name, "" if row.is_event else "B", row.is_event)
    if "events" in name:
        return Column(name, "", True)
    if ".pressure." in name:
        return Column(name, "us", True) if key == "total" else Column(name, "%")
    return Column(name, "" if name.endswith(("oom.group", "writeback")) else "B")


class Recorder:
    """Samples cgroups every ``interval`` from ``start`` to ``stop``.

    Args:
        paths: cgroups; one that does not exist yet, or any more, has no rows for that time.
        interval: between two samples.
        columns: patterns, as of file names, of wanted columns.
        about: put into the header beside profile and seed, e.g. the name of the scenario.

    Raises:
        UsageError: a bad interval.
    """

    def __init__(
        self,
        host: Host,
        paths: Sequence[str],
        *,
        interval: str | float = "10s",
        columns: Sequence[str] = DEFAULT_COLUMNS,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.host = host
        self.paths = list(paths)
        self.interval_ns = parse_duration(interval)
        if self.interval_ns <= 0:
            raise UsageError(f"not an interval: {interval!r}")
        self.patterns = tuple(columns)
        self.recording = Recording(
            about={
                "profile": host.features.profile.name,
                "proactive": ",".join(sorted(host.features.proactive)) or "none",
                "seed": host.seed,
                "interval_s": self.interval_ns / NSEC_PER_SEC,
                **(about or {}),
            }
        )
        self._index: dict[str, int] = {}
        self._timer: Timer | None = None

    def start(self) -> None:
        """Take a first sample now, and go on with the clock."""
        with self.host.lock:
            self._sample()

    def stop(self) -> Recording:
        """Take no more samples."""
        with self.host.lock:
            self.host.timers.cancel(self._timer)
            self._timer = None
        width = len(self.recording.columns)
        for _, _, values in self.recording.rows:
            values.extend([None] * (width - len(values)))
        return self.recording

    def _sample(self) -> None:
        # The host's lock is held, as for any timer.
        host = self.host
        now_ns = host.clock.now_ns()
        self._timer = host.timers.add(now_ns + self.interval_ns, self._sample)
        for path in self.paths:
            try:
                cgroup = host.hierarchy.lookup(path)
            except NoSuchFile:
                continue
            values: list[float | None] = [None] * len(self.recording.columns)
            for name, value in self._numbers(cgroup, now_ns):
                index = self._column(name)
                if index is not None:
                    values.extend([None] * (index + 1 - len(values)))
                    values[index] = value
            self.recording.rows.append((now_ns / NSEC_PER_SEC, path, values))

    def _column(self, name: str) -> int | None:
        index = self._index.get(name)
        if index is None and any(fnmatchcase(name, pattern) for pattern in self.patterns):
            index = self._index[name] = len(self.recording.columns)
            self.recording.columns.append(describe(name, self.host.features))
        return index

    def _numbers(self, cgroup: Cgroup, now_ns: int) -> Iterator[tuple[str, float | None]]:
        for row in cgroup.files():
            if row.name.startswith("memory.") and row.show is not None and row.name not in _LEFT_OUT and self._wants(row.name):
                yield from numbers_of(row.name, _read(cgroup, row))
        if self._wants("zswap.age"):
            for band in age_histogram(cgroup, now_ns):
                yield f"zswap.age.{band.age_s}", band.nr_bytes

    def _wants(self, file_name: str) -> bool:
        # Whether a column of this file can be asked for: some pattern agrees with its name as far as both are plain text.
        for pattern in self.patterns:
            plain = pattern.split("*")[0].split("?")[0].split("[")[0]
            if plain.startswith(file_name) or file_name.startswith(plain):
                return True
        return False


def _read(cgroup: Cgroup, row: ControlFile) -> str:
    assert row.show is not None
    try:
        row, css = cgroup.lookup_file(row.name.encode())
        return row.show(css, OpenFile(row, css, ROOT_CALLER, ROOT_CALLER)) if row.show else ""
    except ControlError:
        return ""
