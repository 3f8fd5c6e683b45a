"""How pages are taken apart, and when output counts as the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from markdown_page import matches, parse, with_outputs
from page_session import page_directory, run_commands, run_programs

TEXT = """# Page

```console
$ echo one; false
one
$ echo $?
> cat <<END
> two
> END
1
two
$ echo x > /
bash: /: Is a directory
```

```python
value = 2
```

```python
print(value + 1)
```

```text
3
```

```python
# module.py
print("not run by itself")
```

```console
$ python module.py
not run by ...
```
"""


def test_a_page_is_run_as_it_reads(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(TEXT)
    page = parse(path)
    assert [command.line for command in page.commands] == [4, 6, 12, 34]
    assert [command.expected_line for command in page.commands] == [5, 10, 13, 35]
    assert page.commands[1].source == "echo $?\ncat <<END\ntwo\nEND\n"
    work = tmp_path / "work"
    work.mkdir()
    with page_directory(page, work) as directory:
        outputs = run_commands(page.commands, directory)
        assert outputs == ["one\n", "1\ntwo\n", "bash: /: Is a directory\n", "not run by itself\n"]
        assert all(matches(command.expected, output) for command, output in zip(page.commands, outputs, strict=True))
        assert run_programs(page, directory) == ["", "3\n"]
    assert [program.expected for program in page.programs] == ["", "3\n"]


def test_a_failing_block_shows_where(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("text\n\n```python\nx = 1\nx / 0\n```\n")
    work = tmp_path / "work"
    work.mkdir()
    page = parse(path)
    with page_directory(page, work) as directory:
        (output,) = run_programs(page, directory)
    assert 'File "page.md", line 5' in output
    assert "ZeroDivisionError" in output


def test_outputs_can_be_put_in(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(TEXT)
    page = parse(path)
    first, second, _, last = page.commands
    outputs = [(first, "1\n2\n"), (second, ""), (last, "something else\n"), (page.programs[0], "2\n"), (page.programs[1], "4\n")]
    text, by_hand = with_outputs(page, outputs)
    assert text == TEXT.replace("false\none\n", "false\n1\n2\n").replace("> END\n1\ntwo\n", "> END\n").replace("\n3\n", "\n4\n")
    assert by_hand == [page.programs[0], last]


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ("a\n", "a\n", True),
        ("a\n", "a", False),
        ("a\n", "a\nb\n", False),
        ("", "a\n", False),
        ("pid ... is 64M\n", "pid 4200001 is 64M\n", True),
        ("pid ... is 64M\n", "pid 4200001 is 63M\n", False),
        ("a ...\n", "a b\nc\n", False),
        ("a\n...\nd\n", "a\nb\nc\nd\n", True),
        ("a\n...\nd\n", "a\nd\n", True),
        ("...\n", "", True),
        ("1.5 (a|b)*\n", "1.5 (a|b)*\n", True),
        ("1.5\n", "1x5\n", False),
    ],
)
def test_dots_stand_for_what_varies(expected: str, actual: str, same: bool) -> None:
    assert matches(expected, actual) is same
