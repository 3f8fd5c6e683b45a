"""Recordings as text: a table of numbers, a line over time, a picture of ages; or CSV for tools of your own."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import pairwise

from fakecg.abi.errors import UsageError
from fakecg.observe.recorder import Column, Recording

_BARS = "▁▂▃▄▅▆▇█"
_SUFFIXES = ("", "K", "M", "G", "T")


def human(value: float, unit: str = "") -> str:
    """A number as people read it: bytes with a suffix, microseconds as seconds, percent with two digits."""
    if unit == "B":
        size = float(value)
        for suffix in _SUFFIXES:
            if abs(size) < 1024 or suffix == _SUFFIXES[-1]:
                return f"{size:.0f}{suffix}" if size == int(size) or not suffix else f"{size:.1f}{suffix}"
            size /= 1024
    if unit == "us":
        return f"{value / 1e6:.3f}s"
    if unit == "%":
        return f"{value:.2f}%"
    return f"{value:.0f}" if value == int(value) else f"{value:.2f}"


def select(recording: Recording, patterns: Sequence[str]) -> list[Column]:
    """Columns that match any pattern, in recorded order.

    Raises:
        UsageError: a pattern that matches none.
    """
    for pattern in patterns:
        if not any(fnmatchcase(column.name, pattern) for column in recording.columns):
            raise UsageError(f"no column matches {pattern!r}")
    return [column for column in recording.columns if any(fnmatchcase(column.name, pattern) for pattern in patterns)]


def summary(recording: Recording, patterns: Sequence[str] = ("*",)) -> str:
    """One table per cgroup. Columns that never were anything but 0 are left out.

    A state shows least, mean, most and last; an event how much it grew and how much that is a second.
    """
    parts = []
    for path in recording.paths:
        lines: list[tuple[str, ...]] = [("", "least", "mean", "most", "last")]
        for column in select(recording, patterns):
            series = recording.series(path, column.name)
            values = [value for _, value in series]
            if not any(values):
                continue
            if column.is_event:
                grown, span_s = values[-1] - values[0], series[-1][0] - series[0][0]
                rate = f"{human(grown / span_s, column.unit)}/s" if span_s else ""
                lines.append((column.name, "", rate, f"+{human(grown, column.unit)}", human(values[-1], column.unit)))
            else:
                numbers = (min(values), sum(values) / len(values), max(values), values[-1])
                lines.append((column.name, *(human(value, column.unit) for value in numbers)))
        parts.append(f"{path}\n{_table(lines)}")
    return "\n".join(parts)


def _table(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(line[index]) for line in lines) for index in range(len(lines[0]))]
    rows = []
    for line in lines:
        cells = [f"  {line[0]:<{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True))]
        rows.append("  ".join(cells).rstrip() + "\n")
    return "".join(rows)


def chart(recording: Recording, path: str, column: str, width: int = 72) -> str:
    """A column of one cgroup over time, one line high. An event is drawn as its growth."""
    known = next((each for each in recording.columns if each.name == column), None)
    series = recording.series(path, column)
    if known is None or not series:
        return f"{path} {column}: nothing recorded\n"
    values = [value for _, value in series]
    if known.is_event:
        values = [later - earlier for earlier, later in pairwise(values)] or [0.0]
    cells = squeeze(values, width)
    low, high = min(cells), max(cells)
    span = high - low
    bars = "".join(_BARS[int((cell - low) / span * (len(_BARS) - 1)) if span else 0] for cell in cells)
    growth = " a sample" if known.is_event else ""
    legend = f"{series[0][0]:.0f}s to {series[-1][0]:.0f}s, {human(low, known.unit)} to {human(high, known.unit)}{growth}"
    return f"{path} {column}\n{bars}\n{legend}\n"


def squeeze(values: Sequence[float], width: int) -> list[float]:
    """At most ``width`` numbers, each the mean of about equally many neighbours."""
    if len(values) <= width:
        return list(values)
    bounds = [index * len(values) // width for index in range(width + 1)]
    return [sum(values[begin:end]) / (end - begin) for begin, end in pairwise(bounds)]


def age_picture(recording: Recording, path: str, width: int = 72) -> str:
    """Compressed bytes in zswap by age, oldest on top, over time: a digit 0 to 9 for each part of the largest, a dot for none.

    Raises:
        UsageError: the recording has no columns zswap.age.*.
    """
    columns = [column.name for column in select(recording, ("zswap.age.*",))]
    bands = [squeeze([value for _, value in recording.series(path, name)], width) for name in columns]
    most = max((value for band in bands for value in band), default=0)
    if not most:
        return f"{path}: nothing in zswap\n"
    labels = [_age(name.rpartition(".")[2]) for name in columns]
    lines = [f"{path} zswap by age"]
    for label, band in zip(reversed(labels), reversed(bands), strict=True):
        cells = "".join("." if not value else str(min(9, int(value / most * 10))) for value in band)
        lines.append(f"{label:>6} {cells}")
    times_s = [when_s for when_s, where, _ in recording.rows if where == path]
    lines.append(f"       {times_s[0]:.0f}s to {times_s[-1]:.0f}s; 9 is {human(most * 0.9, 'B')} to {human(most, 'B')}")
    return "\n".join(lines) + "\n"


def _age(seconds: str) -> str:
    age_s = int(seconds)
    for unit_s, suffix in ((3600, "h"), (60, "m")):
        if age_s and age_s % unit_s == 0:
            return f"≥{age_s // unit_s}{suffix}"
    return f"≥{age_s}s"


def to_csv(recording: Recording, patterns: Sequence[str] = ("*",)) -> str:
    """All rows with the selected columns; a gap is an empty field."""
    chosen = [column.name for column in select(recording, patterns)]
    names = [column.name for column in recording.columns]
    indices = [names.index(name) for name in chosen]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["time_s", "cgroup", *chosen])
    for when_s, path, values in recording.rows:
        writer.writerow([f"{when_s:.3f}", path, *("" if values[index] is None else values[index] for index in indices)])
    return out.getvalue()
