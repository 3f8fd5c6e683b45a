"""Backends, and the score: how many recorded cases come out as recorded."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import backends
import deviations
import pytest
from api_backend import ApiBackend
from directory_backend import DirectoryBackend

from fakecg.fs.mount import mounted
from fakecg.host import Host
from fakecg.sched.clock import ScaledClock

#: A directory of a real cgroup2 filesystem that the tests may use; never one by default.
KERNEL_VARIABLE = "FAKECG_KERNEL_CGROUP"
BACKENDS = ("api", "mount", *(("kernel",) if os.environ.get(KERNEL_VARIABLE) else ()))
#: The recorded machine.
MACHINE: dict[str, Any] = {"ram": "2G", "swap": "1G", "proactive": "none"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", BACKENDS, indirect=True, scope="session")
    if "fresh_backend" in metafunc.fixturenames:
        metafunc.parametrize("fresh_backend", [name for name in BACKENDS if name != "kernel"], indirect=True, scope="module")


@contextmanager
def open_backend(name: str, **options: Any) -> Iterator[backends.Backend]:
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


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Iterator[backends.Backend]:
    """One tree for all tests of a backend; each test works below a cgroup of its own, or puts the root back."""
    with open_backend(request.param) as tree:
        if request.param != "kernel":
            tree.enable_all("")
        yield tree


@pytest.fixture(scope="module")
def fresh_backend(request: pytest.FixtureRequest) -> Iterator[backends.Backend]:
    """A tree in which nothing has happened yet, not even a controller been enabled."""
    with open_backend(request.param, enable_controllers=False) as tree:
        yield tree


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


@pytest.fixture
def score(request: pytest.FixtureRequest, record_property: Any) -> Iterator[Score]:
    """The score of this test's recording; the test fails for cases that differ without being listed."""
    used = "backend" if "backend" in request.fixturenames else "fresh_backend"
    backend = request.getfixturevalue(used)
    score = Score(backend.name, getattr(request.module, "RECORDING", "write_matrix.json"))
    yield score
    record_property("golden", [score.backend, score.recording, len(score.results), sum(score.results.values())])
    assert not score.wrong, "\n" + "\n".join(score.wrong)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    recorded: Counter[tuple[str, str]] = Counter()
    passed: Counter[tuple[str, str]] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "golden" and getattr(report, "when", None) == "teardown":
                    backend, recording, nr_cases, nr_passed = value
                    recorded[recording, backend] += nr_cases
                    passed[recording, backend] += nr_passed
    if recorded:
        terminalreporter.section("recorded cases that come out as recorded")
        for key in sorted(recorded):
            share = 100 * passed[key] / recorded[key]
            terminalreporter.write_line(f"{key[0]:28} {key[1]:8} {passed[key]:5} of {recorded[key]:5}  {share:5.1f} %")
