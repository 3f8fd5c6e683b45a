"""Run a command that finds the emulated tree at /sys/fs/cgroup, and the machine's memory files in /proc and /sys to go with it.

The command gets mount and process namespaces of its own, so what it kills is its own; nothing outside changes. All ends with the command.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from typing import NoReturn

from fakecg.abi.errors import UsageError
from fakecg.cli.options import add_mount_options, host_factory, mount_options

EXIT_NOT_FOUND = 127
EXIT_NOT_EXECUTABLE = 126
EXIT_SIGNAL = 128


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_mount_options(parser)
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND ...", help="after -- if it has options that look like ours")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit code, or 128 + the signal that ended it."""
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise UsageError("a command to run is needed")
    start = _server_starter(arguments)
    from fakecg.fs import mountpoint, namespace

    namespace.enter_mount_namespace()
    with tempfile.TemporaryDirectory(prefix="fakecg-run-") as mount_point:
        try:
            return _run_inside(command, mount_point, start)
        finally:
            with contextlib.suppress(UsageError):  # the server has done so, unless it was killed
                mountpoint.detach(mount_point)


def _server_starter(arguments: argparse.Namespace) -> Callable[[str], int]:
    make_host, options = host_factory(arguments), mount_options(arguments)
    from fakecg.fs import mount

    return lambda mount_point: mount.start(make_host, mount_point, options)


def _run_inside(command: list[str], mount_point: str, start: Callable[[str], int]) -> int:
    from fakecg.fs import namespace

    namespace.unshare(namespace.CLONE_NEWPID)
    sys.stdout.flush()
    sys.stderr.flush()
    init = os.fork()
    if init == 0:
        _init(command, mount_point, start)
    # The terminal sends SIGINT to the command as well; it decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.kill(init, number))
    return _exit_code(os.waitpid(init, 0)[1])


def _init(command: list[str], mount_point: str, start: Callable[[str], int]) -> NoReturn:
    """First process of the namespace: sets /proc up, starts server and command, reaps, passes signals on, and ends as the command did.

    The server is in the namespace too: process ids that it is told and those that it finds in /proc are the command's.
    """
    from fakecg.fs import namespace, statfs_magic

    code = 1
    server = None
    try:
        namespace.die_with_parent()
        namespace.enter_process_namespace()
        server = start(mount_point)
        namespace.place_tree(mount_point)
        namespace.place_companions(mount_point)
        namespace.correct_mount_table()
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            with contextlib.suppress(OSError):  # statfs tells the truth then
                statfs_magic.hand_over_statfs(theirs)
            _exec(command)
        theirs.close()
        statfs_magic.supervise(ours, namespace.CGROUP_DIR)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: os.kill(child, number))
        while True:
            pid, status = os.wait()
            if pid == child:
                code = _exit_code(status)
                break
    except UsageError as error:
        print(f"fakecg: {error}", file=sys.stderr)
        code = error.exit_code
    except OSError as error:
        print(f"fakecg: {error.strerror}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        with contextlib.suppress(OSError):  # it ended before
            if server is not None:
                os.kill(server, signal.SIGTERM)
                os.waitpid(server, 0)
        os._exit(code)


def _exec(command: list[str]) -> NoReturn:
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"fakecg: {command[0]}: {error.strerror}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else EXIT_NOT_EXECUTABLE)


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else EXIT_SIGNAL - code
