"""Pages made from the code; ``python -m fakecg.cli.docs`` rewrites them.

docs/files.md is made from the rows that declare the interface files; the tables of docs/command-line.md are in command_line_docs.py, that
of docs/versions.md in versions_docs.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from fakecg.abi.profile import DEFAULT_PROFILE, PROACTIVE_VERSIONS, PROFILES, Features
from fakecg.cgroup.cftype import ControlFile
from fakecg.cli import command_line_docs, versions_docs
from fakecg.feature_list import file_tables
from fakecg.mm.system_files import SYSTEM_FILES

PATH = Path(__file__).parents[2] / "docs" / "files.md"

_HEAD = """# Interface files

Made from the rows in the sources by `python -m fakecg.cli.docs`; a test fails when this page is out of date.

* *root*: `both` is in the root and everywhere else, `only` in the root alone, `no` everywhere but in the root.
* *fidelity*: `exact` behaves as the recorded kernel; `simplified` has its format and its rules, with the values of a simpler model;
  `zero` has its format and checks what is written, and nothing ever comes of it.
* *notice*: poll and inotify tell of changes.
"""
_COLUMNS = "| file | root | mode | fidelity | notice | what |\n|---|---|---|---|---|---|\n"
_SYSTEM_HEAD = """
## Files of the machine

Values of the emulated machine, below `.fakecg/` or, with `--layout sysroot`, at the paths a program expects.

| file | mode | fidelity | what |
|---|---|---|---|
"""


def tables() -> Iterator[tuple[str, Sequence[ControlFile]]]:
    """Title and rows of each group of files, in the kernel's order."""
    for group, rows in file_tables():
        yield "Core" if group == "core" else f"Controller {group}", rows


def condition(row: ControlFile) -> str:
    """Which kernels and interface versions have a file; empty for all."""
    if row.needs is None:
        return ""
    profiles = [name for name in PROFILES if row.needs(Features.select(name, "none"))]
    if len(profiles) == len(PROFILES):
        return ""
    if profiles:
        return "`--profile " + "`, `".join(profiles) + "` only. "
    versions = [version for version in PROACTIVE_VERSIONS if row.needs(Features.select(DEFAULT_PROFILE, version))]
    return "`--proactive " + "`, `".join(versions) + "` only. "


def render() -> str:
    """Text of docs/files.md."""
    parts = [_HEAD]
    for title, rows in tables():
        parts.append(f"\n## {title}\n\n{_COLUMNS}")
        for row in rows:
            where = "both" if row.on_root and row.off_root else "only" if row.on_root else "no"
            notice = "yes" if row.notifies else ""
            what = condition(row) + row.summary
            parts.append(f"| `{row.name}` | {where} | {row.default_mode:04o} | {row.fidelity} | {notice} | {what} |\n")
    parts.append(_SYSTEM_HEAD)
    for path, row in SYSTEM_FILES.items():
        parts.append(f"| `/{path}` | {row.default_mode:04o} | {row.fidelity} | {condition(row)}{row.summary} |\n")
    return "".join(parts)


def main() -> int:
    """Rewrite the pages that are out of date."""
    written = [(page.PATH, page.render(page.PATH.read_text(encoding="utf-8"))) for page in (command_line_docs, versions_docs)]
    for path, text in ((PATH, render()), *written):
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"{path}: rewritten", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
