"""docs/command-line.md has every command, option, control file and exit code."""

from __future__ import annotations

import argparse
import re

import pytest

from fakecg.abi.errors import UsageError
from fakecg.cli import command_line_docs, doctor_command
from fakecg.cli.main import COMMANDS, EXIT_FAILURE, EXIT_USAGE, command
from fakecg.fs import mountpoint
from fakecg.fs.control import COMMANDS as CONTROL_FILES
from fakecg.fs.library import EXIT_NO_FUSE

PAGE = command_line_docs.PATH.read_text(encoding="utf-8")


def test_the_tables_are_up_to_date() -> None:
    assert command_line_docs.render(PAGE) == PAGE, "run make docs"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_the_section_of_its_command(name: str) -> None:
    (section,) = re.findall(rf"^## {name}\n(.*?)^## ", PAGE, re.DOTALL | re.MULTILINE)
    parent = command("mount")[1] if name == "run" else argparse.ArgumentParser()
    shared = {option for action in parent._actions for option in action.option_strings}
    for action in command(name)[1]._actions:
        for option in action.option_strings:
            assert option in shared or option in ("-h", "--help") or re.search(rf"[`, ]{option}[`, ]", section), f"{name} {option}"


def test_every_control_file_is_there() -> None:
    for row in CONTROL_FILES:
        assert f"\n| `{row.name}` | " in PAGE


def test_every_exit_code_is_there() -> None:
    codes = [0, EXIT_FAILURE, EXIT_USAGE, mountpoint.EXIT_BUSY, mountpoint.EXIT_STALE, EXIT_NO_FUSE]
    assert re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE) == [str(code) for code in codes]
    assert doctor_command.EXIT_NO_FUSE == EXIT_NO_FUSE


def test_a_command_without_a_table_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="needed: mount, umount"):
        command_line_docs.render(PAGE.replace("<!-- fakecg umount -->", ""))
    with pytest.raises(UsageError, match="has the tables"):
        command_line_docs.render(PAGE.replace("<!-- fakecg umount -->", "<!-- fakecg dismount -->"))


def test_tables_are_made_anew() -> None:
    damaged = PAGE.replace("an empty directory", "any directory")
    assert damaged != PAGE
    assert command_line_docs.render(damaged) == PAGE
