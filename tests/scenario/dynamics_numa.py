"""Scenarios recorded on two nodes.

That kernel had multi-generational LRU lists, the model has the classic ones: which pages go first, what is
scanned, and the active lists differ.
"""

from itertools import groupby

from dynamics_zswap import basic_reclaim_touch
from recording import Replay, recorded
from tolerances import BATCH, DISK

_FILE = "dynamics_numa2.json"


@recorded(file_name=_FILE, nodes=2, tolerances=BATCH)
def s01_basic_reclaim_touch(replay: Replay) -> None:
    basic_reclaim_touch(replay, waiting=None)


@recorded(file_name=_FILE, nodes=2, tolerances={**BATCH, **DISK})
def s02_zswap_max_lowered(replay: Replay) -> None:
    guest = replay.guest
    process = guest.start("/D/a")
    process.map(16384, "half")
    replay.step("map 64M half")
    guest.write("/D/a", "memory.reclaim", "16M")
    replay.step("reclaim 16M")
    guest.write("/D/a", "memory.zswap.max", "4M")
    replay.step("zswap.max=4M")
    guest.advance(1)
    replay.step("1 s later")
    replay.exact = False
    for request, times in (("4096", 4), ("128K", 3), ("4M", 3), ("4M", 9)):
        for _ in range(times):
            guest.write("/D/a", "memory.reclaim", request)
        replay.steps(times)
    guest.write("/D/a", "memory.zswap.max", "max")
    replay.step("zswap.max=max")
    guest.write("/D/a", "memory.reclaim", "1M")
    replay.step("reclaim 1M")
    process.read()
    replay.step("touch all")
    process.exit()
    replay.step("exit")


@recorded(file_name=_FILE, nodes=2, tolerances=BATCH)
def s09_reclaim_amounts(replay: Replay) -> None:
    for request, rows in groupby(replay.recorded["rows"], key=lambda row: row["request"]):
        guest = replay.new_guest()
        repetitions = list(rows)
        process = guest.start("/D/a")
        process.map(16384, "half")
        process.command()
        replay.skip_changes()
        error = guest.write("/D/a", "memory.reclaim", request)
        for row in repetitions:
            replay.compare_result(request, error, row["result"])
        replay.compare_group(request, "/D/a", [row["delta"] for row in repetitions])
