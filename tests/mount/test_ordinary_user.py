"""A user without privileges mounts, with nothing but /dev/fuse and fusermount.

The user gets copies of the package and of what it needs, since a checkout may be anywhere, and a /dev/fuse that is open to everybody, in a
mount namespace of this test alone.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534
FUSE = Path("/dev/fuse")

SESSION = """
trap '"$PYTHON" -m fakecg umount -l mnt 2> /dev/null' EXIT
fakecg() { "$PYTHON" -m fakecg "$@"; }
set -e
fakecg mount mnt --clock manual --ram 1G
stat -c '%u %a' mnt mnt/memory.stat mnt/memory.reclaim
mkdir mnt/job
stat -c '%u' mnt/job/memory.max
fakecg spawn mnt job --size 8M > /dev/null
echo 2M > mnt/job/memory.reclaim
grep -c '^zswapped [1-9]' mnt/job/memory.stat
echo 0 > mnt/job/cgroup.procs
wc -w < mnt/job/cgroup.procs
echo 0 > mnt/cgroup.procs
cat mnt/job/memory.reclaim 2> /dev/null || echo unreadable
fakecg mount mnt || echo $?
kill -9 "$(cat mnt/.fakecg/pid)"
fakecg ps mnt || echo $?
fakecg mount mnt --replace --clock manual
fakecg umount mnt
ls mnt | wc -l
"""


def interpreter() -> str:
    """A Python of this version that everybody may run."""
    version = "import ctypes, sys; print(*sys.version_info[:2])"
    ours = " ".join(map(str, sys.version_info[:2]))
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            result = subprocess.run(
                [python, "-E", "-c", version], user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True, check=False
            )
        except OSError:
            continue
        if result.stdout.strip() == ours:
            return python
    pytest.skip("no Python of this version that other users may run")


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of the user's, with the package in it."""
    if os.geteuid() or (shutil.which("fusermount3") is None and shutil.which("fusermount") is None):
        pytest.skip("needs root, to become somebody else, and fusermount")
    with tempfile.TemporaryDirectory(prefix="fakecg-user-") as directory:
        path = Path(directory)
        path.chmod(0o755)
        for name in ("fakecg", "lz4", "sortedcontainers", "fuse"):
            spec = importlib.util.find_spec(name)
            assert spec is not None
            assert spec.origin is not None
            origin = Path(spec.origin)
            if origin.name == "__init__.py":
                shutil.copytree(origin.parent, path / "lib" / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(origin, path / "lib" / origin.name)
        (path / "mnt").mkdir()
        os.chown(path / "mnt", NOBODY, NOBODY)
        yield path


def test_an_ordinary_user_mounts_works_and_unmounts(home: Path) -> None:
    prepare = "true"
    if FUSE.stat().st_mode & 0o006 != 0o006:
        os.mknod(home / "fuse-device", 0o020666, FUSE.stat().st_rdev)
        (home / "fuse-device").chmod(0o666)
        prepare = f"mount --bind {home}/fuse-device {FUSE}"
    become = f"setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --inh-caps=-all"
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{prepare} && exec {become} sh -c "$0"', SESSION],
        cwd=home,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{home}/lib", "PYTHON": interpreter()},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.stdout.split("\n") == [
        f"{NOBODY} 755",  # the root directory's 0555 would not let the owner make directories
        f"{NOBODY} 444",
        f"{NOBODY} 200",
        str(NOBODY),
        "1",
        "3",  # the task, the shell and its child
        "unreadable",
        "3",
        "4",
        "0",
        "",
    ], result.stderr
    busy, stale = result.stderr.splitlines()
    assert "busy" in busy
    assert "stale" in stale
