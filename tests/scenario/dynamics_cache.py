"""Recorded scenario about page cache: read, read again, reclaimed, read in again; dirty pages."""

from guest_process import PAGES_PER_M
from recording import Replay, recorded
from tolerances import BATCH, each

#: A call goes through all priorities several times: a batch of 32 pages more or less shifts what follows.
_CACHE = {
    **BATCH,
    **each("workingset_refault_file workingset_activate_file workingset_restore_file", 48),
    **each("file inactive_file active_file file_dirty file_mapped pgrefill pgdeactivate pgactivate pgsteal_file pgscan_file", 64, 0.02),
}


@recorded(tolerances=_CACHE)
def s17_file_cache(replay: Replay) -> None:
    guest = replay.guest
    process = guest.start("/D/a")
    file = guest.create_file(32 * PAGES_PER_M)
    for step in ("read 32M once", "read it again", "read it a third time"):
        process.read_file(file)
        replay.step(step)
    guest.write("/D/a", "memory.reclaim", "16M")
    replay.step("reclaim 16M")
    replay.exact = False
    process.read_file(file)
    replay.step("read all (refault)")
    guest.write("/D/a", "memory.reclaim", "40M")
    replay.step("reclaim 40M (more than there is)")
    process.read_file(file)
    replay.step("read all")
    process.map_file(file)
    replay.step("mmap the file and touch")
    guest.write("/D/a", "memory.reclaim", "16M")
    replay.step("reclaim 16M")
    written = guest.create_file(16 * PAGES_PER_M)
    process.write_file(written)
    replay.step("write 16M dirty")
    guest.write("/D/a", "memory.reclaim", "16M")
    replay.step("reclaim 16M with dirty pages")
    guest.advance(5)
    replay.step("5 s later")
    guest.write("/D/a", "memory.reclaim", "16M")
    replay.step("reclaim 16M")
    other = guest.start("/")
    other.read_file(file)
    replay.step("read from the parent's other process: shared page cache stays with a")
    process.exit()
    replay.step("exit")
    guest.rmdir("/D/a")
    replay.step("rmdir with page cache left")
    guest.drop_caches(file)
    guest.drop_caches(written)
    replay.step("drop_caches")
