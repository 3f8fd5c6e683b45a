"""Tasks of a mount: pid, cgroup, name, and bytes resident, in zswap and on the swap device."""

from __future__ import annotations

import argparse
import shlex

from fakecg.cli import client


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("mount_point", metavar="MNT")
    parser.add_argument("-b", "--bytes", action="store_true", help="plain numbers")


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    rows = [shlex.split(line) for line in client.read_report(arguments.mount_point, "ps").splitlines()]
    if not arguments.bytes:
        rows = [rows[0], *([*row[:3], *map(_human, row[3:])] for row in rows[1:])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.ljust(width) if column in (1, 2) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    return 0


def _human(text: str) -> str:
    value = float(text)
    for unit in "BKMGT":
        if value < 1024 or unit == "T":
            break
        value /= 1024
    return f"{value:.0f}{unit}" if unit == "B" else f"{value:.1f}{unit}"
