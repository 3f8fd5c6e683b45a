"""The table of docs/versions.md: what each interface version writes back for the same request, measured by making it.

The page is written by hand around the table, which stands between ``<!-- the same requests -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fakecg.abi.errors import UsageError
from fakecg.abi.profile import PROACTIVE_VERSIONS
from fakecg.abi.units import PAGE_SIZE
from fakecg.group import Group
from fakecg.host import Host

PATH = Path(__file__).parents[2] / "docs" / "versions.md"

_TABLE = re.compile(r"(<!-- the same requests -->\n).*?(<!-- end -->)", re.DOTALL)
#: A byte in v5, a page in the others.
SMALLEST = "smallest"


def render(page: str) -> str:
    """The page with its table made anew.

    Raises:
        UsageError: there is no table, or more than one.
    """
    if len(_TABLE.findall(page)) != 1:
        raise UsageError(f"{PATH.name} has one table, between the marks")
    return _TABLE.sub(lambda match: match[1] + table() + match[2], page)


class Bench:
    """A machine with one interface version, and cgroups whose pages are in zswap."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.host = Host(ram="256M", swap="256M", seed=7, proactive=version)
        self.parent = self.host.mkdir("job")
        self.children: list[Group] = []

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *exception: object) -> None:
        self.host.close()

    def store(self, name: str, nr_pages: int, *, fresh: bool = False) -> Group:
        """A child with so many pages in zswap, stored an hour ago; ``fresh``: no writeback has looked at them since."""
        child = self.parent.mkdir(name)
        if nr_pages:
            self.children.append(child)
            self.host.spawn(child, size=nr_pages * PAGE_SIZE, content="half", access="once")
            # More than there is: everything goes, and the answer is EAGAIN.
            with suppress(BlockingIOError):
                child["memory.reclaim"] = "1G"
        self.host.advance("1h")
        if not fresh:
            self.take_referenced_bits()
        return child

    def take_referenced_bits(self) -> None:
        """Leave entries as an earlier look does."""
        referenced = self.host.machine.zswap.referenced
        referenced[:] = bytes(len(referenced))

    def ask(self, group: Group, size: str, *, interrupted: Callable[[], bool] | None = None) -> str:
        """One request, in the version's syntax; returns pages written below the parent, by child, and the errno if there was one."""
        before = self.written()
        name, value = request(self.version, size)
        error = ""
        try:
            group.write(name, value, interrupted=interrupted)
        except OSError as refused:
            error = errno.errorcode[refused.errno or 0]
        pages = " + ".join(str(after - nr_pages) for after, nr_pages in zip(self.written(), before, strict=True))
        return f"{pages} {error}".strip()

    def written(self) -> list[int]:
        """Pages written back so far of each child that had any."""
        return [child.stat["zswpwb"] for child in self.children]


def request(version: str, size: str) -> tuple[str, str]:
    """File and text of a request for entries of any age above a minute; ``SMALLEST`` is the least size that asks for anything."""
    if size == SMALLEST:
        size = "1" if version == "v5" else str(PAGE_SIZE)
    if version == "v1":
        return "memory.zswap.proactive_writeback", f"max={size} 60"
    return "memory.reclaim", f"{size} {'source=zswap' if version == 'v5' else 'zswap_writeback_only'}"


def _one_cgroup(*sizes: str, nr_pages: int, fresh: bool = False) -> Callable[[Bench], str]:
    def run(bench: Bench) -> str:
        child = bench.store("a", nr_pages, fresh=fresh)
        return ", ".join(bench.ask(child, size) for size in sizes)

    return run


def _exactly_what_is_there(bench: Bench) -> str:
    child = bench.store("a", 1000)
    entries = child.stat["zswapped"]
    in_bytes = bench.version in ("v4", "v5")
    return bench.ask(child, child["memory.zswap.current"] if in_bytes else str(entries))


def _three_children(*sizes: str) -> Callable[[Bench], str]:
    def run(bench: Bench) -> str:
        for name in ("a", "b", "c"):
            bench.store(name, 1024)
        bench.take_referenced_bits()
        return ", ".join(bench.ask(bench.parent, size) for size in sizes)

    return run


