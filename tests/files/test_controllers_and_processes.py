"""The recorded scenarios around controllers, thread mode, the freezer and moves of processes, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from backends import Backend, Outcome, Process, golden, outcome
from directory_backend import DirectoryBackend, as_nobody
from scoring import Score

RECORDED = {name: entry["ret"] for name, entry in golden("write_matrix.json")["controllers_and_processes"].items()}


@pytest.fixture
def child(backend: Backend) -> Iterator[str]:
    """The recordings' ``s``: a fresh cgroup below one with every controller on."""
    with backend.parent() as parent:
        backend.mkdir(f"{parent}/s")
        yield f"{parent}/s"


def enable(backend: Backend, path: str, words: str) -> Outcome:
    return backend.write(f"{path}/cgroup.subtree_control", words.encode())


def move(backend: Backend, process: Process, path: str) -> Outcome:
    return backend.write(f"{path}/cgroup.procs", str(process.pid).encode())


def move_fresh(backend: Backend, path: str) -> Outcome:
    """Move a new process, which ends afterwards; the recorder wrote 0 from it."""
    return backend.write_as_process(f"{path}/cgroup.procs", b"0")


def files_of(backend: Backend, path: str, prefix: str) -> list[str]:
    return sorted(name for name in backend.listdir(path) if name.startswith(prefix))


def test_processes_inside(backend: Backend, score: Score, child: str) -> None:
    process = backend.spawn(child)
    grandchild = f"{child}/k"

    def text(name: str) -> Any:
        return backend.read(f"{child}/{name}")

    steps: dict[str, Any] = {}
    steps["enable +memory with a process inside"] = enable(backend, child, "+memory")
    steps["after"] = text("cgroup.subtree_control")
    steps["enable +cpu (threaded controller) with a process inside"] = enable(backend, child, "+cpu")
    steps["after2"] = text("cgroup.subtree_control")
    steps["+pids"] = enable(backend, child, "+pids")
    steps["+cpu +memory"] = enable(backend, child, "+cpu +memory")
    steps["after3"] = text("cgroup.subtree_control")
    backend.mkdir(grandchild)
    steps["mkdir child then cgroup.type of it"] = backend.read(f"{grandchild}/cgroup.type")
    steps["type of s"] = text("cgroup.type")
    steps["move the process into k"] = move(backend, process, grandchild)
    steps["type of k"] = backend.read(f"{grandchild}/cgroup.type")
    steps["enable +memory after moving"] = enable(backend, child, "+memory")
    back = move(backend, process, child)
    steps["move back"] = {"ret": 3} if back == {"ret": len(str(process.pid))} else back
    own = text("cgroup.procs")
    steps["procs of s"] = RECORDED["processes_inside"]["procs of s"] if own == f"{process.pid}\n" else own
    steps["procs of k"] = backend.read(f"{grandchild}/cgroup.procs")
    process.reap()
    score.check_all("processes_inside", steps, RECORDED["processes_inside"])


def test_move_into_nonleaf(backend: Backend, score: Score, child: str) -> None:
    steps: dict[str, Any] = {}
    steps["+memory"] = enable(backend, child, "+memory")
    steps["move a process into a cgroup with subtree_control=memory"] = move_fresh(backend, child)
    steps["-memory"] = enable(backend, child, "-memory")
    steps["move a process with empty subtree_control"] = move_fresh(backend, child)
    steps["+cpu"] = enable(backend, child, "+cpu")
    steps["move a process with subtree_control=cpu"] = move_fresh(backend, child)
    backend.mkdir(f"{child}/k")
    steps["with a child, subtree=cpu"] = move_fresh(backend, child)
    score.check_all("move_into_nonleaf", steps, RECORDED["move_into_nonleaf"])


def test_controller_depth(backend: Backend, score: Score, child: str) -> None:
    grandchild = f"{child}/k"
    backend.mkdir(grandchild)
    steps: dict[str, Any] = {}
    steps["k files without memory in s"] = files_of(backend, grandchild, "memory.")
    steps["enable +memory in k (parent lacks)"] = enable(backend, grandchild, "+memory")
    steps["k controllers"] = backend.read(f"{grandchild}/cgroup.controllers")
    steps["enable +memory in s"] = enable(backend, child, "+memory")
    steps["k files now"] = files_of(backend, grandchild, "memory.")
    steps["+memory in k"] = enable(backend, grandchild, "+memory")
    for name, value in (("memory.max", b"64M"), ("memory.low", b"1M"), ("memory.zswap.writeback", b"0")):
        assert "ret" in backend.write(f"{grandchild}/{name}", value)
    steps["-memory in s while k has it"] = enable(backend, child, "-memory")
    steps["-memory in k"] = enable(backend, grandchild, "-memory")
    steps["-memory in s"] = enable(backend, child, "-memory")
    steps["k files after"] = files_of(backend, grandchild, "memory.")
    steps["+memory in s again"] = enable(backend, child, "+memory")
    steps["k memory.max/low/writeback after disable/enable"] = [
        backend.read(f"{grandchild}/{name}") for name in ("memory.max", "memory.low", "memory.zswap.writeback")
    ]
    score.check_all("controller_depth", steps, RECORDED["controller_depth"])


