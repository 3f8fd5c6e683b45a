"""The controllers of a kernel of a distribution, next to memory.

Only memory and pids limit anything; io counts what the emulated swap disk did. The others keep and check their settings, so that a program
that turns everything on meets the files and answers it knows; docs/files.md says which are without effect.
"""

from __future__ import annotations

from fakecg.cgroup.cpu_files import CpuController
from fakecg.cgroup.cpuset_files import CpusetController
from fakecg.cgroup.css import Controller
from fakecg.cgroup.io_files import IoController
from fakecg.cgroup.pids_files import PidsController
from fakecg.cgroup.unused_files import HugetlbController, MiscController, PerfEventController, RdmaController


def standard_controllers(nr_cpus: int = 2, nr_nodes: int = 1) -> tuple[Controller, ...]:
    """One of each, in the kernel's order; memory is made by the memory model."""
    return (
        CpusetController(nr_cpus, nr_nodes),
        CpuController(),
        IoController(),
        PerfEventController(),
        HugetlbController(nr_nodes),
        PidsController(),
        RdmaController(),
        MiscController(),
    )
