"""Every recorded write: one write to a fresh open file of a fresh cgroup, its result, and what the file reads afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from backends import Backend, data_of, golden
from scoring import Score

MATRIX = golden("write_matrix.json")
WITHOUT_CONTROLLERS = "cgroup.type (parent without controllers)"
#: Values that a real process's own memory moves.
_PROCESS_MEMORY = {"memory.peak", "memory.current"}

CASES = [(name, number, case) for name, entry in MATRIX["files"].items() for number, case in enumerate(entry["cases"])]


@pytest.mark.parametrize(("name", "number", "case"), CASES, ids=[f"{name}-{number}" for name, number, _ in CASES])
def test_write(backend: Backend, score: Score, name: str, number: int, case: dict[str, Any]) -> None:
    file = name.partition(" ")[0]
    with backend.parent(controllers=name != WITHOUT_CONTROLLERS) as parent:
        child = f"{parent}/s"
        backend.mkdir(child)
        before = backend.read(f"{child}/{file}")
        siblings = {each: backend.read(f"{child}/{each}") for each in case.get("other", {}) if each not in _PROCESS_MEMORY}
        write = backend.write_as_process if file in ("cgroup.procs", "cgroup.threads") else backend.write
        result = write(f"{child}/{file}", data_of(case))
        after = backend.read(f"{child}/{file}")
        expected: list[Any] = [case["after"], {key: case[key] for key in ("ret", "errno", "open_errno") if key in case}]
        actual: list[Any] = ["(unchanged)" if after == before else after, result]
        if "parent_type_after" in case:
            expected.append(case["parent_type_after"])
            actual.append(backend.read(f"{parent}/cgroup.type"))
        for each, text in siblings.items():
            expected.append(case["other"][each])
            actual.append({"from": text, "to": backend.read(f"{child}/{each}")})
        score.check(f"{name} {number} {case.get('in', '...')!r}", actual, expected)


@pytest.mark.parametrize("name", MATRIX["files"])
def test_initial_text(backend: Backend, score: Score, name: str) -> None:
    with backend.parent(controllers=name != WITHOUT_CONTROLLERS) as parent:
        backend.mkdir(f"{parent}/s")
        score.check(f"{name} initial", backend.read(f"{parent}/s/{name.partition(' ')[0]}"), MATRIX["files"][name]["initial"])


@pytest.mark.parametrize("name", MATRIX["root_files"])
def test_root_write(backend: Backend, score: Score, name: str) -> None:
    entry = MATRIX["root_files"][name]
    if isinstance(entry, dict):
        exists = name in backend.listdir("/")
        score.check(f"root {name} exists", exists, entry["exists"])
        score.check(f"root {name} open", backend.write(f"/{name}", b"x"), entry["open_for_write"])
        return
    if backend.name == "kernel":
        return  # the directory the test may use is not the root
    # The recorded machine had processes; without memory in use there would be nothing to reclaim.
    task = backend.host.spawn("/", size="16M") if backend.host is not None else None
    for number, case in enumerate(entry):
        before = backend.read(f"/{name}")
        write = backend.write_as_process if name in ("cgroup.procs", "cgroup.threads") else backend.write
        result = write(f"/{name}", data_of(case))
        after = backend.read(f"/{name}")
        if isinstance(before, str) and after != before:
            backend.write(f"/{name}", before.encode("latin-1"))
        expected = {key: value for key, value in case.items() if key in ("ret", "errno", "after")}
        score.check(f"root {name} {number} {case['in']!r}", {**result, "after": "(unchanged)" if after == before else after}, expected)
    if backend.host is not None and task is not None:
        backend.host.kill(task.pid)


@pytest.mark.parametrize("number", range(len(MATRIX["cgroup_kill_with_a_process"])))
def test_kill_with_a_process(backend: Backend, score: Score, number: int) -> None:
    case = MATRIX["cgroup_kill_with_a_process"][number]
    with backend.parent() as parent:
        backend.mkdir(f"{parent}/s")
        process = backend.spawn(f"{parent}/s")
        result = backend.write(f"{parent}/s/cgroup.kill", data_of(case))
        if case["process_rc_after"] is not None:
            process.wait_killed()
        events = backend.read(f"{parent}/s/cgroup.events")
        expected = {key: value for key, value in case.items() if key != "in"}
        score.check(f"kill {case['in']!r}", {**result, "process_rc_after": process.exit_code(), "events": events}, expected)
        process.reap()


def test_pressure_toggle(backend: Backend, score: Score) -> None:
    recorded = MATRIX["cgroup_pressure_toggle"]
    with backend.parent() as parent:
        child = f"{parent}/s"
        backend.mkdir(child)
        pressure = f"{child}/memory.pressure"
        actual: dict[str, Any] = {
            "listdir_before": sorted(backend.listdir(child)),
            "memory.pressure_before": backend.read(pressure),
            "write0": backend.write(f"{child}/cgroup.pressure", b"0"),
            "listdir_after0": sorted(backend.listdir(child)),
            "memory.pressure_after0": backend.read(pressure),
        }
        try:
            actual["mode_after0"] = backend.stat(pressure)
        except OSError:
            actual["mode_after0"] = {"errno": "ENOENT"}
        actual["trigger_after0"] = backend.write(pressure, b"some 150000 1000000")
        actual["write1"] = backend.write(f"{child}/cgroup.pressure", b"1")
        actual["listdir_after1"] = sorted(backend.listdir(child))
        actual["memory.pressure_after1"] = backend.read(pressure)
    score.check_all("pressure toggle", actual, recorded)
