"""``fakecg``: finds the subcommand and turns errors into exit codes.

Exit codes: 0 ok, 1 runtime failure, 2 usage, 3 mount point busy, 4 stale mount, 5 FUSE missing. A user's mistake is one line on standard
error. Only the module of the subcommand that runs is imported.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from types import ModuleType
from typing import NoReturn

from fakecg.abi.errors import ControlError, UsageError

#: Subcommands, each a module of this package with ``configure(parser)`` and ``run(arguments) -> exit code``.
COMMANDS = {
    "mount": "mount the tree; returns when it answers",
    "umount": "unmount it",
    "spawn": "start a synthetic task; prints its pid",
    "ps": "tasks and where their memory is",
    "kill": "kill a task",
    "advance": "move a manual clock",
    "age": "how long what is in zswap has been there, and what a writeback by age would do",
    "features": "every file and key: exact, simplified, zero or absent",
    "run": "run a command that sees the tree at /sys/fs/cgroup",
    "doctor": "what this machine has and lacks",
}

#: How to get a package that is missing.
INSTALL_HINT = "'make setup' and .venv/bin/fakecg, or pip install"

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """Reports a mistake as UsageError, which becomes one line."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def _overview() -> str:
    lines = ["usage: fakecg COMMAND ...", "", "An emulated cgroup v2 filesystem.", ""]
    lines += [f"  {name:10}{summary}" for name, summary in COMMANDS.items()]
    return "\n".join([*lines, "", "fakecg COMMAND --help tells more; fakecg --version."])


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        return _dispatch(arguments)
    except UsageError as error:
        print(f"fakecg: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        package = (error.name or "fakecg").partition(".")[0]
        if package == "fakecg":
            raise
        print(f"fakecg: the Python package {package} is missing: {INSTALL_HINT} {package}", file=sys.stderr)
        return EXIT_FAILURE
    except ControlError as error:
        print(f"fakecg: {error.reason}", file=sys.stderr)
        return EXIT_FAILURE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more to say at exit
        return EXIT_FAILURE
    except OSError as error:
        print(f"fakecg: {error.filename or ''}{': ' if error.filename else ''}{error.strerror or error}", file=sys.stderr)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _dispatch(arguments: list[str]) -> int:
    if not arguments:
        raise UsageError(f"a command is needed: {', '.join(COMMANDS)}")
    name, *rest = arguments
    if name in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if name in ("-V", "--version"):
        from fakecg.version import VERSION

        print(f"fakecg {VERSION}")
        return 0
    if name not in COMMANDS:
        raise UsageError(f"unknown command {name!r} (known: {', '.join(COMMANDS)})")
    module, parser = command(name)
    return int(module.run(parser.parse_args(rest)))


def command(name: str) -> tuple[ModuleType, Parser]:
    """Module and parser of a subcommand."""
    module = importlib.import_module(f"fakecg.cli.{name}_command")
    parser = Parser(prog=f"fakecg {name}", description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    module.configure(parser)
    return module, parser
