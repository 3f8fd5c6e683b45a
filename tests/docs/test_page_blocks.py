"""Whatever a page shows is run, and prints what the page says."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from markdown_page import LANGUAGES, TOP, Example, Page, matches, pages, parse
from page_session import page_directory, run_commands, run_programs, runnable

PAGES = {str(path.relative_to(TOP)): parse(path) for path in pages()}


def wrong(page: Page, examples: list[Example], outputs: list[str]) -> list[str]:
    found = []
    for example, output in zip(examples, outputs, strict=False):
        if not matches(example.expected, output):
            found.append(f"{page.path.name}:{example.line}: {example.source}printed:\n{output}instead of:\n{example.expected}")
    if len(outputs) != len(examples):
        found.append(f"{len(examples)} examples, but {len(outputs)} outputs; the last one is:\n{outputs[-1] if outputs else ''}")
    return found


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if page.commands])
def test_commands_print_what_the_page_says(name: str, tmp_path: Path) -> None:
    page = PAGES[name]
    commands = runnable(page.commands)
    with page_directory(page, tmp_path) as directory:
        found = wrong(page, commands, run_commands(commands, directory))
        mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if f" {tmp_path}/" in line]
    assert not found, "\n".join([*found, "'python tests/docs/update_pages.py' would put in what is printed now"])
    assert not mounts, "the page leaves a mount behind"


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if page.programs])
def test_python_blocks_print_what_the_page_says(name: str, tmp_path: Path) -> None:
    page = PAGES[name]
    with page_directory(page, tmp_path) as directory:
        found = wrong(page, page.programs, run_programs(page, directory))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", PAGES)
def test_every_block_is_of_a_kind_that_is_run(name: str) -> None:
    for block in PAGES[name].blocks:
        assert block.language in LANGUAGES, f"{name}:{block.line}: a fence of {block.language or 'no language'}"


# Set-up and other long work is not run here; make demo has a test of its own.
def test_make_is_only_told_to_make_what_it_can() -> None:
    targets = set(re.findall(r"^([\w-]+):", (TOP / "Makefile").read_text(), re.MULTILINE))
    for name in PAGES:
        for words in re.findall(r"(?:^\$ |`)make ([\w -]+)", (TOP / name).read_text(), re.MULTILINE):
            assert set(words.split()) <= targets, f"{name}: make {words}"


def test_every_link_leads_somewhere() -> None:
    for name in PAGES:
        page = TOP / name
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith(("https:", "http:")):
                assert os.path.exists(page.parent / target), f"{name}: no {target}"


def test_the_index_has_every_page() -> None:
    index = (TOP / "docs" / "README.md").read_text()
    linked = re.findall(r"\]\(([^)#]+)\)", index)
    present = [str(path.relative_to(TOP / "docs")) for path in (TOP / "docs").rglob("*.md") if path.name != "README.md"]
    assert sorted(target for target in linked if not target.startswith("..")) == sorted(present)
    assert all(line.startswith("* [") for line in index.splitlines() if "](" in line)
