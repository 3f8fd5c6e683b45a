"""A cgroup v2 tree with an emulated memory controller, for authors of reclaim agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fakecg.abi.errors import ControlError, UsageError
from fakecg.host import Group, Host
from fakecg.sched.clock import ManualClock, ScaledClock

if TYPE_CHECKING:
    from fakecg.fs.mount import mounted

__all__ = ["ControlError", "Group", "Host", "ManualClock", "ScaledClock", "UsageError", "mounted"]


def __getattr__(name: str) -> Any:
    # mounted() needs libfuse; the rest of the API must not.
    if name == "mounted":
        from fakecg.fs.mount import mounted

        return mounted
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
