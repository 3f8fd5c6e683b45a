"""Reclaim that takes many pages at once comes out as reclaim that takes 32."""

from __future__ import annotations

from typing import Any

import pytest

from fakecg import Host, ManualClock
from fakecg.group import Group
from fakecg.mm import reclaim_ahead
from fakecg.observe.check import check

MIB = 1 << 20


def everything(host: Host, job: Group) -> dict[str, Any]:
    """All that reclaim changes: columns, lists, counters, slots, files."""
    machine = host.machine
    table, zswap = machine.table, machine.zswap
    return {
        "flags": bytes(table.flags),
        "slots": list(table.slot),
        "shadows": list(table.shadow),
        "lists": [list(table.links.oldest(pages, pages.size)) for memcg in machine.memcgs.values() for pages in memcg.lruvecs[0].lists],
        "zswap": [list(zswap.links.oldest(lru, lru.size)) for memcg in machine.memcgs.values() for lru in memcg.zswap_lrus],
        "lengths": list(zswap.length),
        "costs": [(memcg.lruvecs[0].anon_cost, memcg.lruvecs[0].nonresident_age) for memcg in machine.memcgs.values()],
        "counters": machine.vm,
        "time": machine.reclaim_cost_ns,
        "files": [job[name] for name in ("memory.current", "memory.peak", "memory.stat", "memory.events", "memory.swap.current")],
    }


def reclaimed(
    monkeypatch: pytest.MonkeyPatch, max_pages: int, content: str, requests: list[str], limits: dict[str, str]
) -> tuple[Any, list[int]]:
    """The state after some requests, and how many pages each batch had."""
    monkeypatch.setattr(reclaim_ahead, "MAX_PAGES", max_pages)
    sizes = []
    with Host(ram=64 * MIB, swap=64 * MIB, seed=7, clock=ManualClock()) as host:
        job = host.mkdir("/job")
        for name, value in limits.items():
            job[name] = value
        frames = host.machine.frames
        free = frames.free

        def counting_free(memcg: Any, node: int, pages: Any, **options: Any) -> None:
            sizes.append(len(pages))
            free(memcg, node, pages, **options)

        monkeypatch.setattr(frames, "free", counting_free)
        host.spawn(job, size=12 * MIB, content=content)
        for request in requests:
            try:
                job["memory.reclaim"] = request
            except BlockingIOError:
                sizes.append(-1)
        check(host)
        return everything(host, job), sizes


CASES = {
    "text": ("text", ["1M", "4K", "5M", "2M swappiness=200"], {}),
    "with pages that do not compress": ("mix:text=95,random=5", ["1M", "6M", "3M"], {}),
    "with zero pages": ("mix:text=97,zero=3", ["1M", "6M", "3M"], {}),
    "pages of which none compresses": ("random", ["1M", "6M", "3M"], {}),
    "up to memory.zswap.max": ("text", ["1M", "8M", "2M"], {"memory.zswap.max": "3M"}),
    "up to memory.swap.max": ("text", ["1M", "8M", "2M"], {"memory.swap.max": "5M"}),
    "below memory.max": ("text", ["2M", "3M"], {"memory.max": "8M"}),
}


@pytest.mark.parametrize("name", CASES)
def test_many_pages_at_once_come_out_as_32_at_a_time(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    content, requests, limits = CASES[name]
    at_once, sizes = reclaimed(monkeypatch, 256, content, requests, limits)
    one_by_one, small_sizes = reclaimed(monkeypatch, 32, content, requests, limits)
    assert max(small_sizes) <= 32
    if name in ("text", "with zero pages"):
        assert max(sizes) > 32
    for what, value in one_by_one.items():
        assert at_once[what] == value, what
