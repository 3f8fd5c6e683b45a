"""Mistakes in the options of a mount are one line each, and are found before anything is mounted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fakecg.cli import doctor_command
from fakecg.cli.main import main


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--swap", "lots"], "--swap lots: not a size"),
        (["--swap", "1G", "--swap", "-1"], "--swap -1: not a size"),
        (["--swap", "1G,prio=x"], "--swap 1G,prio=x: not an option: 'prio=x'"),
        (["--swap", "1G,prio=32768"], "not an option: 'prio=32768'"),
        (["--swap", "1G,file="], "not an option: 'file='"),
        (["--swap", "1G,device=floppy"], "unknown preset 'floppy'"),
        (["--swap", "1G,device=ssd+swap_read=soon"], "not a duration: 'soon'"),
        (["--cost", "hdd,zswap_load=x"], "--cost hdd,zswap_load=x: not a duration"),
        (["--seed", "-1"], "--seed: 0 or more"),
        (["--clock", "x0"], "--clock: 'x0'"),
        (["--clock", "xnan"], "--clock: 'xnan'"),
    ],
)
def test_a_wrong_value_is_told_with_its_option(
    options: list[str], complaint: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["mount", str(tmp_path), *options]) == 2
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)


@pytest.mark.parametrize("package", ["lz4", "sortedcontainers"])
def test_a_missing_package_is_told_in_one_line(package: str, tmp_path: Path) -> None:
    program = f"import sys; sys.modules[{package!r}] = None; from fakecg.cli.main import main; raise SystemExit(main(sys.argv[1:]))"
    result = subprocess.run([sys.executable, "-c", program, "mount", tmp_path], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert f"{package} is missing: 'make setup'" in result.stderr


@pytest.mark.parametrize(
    ("text", "is_allowed"), [("user_allow_other\n", True), ("#user_allow_other\n", False), ("# user_allow_other - Using\n", False)]
)
def test_doctor_reads_comments_of_fuse_conf_as_such(text: str, is_allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    findings = {finding.what: finding.good for finding in doctor_command._helpers()}
    assert findings["--allow-other"] == is_allowed
