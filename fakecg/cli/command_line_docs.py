"""The tables of docs/command-line.md, made from the parsers and from the rows of ``.fakecg``.

The page is written by hand around them: a table stands between ``<!-- fakecg COMMAND -->`` (or ``<!-- .fakecg -->``) and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from fakecg.abi.errors import UsageError
from fakecg.cli.main import COMMANDS, command
from fakecg.fs.control import COMMANDS as CONTROL_FILES
from fakecg.fs.names import CONTROL_DIR

PATH = Path(__file__).parents[2] / "docs" / "command-line.md"

_TABLE = re.compile(r"(<!-- (?:fakecg )?([.\w]+) -->\n).*?(<!-- end -->)", re.DOTALL)
#: Options of ``run`` that are those of ``mount``; the page says so once.
_SHARED_WITH_MOUNT = "run"


def sections() -> list[str]:
    """Names of the tables that the page must have, in its order."""
    return [*COMMANDS, CONTROL_DIR]


def render(page: str) -> str:
    """The page with its tables made anew.

    Raises:
        UsageError: a table is missing, or is of nothing that exists.
    """
    found = [match[2] for match in _TABLE.finditer(page)]
    if found != sections():
        raise UsageError(f"{PATH.name} has the tables {', '.join(found)}; needed: {', '.join(sections())}")
    return _TABLE.sub(lambda match: match[1] + table(match[2]) + match[3], page)


def table(section: str) -> str:
    """One table: what can be given, and what it does."""
    rows = _control_rows() if section == CONTROL_DIR else _option_rows(section)
    return "".join(f"{line}\n" for line in ("", *rows, ""))


def _option_rows(name: str) -> Iterator[str]:
    _, parser = command(name)
    shared = {action.dest for action in command("mount")[1]._actions} if name == _SHARED_WITH_MOUNT else set()
    yield f"`{_usage(name, parser, shared)}`"
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction) or action.dest in shared:
            continue
        if action.option_strings or action.help:
            rows.append(f"| {_cell(_words(action))} | {_escape(action.help or '')} |")
    if rows:
        yield from ("", "| | |", "|---|---|", *rows)


def _usage(name: str, parser: argparse.ArgumentParser, shared: set[str]) -> str:
    options = [action for action in parser._actions if action.option_strings and not isinstance(action, argparse._HelpAction)]
    required = [f"{action.option_strings[-1]} {_value(action)}" for action in options if action.required]
    optional = ["[OPTIONS]"] if any(not action.required for action in options) else []
    words = [str(action.metavar or action.dest) for action in parser._actions if not action.option_strings]
    return " ".join(["fakecg", name, *(optional if shared else []), *words, *required, *([] if shared else optional)])


def _words(action: argparse.Action) -> str:
    if not action.option_strings:
        return str(action.metavar or action.dest)
    value = f" {_value(action)}" if action.nargs != 0 else ""
    return ", ".join(action.option_strings) + value


def _value(action: argparse.Action) -> str:
    if action.metavar is not None:
        return str(action.metavar)
    return "|".join(action.choices) if action.choices else action.dest.upper()


def _control_rows() -> Iterator[str]:
    yield from ("| file | write | what |", "|---|---|---|")
    for row in CONTROL_FILES:
        yield f"| `{row.name}` | {_cell(row.usage or 'anything') if row.run else ''} | {_escape(row.summary)} |"


def _cell(text: str) -> str:
    return f"`{_escape(text)}`"


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
