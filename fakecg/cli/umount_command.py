"""Unmount an emulated tree and wait for its server to end. Also cleans up a stale mount."""

from __future__ import annotations

import argparse

from fakecg.fs import mountpoint


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("mount_point", metavar="MNT")
    parser.add_argument("-l", "--lazy", action="store_true", help="now, although files are open or a process stands in it")


def run(arguments: argparse.Namespace) -> int:
    """Unmount."""
    mountpoint.unmount(arguments.mount_point, lazy=arguments.lazy)
    return 0
