"""Recorded scenarios about memory.max, memory.high and what the kernel kills."""

from guest_process import PAGES_PER_M
from recording import PAGE_SIZE, Replay, recorded
from tolerances import BATCHES, DISK, each

#: Every turn of a limit's loop counts, while the victim is dying on the other CPU: hundreds to more than 100000.
#: The process that is being killed runs into the limit meanwhile.
_SPIN = {**each("memory.events.oom memory.events.local.oom", 1_000_000), **each("memory.events.max memory.events.local.max", 20 * 18)}
#: A fault that finds no memory and nobody to kill is tried again and again, as fast as the machine is: 18 `max` and one `oom` each time.
_ENDLESS = {
    **each("memory.events.max memory.events.local.max", 300, 0.25),
    **each("memory.events.oom memory.events.local.oom", 20, 0.25),
    # On the kernel every attempt counts as a fault.
    **each("pgfault", 2400),
}
#: Which page of a batch is charged from a CPU's stock decides whether it counts as an event.
_EVENTS = each("memory.events.max memory.events.local.max memory.events.high memory.events.local.high", 36, 0.12)
_LIMIT = {**BATCHES, **_EVENTS, **each("swpin_zero swpout_zero workingset_activate_anon workingset_restore_anon", 50)}
#: Faults after the limit is met; most of them on pages that were just taken.
_THRASH = {
    **_LIMIT,
    **each("pgscan pgscan_direct pgscan_anon", 200, 0.1),
    **each("memory.events.max memory.events.local.max memory.events.high memory.events.local.high", 36, 0.3),
}


@recorded("/D/a", "/D/b", tolerances={**_EVENTS, **each("inactive_anon", 96), **each("pgactivate", 1)})
def s06_oom(replay: Replay) -> None:
    guest = replay.guest
    guest.write("/D/a", "memory.max", "16M")
    guest.write("/D/a", "memory.swap.max", "0")
    guest.start("/D/a").map(32 * PAGES_PER_M, "half")
    replay.step("single process maps 32M over max 16M")
    for group, step in (("0", "three processes 4M each"), ("1", "oom.group=1: three processes 4M each")):
        guest.write("/D/a", "memory.oom.group", group)
        guest.end_all()
        processes = [guest.start("/D/a") for _ in range(3)]
        for process in processes:
            process.map(4 * PAGES_PER_M, "half")
        replay.step(step)
        processes[0].map(16 * PAGES_PER_M, "half")
        replay.step("first maps 16M more")
        replay.step("alive")
    guest.end_all()
    spared, victim = guest.start("/D/a", oom_score_adj=-1000), guest.start("/D/a")
    spared.map(4 * PAGES_PER_M, "half")
    victim.map(4 * PAGES_PER_M, "half")
    replay.step("group=1, one with oom_score_adj -1000")
    victim.map(16 * PAGES_PER_M, "half")
    replay.step("first maps 16M more")
    replay.step("alive")
    spared.map(16 * PAGES_PER_M, "half", limit_s=4)
    replay.step("only an unkillable process, maps over max", _ENDLESS)
    replay.step("alive", _ENDLESS)
    guest.end_all()
    guest.write("/D/a", "memory.oom.group", "0")
    guest.write("/D/a", "memory.max", "max")
    guest.write("/D", "memory.max", "24M")
    guest.write("/D", "memory.swap.max", "0")
    guest.write("/D", "memory.oom.group", "1")
    first, second = guest.start("/D/a"), guest.start("/D/b")
    first.map(8 * PAGES_PER_M, "half")
    second.map(8 * PAGES_PER_M, "half")
    replay.step("limit+group at the parent: 8M in a, 8M in b", _ENDLESS)
    second.map(16 * PAGES_PER_M, "half")
    replay.step("b maps 16M more")
    replay.step("alive")
    guest.write("/D", "memory.oom.group", "0")
    first, second = guest.start("/D/a"), guest.start("/D/b")
    first.map(12 * PAGES_PER_M, "half")
    second.map(4 * PAGES_PER_M, "half")
    replay.step("limit at the parent, no group: 12M in a, 4M in b")
    second.map(12 * PAGES_PER_M, "half")
    replay.step("b maps 12M more (a is the largest?)")
    replay.step("alive a,b")
    guest.end_all()
    guest.write("/D", "memory.max", "max")
    guest.start("/D/a").map(16 * PAGES_PER_M, "half")
    replay.step("16M in a, no limit")
    guest.write("/D/a", "memory.max", "4M")
    replay.step("memory.max lowered to 4M (swap.max=0): the write", _SPIN)
    replay.step("alive")


@recorded(tolerances=_LIMIT)
def s06b_max_with_swap(replay: Replay) -> None:
    guest = replay.guest
    guest.write("/D/a", "memory.max", "16M")
    process = guest.start("/D/a")
    process.map(32 * PAGES_PER_M, "eighth")
    replay.step("map 32M eighth")
    replay.exact = False
    process.read()
    replay.step("read all (thrash)", _THRASH)
    # One look at the whole list falls into the one step or the other.
    process.read()
    guest.write("/D/a", "memory.max", "8M")
    replay.steps(2, _THRASH)
    guest.write("/D/a", "memory.max", "max")
    replay.step("memory.max=max")
    guest.write("/D/a", "memory.high", "4M")
    replay.step("memory.high=4M")
    guest.write("/D/a", "memory.max", "1M")
    replay.step("memory.max=1M with high=4M", _SPIN)
    replay.step("alive")
    process.exit()
    replay.step("exit")


