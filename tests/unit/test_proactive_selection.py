"""Which versions of the proposal go together, and what a wrong choice is answered with."""

from __future__ import annotations

from itertools import combinations

import pytest

from fakecg.abi.errors import UsageError
from fakecg.abi.profile import PROACTIVE_VERSIONS, Features
from fakecg.cli.main import EXIT_USAGE, main

SAME_KEY = {"v2", "v3", "v4"}
SELECTIONS = [",".join(chosen) for size in range(1, 6) for chosen in combinations(PROACTIVE_VERSIONS, size)]


@pytest.mark.parametrize("selection", SELECTIONS)
def test_versions_with_one_key_exclude_each_other(selection: str) -> None:
    chosen = set(selection.split(","))
    if len(chosen & SAME_KEY) < 2:
        assert Features.select(proactive=selection).proactive == chosen
        return
    with pytest.raises(UsageError, match="zswap_writeback_only different meanings: choose one"):
        Features.select(proactive=selection)


@pytest.mark.parametrize(
    ("selection", "complaint"),
    [("v2,v3", "v2, v3 give"), ("v4,v2,v3", "v2, v3, v4 give"), ("v1,v6", "'v6'"), ("none,v1", "none excludes"), ("V5", "'V5'")],
)
def test_a_wrong_selection_is_one_line_and_exit_2(selection: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["features", "--proactive", selection]) == EXIT_USAGE == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert printed.err.count("\n") == 1
    assert complaint in printed.err
