#!/usr/bin/env python3
"""docs/experiments.md: puts what the experiments print where the page shows it. A test fails when the page is out of date."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
from collections.abc import Callable
from pathlib import Path

PATH = Path(__file__).parents[2] / "docs" / "experiments.md"
_BLOCK = re.compile(r"```text\n\$ examples/experiments/(\w+)\.py\n(.*?)```", re.DOTALL)


def printed(name: str) -> str:
    """What an experiment prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        importlib.import_module(name).main()
    return output.getvalue()


def shown() -> dict[str, str]:
    """What the page shows of each experiment, by name."""
    return {match[1]: match[2] for match in _BLOCK.finditer(PATH.read_text(encoding="utf-8"))}


def refreshed(text: str, run: Callable[[str], str] = printed) -> str:
    """The page with all tables as they are now."""
    return _BLOCK.sub(lambda match: f"```text\n$ examples/experiments/{match[1]}.py\n{run(match[1])}```", text)


def main() -> None:
    """Rewrite the page."""
    PATH.write_text(refreshed(PATH.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
