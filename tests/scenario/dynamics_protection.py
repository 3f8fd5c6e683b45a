"""Recorded scenario about memory.low and memory.min, of a child and of the parent whose reclaim it is."""

from guest import Guest
from guest_process import Process
from recording import Replay, recorded
from tolerances import BATCHES

_GROUPS = {"parent": "/D", "a": "/D/a", "b": "/D/b"}


def _limit(guest: Guest, **values: str) -> None:
    for key, value in values.items():
        group, _, name = key.partition("_")
        guest.write(_GROUPS[group], f"memory.{name}", value)


def _load(guest: Guest, old: tuple[Process, ...] = ()) -> tuple[Process, ...]:
    """32M of fresh memory in a and in b."""
    for process in old:
        process.exit()
    processes = guest.start("/D/a"), guest.start("/D/b")
    processes[0].map(8192, "half", waiting=0)
    processes[1].map(8192, "half", waiting=6)
    return processes


@recorded("/D/a", "/D/b", tolerances=BATCHES)
def s08_protection(replay: Replay) -> None:
    guest = replay.guest
    old = _load(guest)
    _limit(guest, a_low="16M", parent_low="0")
    replay.step("a: 32M, b: 32M; parent low=0, a low=16M")
    for request in ("16M", "24M", "16M"):
        guest.write("/D", "memory.reclaim", request)
        replay.step(f"parent reclaim {request}")
        replay.exact = False
    for what, limits in (
        ("reloaded; parent low=16M too", {"parent_low": "16M"}),
        ("reloaded; min=16M on both", {"a_low": "0", "parent_low": "0", "a_min": "16M", "parent_min": "16M"}),
    ):
        old = _load(guest, old)
        _limit(guest, **limits)
        replay.step(what)
        for request in ("16M", "24M", "16M"):
            guest.write("/D", "memory.reclaim", request)
            replay.step(f"parent reclaim {request}")
    guest.write("/D/a", "memory.reclaim", "8M")
    replay.step("reclaim 8M on a itself (own min)")
    _limit(guest, a_min="0", parent_min="0", a_low="24M", parent_low="0")
    for what, limits in (
        ("reloaded; a low=24M, parent low=0, parent max=72M", {"parent_max": "72M"}),
        ("reloaded; parent low=max", {"parent_low": "max"}),
    ):
        old = _load(guest, old)
        _limit(guest, **limits)
        replay.step(what)
        old[1].map(6144, "half")
        replay.step("b maps 24M more")
        old[1].map(4096, "half")
        replay.step("b maps 16M more")
    _limit(guest, parent_low="0", parent_max="max")
    old = _load(guest, old)
    _limit(guest, a_low="64M")
    guest.write("/D/a", "memory.reclaim", "8M")
    replay.step("a low=64M (above usage); reclaim 8M on a itself")
    guest.write("/D", "memory.reclaim", "40M")
    replay.step("reclaim 40M from parent")