def _fresh_sibling(bench: Bench) -> str:
    bench.store("cold", 2048)
    bench.store("fresh", 2048, fresh=True)
    return ", ".join(bench.ask(bench.parent, "4M") for _ in range(2))


def _empty_siblings(bench: Bench) -> str:
    for number in range(20):
        bench.store(f"empty{number}", 0)
    bench.store("full", 1024)
    return ", ".join(bench.ask(bench.parent, "64K") for _ in range(2))


def _signal(bench: Bench) -> str:
    child = bench.store("a", 1024)
    return bench.ask(child, "16M", interrupted=lambda: bench.host.machine.vm.zswpwb > 0)


def _disabled(bench: Bench) -> str:
    child = bench.store("a", 256)
    child["memory.zswap.writeback"] = 0
    return bench.ask(child, "64K")


def _store_path(bench: Bench) -> str:
    child = bench.parent.mkdir("a")
    child["memory.zswap.max"] = "1M"
    bench.host.spawn(child, size="8M", content="half", access="once")
    child["memory.reclaim"] = "6M"
    stat = child.stat
    return f"{stat['zswpwb']} of {bench.host.machine.vm.pswpout}"


@dataclass(frozen=True)
class Row:
    """A row of the table: what is asked, and how."""

    title: str
    run: Callable[[Bench], str]


ROWS: Sequence[Row] = (
    Row("255 fresh entries, the smallest request", _one_cgroup(SMALLEST, nr_pages=255, fresh=True)),
    Row("256 fresh entries, the smallest request twice", _one_cgroup(SMALLEST, SMALLEST, nr_pages=256, fresh=True)),
    Row("1023 fresh entries, the smallest request", _one_cgroup(SMALLEST, nr_pages=1023, fresh=True)),
    Row("1024 fresh entries, the smallest request twice", _one_cgroup(SMALLEST, SMALLEST, nr_pages=1024, fresh=True)),
    Row("1024 fresh entries, 64K, twice", _one_cgroup("64K", "64K", nr_pages=1024, fresh=True)),
    Row("1024 entries, one byte; 4095 bytes", _one_cgroup("1", "4095", nr_pages=1024)),
    Row("1024 entries, the smallest request", _one_cgroup(SMALLEST, nr_pages=1024)),
    Row("1024 entries, 64K", _one_cgroup("64K", nr_pages=1024)),
    Row("1024 entries, 1M", _one_cgroup("1M", nr_pages=1024)),
    Row("1024 entries, 16M; again", _one_cgroup("16M", "16M", nr_pages=1024)),
    Row("1000 entries, exactly what is there", _exactly_what_is_there),
    Row("parent of three with 1024 each, the smallest request three times", _three_children(SMALLEST, SMALLEST, SMALLEST)),
    Row("parent of three with 1024 each, 1M", _three_children("1M")),
    Row("parent, 2048 cold in one child and 2048 fresh in the next, 4M, twice", _fresh_sibling),
    Row("parent, 20 empty children before one with 1024, 64K, twice", _empty_siblings),
    Row("1024 entries, 16M, a signal after the first pages", _signal),
    Row("256 entries, memory.zswap.writeback is 0", _disabled),
    Row("memory.reclaim of 6M with memory.zswap.max=1M: written back, of all pages that went to the disk", _store_path),
)


def measure(row: Row, version: str) -> str:
    """A cell of the table."""
    with Bench(version) as bench:
        return row.run(bench)


def table() -> str:
    """All cells."""
    return "".join(f"{line}\n" for line in ("", *_lines(), ""))


def _lines() -> Iterator[str]:
    yield "| | " + " | ".join(PROACTIVE_VERSIONS) + " |"
    yield "|---|" + "---|" * len(PROACTIVE_VERSIONS)
    for row in ROWS:
        yield f"| {row.title} | " + " | ".join(measure(row, version) for version in PROACTIVE_VERSIONS) + " |"
