"""Recorded scenarios about reclaim into zswap, its limits and its ways out."""

from recording import Replay, recorded
from tolerances import DISK, each


def basic_reclaim_touch(replay: Replay, waiting: int | None) -> None:
    """The steps, on one node or two. ``waiting``: pages in the CPU's batch once the memory was mapped, where that is known."""
    guest = replay.guest
    process = guest.start("/D/a", own=18)
    replay.step("process started")
    process.map(16384, "half", waiting=waiting)
    replay.step("map 64M half")
    guest.write("/D/a", "memory.reclaim", "32M")
    replay.step("memory.reclaim 32M")
    process.command()
    replay.step("mincore")
    replay.exact = False
    guest.advance(3)
    replay.step("idle 3 s")
    process.read()
    replay.step("read-touch all")
    guest.write("/D/a", "memory.reclaim", "32M")
    replay.step("memory.reclaim 32M (2nd)")
    process.write()
    replay.step("write-touch all")
    guest.write("/D/a", "memory.reclaim", "32M")
    replay.step("memory.reclaim 32M (3rd)")
    process.read_pages(range(16383, -1, -1))
    replay.step("read-touch in reverse")
    guest.write("/D/a", "memory.reclaim", "16M")
    replay.step("memory.reclaim 16M")
    process.read(0, 0, 2048)
    replay.step("read-touch the first 8M")
    process.unmap()
    replay.step("munmap")
    process.exit()
    replay.step("exit")
    guest.advance(1)
    replay.step("1 s later")


@recorded()
def s01_basic_reclaim_touch(replay: Replay) -> None:
    basic_reclaim_touch(replay, waiting=2)


@recorded()
def s01b_swapcache_after_read_fault(replay: Replay) -> None:
    guest = replay.guest
    # The entries of the pages it does not use make the difference: each lets every second store through, in exchange.
    process = guest.start("/D/a", idle=5)
    process.map(4096, "half", waiting=11)
    replay.step("map 16M half")
    guest.write("/D/a", "memory.reclaim", "16M")
    replay.step("reclaim 16M (all; EAGAIN expected)")
    replay.exact = False
    process.read(0, 0, 1024)
    replay.step("read-touch 1024 pages")
    process.write(0, 0, 1024)
    replay.step("write-touch the same 1024")
    process.write(0, 1024, 2048)
    replay.step("write-touch the next 1024")
    guest.write("/D/a", "memory.reclaim", "8M")
    replay.step("reclaim 8M")
    process.read()
    replay.step("read all")
    guest.write("/D/a", "memory.reclaim", "8M")
    replay.step("reclaim 8M")
    guest.write("/D/a", "memory.zswap.max", "0")
    replay.step("zswap.max=0")
    process.read()
    replay.step("read all")
    replay.tolerances = {**replay.tolerances, **DISK}
    replay.take_disk_speed()
    guest.write("/D/a", "memory.reclaim", "16M")
    replay.step("reclaim 16M: to the disk")
    process.read(0, 0, 1024)
    replay.step("read-touch 1024 pages from disk")
    replay.take_disk_speed()
    guest.write("/D/a", "memory.reclaim", "4M")
    replay.step("reclaim 4M: clean swapcache pages")
    process.write(0, 0, 1024)
    replay.step("write-touch 1024")
    replay.take_disk_speed()
    guest.write("/D/a", "memory.reclaim", "4M")
    replay.step("reclaim 4M")
    process.zap()
    replay.step("MADV_DONTNEED all")
    process.exit()
    replay.step("exit")


@recorded(tolerances=DISK)
def s02_zswap_max_lowered(replay: Replay) -> None:
    guest = replay.guest
    process = guest.start("/D/a")
    process.map(16384, "half", waiting=3)
    replay.step("map 64M half")
    guest.write("/D/a", "memory.reclaim", "16M")
    replay.step("reclaim 16M")
    guest.write("/D/a", "memory.zswap.max", "4M")
    replay.step("zswap.max=4M")
    guest.advance(1)
    replay.step("1 s later")
    replay.exact = False
    for request, times in (("4096", 4), ("128K", 3), ("4M", 3), ("4M", 9)):
        replay.take_disk_speed(times)
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


@recorded("/D/a", "/D/b", tolerances=DISK)
def s02c_zswap_max_hierarchy(replay: Replay) -> None:
    guest = replay.guest
    guest.write("/D", "memory.zswap.max", "4M")
    first, second = guest.start("/D/a", own=18), guest.start("/D/b", own=18, active=0)
    first.map(4096, "half", waiting=21)
    replay.step("map 16M half in a")
    second.map(4096, "half")
    replay.step("map 16M half in b")
    replay.exact = False
    for _ in range(3):
        guest.write("/D/a", "memory.reclaim", "4M")
        replay.step("reclaim 4M from a")
    for _ in range(4):
        guest.write("/D/b", "memory.reclaim", "2M")
        replay.step("reclaim 2M from b")
    guest.write("/D/a", "memory.zswap.max", "0")
    guest.write("/D/a", "memory.reclaim", "1M")
    replay.step("child a zswap.max=0")
    first.exit()
    second.exit()
    replay.step("exit")


