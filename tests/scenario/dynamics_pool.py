"""Recorded scenarios about zswap's pool limit and the shrink worker."""

from recording import Replay, recorded
from tolerances import DISK, each

#: How many stores find the pool full depends on how fast the shrink worker is on its CPU.
_WORKER = {**DISK, **each("pool_limit_hit", 240, 0.2)}


@recorded("/D/a", "/D/b", tolerances=_WORKER)
def s05_pool_limit(replay: Replay) -> None:
    guest = replay.guest
    first, second = guest.start("/D/a"), guest.start("/D/b")
    first.map(24576, "half", waiting=10)
    replay.step("map 96M half in a")
    second.map(4096, "half")
    guest.write("/D/b", "memory.reclaim", "8M")
    replay.step("map 16M half in b, reclaim 8M")
    guest.set_zswap("max_pool_percent", "1")
    replay.step("max_pool_percent=1")
    for number in range(8):
        guest.write("/D/a", "memory.reclaim", "4M")
        replay.step(f"reclaim 4M #{number}")
    guest.advance(1)
    replay.step("1 s later")
    for _ in range(8, 16):
        guest.write("/D/a", "memory.reclaim", "2M")
    replay.steps(8)
    guest.set_zswap("accept_threshold_percent", "50")
    replay.step("accept_threshold=50")
    for _ in range(16, 24):
        guest.write("/D/a", "memory.reclaim", "2M")
    replay.steps(8)
    guest.set_zswap("max_pool_percent", "20")
    replay.step("max_pool_percent=20")
    guest.write("/D/a", "memory.reclaim", "1M")
    replay.step("reclaim 1M")
    first.exit()
    second.exit()
    replay.step("exit")


@recorded(tolerances=_WORKER)
def s05b_pool_limit_lowered_idle(replay: Replay) -> None:
    guest = replay.guest
    process = guest.start("/D/a", own=18)
    process.map(24576, "half", waiting=25)
    replay.step("map 96M half")
    guest.write("/D/a", "memory.reclaim", "64M")
    replay.step("reclaim 64M")
    guest.set_zswap("max_pool_percent", "1")
    replay.step("max_pool_percent=1")
    guest.advance(2)
    replay.step("2 s later")
    guest.write("/D/a", "memory.reclaim", "4096")
    replay.step("reclaim 4096")
    guest.advance(2)
    replay.step("2 s later")
    for _ in range(6):
        guest.write("/D/a", "memory.reclaim", "4096")
    replay.steps(6)
    guest.set_zswap("max_pool_percent", "0")
    guest.write("/D/a", "memory.reclaim", "1M")
    replay.step("max_pool_percent=0; reclaim 1M")
    guest.set_zswap("max_pool_percent", "20")
    guest.write("/D/a", "memory.zswap.writeback", "0")
    guest.set_zswap("max_pool_percent", "1")
    guest.write("/D/a", "memory.reclaim", "1M")
    replay.step("max_pool_percent=20; writeback=0")
    process.exit()
    replay.step("exit")
