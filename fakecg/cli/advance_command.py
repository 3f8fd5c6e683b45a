"""Move the clock of a mount with --clock manual; what is due on the way happens in order. Prints the new time in seconds."""

from __future__ import annotations

import argparse
import sys

from fakecg.cli import client


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("mount_point", metavar="MNT")
    parser.add_argument("duration", metavar="DURATION", help="30s, 5m, 1h")


def run(arguments: argparse.Namespace) -> int:
    """Move it."""
    sys.stdout.write(client.send(arguments.mount_point, "advance", arguments.duration))
    return 0