@recorded(tolerances=each("zswap memory.zswap.current", 24 * 2082))
def s03_writeback_disabled(replay: Replay) -> None:
    guest = replay.guest
    # All but four of its own pages are in use all the time: what goes are pages of the mapping. The loops of this scenario depend on single
    # pages, so that the pages that are not in use stand for them.
    process = guest.start("/D/a", own=19, kind="half")
    process.map(8191, "half", waiting=14, moved=4)
    replay.step("map 32M half")
    guest.write("/D/a", "memory.zswap.writeback", "0")
    guest.drain_oldest()
    replay.step("writeback=0")
    guest.write("/D/a", "memory.reclaim", "4M")
    replay.step("reclaim 4M (no zswap.max)")
    guest.write("/D/a", "memory.zswap.max", "4M")
    replay.step("zswap.max=4M")
    guest.write("/D/a", "memory.reclaim", "8M")
    replay.step("reclaim 8M (passes the limit)")
    for again in ("(at the limit)", "again"):
        guest.write("/D/a", "memory.reclaim", "1M")
        replay.step(f"reclaim 1M {again}")
    guest.write("/D/a", "memory.zswap.max", "0")
    replay.step("zswap.max=0")
    guest.write("/D/a", "memory.reclaim", "1M")
    replay.step("reclaim 1M")
    replay.exact = False
    process.read()
    replay.step("touch all")
    process.map(2048, "rand")
    replay.step("map 8M incompressible")
    guest.write("/D/a", "memory.zswap.max", "max")
    replay.step("zswap.max=max")
    guest.write("/D/a", "memory.reclaim", "36M")
    replay.step("reclaim 36M with rand pages")
    process.read()
    process.read(1)
    replay.step("touch all")
    guest.set_zswap("enabled", "N")
    guest.write("/D/a", "memory.reclaim", "4M")
    replay.step("zswap disabled (enabled=N), writeback=0: reclaim 4M", DISK)
    process.read()
    process.read(1)
    replay.step("touch all", DISK)
    process.exit()
    replay.step("exit", DISK)


@recorded(tolerances=DISK)
def s03c_zswap_max_0(replay: Replay) -> None:
    guest = replay.guest
    guest.write("/D/a", "memory.zswap.max", "0")
    process = guest.start("/D/a", active=0)
    process.map(4096, "half", waiting=24)
    replay.step("map 16M half")
    process.activate_own(1)
    guest.write("/D/a", "memory.reclaim", "8M")
    replay.step("reclaim 8M")
    replay.exact = False
    process.read()
    replay.step("touch all")
    guest.write("/D/a", "memory.reclaim", "8M")
    replay.step("reclaim 8M")
    guest.write("/D/a", "memory.zswap.max", "max")
    replay.step("zswap.max=max")
    process.read()
    replay.step("touch all")
    guest.write("/D/a", "memory.reclaim", "8M")
    replay.step("reclaim 8M")
    process.exit()
    replay.step("exit")


@recorded(tolerances=DISK)
def s04_shrinker(replay: Replay) -> None:
    guest = replay.guest
    process = guest.start("/D/a")
    process.map(16384, "half", waiting=3)
    replay.step("map 64M half")
    replay.take_disk_speed()
    guest.write("/D/a", "memory.reclaim", "16M")
    replay.step("reclaim 16M, shrinker off")
    guest.set_zswap("shrinker_enabled", "Y")
    replay.step("shrinker_enabled=Y")
    guest.advance(2)
    replay.step("idle 2s")
    for number in range(8):
        replay.take_disk_speed()
        guest.write("/D/a", "memory.reclaim", "4M")
        replay.step(f"reclaim 4M #{number}")
    process.read(0, 0, 2048)
    replay.step("touch 8M")
    for number in range(4):
        replay.take_disk_speed()
        guest.write("/D/a", "memory.reclaim", "8M")
        replay.step(f"reclaim 8M #{number}")
    guest.write("/D/a", "memory.zswap.writeback", "0")
    replay.take_disk_speed()
    guest.write("/D/a", "memory.reclaim", "4M")
    replay.step("writeback=0; reclaim 4M")
    process.read()
    replay.step("touch all")
    process.exit()
    replay.step("exit")


@recorded(tolerances=DISK)
def s04b_shrinker_pressure(replay: Replay) -> None:
    guest = replay.guest
    guest.set_zswap("shrinker_enabled", "Y")
    process = guest.start("/D/a")
    process.map(16384, "half", waiting=16)
    replay.step("map 64M half")
    replay.take_disk_speed()
    guest.write("/D/a", "memory.reclaim", "48M")
    replay.step("reclaim 48M")
    for number in range(6):
        replay.take_disk_speed()
        guest.write("/D/a", "memory.reclaim", "1G")
        replay.step(f"reclaim 1G #{number}")
    process.read(0, 0, 4096)
    replay.step("touch 16M")
    for number in range(6):
        replay.take_disk_speed()
        guest.write("/D/a", "memory.reclaim", "4M")
        replay.step(f"reclaim 4M #{number}")
    process.read()
    replay.step("touch all")
    process.exit()
    replay.step("exit")
    guest.write("/D/a", "memory.max", "16M")
    process = guest.start("/D/a")
    replay.take_disk_speed()
    process.map(12288, "half")
    replay.step("memory.max=16M, shrinker on")
    replay.step("alive?")
    replay.take_disk_speed()
    process.read()
    replay.step("read all")
    process.exit()
    replay.step("exit")
