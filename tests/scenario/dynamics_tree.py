"""Recorded scenarios about cgroups beside and above each other: who is reclaimed, what moves, what stays behind."""

from recording import Replay, recorded
from tolerances import BATCHES, each


@recorded("/D/a", "/D/b", "/D/c", tolerances={**BATCHES, **each("pgfault", 300)})
def s09d_parent_reclaim_distribution(replay: Replay) -> None:
    guest = replay.guest
    processes = [guest.start(f"/D/{name}") for name in "abc"]
    for process, nr_pages in zip(processes, (4096, 8192, 16384), strict=True):
        process.map(nr_pages, "half")
    replay.step("16M/32M/64M")
    for request in ("1M", "1M", "1M", "4M", "4M", "16M", "16M", "32M"):
        guest.write("/D", "memory.reclaim", request)
        replay.step(f"reclaim {request} from the parent")
    for process in processes:
        process.exit()
    replay.step("exit")


@recorded("/D/a", "/D/b", tolerances=BATCHES)
def s11c_migrate(replay: Replay) -> None:
    guest = replay.guest
    process = guest.start("/D/a")
    process.map(4096, "half")
    replay.step("map 16M half in a")
    guest.write("/D/a", "memory.reclaim", "8M")
    replay.step("reclaim 8M")
    replay.exact = False
    process.move("/D/b")
    replay.step("move the process to b")
    process.map(1024, "half")
    replay.step("map 4M in b")
    process.read()
    replay.step("read-touch all the old pages")
    process.write()
    replay.step("write-touch all the old pages")
    guest.write("/D/b", "memory.reclaim", "8M")
    replay.step("reclaim 8M from b")
    guest.write("/D/a", "memory.reclaim", "8M")
    replay.step("reclaim 8M from a")
    guest.rmdir("/D/a")
    replay.step("rmdir a while its pages live")
    process.read()
    replay.step("touch all")
    guest.write("/D", "memory.reclaim", "8M")
    replay.step("reclaim 8M from D")
    process.exit()
    replay.step("exit")


@recorded(tolerances=BATCHES)
def s12b_swap_full(replay: Replay) -> None:
    guest = replay.guest
    guest.write("/D", "memory.swap.max", "4M")
    process = guest.start("/D/a")
    process.map(4096, "half")
    replay.step("map 16M half")
    guest.write("/D/a", "memory.reclaim", "8M")
    replay.step("reclaim 8M from the child")
    process.exit()
    replay.step("exit")
