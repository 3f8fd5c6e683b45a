"""A machine on demand, which is checked when the test is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fakecg import Host
from fakecg.observe.check import check


@pytest.fixture
def boot() -> Iterator[Callable[..., Host]]:
    """Make a host; nothing takes time unless asked for. At the end no counter is wrong and every page has its bytes."""
    hosts: list[Host] = []

    def make(**options: Any) -> Host:
        host = Host(**{"ram": "64M", "swap": "64M", "cost": "instant", "seed": 1, **options})
        hosts.append(host)
        return host

    yield make
    for host in hosts:
        check(host)
        host.verify()
        host.close()
