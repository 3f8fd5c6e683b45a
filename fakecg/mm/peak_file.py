"""memory.peak and memory.swap.peak: high-water marks, restarted per open file by any write.

Mirrors peak_show and peak_write of mm/memcontrol.c. An open file that never wrote shows the mark since the cgroup's creation. The others
share one restarted mark; each of them also remembers its own start.
"""

from __future__ import annotations

from collections.abc import Callable

from fakecg.abi.units import PAGE_SIZE
from fakecg.cgroup.cftype import ControlFile, OpenFile
from fakecg.mm.memcontrol import MemCgroup
from fakecg.mm.page_counter import PageCounter


class PeakWatcher:
    """An open file's own mark, in pages."""

    __slots__ = ("nr_pages",)

    def __init__(self) -> None:
        self.nr_pages = 0


def peak(name: str, counter_of: Callable[[MemCgroup], PageCounter], summary: str) -> ControlFile:
    """A row for the peak of a page counter."""

    def show(memcg: MemCgroup, open_file: OpenFile) -> str:
        counter = counter_of(memcg)
        watcher = open_file.private
        nr_pages = counter.watermark if watcher is None else max(watcher.nr_pages, counter.local_watermark)
        return f"{nr_pages * PAGE_SIZE}\n"

    def write(memcg: MemCgroup, data: bytes, open_file: OpenFile) -> None:
        counter = counter_of(memcg)
        usage = counter.usage
        counter.local_watermark = usage
        for watcher in counter.watchers:
            watcher.nr_pages = max(watcher.nr_pages, usage)
        if open_file.private is None:
            open_file.private = PeakWatcher()
            counter.watchers.append(open_file.private)
        open_file.private.nr_pages = usage

    def release(memcg: MemCgroup, open_file: OpenFile) -> None:
        if open_file.private is not None:
            counter_of(memcg).watchers.remove(open_file.private)
            open_file.private = None

    return ControlFile(name=name, show=show, write=write, release=release, summary=summary)
