"""Start a synthetic task in a cgroup; prints its pid.

CONTENT: zero | text | random | half | ratio=3.0 | file:PATH | mix:text=0.6,zero=0.2,random=0.2
ACCESS:  once | uniform:RATE | zipf:S,RATE | hotcold:FRACTION,RATE | seq:RATE | none     (RATE: 20k/s)
"""

from __future__ import annotations

import argparse
import sys

from fakecg.cli import client

_OPTIONS = ("size", "content", "access", "cache", "name", "node", "pid")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("mount_point", metavar="MNT")
    parser.add_argument("cgroup", metavar="CGROUP", help="path in the tree, or of a directory below MNT")
    parser.add_argument("--size", required=True, help="anonymous memory, e.g. 64M")
    parser.add_argument("--content", help="what its pages hold (text)")
    parser.add_argument("--access", help="how it touches them (once)")
    parser.add_argument("--cache", metavar="SIZE", help="page cache it reads at the start")
    parser.add_argument("--name", help="name of the task")
    parser.add_argument("--node", type=int, metavar="N", help="NUMA node its memory comes from (the first with free memory)")
    parser.add_argument(
        "--pid", type=int, metavar="PID", help="real process whose memory this is: it is listed, and its end frees the memory"
    )


def run(arguments: argparse.Namespace) -> int:
    """Start the task."""
    given = [f"{name}={getattr(arguments, name)}" for name in _OPTIONS if getattr(arguments, name) is not None]
    sys.stdout.write(client.send(arguments.mount_point, "spawn", client.path_in_tree(arguments.mount_point, arguments.cgroup), *given))
    return 0
