"""The text formats of interface files. Source: Documentation/admin-guide/cgroup-v2.rst, "Format"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def flat_keyed(pairs: Iterable[tuple[str, int | str]] | Mapping[str, int | str]) -> str:
    """``KEY VALUE`` lines in the order given."""
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    return "".join([f"{key} {value}\n" for key, value in items])


def nested_keyed(rows: Iterable[tuple[str, Iterable[tuple[str, int | str]]]]) -> str:
    """``KEY SUB_KEY=VALUE SUB_KEY=VALUE`` lines, as io.stat and memory.numa_stat print them."""
    return "".join(["".join([key, *(f" {sub_key}={value}" for sub_key, value in pairs)]) + "\n" for key, pairs in rows])


def counter_or_max(value: int, maximum: int) -> str:
    """A limit with its newline; ``max`` for the maximum and everything above."""
    return "max\n" if value >= maximum else f"{value}\n"


def parse_flat_keyed(text: str) -> dict[str, int]:
    """Read a flat keyed file whose values are integers; a value ``max`` becomes -1.

    Raises:
        ValueError: a line is not a key and an integer.
    """
    result: dict[str, int] = {}
    for line in text.splitlines():
        key, _, value = line.rpartition(" ")
        result[key] = -1 if value == "max" else int(value)
    return result


def names(words: Iterable[str]) -> str:
    """Space-separated names with a newline; nothing at all, not even a newline, for none. Source: cgroup.c:cgroup_print_ss_mask."""
    text = " ".join(words)
    return text + "\n" if text else ""
