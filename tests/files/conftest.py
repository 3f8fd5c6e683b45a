"""Backends, and the score: how many recorded cases come out as recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from backends import Backend
from scoring import BACKENDS, Score, open_backend


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", BACKENDS, indirect=True, scope="session")
    if "fresh_backend" in metafunc.fixturenames:
        metafunc.parametrize("fresh_backend", [name for name in BACKENDS if name != "kernel"], indirect=True, scope="module")


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """One tree for all tests of a backend; each test works below a cgroup of its own, or puts the root back."""
    with open_backend(request.param) as tree:
        if request.param != "kernel":
            tree.enable_all("")
        yield tree


@pytest.fixture(scope="module")
def fresh_backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A tree in which nothing has happened yet, not even a controller been enabled."""
    with open_backend(request.param, enable_controllers=False) as tree:
        yield tree


@pytest.fixture
def score(request: pytest.FixtureRequest, record_property: Any) -> Iterator[Score]:
    """The score of this test's recording; the test fails for cases that differ without being listed."""
    used = "backend" if "backend" in request.fixturenames else "fresh_backend"
    backend = request.getfixturevalue(used)
    score = Score(backend.name, getattr(request.module, "RECORDING", "write_matrix.json"))
    yield score
    record_property("cases", [f"{score.recording:28} {score.backend}", len(score.results), sum(score.results.values())])
    assert not score.wrong, "\n" + "\n".join(score.wrong)
