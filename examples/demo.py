#!/usr/bin/env python3
"""The main job in half a minute: mount, run a workload, let a two-stage agent work on it, verify every page, unmount.

Everything goes through the command line, as by hand: the commands are printed as they run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

FAKECG = [sys.executable, "-m", "fakecg"]
AGENT = Path(__file__).parent / "agents" / "two_stage.py"
#: An hour takes a minute.
CLOCK = "x60"


def run(*command: str | Path, shown: str | None = None) -> None:
    """Print and run a command; its failure ends the demo with the same exit code."""
    words = [str(word) for word in command]
    print(f"$ {shown or ' '.join(words)}", flush=True)
    code = subprocess.run(words, check=False).returncode
    if code:
        sys.exit(code)


def main() -> None:
    """The demo."""
    with tempfile.TemporaryDirectory(prefix="fakecg-demo-") as directory:
        mount = Path(directory) / "cgroup"
        mount.mkdir()
        run(*FAKECG, "mount", mount, "--clock", CLOCK, "--ram", "1G", "--swap", "2G", shown=f"fakecg mount {mount} --clock {CLOCK}")
        try:
            run("mkdir", mount / "job")
            spawn = [
                "spawn",
                mount,
                "job",
                "--size",
                "96M",
                "--access",
                "hotcold:0.2,2k/s",
                "--content",
                "mix:text=0.7,random=0.1,zero=0.2",
            ]
            run(*FAKECG, *map(str, spawn), shown="fakecg " + " ".join(map(str, spawn)))
            agent = [AGENT, mount / "job", "--reclaim", "6M", "--age", "180", "--max", "3M", "--interval", "1", "--rounds", "14"]
            run(sys.executable, *map(str, agent), shown="two_stage.py " + " ".join(map(str, agent[1:])))
            run(*FAKECG, "ps", mount, shown=f"fakecg ps {mount}")
            verified = (mount / ".fakecg" / "verify").read_text().strip()
            print(f"$ cat {mount}/.fakecg/verify\n{verified}", flush=True)
        finally:
            run(*FAKECG, "umount", mount, shown=f"fakecg umount {mount}")
    print("Every page that the workload touched still has its bytes, wherever it is. Next: the tour in README.md.")


if __name__ == "__main__":
    main()
