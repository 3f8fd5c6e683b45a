"""A task killed at any step of what it does leaves nothing behind: no charge without a page, no page without a list."""

from collections.abc import Callable, Generator
from typing import Any

import pytest
from mm_bench import PAGE, Memory, file_of, memory_of, set_parameter

from fakecg import Host
from fakecg.observe.check import check

Work = Generator[Any, None, Any]


def swap_in_at_the_limit(host: Host) -> tuple[Memory, Work]:
    job = host.mkdir("job")
    memory = memory_of(job, 150)
    memory.pageout(0, 80)
    job["memory.max"] = job.stat["anon"] + job.stat["kernel"] + 5 * PAGE
    return memory, host.task_memory.touch_range(memory.task, memory.space, 0, 150)


def first_touch_at_the_limit(host: Host) -> tuple[Memory, Work]:
    job = host.mkdir("job")
    job["memory.max"] = 100 * PAGE
    memory = memory_of(job, 160, touched=False)
    return memory, host.task_memory.touch_range(memory.task, memory.space, 0, 160, True)


def file_read_at_the_limit(host: Host) -> tuple[Memory, Work]:
    job = host.mkdir("job")
    job["memory.max"] = 100 * PAGE
    memory = memory_of(job, 80)
    return memory, host.task_memory.read_cache(memory.task, file_of(host, 150).mapping, 0, 150)


def above_high(host: Host) -> tuple[Memory, Work]:
    job = host.mkdir("job")
    job["memory.high"] = 100 * PAGE
    memory = memory_of(job, 200, touched=False)
    return memory, host.task_memory.touch_range(memory.task, memory.space, 0, 200, True)


def below_the_watermark(host: Host) -> tuple[Memory, Work]:
    memory = memory_of(host.mkdir("job"), 1100, touched=False)
    memory.touch(0, 960)
    host.machine.nodes[0].kswapd_failures = 16
    return memory, host.task_memory.touch_range(memory.task, memory.space, 960, 1040, True)


def pageout_to_the_disk(host: Host) -> tuple[Memory, Work]:
    set_parameter(host, "zswap/enabled", "N")
    memory = memory_of(host.mkdir("job"), 700)
    return memory, host.task_memory.pageout(memory.task, memory.space, 0, 700)


@pytest.mark.parametrize(
    "begin",
    [swap_in_at_the_limit, first_touch_at_the_limit, file_read_at_the_limit, above_high, below_the_watermark, pageout_to_the_disk],
)
def test_a_kill_at_any_step_leaves_nothing_behind(begin: Callable[[Host], tuple[Memory, Work]]) -> None:
    # Every step at first, then ever fewer of them.
    step, is_over = 1, False
    while not is_over:
        with Host(ram="4M", swap="16M", cost="instant") as host:
            memory, work = begin(host)
            with host.locked():
                for _ in range(step):
                    if next(work, "over") == "over":
                        is_over = True
                        break
            host.kill(memory.task.pid)
            with host.locked():
                work.close()
                host.finish_works()
            check(host)
            assert host.group("job").stat["anon"] == 0
        step += 1 + step // 16
    assert step > 3
