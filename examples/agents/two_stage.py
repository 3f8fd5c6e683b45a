#!/usr/bin/env python3
"""A two-stage reclaim agent: plain Python, knows only the path of a cgroup v2 directory.

Stage one compresses: each round asks memory.reclaim for some memory, which goes to zswap. Stage two empties the compressed pool of what
stayed cold: memory.zswap.proactive_writeback moves entries past an age to the swap device. Prints a line for every round.

    two_stage.py /sys/fs/cgroup/job --reclaim 16M --age 3600 --max 8M
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import time

COLUMNS = ("round", "current", "zswap", "swap", "written back", "ratio", "stage one", "stage two")


def read(cgroup: str, name: str) -> str:
    """Text of an interface file."""
    with open(os.path.join(cgroup, name), encoding="ascii") as file:
        return file.read()


def read_keyed(cgroup: str, name: str) -> dict[str, int]:
    """Lines of a key and a number."""
    return {key: int(value) for key, value in (line.split() for line in read(cgroup, name).splitlines())}


def write(cgroup: str, name: str, text: str) -> str:
    """One write(2), which the kernel takes as one command; returns how it went."""
    descriptor = os.open(os.path.join(cgroup, name), os.O_WRONLY)
    try:
        os.write(descriptor, text.encode("ascii"))
        return "done"
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return "short"  # less was found than asked for; nothing is wrong
        raise
    finally:
        os.close(descriptor)


def mebibytes(value: int) -> str:
    """Bytes, short."""
    return f"{value / (1 << 20):.1f}M"


def measure(cgroup: str) -> tuple[str, ...]:
    """The columns that come from the cgroup's files."""
    stat = read_keyed(cgroup, "memory.stat")
    ratio = stat["zswapped"] / stat["zswap"] if stat["zswap"] else 0
    return (
        mebibytes(int(read(cgroup, "memory.current"))),
        mebibytes(stat["zswap"]),
        mebibytes(int(read(cgroup, "memory.swap.current"))),
        f"{stat['zswpwb']} pages",
        f"{ratio:.2f}" if ratio else "-",
    )


def main() -> int:
    """Run the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cgroup", help="a cgroup v2 directory with the memory controller")
    parser.add_argument("--reclaim", default="16M", help="what stage one asks for in each round")
    parser.add_argument("--max", default="8M", help="what stage two writes back at most in each round")
    parser.add_argument("--age", type=int, default=3600, help="seconds an entry has to have been in zswap")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between rounds")
    options = parser.parse_args()
    if not os.path.exists(os.path.join(options.cgroup, "memory.zswap.proactive_writeback")):
        print(f"{options.cgroup}: no memory.zswap.proactive_writeback here", file=sys.stderr)
        return 1
    print("  ".join(f"{column:>12}" for column in COLUMNS))
    for number in range(1, options.rounds + 1):
        one = write(options.cgroup, "memory.reclaim", options.reclaim)
        two = write(options.cgroup, "memory.zswap.proactive_writeback", f"max={options.max} {options.age}")
        print("  ".join(f"{cell:>12}" for cell in (str(number), *measure(options.cgroup), one, two)), flush=True)
        if number < options.rounds:
            time.sleep(options.interval)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
