"""make demo, without the set-up."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"


def test_the_demo_moves_memory_and_loses_no_byte() -> None:
    result = subprocess.run([sys.executable, DEMO], capture_output=True, text=True, check=False, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
    rows = re.findall(r"^ +(\d+) +([\d.]+)M +([\d.]+)M +([\d.]+)M +(\d+) pages +([\d.]+) ", result.stdout, re.MULTILINE)
    assert [int(row[0]) for row in rows] == list(range(1, 15))
    current, zswap = [float(row[1]) for row in rows], [float(row[2]) for row in rows]
    written_back = [int(row[4]) for row in rows]
    assert current[0] < 96
    assert max(zswap) > 1
    assert written_back[0] == 0 < written_back[-1]
    assert all(float(row[5]) > 1 for row in rows)
    (verified,) = re.findall(r"\.fakecg/verify\n(\d+)\n", result.stdout)
    assert int(verified) == 96 << 8
    (mount,) = re.findall(r"^\$ fakecg mount (\S+)", result.stdout, re.MULTILINE)
    assert not Path(mount).exists()
