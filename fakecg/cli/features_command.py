"""Every interface file and key: how true it is, and which kernel or version of the proposal it came with.

exact: as the recorded kernel. simplified: its format and rules, with the numbers of a simpler model. zero: it is there, and nothing comes
of it. absent: not in this selection, or not at all. A kernel version is given where it is after 5.19, the first with memory.zswap.*.
"""

from __future__ import annotations

import argparse
import sys

from fakecg.abi.errors import UsageError
from fakecg.abi.profile import DEFAULT_PROACTIVE, DEFAULT_PROFILE, PROFILES, Features
from fakecg.feature_list import STATES, report


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--profile", default=DEFAULT_PROFILE, help=f"which kernel: {', '.join(PROFILES)} ({DEFAULT_PROFILE})")
    parser.add_argument("--proactive", default=DEFAULT_PROACTIVE, metavar="LIST", help=f"versions of the proposal ({DEFAULT_PROACTIVE})")
    parser.add_argument("--state", default="", help=f"only these: {', '.join(STATES)}")


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    if arguments.state and arguments.state not in STATES:
        raise UsageError(f"--state: {arguments.state!r} is none of {', '.join(STATES)}")
    sys.stdout.write(report(Features.select(arguments.profile, arguments.proactive), arguments.state))
    return 0
