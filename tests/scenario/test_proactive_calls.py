"""Recorded calls of the proactive-writeback interfaces on pools of a known state: how much one call writes, and what it returns."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from pools import GROUP, LATER_FILES, Pool, check_call, nr_clear_calls, scenario
from proactive import FILES, NUMA_FILES, PAGE_SIZE, PoolMachine, alternate, difference, recorded_changes, recording, result_of
from rows import Rows

# -- one call on a fresh pool -------------------------------------------------------------------------------------------------------------


@cache
def one_call(version: str, nr_entries: int, kind: str, nr_own: int, clear_calls: int, request: str) -> dict[str, Any]:
    """The outcome of a request on a fresh pool; the same in all recordings of a version."""
    pool = Pool(version, nr_entries, kind, nr_own=nr_own, clear_calls=clear_calls)
    outcome = pool.call(request)
    pool.remove()
    return {**outcome, "cleared": pool.cleared}


@pytest.mark.parametrize("file", [file for file, version in FILES.items() if version == "v1"])
def test_pages_written_for_a_maximum_of_pages(file: str, rows: Rows) -> None:
    for row in scenario(file, "p03_budgets")["rows"]:
        nr_pages = row["max_pages"]
        # A few pages of the process went with the others, or instead of them.
        nr_own = row["entries_before"] - 4096
        outcome = one_call("v1", row["entries_before"], "half", nr_own, 0, f"max={nr_pages * PAGE_SIZE} 1")
        check_call(rows, f"p03_budgets max={nr_pages} pages", outcome, row, nr_own=max(nr_own, 18))


@pytest.mark.parametrize("file", LATER_FILES)
def test_pages_written_for_a_size(file: str, rows: Rows) -> None:
    for row in scenario(file, "q03_budgets")["rows"]:
        cleared = row["clear_calls"]
        outcome = one_call(FILES[file], row["entries"], "half", 0, cleared["calls"] if cleared else 0, row["request"])
        assert outcome["cleared"] == cleared
        check_call(rows, f"q03_budgets {row['state']} {row['request']}", outcome, row)


@pytest.mark.parametrize("file", LATER_FILES)
def test_pages_written_by_content(file: str, rows: Rows) -> None:
    for row in scenario(file, "q03b_contents")["rows"]:
        cleared = row["clear_calls"]
        outcome = one_call(FILES[file], row["entries"] or 2048, row["content"], 0, cleared["calls"] if cleared else 0, row["request"])
        assert outcome["cleared"] == cleared
        check_call(rows, f"q03b_contents {row['content']} {row['request']}", outcome, row)


@pytest.mark.parametrize("file", LATER_FILES)
def test_results_on_a_pool(file: str, rows: Rows) -> None:
    for context, entry in recording(file)["matrix"].items():
        if not context.startswith(("cgroup with", "with entries")):
            continue
        for number, case in enumerate(entry["cases"]):
            text, _, key = case["in"].partition(" ")
            nr_entries = case["cleared_entries"]
            nr_calls = case["clear_calls"]["calls"] if "clear_calls" in case else nr_clear_calls(FILES[file], nr_entries)
            pool = Pool(FILES[file], nr_entries, clear_calls=nr_calls)
            where = case.get("context", "")
            if "zswap disabled" in where:
                pool.machine.set_zswap("enabled", "N")
            if "writeback=0" in where:
                pool.machine.write("/D" if "parent" in where else GROUP, "memory.zswap.writeback", "0")
            before = pool.machine.counters(GROUP)
            result = pool.machine.write(GROUP, "memory.reclaim", case["in"])
            outcome = {"result": result, "changes": difference(before, pool.machine.counters(GROUP))}
            check_call(rows, f"{context} {number} {where} {text} {key}", outcome, case)
            pool.machine.set_zswap("enabled", "Y")
            pool.machine.write("/D", "memory.zswap.writeback", "1")
            pool.remove()


# -- several calls on a pool --------------------------------------------------------------------------------------------------------------


@cache
def repeated_calls(version: str, nr_entries: int, request: str, nr_calls: int) -> list[dict[str, Any]]:
    """The outcomes of a request, again and again, on a pool of entries with the referenced bit."""
    pool = Pool(version, nr_entries)
    outcomes = [pool.call(request) for _ in range(nr_calls)]
    pool.remove()
    return outcomes


@pytest.mark.parametrize("file", LATER_FILES)
def test_second_chance_of_fresh_entries(file: str, rows: Rows) -> None:
    for row in scenario(file, "q05_second_chance")["rows"]:
        outcomes = repeated_calls(FILES[file], row["entries"], row["request"], len(row["calls"]))
        for number, (outcome, call) in enumerate(zip(outcomes, row["calls"], strict=True)):
            check_call(rows, f"q05_second_chance {row['n']} {row['request']} #{number}", outcome, call)


@pytest.mark.parametrize("file", LATER_FILES)
def test_cleared_entries_stored_before_fresh_ones(file: str, rows: Rows) -> None:
    for row in scenario(file, "q19_mixed")["rows"]:
        # The process moved its pages out in two parts.
        pool = Pool(FILES[file], row["cleared"], clear_calls=row["clear_calls"]["calls"], nr_more=row["fresh"])
        assert pool.cleared == row["clear_calls"]
        pool.hog.pageout(row["cleared"])
        for number, call in enumerate(row["calls"]):
            check_call(rows, f"q19_mixed {row['cleared']}+{row['fresh']} #{number}", pool.call("64K"), call)
        pool.remove()
    order = scenario(file, "q19_mixed")["order"]
    said = order["clear_calls"]
    check_call(
        rows, "q19_mixed order", one_call(FILES[file], said["entries"], "half", 0, said["calls"], order["call"]["request"]), order["call"]
    )


@pytest.mark.parametrize("file", LATER_FILES)
def test_what_the_selftest_of_v5_does(file: str, rows: Rows) -> None:
    for number, row in enumerate(scenario(file, "q21_selftest_like")["rows"]):
        # Reclaim took some pages of the process, then of the mapping: those are shorter.
        nr_own = 17
        pool = Pool(FILES[file], row["entries_before"], nr_own=nr_own)
        check_call(rows, f"q21_selftest_like #{number}", pool.call(row["request"]), row, nr_own=nr_own)
        pool.remove()


@pytest.mark.parametrize("file", LATER_FILES)
def test_two_writers_at_once(file: str, rows: Rows) -> None:
    for row in scenario(file, "q29_two_writers")["rows"]:
        pool = Pool(FILES[file], row["entries_before"], clear_calls=nr_clear_calls(FILES[file], row["entries_before"]))
        before = pool.machine.counters(GROUP)
        exits = alternate(pool.machine, [pool.machine.work(GROUP, row["request"]) for _ in range(2)])
        changes = difference(before, pool.machine.counters(GROUP))
        recorded = {"exits": row["exit (0 success, 11 EAGAIN)"], "written": row["written"], "counter": row["counter"]}
        rows.check(
            f"q29_two_writers {row['request']}", {"exits": exits, "written": changes["zswpwb"], "counter": changes["counter"]}, recorded
        )
        pool.remove()


# -- signals ------------------------------------------------------------------------------------------------------------------------------


def _interrupted_call(pool: Pool, request: str, nr_written: int) -> dict[str, Any]:
    """A request with a signal that comes when so many pages have been written."""
    machine = pool.machine
    before = machine.counters(GROUP)
    total = machine.machine.vm.zswpwb + nr_written
    result = machine.request(GROUP, request, interrupted=lambda: machine.machine.vm.zswpwb >= total)
    return {"result": result, "changes": difference(before, machine.counters(GROUP))}


def _check_changes(rows: Rows, name: str, outcome: dict[str, Any], result: dict[str, Any], delta: dict[str, int], nr_own: int) -> None:
    changes = {key: value for key, value in outcome["changes"].items() if key not in ("swap.current", "zswpin", "zswpout")}
    rows.check(name, {**outcome["result"], **changes}, {**result_of(result), **recorded_changes(delta)}, own_pages=nr_own)


@pytest.mark.parametrize("file", LATER_FILES)
def test_a_signal_ends_a_call(file: str, rows: Rows) -> None:
    recorded = scenario(file, "q09_signal")
    signal, first, rest, kill = recorded["rows"]
    cleared = recorded["clear_calls"]
    nr_entries = cleared["entries"] + cleared["written"]
    pool = Pool(FILES[file], nr_entries, clear_calls=cleared["calls"])
    assert pool.cleared == cleared
    outcome = _interrupted_call(pool, "1G", first["delta"]["zswpwb"])
    _check_changes(rows, f"q09_signal {signal['what']}", outcome, signal["r"], first["delta"], 0)
    outcome = pool.call("1G")
    _check_changes(rows, f"q09_signal {rest['what']}", outcome, rest["r"], rest["r"].get("delta", rest.get("delta")), 0)
    pool.remove()
    pool = Pool(FILES[file], nr_entries, clear_calls=cleared["calls"])
    outcome = _interrupted_call(pool, "1G", kill["delta"]["zswpwb"])
    # A killed writer has no result.
    _check_changes(rows, f"q09_signal {kill['what']}", {**outcome, "result": {}}, {}, kill["delta"], 0)
    pool.remove()


@pytest.mark.parametrize("file", [file for file, version in FILES.items() if version == "v1"])
def test_a_signal_ends_a_call_of_v1(file: str, rows: Rows) -> None:
    recorded = scenario(file, "p09_signal")["rows"]
    (signal,) = (row for row in recorded if any(key.startswith("SIGALRM") for key in row))
    position = recorded.index(signal)
    delta, rest = recorded[position + 1]["delta"], recorded[position + 2]
    nr_entries = delta["zswpwb"] + rest["delta"]["zswpwb"]
    pool = Pool("v1", nr_entries, nr_own=17)
    _check_changes(rows, "p09_signal SIGALRM", _interrupted_call(pool, "1", delta["zswpwb"]), next(iter(signal.values())), delta, 17)
    (result,) = (value for key, value in rest.items() if key != "delta")
    _check_changes(rows, "p09_signal to the end", pool.call("1"), result, rest["delta"], 17)
    pool.remove()


# -- two nodes ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", NUMA_FILES)
def test_two_nodes(file: str, rows: Rows) -> None:
    version = NUMA_FILES[file]
    for row in scenario(file, "q30_numa")["rows"]:
        with PoolMachine(version, nodes=2) as machine:
            machine.host.mkdir(GROUP)
            sizes = []
            for node, kind in enumerate(("half", "quarter")):
                hog = machine.hog(GROUP)
                hog.map(1024, kind, node=node)
                hog.pageout()
                sizes.append(machine.counters(GROUP)["zswap"])
            name = f"q30_numa {row['state']} {row['request']}"
            clear = row["clear"]
            if isinstance(clear, dict):
                assert machine.clear(GROUP, clear["calls"]) == clear
            for expected in clear if isinstance(clear, list) else ():
                assert machine.request(GROUP, "1") == result_of(expected)
            assert sizes == row["zswap_after_each_store"]
            for number, call in enumerate(row["calls"]):
                before = machine.counters(GROUP)
                result = machine.request(GROUP, row["request"])
                changes = difference(before, machine.counters(GROUP))
                rows.check(
                    f"{name} #{number}",
                    {**result, "written": changes["zswpwb"], "counter": changes["counter"], "zswap": changes["zswap"]},
                    {**result_of(call["result"]), "written": call["written"], "counter": call["counter"], "zswap": call["zswap"]},
                )
