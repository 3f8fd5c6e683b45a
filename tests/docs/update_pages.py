#!/usr/bin/env python3
"""Puts what the examples print now into the pages: look at the difference before it is committed.

python tests/docs/update_pages.py [PAGE ...]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from markdown_page import pages, parse, with_outputs
from page_session import page_directory, run_commands, run_programs, runnable


def update(path: Path) -> None:
    """Run a page and rewrite it."""
    page = parse(path)
    commands = runnable(page.commands)
    with tempfile.TemporaryDirectory(prefix="fakecg-page-") as name, page_directory(page, Path(name)) as directory:
        outputs = [(commands, run_commands(commands, directory))] if commands else []
        outputs += [(page.programs, run_programs(page, directory))] if page.programs else []
    for examples, texts in outputs:
        if len(examples) != len(texts):
            sys.exit(f"{path}: stopped after {len(texts)} of {len(examples)} examples; the last one says:\n{texts[-1]}")
    text, by_hand = with_outputs(page, [pair for examples, texts in outputs for pair in zip(examples, texts, strict=True)])
    if text != path.read_text(encoding="utf-8"):
        path.write_text(text, encoding="utf-8")
        print(f"{path}: rewritten")
    for example in by_hand:
        print(f"{path}:{example.line}: to be done by hand: {example.source}", end="")


if __name__ == "__main__":
    for each in [Path(argument) for argument in sys.argv[1:]] or pages():
        update(each)
