"""Recorded scenarios about how much memory.reclaim takes for a request, from anonymous memory and page cache, and from which."""

from itertools import groupby

from recording import Replay, recorded
from tolerances import BATCH, DISK, each

#: With the cache on the active list, each call goes through all priorities several times: a batch more or less shifts what follows.
_SPLIT = {
    **BATCH,
    **each("file inactive_file active_file pgrefill pgdeactivate pgscan pgscan_direct", 48, 0.07),
}


@recorded(tolerances=BATCH)
def s09_reclaim_amounts(replay: Replay) -> None:
    for request, rows in groupby(replay.recorded["rows"], key=lambda row: row["request"]):
        guest = replay.new_guest()
        repetitions = list(rows)
        process = guest.start("/D/a")
        process.map(16384, "half", waiting=3)
        process.command()
        replay.skip_changes()
        error = guest.write("/D/a", "memory.reclaim", request)
        for row in repetitions:
            replay.compare_result(request, error, row["result"])
        replay.compare_group(request, "/D/a", [row["delta"] for row in repetitions])
        resident = repetitions[0]["resident per 1024-page block in address order"]
        space = process.maps[0]
        for block, nr_pages in enumerate(resident):
            start = block * 1024
            replay.compare_values(
                f"{request}, pages {start}..{start + 1023}", {"resident": process.nr_resident(space, start, start + 1024)},
                {"resident": int(nr_pages)}, each("resident", 34),
            )  # fmt: skip


@recorded(tolerances=_SPLIT)
def s09b_swappiness_split(replay: Replay) -> None:
    for row in replay.recorded["rows"]:
        if "file_reads" not in row:
            continue
        guest = replay.new_guest()
        process = guest.start("/D/a")
        file = guest.create_file(8192)
        if row["order"] == "anon_first":
            process.map(8192, "half")
        for _ in range(row["file_reads"]):
            process.read_file(file)
        if row["order"] == "file_first":
            process.map(8192, "half")
        replay.skip_changes()
        name = f"{row['order']}, read {row['file_reads']} times, {row['arg']}"
        replay.compare_result(name, guest.write("/D/a", "memory.reclaim", row["arg"]), row["result"])
        replay.compare_group(name, "/D/a", [row["delta"]])


@recorded(tolerances=BATCH)
def s23_repeatability(replay: Replay) -> None:
    guest = replay.guest
    process = guest.start("/D/a")
    runs = replay.recorded["runs"]

    def compare(step: int, name: str) -> None:
        replay.compare_group(name, "/D/a", [run[step]["/D/a"] for run in runs])

    process.map(8192, "quarter")
    compare(0, "map 32M quarter")
    guest.write("/D/a", "memory.reclaim", "8M")
    compare(1, "reclaim 8M")
    replay.exact = False
    process.read()
    compare(2, "read all")
    process.exit()
    compare(3, "exit")


@recorded(tolerances=BATCH)
def s10_contents(replay: Replay) -> None:
    for row in replay.recorded["rows"]:
        if "compressor" in row:
            # Other compressors than lz4 are not modelled; what lz4 makes of a page is compared with the first rows.
            continue
        guest = replay.new_guest()
        content = row["content"]
        if content == "zero":
            replay.tolerances = {**replay.tolerances, **each("swpout_zero swpin_zero", 2)}
        if content == "rand":
            # All of it goes to the disk.
            replay.tolerances = {**replay.tolerances, **DISK, **each("reject_compress_fail", 240)}
        process = guest.start("/D/a")
        process.map(4096, content)
        replay.skip_changes()
        replay.compare_result(content, guest.write("/D/a", "memory.reclaim", "8M"), row["reclaim"])
        replay.compare(f"{content}: reclaim 8M", row["delta_reclaim"])
        replay.exact = False
        process.read()
        replay.compare(f"{content}: read", row["delta_read_touch"])
        process.write()
        replay.compare(f"{content}: write", row["delta_write_touch"])
        replay.compare_result(content, guest.write("/D/a", "memory.reclaim", "8M"), row["reclaim2"])
        replay.compare(f"{content}: reclaim 8M again", row["delta_reclaim2"])
        process.exit()
        replay.compare(f"{content}: exit", row["delta_exit"])
