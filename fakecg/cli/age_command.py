"""How long what is in zswap has been there; with --age, also what writing back by age would do. Nothing is changed.

The ages are those of the whole subtree, the pool is the machine's. The dry run is of memory.zswap.proactive_writeback, whether or not the
mount has that file: a walk over the entries as the kernel makes it, which may give up before it has met all that are old enough.
"""

from __future__ import annotations

import argparse
import errno
import re
import sys
from collections.abc import Iterator, Mapping

from fakecg.abi.keyed import parse_flat_keyed
from fakecg.abi.units import PAGE_SIZE
from fakecg.cli import client
from fakecg.observe.report import human

_BAR = 40
_BAND = re.compile(r"age_(\d+)\.entries")
_LOSSES = (("rounding", "rounding"), ("hole", "holes"), ("tail", "ends of zspages"))
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("mount_point", metavar="MNT")
    parser.add_argument("cgroup", metavar="CGROUP", help="path in the tree, or of a directory below MNT")
    parser.add_argument("--age", metavar="DURATION", help="what would be written back of entries at least this old: 30m, 1h")
    parser.add_argument("--max", metavar="SIZE", help="at most this much of it, uncompressed")
    parser.add_argument("--raw", action="store_true", help="plain numbers, one a line")


def run(arguments: argparse.Namespace) -> int:
    """Print the picture."""
    path = client.path_in_tree(arguments.mount_point, arguments.cgroup)
    options = [f"{name}={value}" for name, value in (("age", arguments.age), ("max", arguments.max)) if value is not None]
    text = client.send(arguments.mount_point, "age", path, *options)
    sys.stdout.write(text if arguments.raw else picture(f"/{path.strip('/')}", parse_flat_keyed(text)))
    return 0


def picture(path: str, numbers: Mapping[str, int]) -> str:
    """The numbers of an AgeReport for people."""
    parts = [_histogram(path, numbers), _dry_run(numbers), _pool(numbers)]
    return "\n".join("".join(f"{line}\n" for line in lines) for part in parts if (lines := list(part)))


def _histogram(path: str, numbers: Mapping[str, int]) -> Iterator[str]:
    nr_entries, size = numbers["entries"], numbers["compressed_bytes"]
    if not nr_entries:
        yield f"{path}: nothing in zswap"
        return
    sizes = f"{human(nr_entries * PAGE_SIZE, 'B')} compressed to {human(size, 'B')}"
    yield f"{path}: {nr_entries} pages in zswap, {sizes}; the oldest for {_duration(numbers['oldest_ns'] // 10**9)}"
    yield ""
    yield f"  {'age':12}{'pages':>10}{'compressed':>12}"
    bounds = [int(match[1]) for key in numbers if (match := _BAND.fullmatch(key))]
    most = max(numbers[f"age_{age_s}.compressed_bytes"] for age_s in bounds)
    for age_s, next_s in zip(bounds, [*bounds[1:], None], strict=True):
        label = f"{_duration(age_s)} and more" if next_s is None else f"{_duration(age_s)} to {_duration(next_s)}"
        band = numbers[f"age_{age_s}.compressed_bytes"]
        bar = "#" * -(-band * _BAR // most)
        yield f"  {label:12}{numbers[f'age_{age_s}.entries']:>10}{human(band, 'B'):>12}  {bar}".rstrip()


def _duration(seconds: int) -> str:
    """The two largest units of a time."""
    words: list[str] = []
    for unit_s, suffix in _UNITS:
        value, rest = divmod(seconds, unit_s)
        if value and len(words) < 2:
            words.append(f"{value}{suffix}")
        seconds = rest
    return " ".join(words) or "0"


def _dry_run(numbers: Mapping[str, int]) -> Iterator[str]:
    run = {key.removeprefix("dry_run."): value for key, value in numbers.items() if key.startswith("dry_run.")}
    if not run:
        return
    request = f"max={human(run['max_bytes'], 'B')} {run['age_s']}" if "max_bytes" in run else str(run["age_s"])
    answer = "" if not run["errno"] else f" and answer {errno.errorcode[run['errno']]}"
    yield f'writing "{request}" would write back {run["written_entries"]} pages, {human(run["written_bytes"], "B")} compressed{answer}'
    yield f"  old enough: {run['old_entries']} pages, {human(run['old_bytes'], 'B')} compressed"
    if run["barred_entries"]:
        yield f"  of these, in cgroups that may not write back: {run['barred_entries']} pages"
    if run["missed_entries"]:
        yield f"  asked for and allowed, but missed by the walk, which gives up earlier: {run['missed_entries']} pages"
    if run["rotated_entries"]:
        yield f"  younger entries moved to the young end on the way: {run['rotated_entries']}"
    yield f"  the pool would give back {run['pool_pages']} pages, {human(run['pool_pages'] * PAGE_SIZE, 'B')}"


def _pool(numbers: Mapping[str, int]) -> Iterator[str]:
    size, stored = numbers["pool.pages"] * PAGE_SIZE, numbers["pool.stored_bytes"]
    if not size:
        return
    lost = [f"{human(numbers[f'pool.{key}_bytes'], 'B')} {what}" for key, what in _LOSSES]
    yield f"pool of the machine: {numbers['pool.pages']} pages, {human(size, 'B')}, hold {human(stored, 'B')} compressed"
    yield f"  lost: {100 * (size - stored) / size:.1f} % ({', '.join(lost)})"