def test_inheritance_at_mkdir(backend: Backend, score: Score, child: str) -> None:
    recorded = RECORDED["inheritance_at_mkdir [parent, child]"]
    grandchild = f"{child}/k"
    assert "ret" in enable(backend, child, "+memory")
    for name, value in recorded.items():
        if name.startswith("memory.") and value[0] != "max\n":
            assert "ret" in backend.write(f"{child}/{name}", value[0].strip().encode())
    backend.mkdir(grandchild)
    writeback = "memory.zswap.writeback"
    steps: dict[str, Any] = {
        name: [backend.read(f"{child}/{name}"), backend.read(f"{grandchild}/{name}")] for name in recorded if name.startswith("memory.")
    }
    backend.write(f"{child}/{writeback}", b"1")
    steps["child value after the parent is set back to 1"] = backend.read(f"{grandchild}/{writeback}")
    backend.write(f"{child}/{writeback}", b"0")
    result = backend.write(f"{grandchild}/{writeback}", b"1")
    steps["set child writeback 1 with parent 0"] = [result, backend.read(f"{grandchild}/{writeback}")]
    score.check_all("inheritance_at_mkdir", steps, recorded)


def test_threaded(backend: Backend, score: Score, child: str) -> None:
    grandchild, sibling = f"{child}/k", f"{child}/d"
    backend.mkdir(grandchild)
    steps: dict[str, Any] = {}
    steps["k threaded"] = backend.write(f"{grandchild}/cgroup.type", b"threaded")
    steps["types s,k"] = [backend.read(f"{path}/cgroup.type") for path in (child, grandchild)]
    steps["k back to domain"] = backend.write(f"{grandchild}/cgroup.type", b"domain")
    steps["k files"] = sorted(backend.listdir(grandchild))
    steps["k controllers"] = backend.read(f"{grandchild}/cgroup.controllers")
    steps["+memory in s"] = enable(backend, child, "+memory")
    steps["read k cgroup.procs"] = backend.read(f"{grandchild}/cgroup.procs")
    steps["write k cgroup.procs 0"] = move_fresh(backend, grandchild)
    steps["write s cgroup.procs 0"] = move_fresh(backend, child)
    backend.mkdir(sibling)
    steps["type of a new sibling domain under threaded root"] = backend.read(f"{sibling}/cgroup.type")
    steps["read procs of domain invalid"] = backend.read(f"{sibling}/cgroup.procs")
    steps["write procs of domain invalid"] = move_fresh(backend, sibling)
    steps["d subtree"] = enable(backend, sibling, "+pids")
    steps["mkdir in domain invalid"] = outcome(lambda: backend.mkdir(f"{sibling}/e"))
    score.check_all("threaded", steps, RECORDED["threaded"])


def test_freeze_kill(backend: Backend, score: Score, child: str) -> None:
    process = backend.spawn(child)
    steps: dict[str, Any] = {}
    steps["freeze 1"] = backend.write(f"{child}/cgroup.freeze", b"1")
    steps["events"] = backend.read(f"{child}/cgroup.events")
    steps["kill 1 while frozen"] = backend.write(f"{child}/cgroup.kill", b"1")
    process.wait_killed()
    steps["rc"] = process.exit_code()
    steps["events2"] = backend.read(f"{child}/cgroup.events")
    steps["freeze file"] = backend.read(f"{child}/cgroup.freeze")
    steps["read cgroup.kill"] = backend.read(f"{child}/cgroup.kill")
    backend.mkdir(f"{child}/k")
    steps["child of frozen: freeze file, events"] = [backend.read(f"{child}/k/{name}") for name in ("cgroup.freeze", "cgroup.events")]
    backend.write(f"{child}/cgroup.freeze", b"0")
    steps["events3"] = backend.read(f"{child}/cgroup.events")
    process.reap()
    score.check_all("freeze_kill", steps, RECORDED["freeze_kill"])


def test_procs_format(backend: Backend, score: Score, child: str) -> None:
    recorded = RECORDED["procs_format"]
    processes = [backend.spawn(child, threads) for threads in (1, 1, 2, 1)]
    ids = [tid for process in processes for tid in process.tids]
    names = dict(zip(ids, recorded["pids in creation order"], strict=True))

    def recorded_ids(name: str) -> str:
        text = backend.read(f"{child}/{name}")
        assert isinstance(text, str)
        return "".join(f"{names.get(int(word), word)}\n" for word in text.split())

    pid = str(processes[0].pid)
    steps: dict[str, Any] = {"procs": recorded_ids("cgroup.procs"), "pids in creation order": list(names.values())}
    steps["threads"] = recorded_ids("cgroup.threads")
    for name, data in (
        ("move pid with trailing text", f"{pid} x"),
        ("move two pids one write", f"{pid} {pid}"),
        ("newline separated", f"{pid}\n{pid}\n"),
        ("kernel thread pid 2", "2"),
    ):
        steps[name] = backend.write(f"{child}/cgroup.procs", data.encode())
    again = backend.write(f"{child}/cgroup.procs", pid.encode())
    steps["already there"] = {"ret": 3} if again == {"ret": len(pid)} else again
    backend.write(f"{child}/cgroup.procs", str(processes[1].pid).encode())
    steps["procs order after re-adding [2]"] = recorded_ids("cgroup.threads")
    zombie = backend.spawn(child)
    zombie.become_zombie()
    steps["procs with a zombie"] = recorded_ids("cgroup.procs")
    moved = backend.write(f"{child}/cgroup.procs", str(zombie.pid).encode())
    steps["write a zombie's pid"] = {"ret": 3} if moved == {"ret": len(str(zombie.pid))} else moved
    steps["pids.current-ish events"] = backend.read(f"{child}/cgroup.events")
    expected = {name: value for name, value in recorded.items() if name != "/proc/pid/cgroup"}
    key = "uid1000 migration of own process between root-owned"
    if isinstance(backend, DirectoryBackend):
        with as_nobody():
            steps[key] = backend.write(f"{child}/cgroup.procs", b"0")
    else:
        del expected[key]  # permission bits are checked in front of the mount
    for process in (*processes, zombie):
        process.reap()
    score.check_all("procs_format", steps, expected)
