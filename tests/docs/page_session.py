"""Runs what a page says, in a directory of its own: its commands in one shell, its Python blocks in one interpreter."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from markdown_page import TOP, Example, Page, as_at_a_prompt

from fakecg.abi.errors import UsageError
from fakecg.fs import mountpoint

PATIENCE_S = 60
#: Set-up and other long work, which is not run.
_MAKE = re.compile(r"make( [\w-]+)+\n")
#: What a page may name as if it were run at the top of the repository.
VISIBLE = ("Makefile", "examples", "mount.py", "tests", "pyproject.toml")
_MARK = "-- end of a documented command --"
#: After each command its mark, without a change to $?.
_AFTER = f"__code=$?; printf '\\n%s\\n' {shlex.quote(_MARK)}; (exit $__code)\n"
_RUNNER = """
import ast, json, pathlib, sys
page, examples = sys.argv[1], json.loads(pathlib.Path(sys.argv[2]).read_text())
names = {"__name__": "__main__"}
for source, line in examples:
    tree = ast.increment_lineno(ast.parse(source), line - 1)
    exec(compile(tree, page, "exec"), names)
    print(f"\\n%s", flush=True)
""".replace("%s", _MARK)


@contextmanager
def page_directory(page: Page, directory: Path) -> Iterator[Path]:
    """The working directory of a page: its files, the repository's, and an environment as ``make setup`` leaves it."""
    for name in VISIBLE:
        (directory / name).symlink_to(TOP / name)
    programs = directory / ".venv" / "bin"
    programs.mkdir(parents=True)
    python = shlex.quote(sys.executable)
    for name, command in (("python", ""), ("python3", ""), ("fakecg", "-m fakecg"), ("pytest", "-m pytest -p no:cacheprovider")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {python} {command} "$@"\n')
        program.chmod(0o755)
    (programs / "activate").write_text(f"PATH={shlex.quote(str(programs))}:$PATH\n")
    for name, text in page.files.items():
        (directory / name).write_text(text)
    try:
        yield directory
    finally:
        _unmount_all(directory)


def _unmount_all(directory: Path) -> None:
    for entry in mountpoint.mount_table():
        if entry.mount_point.startswith(f"{directory}/"):
            with contextlib.suppress(UsageError):
                mountpoint.detach(entry.mount_point)


def runnable(commands: Sequence[Example]) -> list[Example]:
    """All but make."""
    return [example for example in commands if not _MAKE.fullmatch(example.source)]


def run_commands(examples: Sequence[Example], directory: Path) -> list[str]:
    """What each command prints."""
    script = directory / "page.sh"
    script.write_text(". .venv/bin/activate\n" + "".join(example.source + _AFTER for example in examples))
    return [as_at_a_prompt(output) for output in _outputs(["bash", "page.sh"], directory)]


def run_programs(page: Page, directory: Path) -> list[str]:
    """What each Python block prints; one that fails adds its traceback."""
    (directory / "blocks.json").write_text(json.dumps([(example.source, example.line) for example in page.programs]))
    runner = directory / "blocks.py"
    runner.write_text(_RUNNER)
    return _outputs([sys.executable, "-W", "error", "blocks.py", page.path.name, "blocks.json"], directory)


def _outputs(command: list[str], directory: Path) -> list[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "COV", "HYPOTHESIS"))}
    environment |= {"PYTHONPATH": str(TOP), "LC_ALL": "C.UTF-8", "COLUMNS": "80"}
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
    )
    try:
        text, _ = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        text, _ = process.communicate()
        text += f"\nstill running after {PATIENCE_S} s\n"
    pieces = text.split(f"\n{_MARK}\n")
    return pieces if pieces[-1] else pieces[:-1]
