"""Agents and monitoring tools that know nothing of the emulator work on a mount."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from fakecg import Host, ScaledClock, mounted

AGENTS = Path(__file__).parents[2] / "examples" / "agents"
CLOCK_RATE = 20


@pytest.fixture
def procfs(cg_mount: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """psutil reads the mount's /proc."""
    companions = cg_mount / ".fakecg" / "proc"
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(companions))
    return companions


@pytest.mark.fakecg(ram="1G", swap="2G")
def test_psutil_reads_the_emulated_machine(procfs: Path, cg_mount_host: Host) -> None:
    assert psutil.virtual_memory().total == 1 << 30
    job = cg_mount_host.mkdir("job")
    cg_mount_host.spawn(job, size="64M")
    available = psutil.virtual_memory().available
    assert available <= (1 << 30) - (64 << 20)
    job["memory.reclaim"] = "32M"
    assert psutil.virtual_memory().available > available
    swap = psutil.swap_memory()
    assert (swap.total, swap.used) == (2 << 30, int(job["memory.swap.current"]))
    assert swap.sout == 4096 * cg_mount_host.vmstat["pswpout"]


def test_an_agent_probes_by_pressure_and_restores_the_limit() -> None:
    with Host(ram="1G", swap="2G", clock=ScaledClock(CLOCK_RATE)) as host, mounted(host) as path:
        job = host.mkdir("job")
        job["memory.high"] = "512M"
        host.spawn(job, size="32M", access="hotcold:0.5,1k/s")
        arguments = ["--interval", "0.1", "--rounds", "12", "--clock-rate", str(CLOCK_RATE), "--probe", "20%"]
        command = [sys.executable, AGENTS / "pressure_probe.py", path / "job", *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        _, *rounds = [line.split() for line in result.stdout.splitlines()]
        limits = [float(high.removesuffix("M")) for _, _, high, _ in rounds]
        stalls = [float(stalled.removesuffix("%")) for _, _, _, stalled in rounds]
        assert len(rounds) == 12
        assert min(limits) < 0.9 * 32, "it took what is not needed"
        assert any(after > before for before, after in pairwise(limits)), "and gave some back"
        assert max(stalls) > 0.1
        assert job["memory.high"] == str(512 << 20)
        assert job.stat["zswpout"] > 0
        assert host.verify() == (32 << 20) // 4096


@pytest.mark.skipif(shutil.which("systemd-cgtop") is None, reason="systemd-cgtop is not installed")
def test_systemd_cgtop_takes_the_tree_for_cgroup2() -> None:
    script = 'mkdir /sys/fs/cgroup/job; echo "/job size=64M" > /sys/fs/cgroup/.fakecg/spawn; exec systemd-cgtop -b -n 1 --raw'
    command = [sys.executable, "-m", "fakecg", "run", "--ram", "1G", "--", "sh", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"/job 1 - {64 << 20} - -" in [" ".join(line.split()) for line in result.stdout.splitlines()]
