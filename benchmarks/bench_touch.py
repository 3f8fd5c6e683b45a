"""Touching resident pages: ranges against bytearray.translate, single pages against a bare loop over a bytearray."""

from __future__ import annotations

from random import Random

from benchmarks.pairing import PAGE_SIZE, arguments, report, timed
from fakecg import Host
from fakecg.mm.memory import touch_pages, touch_range
from fakecg.mm.page_table import READ_TOUCH, YOUNG


def main() -> None:
    options = arguments(__doc__ or "", size="256M")
    nr_pages = options.size // PAGE_SIZE
    with Host(ram=options.size * 4, swap="64M", seed=options.seed) as host:
        job = host.mkdir("job")
        task = host.spawn(job, size=options.size, content="zero")
        space, machine = task.mm.spaces[0], host.machine
        flags = bytearray(machine.table.flags[space.base : space.base + nr_pages])
        indices = Random(options.seed).choices(range(nr_pages), k=nr_pages)

        def run(steps: object) -> None:
            for _ in steps:  # type: ignore[attr-defined]
                pass

        def bare_range() -> None:
            flags[:] = flags.translate(READ_TOUCH)

        def bare_random() -> None:
            for index in indices:
                flags[index] |= YOUNG

        ours, bare = [], []
        for _ in range(options.repeat):
            ours.append(timed(lambda: run(touch_range(machine, task.mm, space, 0, nr_pages))))
            bare.append(timed(bare_range))
        report("touch a range", nr_pages, ours, bare, target="(>= 1/3)")
        ours, bare = [], []
        for _ in range(options.repeat):
            ours.append(timed(lambda: run(touch_pages(machine, task.mm, space, indices))))
            bare.append(timed(bare_random))
        report("touch at random", nr_pages, ours, bare, target="(>= 1/2)")


if __name__ == "__main__":
    main()
