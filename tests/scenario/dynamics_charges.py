"""Recorded scenarios about what memory.current and memory.stat show, page by page: stock, madvise, delays."""

from recording import PAGE_SIZE, Replay, recorded
from tolerances import BATCH, each

#: Of a process of 82 pages some are still in a CPU's batch when they are asked to go.
#: Readahead takes the one or the other neighbour along.
_WAITING = {**each("inactive_anon active_anon", 31), **each("workingset_restore_anon", 1)}


@recorded(tolerances={**BATCH, **_WAITING})
def s22_zswap_counter_semantics(replay: Replay) -> None:
    guest = replay.guest
    # The root of the recorded machine had page cache: what MADV_PAGEOUT evicts is measured by that.
    guest.start("/").read_file(guest.create_file(256))
    process = guest.start("/D/a")
    process.map(64, "half")
    replay.step("map 64 pages half")
    for page in range(3):
        process.pageout(0, page, page + 1)
        replay.step(f"MADV_PAGEOUT page {page}")
    process.pageout(0, 3, 19)
    replay.step("MADV_PAGEOUT pages 3-18")
    process.read(0, 0, 1)
    replay.step("read page 0")
    process.read(0, 0, 1)
    replay.step("read page 0 again")
    process.write(0, 0, 1)
    replay.step("write page 0")
    process.pageout(0, 0, 1)
    replay.step("MADV_PAGEOUT page 0 again")
    process.write(0, 0, 1)
    replay.step("write page 0")
    replay.step("MADV_PAGEOUT page 0 again")
    process.fill(1, "rand")
    replay.step("fill page 1 with rand")
    process.pageout(0, 1, 2)
    replay.step("PAGEOUT page 1 (incompressible)")
    process.read(0, 1, 2)
    replay.step("read page 1 from disk")
    process.pageout(0, 1, 2)
    replay.step("PAGEOUT page 1 (clean)")
    process.fill(2, "zero")
    replay.step("fill page 2 with zero")
    process.pageout(0, 2, 3)
    replay.step("PAGEOUT page 2 (zero)")
    process.read(0, 2, 3)
    replay.step("read page 2")
    process.zap(0, 3, 4)
    replay.step("DONTNEED page 3")
    process.unmap()
    replay.step("unmap all")
    process.exit()
    replay.step("exit")


@recorded(tolerances=BATCH)
def s01c_stat_staleness(replay: Replay) -> None:
    guest = replay.guest
    process = guest.start("/D/a")
    process.map(4096, "half")
    previous = replay.recorded["rows"][0]
    for row in replay.recorded["rows"]:
        what = row["what"]
        if row["t"] - previous["t"] > 0.4:
            guest.advance(0.5)
        if "reclaim" in what:
            guest.write("/D/a", "memory.reclaim", what.partition("reclaim ")[2].split()[0])
        elif "touching 20 pages" in what:
            process.read(0, 0, 20)
        elif "forced flush" in what:
            guest.snapshot()
        names = ("anon", "zswapped", "zswap", "zswpout", "pgsteal", "pgscan")
        stat = guest.host.group("/D/a").stat
        replay.compare_values(what, {name: stat[name] for name in names}, row)
        files = {"memory.current": "memory.current", "swap.current": "memory.swap.current", "zswap.current": "memory.zswap.current"}
        group = guest.host.group("/D/a")
        replay.compare_values(what, {file: int(group[file]) for file in files.values()}, {files[name]: row[name] for name in files})
        previous = row


@recorded(tolerances=BATCH)
def s01d_memory_current_batching(replay: Replay) -> None:
    guest = replay.guest
    process = guest.start("/D/a")
    nr_zapped = 0
    for row in replay.recorded["rows"]:
        what = row["what"]
        words = what.split()
        if what.startswith("+"):
            process.map(int(words[0]), "half")
        elif what.startswith("MADV_DONTNEED"):
            nr_pages = int(words[1])
            process.zap(len(process.maps) - 1, nr_zapped, nr_zapped + nr_pages)
            nr_zapped += nr_pages
        elif what.startswith("reclaim"):
            guest.write("/D/a", "memory.reclaim", "1M")
        elif what == "exit":
            process.exit()
        elif what.startswith("3 s"):
            guest.advance(3)
        elif what.startswith("memory."):
            name, _, value = what.partition("=")
            guest.write("/D/a", name, value)
        group = guest.host.group("/D/a")
        modelled = {"memory.current": int(group["memory.current"]), "anon": group.stat["anon"], "file": group.stat["file"]}
        replay.compare_values(what, modelled, row)
        assert modelled["memory.current"] % PAGE_SIZE == 0
