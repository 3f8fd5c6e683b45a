"""Fixtures for tests of reclaim agents; pytest loads this by itself once the package is installed.

@pytest.mark.fakecg(ram="1G", scenario="quickstart")
def test_agent(cg_mount):
    subprocess.run(["my-agent", cg_mount / "job"], check=True)
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fakecg.host import Host
    from fakecg.sched.clock import Clock

_MARKER = "fakecg(ram=..., scenario=..., profile=..., ...): the machine of cg_host and cg_mount; a scenario, or any option of fakecg.Host"


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", _MARKER)


def _make_host(request: pytest.FixtureRequest, clock: Clock) -> Host:
    from fakecg.host import Host

    options: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("fakecg"))):  # the closest one last
        options |= marker.kwargs
    name = options.pop("scenario", None)
    if name is None:
        return Host(**{"clock": clock, **options})
    from fakecg.workload import scenario as scenarios
    from fakecg.workload.stage import stage

    scenario = scenarios.load(name)
    host = Host(**{"clock": clock, **scenario.host, **options})
    stage(scenario, host, logging.getLogger("fakecg").info)
    return host


@pytest.fixture
def cg_host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host without a mount, whose clock the test moves with ``cg_host.advance``."""
    from fakecg.sched.clock import ManualClock

    with _make_host(request, ManualClock()) as host:
        yield host


@pytest.fixture
def cg_mount_host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """The host behind ``cg_mount``."""
    from fakecg.sched.clock import ScaledClock

    with _make_host(request, ScaledClock()) as host:
        yield host


@pytest.fixture
def cg_mount(cg_mount_host: Host) -> Iterator[Path]:
    """A real mount whose clock runs; the value is its path."""
    from fakecg.fs.mount import mounted

    with mounted(cg_mount_host) as path:
        yield path
