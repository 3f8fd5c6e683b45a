"""docs/versions.md shows what the versions do, and what it says in words about them is so."""

from __future__ import annotations

from functools import cache

import pytest

from fakecg.abi.errors import UsageError
from fakecg.abi.profile import PROACTIVE_VERSIONS
from fakecg.cli import versions_docs
from fakecg.cli.versions_docs import PATH, ROWS, SMALLEST, Bench, measure, render

PAGE = PATH.read_text(encoding="utf-8")
V2_TO_V4 = ("v2", "v3", "v4")


@cache
def cell(title: str, version: str) -> str:
    """What the table says."""
    (row,) = (row for row in ROWS if row.title == title)
    return measure(row, version)


def test_the_table_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions_docs, "measure", lambda row, version: cell(row.title, version))
    assert render(PAGE) == PAGE, "run make docs"


def test_a_page_without_the_marks_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="one table"):
        render(PAGE.replace("<!-- the same requests -->", ""))


@pytest.mark.parametrize("version", PROACTIVE_VERSIONS)
def test_a_fresh_pool_may_need_a_second_call(version: str) -> None:
    nr_failures = {"v1": 0, "v5": 1}.get(version, 2)
    assert cell("1024 fresh entries, the smallest request twice", version).count("EAGAIN") == nr_failures


def test_v5_succeeds_with_one_page_of_1023_and_fails_with_1024() -> None:
    assert cell("1023 fresh entries, the smallest request", "v5") == "1"
    with Bench("v5") as bench:
        child = bench.store("a", 4096, fresh=True)
        assert [bench.ask(child, SMALLEST) for _ in range(5)] == ["0 EAGAIN"] * 4 + ["64"]


@pytest.mark.parametrize("version", PROACTIVE_VERSIONS)
def test_small_requests_take_turns_or_drain_the_first_child(version: str) -> None:
    with Bench(version) as bench:
        for name in ("a", "b", "c"):
            bench.store(name, 128)
        bench.take_referenced_bits()
        for _ in range(6):
            bench.ask(bench.parent, SMALLEST)
        shares = bench.written()
    assert shares == {"v4": [96, 0, 0], "v5": [128, 128, 128]}.get(version, [32, 32, 32])


def test_a_fresh_sibling_starves_a_cold_one_in_v5_only() -> None:
    title = "parent, 2048 cold in one child and 2048 fresh in the next, 4M, twice"
    assert {version for version in PROACTIVE_VERSIONS if "EAGAIN" in cell(title, version)} == {"v5"}


def test_more_than_sixteen_fresh_children_end_a_call_of_v5() -> None:
    # Recorded with forty children of eight fresh entries each.
    with Bench("v5") as bench:
        for number in range(40):
            bench.store(f"c{number}", 8, fresh=True)
        assert bench.ask(bench.parent, "1").endswith("EAGAIN")
        assert bench.written() == [0] * 40
        for number in range(10):
            assert not bench.ask(bench.parent, "1").endswith("EAGAIN")
            assert sum(bench.written()) == 8 * (number + 1)
        assert bench.written() == [8] * 10 + [0] * 30
        for nr_cgroups in (16, 40):
            assert bench.ask(bench.parent, "1G").endswith("EAGAIN")
            assert sum(bench.written()) == nr_cgroups * 8


@pytest.mark.parametrize("version", V2_TO_V4)
def test_forty_fresh_children_take_calls_in_the_other_versions(version: str) -> None:
    with Bench(version) as bench:
        for number in range(40):
            bench.store(f"c{number}", 8, fresh=True)
        nr_calls = 0
        while bench.ask(bench.parent, SMALLEST).endswith("EAGAIN"):
            nr_calls += 1
        assert nr_calls == (1 if version == "v4" else 2)


@pytest.mark.parametrize("version", PROACTIVE_VERSIONS)
def test_exactly_what_is_there_succeeds_and_a_little_more_does_not(version: str) -> None:
    assert cell("1000 entries, exactly what is there", version) == "1000"
    with Bench(version) as bench:
        child = bench.store("a", 1000)
        # v4 rounds what was written up to a page, what was asked down.
        more = 1001 * 4096 if version in ("v1", "v2", "v3") else int(child["memory.zswap.current"]) + (8192 if version == "v4" else 1)
        assert bench.ask(child, str(more)) == ("1000" if version in ("v1", "v2") else "1000 EAGAIN")


@pytest.mark.parametrize("version", PROACTIVE_VERSIONS)
def test_only_v4_is_deaf_to_signals(version: str) -> None:
    said = cell("1024 entries, 16M, a signal after the first pages", version)
    assert said.endswith("EINTR") == (version != "v4")
