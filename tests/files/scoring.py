"""Which trees are compared with the recordings, and how the comparison counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import deviations
from api_backend import ApiBackend
from backends import Backend
from directory_backend import DirectoryBackend

from fakecg.fs.mount import mounted
from fakecg.host import Host
from fakecg.sched.clock import ScaledClock

#: A directory of a real cgroup2 filesystem that the tests may use; never one by default.
KERNEL_VARIABLE = "FAKECG_KERNEL_CGROUP"
BACKENDS = ("api", "mount", *(("kernel",) if os.environ.get(KERNEL_VARIABLE) else ()))
#: The recorded machine.
MACHINE: dict[str, Any] = {"ram": "2G", "swap": "1G", "proactive": "none"}


@contextmanager
def open_backend(name: str, **options: Any) -> Iterator[Backend]:
    """A tree of its own on the recorded machine."""
    if name == "kernel":
        yield DirectoryBackend(Path(os.environ[KERNEL_VARIABLE]), None, "kernel")
        return
    with ExitStack() as stack:
        if name == "api":
            host = stack.enter_context(Host(**MACHINE, **options))
            yield ApiBackend(host)
        else:
            host = stack.enter_context(Host(clock=ScaledClock(), **MACHINE, **options))
            fuse = ("allow_other",) if os.geteuid() == 0 else ()
            yield DirectoryBackend(stack.enter_context(mounted(host, fuse=fuse)), host)


class Score:
    """Compares results with a recording, case by case."""

    def __init__(self, backend: str, recording: str) -> None:
        self.backend = backend
        self.recording = recording
        self.results: dict[str, bool] = {}
        self.wrong: list[str] = []

    def check(self, case: str, actual: object, expected: object) -> None:
        """One recorded case."""
        passed = actual == expected
        self.results[case] = passed
        why = deviations.reason(self.backend, f"{self.recording}: {case}")
        if not passed and why is None:
            self.wrong.append(f"{case}: recorded {expected!r}, got {actual!r}")
        elif passed and why is not None:
            self.wrong.append(f"{case}: passes, but is listed as deviating: {why}")

    def check_all(self, prefix: str, actual: dict[str, Any], expected: dict[str, Any]) -> None:
        """Every key of a recorded group of cases."""
        for key, value in expected.items():
            self.check(f"{prefix}: {key}", actual.get(key, "(not tried)"), value)