#: A process under its limit loses pages of its own, and faults them in while it goes on; here it uses them at the start of a command only.
_OWN = {
    **_LIMIT,
    **each("pgmajfault workingset_refault_anon zswpin memory.swap.current memory.swap.peak pgscan pgscan_direct pgscan_anon", 100),
}


@recorded(tolerances=_OWN)
def s07_high(replay: Replay) -> None:
    guest = replay.guest
    # The CPU that started the process keeps pages in stock that never come into use.
    guest.write("/D/a", "memory.high", str(16 * PAGES_PER_M * PAGE_SIZE - 54 * PAGE_SIZE))
    process = guest.start("/D/a")
    for number in range(3):
        process.map(4 * PAGES_PER_M, "half")
        replay.step(f"map 4M half #{number}")
    replay.exact = False
    # The first reclaim looks at everything once; how much of it falls into which of these steps depends on the stock.
    for _ in range(3, 7):
        process.map(4 * PAGES_PER_M, "half")
    replay.steps(4)
    process.map(4 * PAGES_PER_M, "half")
    replay.step("map 4M half #7")
    process.read()
    replay.step("read the first", {**_THRASH, **_OWN, **each("memory.events.high memory.events.local.high", 0, 0.3)})
    guest.write("/D/a", "memory.high", "8M")
    replay.step("memory.high=8M by write")
    guest.advance(1)
    replay.step("idle 1 s")
    process.exit()
    replay.step("exit")
    guest.write("/D/a", "memory.high", "16M")
    guest.write("/D/a", "memory.swap.max", "0")
    process = guest.start("/D/a")
    process.map(16 * PAGES_PER_M, "half")
    replay.step("swap.max=0: map 16M")
    for nr_pages in (64, 64, 128, 256, 256):
        process.map(nr_pages, "half")
        replay.step(f"map {nr_pages} pages more over high without swap")
    guest.write("/D/a", "memory.high", "1M")
    replay.step("memory.high=1M by write, nothing reclaimable")
    replay.step("stat command (is it throttled on return to user?)")
    process.map(32, "half")
    replay.step("map 32 pages")
    guest.write("/D/a", "memory.high", "max")
    replay.step("memory.high=max")
    process.exit()
    replay.step("exit")


@recorded(tolerances=_LIMIT)
def s19_memory_zero_limits(replay: Replay) -> None:
    guest = replay.guest
    process = guest.start("/D/a")
    process.map(4 * PAGES_PER_M, "half")
    replay.step("map 4M half")
    guest.write("/D/a", "memory.high", "0")
    replay.step("memory.high=0")
    replay.exact = False
    process.command()
    guest.advance(2)
    replay.step("alive?")
    guest.write("/D/a", "memory.high", "max")
    replay.step("memory.high=max")
    process.read()
    replay.step("touch all")
    guest.write("/D/a", "memory.max", "0")
    replay.step("memory.max=0", _SPIN)
    replay.step("alive?")
    process = guest.start("/D/a")
    process.command()
    replay.step("try to put a process into a cgroup with memory.max=0")


#: How far a throttled process comes in a minute, and how often it faults its own pages in meanwhile.
_MINUTE = {
    **each("anon inactive_anon swapcached memory.peak pgfault pgmajfault workingset_refault_anon", 300),
    **each("swpin_zero swpout_zero", 60),
    **each("zswap memory.zswap.current", 300 * 2082),
}


@recorded(tolerances={**DISK, **_EVENTS})
def s20_max_and_zswap_pool(replay: Replay) -> None:
    guest = replay.guest
    guest.write("/D/a", "memory.max", "16M")
    guest.start("/D/a").map(64 * PAGES_PER_M, "half")
    replay.step("map 64M half", _LIMIT)
    replay.step("alive?")
    replay.exact = False
    guest.write("/D/a", "memory.zswap.max", "4M")
    process = guest.start("/D/a")
    replay.take_disk_speed()
    process.map(64 * PAGES_PER_M, "half")
    replay.step("zswap.max=4M: map 64M half")
    replay.step("alive?")
    replay.take_disk_speed()
    process.read()
    replay.step("read all")
    process.exit()
    replay.step("exit")
    guest.write("/D/a", "memory.zswap.max", "max")
    guest.write("/D/a", "memory.max", "max")
    guest.write("/D/a", "memory.high", "16M")
    process = guest.start("/D/a")
    process.map(40 * PAGES_PER_M, "half", limit_s=60)
    replay.step("memory.high=16M instead, 40M half (20M compressed): waited 60 s", _MINUTE)
    guest.write("/D/a", "memory.high", "max")
    process.go_on()
    replay.step("memory.high=max", _MINUTE)
    process.exit()
    replay.step("exit", _MINUTE)


@recorded(tolerances={**_THRASH, **DISK, **each("memory.events.max memory.events.local.max", 0, 0.3), **each("pswpout", 0, 0.1)})
def s14_thrash_psi(replay: Replay) -> None:
    for run in replay.recorded["runs"]:
        guest = replay.new_guest()
        limit = run["limit"]
        if run["via"] == "disk":
            guest.write("/D/a", "memory.zswap.max", "0")
        guest.write("/D/a", limit, "16M")
        process = guest.start("/D/a")
        process.map(24 * PAGES_PER_M, "half")
        replay.skip_changes()
        replay.exact = False
        # So many pages were touched in 10 seconds.
        nr_touched, nr_pages = int(run["loop"].split()[0]), 24 * PAGES_PER_M
        for _ in range(nr_touched // nr_pages):
            process.read()
        process.read(0, 0, nr_touched % nr_pages)
        replay.compare(f"{run['via']}, {limit}: loop for 10 s", run["delta"])
