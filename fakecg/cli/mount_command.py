"""Mount an emulated cgroup v2 tree.

Returns when the mount answers; its server goes on in the background until 'fakecg umount MNT'. With -f it stays, and Ctrl-C unmounts.
"""

from __future__ import annotations

import argparse

from fakecg.cli.options import add_mount_options, host_factory, mount_options


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("mount_point", metavar="MNT", help="an empty directory")
    parser.add_argument("-f", "--foreground", action="store_true", help="stay; Ctrl-C unmounts")
    add_mount_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Mount."""
    make_host, options = host_factory(arguments), mount_options(arguments)
    from fakecg.fs import mount

    if arguments.foreground:
        mount.serve(make_host, arguments.mount_point, options)
    else:
        mount.start(make_host, arguments.mount_point, options)
    return 0
