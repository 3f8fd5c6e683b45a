"""Scores of replays: how many recorded rows come out as recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from rows import Rows


@pytest.fixture
def rows(file: str, record_property: Any) -> Iterator[Rows]:
    """The rows a test replays of its recording; the test fails for those that differ without being listed."""
    rows = Rows(file)
    yield rows
    record_property("rows", [file, len(rows.matched), sum(rows.matched.values())])
    assert not rows.wrong, f"\n{file}\n" + "\n".join(rows.wrong)
