"""A cgroup v2 tree with an emulated memory controller, for authors of reclaim agents."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fakecg.abi.errors import ControlError, UsageError
    from fakecg.fs.mount import mounted
    from fakecg.group import Group
    from fakecg.host import Host
    from fakecg.sched.clock import ManualClock, ScaledClock

__all__ = ["ControlError", "Group", "Host", "ManualClock", "ScaledClock", "UsageError", "mounted"]

_HOMES = {
    "ControlError": "fakecg.abi.errors",
    "Group": "fakecg.group",
    "Host": "fakecg.host",
    "ManualClock": "fakecg.sched.clock",
    "ScaledClock": "fakecg.sched.clock",
    "UsageError": "fakecg.abi.errors",
    "mounted": "fakecg.fs.mount",
}


def __getattr__(name: str) -> Any:
    # On first use: the command line starts fast, and only mounted() needs libfuse.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
