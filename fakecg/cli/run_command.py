"""Run a command that finds the emulated tree at /sys/fs/cgroup, and the machine's memory files in /proc and /sys to go with it.

The command gets mount and process namespaces of its own, so what it kills is its own; nothing outside changes. All ends with the command.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
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
    make_host, options = host_factory(arguments), mount_options(arguments)
    from fakecg.fs import mount, namespace

    namespace.enter_mount_namespace()
    with tempfile.TemporaryDirectory(prefix="fakecg-run-") as mount_point:
        server = mount.start(make_host, mount_point, options)
        try:
            namespace.place_tree(mount_point)
            return _run_inside(command, mount_point)
        finally:
            os.kill(server, signal.SIGTERM)
            os.waitpid(server, 0)


def _run_inside(command: list[str], mount_point: str) -> int:
    from fakecg.fs import namespace

    namespace.unshare(namespace.CLONE_NEWPID)
    sys.stdout.flush()
    sys.stderr.flush()
    init = os.fork()
    if init == 0:
        _init(command, mount_point)
    # The terminal sends SIGINT to the command as well; it decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.kill(init, number))
    return _exit_code(os.waitpid(init, 0)[1])


def _init(command: list[str], mount_point: str) -> NoReturn:
    """First process of the namespace: sets /proc up, starts the command, reaps, passes signals on, and ends as the command did."""
    from fakecg.fs import namespace

    code = 1
    try:
        namespace.enter_process_namespace()
        namespace.place_companions(mount_point)
        namespace.correct_mount_table()
        child = os.fork()
        if child == 0:
            _exec(command)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: os.kill(child, number))
        while True:
            pid, status = os.wait()
            if pid == child:
                code = _exit_code(status)
                break
    except OSError as error:
        print(f"fakecg: {error.strerror}", file=sys.stderr)
    finally:
        sys.stderr.flush()
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
