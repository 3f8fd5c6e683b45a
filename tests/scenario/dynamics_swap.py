"""Recorded scenarios about swap-in: readahead by page-cluster, from zswap and from the disk, before and after written pages are dropped."""

from recording import Replay, recorded
from tolerances import BATCH, DISK, each

#: Readahead takes pages of the process's own along that stand beside the mapping's in swap.
_READAHEAD = {**BATCH, **DISK, **each("pgmajfault", 24, 0.01)}


@recorded(tolerances=_READAHEAD)
def s13_disk_refault(replay: Replay) -> None:
    for row in replay.recorded["rows"]:
        guest = replay.new_guest()
        guest.machine.page_cluster = int(row["page-cluster"])
        if row["via"] == "disk":
            guest.write("/D/a", "memory.zswap.max", "0")
        process = guest.start("/D/a")
        process.map(4096, "half")
        name = f"page-cluster {row['page-cluster']}, {row['via']}, {row['access']}"
        guest.write("/D/a", "memory.reclaim", "16M")
        replay.skip_changes()
        replay.exact = False
        operation, *numbers = row["access"].split()
        if operation == "rd":
            process.read(0, int(numbers[1]), int(numbers[2]))
        elif operation == "rdrev":
            process.read_pages(range(int(numbers[2]) - 1, int(numbers[1]) - 1, -1))
        elif operation == "wr":
            process.write(0, int(numbers[1]), int(numbers[2]))
        else:
            process.read_pages([number * 1237 % 4096 for number in range(64)])
        replay.compare(name, row["delta"])
