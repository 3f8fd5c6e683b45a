"""Kill a synthetic task."""

from __future__ import annotations

import argparse

from fakecg.cli import client


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("mount_point", metavar="MNT")
    parser.add_argument("pid", type=int, metavar="PID")


def run(arguments: argparse.Namespace) -> int:
    """Kill it."""
    client.send(arguments.mount_point, "kill", str(arguments.pid))
    return 0
