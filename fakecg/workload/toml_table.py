"""Reading TOML tables whose every mistake is wanted at once.

A ``Table`` hands out values by name, each through a reader that returns what it understands or raises UsageError. Mistakes are noted with
their place; a key that nobody asked for is one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any, TypeVar

from fakecg.abi.errors import UsageError
from fakecg.abi.units import parse_duration, parse_size
from fakecg.workload.job import to_pages

Value = TypeVar("Value")


def hint(word: str, known: list[str]) -> str:
    """What to say after an unknown word: the nearest known one, and all of them."""
    close = get_close_matches(word, known, n=1)
    return f" ({f'did you mean {close[0]!r}? ' if close else ''}known: {', '.join(known)})"


class Table:
    """A table being read: takes values out by name, notes mistakes with their place, and complains about what is left."""

    def __init__(self, table: object, where: str, errors: list[str]) -> None:
        self._table: dict[str, Any] = table if isinstance(table, dict) else {}
        self._where = where
        self.errors = errors
        self._known: list[str] = []
        if not isinstance(table, dict):
            errors.append(f"{where}: not a table")

    def place(self, key: str) -> str:
        """Where a value stands, e.g. ``job[0].phase[2].duration``."""
        return f"{self._where}.{key}" if self._where else key

    def error(self, key: str, message: str) -> None:
        """Note a mistake."""
        self.errors.append(f"{self.place(key)}: {message}")

    def has(self, key: str) -> bool:
        """Whether there is such a value."""
        return key in self._table

    def take(self, key: str, read: Callable[[Any], Value], default: Value, *, required: bool = False) -> Value:
        """The value under ``key`` as ``read`` understands it; the default if it is absent or wrong."""
        self._known.append(key)
        if key not in self._table:
            if required:
                self.error(key, "missing")
            return default
        try:
            return read(self._table[key])
        except UsageError as error:
            self.error(key, str(error))
        return default

    def tables(self, key: str) -> Iterator[Table]:
        """The tables of an array ``[[key]]``."""
        self._known.append(key)
        value = self._table.get(key, [])
        if not isinstance(value, list):
            self.error(key, f"not an array of tables: write [[{key}]]")
            return
        for index, entry in enumerate(value):
            yield Table(entry, f"{self.place(key)}[{index}]", self.errors)

    def table(self, key: str) -> Table:
        """The table under ``key``; an empty one if it is absent."""
        self._known.append(key)
        return Table(self._table.get(key, {}), self.place(key), self.errors)

    def every(self, read: Callable[[Any], Value]) -> dict[str, Value]:
        """All values of a table whose keys are free, in their order; wrong ones are left out."""
        values: dict[str, Value] = {}
        for key in self._table:
            self._known.append(key)
            try:
                values[key] = read(self._table[key])
            except UsageError as error:
                self.error(key, str(error))
        return values

    def finish(self) -> None:
        """Every key that nobody asked for is a mistake."""
        for key in self._table:
            if key not in self._known:
                self.error(key, f"unknown key{hint(key, self._known)}")


# Readers of single values: each returns what it understands or raises UsageError.


def text(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise UsageError(f"not a text: {value!r}")
    return value


def file_text(value: Any) -> str:
    """What is written to an interface file: a string or a whole number."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise UsageError(f"not a text or a whole number: {value!r}")
    return str(value)


def flag(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise UsageError(f"not true or false: {value!r}")
    return value


def number(low: int, high: int) -> Callable[[Any], int]:
    """A whole number within bounds."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise UsageError(f"not a whole number of {low}..{high}: {value!r}")
        return value

    return read


def share(value: Any) -> float:
    """A number of 0..1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise UsageError(f"not a number of 0..1: {value!r}")
    return float(value)


def scalar(value: Any) -> str:
    """A number or a string, as text."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f"not a number or a text: {value!r}")
    return str(value)


def size(value: Any) -> str | int:
    """A size in bytes, as it stands there."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise UsageError(f"not a size: {value!r}")
    parse_size(value)
    return value


def pages(value: Any) -> int:
    """A size, in pages rounded up."""
    return to_pages(size(value))


def duration(value: Any) -> int:
    """A duration in nanoseconds; a plain number means seconds."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f"not a duration: {value!r}")
    return parse_duration(value)


def span(value: Any) -> int:
    """A duration above 0, in nanoseconds."""
    duration_ns = duration(value)
    if duration_ns <= 0:
        raise UsageError(f"not above 0: {value!r}")
    return duration_ns


def cgroup_path(value: Any) -> str:
    """The path of a cgroup below the root."""
    path = text(value)
    if not path.startswith("/") or path.endswith("/") or any(part in ("", ".", "..") for part in path[1:].split("/")):
        raise UsageError(f"not a path of a cgroup: {value!r} (starts with a slash, does not end with one)")
    return path
