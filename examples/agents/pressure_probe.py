#!/usr/bin/env python3
"""Finds out how much memory a cgroup really needs: lowers memory.high until its tasks begin to stall, then gives some back.

The idea is Senpai's, the program is not. It knows only the path of a cgroup v2 directory. Each round compares the time that tasks waited
for memory (the total of memory.pressure) with the share of time they may. When it ends, however it does, memory.high is what it was.

    pressure_probe.py /sys/fs/cgroup/job --target 0.1% --probe 2% --back-off 10%
"""

from __future__ import annotations

import argparse
import os
import time

PAGE_SIZE = 4096


def read(cgroup: str, name: str) -> str:
    """Text of an interface file."""
    with open(os.path.join(cgroup, name), encoding="ascii") as file:
        return file.read().strip()


def write(cgroup: str, name: str, text: str) -> None:
    """One write to an interface file."""
    with open(os.path.join(cgroup, name), "w", encoding="ascii") as file:
        file.write(text)


def stall_us(cgroup: str) -> int:
    """Time that tasks of the cgroup waited for memory, microseconds."""
    some = read(cgroup, "memory.pressure").partition("\n")[0]
    return int(some.rpartition("total=")[2])


def share(text: str) -> float:
    """A share, as ``2%`` or ``0.02``."""
    return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)


def next_limit(cgroup: str, stalled: float, options: argparse.Namespace) -> int:
    """memory.high of the next round, bytes, whole pages."""
    current = int(read(cgroup, "memory.current"))
    high = read(cgroup, "memory.high")
    limit = current if high == "max" else int(high)
    if stalled > options.target:
        limit += int(limit * options.back_off)
    else:
        limit = int(min(limit, current) * (1 - options.probe))
    return max(limit, options.min) // PAGE_SIZE * PAGE_SIZE


def main() -> None:
    """Run the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cgroup", help="a cgroup v2 directory with the memory controller")
    parser.add_argument("--target", type=share, default=0.001, help="share of time that tasks may wait (0.1%%)")
    parser.add_argument("--probe", type=share, default=0.02, help="how much to take in a round without stalls (2%%)")
    parser.add_argument("--back-off", type=share, default=0.1, help="how much to give back after one with stalls (10%%)")
    parser.add_argument("--min", type=int, default=1 << 20, help="never go below this many bytes (1 MiB)")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--interval", type=float, default=1.0, help="seconds a round takes")
    parser.add_argument("--clock-rate", type=float, default=1.0, help="emulated seconds in a real one, as --clock xN of the mount has it")
    options = parser.parse_args()
    before = read(options.cgroup, "memory.high")
    print("round    current       high   stalled")
    try:
        last_us = stall_us(options.cgroup)
        for number in range(1, options.rounds + 1):
            time.sleep(options.interval)
            now_us = stall_us(options.cgroup)
            stalled = (now_us - last_us) / (options.interval * options.clock_rate * 1_000_000)
            last_us = now_us
            limit = next_limit(options.cgroup, stalled, options)
            write(options.cgroup, "memory.high", str(limit))
            current = int(read(options.cgroup, "memory.current"))
            print(f"{number:5}  {current / 2**20:8.1f}M  {limit / 2**20:8.1f}M  {stalled:8.3%}", flush=True)
    except KeyboardInterrupt:
        pass
    finally:
        write(options.cgroup, "memory.high", before)


if __name__ == "__main__":
    main()
