"""Typed rows: the common kinds of memory files, so that an ordinary file is one line of a table."""

from __future__ import annotations

from collections.abc import Callable

from fakecg.abi.units import PAGE_COUNTER_MAX, PAGE_SIZE, kstrip, page_counter_memparse, parse_bool_int
from fakecg.cgroup.cftype import ControlFile, OpenFile, Steps
from fakecg.mm.memcontrol import MemCgroup


def show_limit(nr_pages: int) -> str:
    """A limit in bytes, or ``max``. Source: memcontrol.c:seq_puts_memcg_tunable."""
    return "max\n" if nr_pages >= PAGE_COUNTER_MAX else f"{nr_pages * PAGE_SIZE}\n"


def limit(
    name: str,
    get: Callable[[MemCgroup], int],
    put: Callable[[MemCgroup, int], None],
    summary: str,
    *,
    after: Callable[[MemCgroup, int, OpenFile], Steps | None] | None = None,
) -> ControlFile:
    """A byte value with the grammar of page_counter_memparse, stored in pages.

    ``after`` is the work of the writer once the value stands. Errors: EINVAL.
    """

    def write(memcg: MemCgroup, data: bytes, open_file: OpenFile) -> Steps | None:
        nr_pages = page_counter_memparse(data)
        put(memcg, nr_pages)
        return after(memcg, nr_pages, open_file) if after else None

    return ControlFile(name=name, show=lambda memcg, _: show_limit(get(memcg)), write=write, summary=summary)


def flag(
    name: str,
    get: Callable[[MemCgroup], int],
    put: Callable[[MemCgroup, int], None],
    summary: str,
    *,
    on_root: bool = False,
    delegatable: bool = False,
) -> ControlFile:
    """0 or 1. Errors: EINVAL, ERANGE on overflow. Source: memcontrol.c:memory_oom_group_write."""

    def write(memcg: MemCgroup, data: bytes, _: OpenFile) -> None:
        put(memcg, int(parse_bool_int(kstrip(data))))

    return ControlFile(
        name=name, show=lambda memcg, _: f"{get(memcg)}\n", write=write, on_root=on_root, delegatable=delegatable, summary=summary
    )


def usage(name: str, get: Callable[[MemCgroup], int], summary: str) -> ControlFile:
    """A number of bytes."""
    return ControlFile(name=name, show=lambda memcg, _: f"{get(memcg)}\n", summary=summary)
