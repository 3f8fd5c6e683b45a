"""Pages of the documentation, taken apart into what can be run.

A fence says by its language what it is:

    console     lines after ``$ `` (continued after ``> ``) are run by bash, the others are what they print, errors included
    python      run; what it prints stands in a ``text`` fence right behind it
    toml        contents of a file, if its first line is ``# NAME``; so are python blocks that begin so, which are not run by themselves
    text        anything else

In expected output ``...`` stands for anything within a line, and alone on a line for any number of lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

TOP = Path(__file__).parents[2]
LANGUAGES = ("console", "python", "toml", "text")
_FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"# (\S+\.\w+)\n")
_SHELL_PREFIX = re.compile(r"^\S*page\.sh: line \d+: ", re.MULTILINE)


def pages() -> list[Path]:
    """All pages of the repository."""
    return [*sorted(TOP.glob("*.md")), *sorted((TOP / "docs").rglob("*.md"))]


@dataclass(slots=True)
class Block:
    """A fenced block; ``line`` is that of its first line in the page."""

    language: str
    text: str
    line: int

    @property
    def file_name(self) -> str:
        """The file whose contents this is; empty for none."""
        match = _FILE.match(self.text) if self.language in ("python", "toml") else None
        return match[1] if match else ""


@dataclass(slots=True)
class Example:
    """Something to run and what it must print; ``expected_line`` is where that stands, or would stand in a ``console`` fence."""

    source: str
    line: int
    expected: str = ""
    expected_line: int = 0


@dataclass(slots=True)
class Page:
    """A page's blocks, sorted by what is done with them."""

    path: Path
    blocks: list[Block] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    commands: list[Example] = field(default_factory=list)
    programs: list[Example] = field(default_factory=list)


def parse(path: Path) -> Page:
    """Read a page."""
    text = path.read_text(encoding="utf-8")
    page = Page(path)
    end_of_last = 0
    for match in _FENCE.finditer(text):
        block = Block(match[1], match[2], text.count("\n", 0, match.start()) + 2)
        follows = not text[end_of_last : match.start()].strip()
        end_of_last = match.end()
        if block.file_name:
            page.files[block.file_name] = block.text
        elif block.language == "console":
            page.commands += _commands(block)
        elif block.language == "python":
            page.programs.append(Example(block.text, block.line))
        elif block.language == "text" and follows and page.blocks[-1].language == "python":
            page.programs[-1].expected = block.text
            page.programs[-1].expected_line = block.line
        page.blocks.append(block)
    return page


def _commands(block: Block) -> list[Example]:
    examples: list[Example] = []
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("$ "):
            examples.append(Example(line[2:] + "\n", number))
        elif line.startswith("> ") and not examples[-1].expected:
            examples[-1].source += line[2:] + "\n"
        else:
            examples[-1].expected += line + "\n"
    for example in examples:
        example.expected_line = example.line + example.source.count("\n")
    return examples


def with_outputs(page: Page, outputs: list[tuple[Example, str]]) -> tuple[str, list[Example]]:
    """The page's text with these outputs instead of those it has, and the examples for which that has to be done by hand.

    Those are the ones whose output on the page has ``...``, and Python blocks without a place for what they print.
    """
    lines = page.path.read_text(encoding="utf-8").splitlines(keepends=True)
    by_hand = []
    for example, output in sorted(outputs, key=lambda each: -each[0].line):
        if matches(example.expected, output):
            continue
        if "..." in example.expected or not example.expected_line:
            by_hand.append(example)
            continue
        start = example.expected_line - 1
        lines[start : start + example.expected.count("\n")] = output.splitlines(keepends=True)
    return "".join(lines), by_hand[::-1]


def matches(expected: str, actual: str) -> bool:
    """Whether output is as on the page."""
    pattern = ""
    for line in expected.splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(map(re.escape, line.split("..."))) + r"\n"
    return re.fullmatch(pattern, actual) is not None


def as_at_a_prompt(output: str) -> str:
    """Messages of the shell as an interactive one writes them: without the script's name and line."""
    return _SHELL_PREFIX.sub("bash: ", output)
