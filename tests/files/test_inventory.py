"""The recorded walk over a fresh tree: which files there are, in what order, with what attributes and texts."""

from __future__ import annotations

import os
from collections.abc import Collection
from functools import partial
from typing import Any

import pytest
from backends import Backend, Outcome, golden, outcome
from directory_backend import DirectoryBackend, as_nobody
from scoring import Score, open_backend

RECORDING = "inventory.json"
INVENTORY = golden(RECORDING)

#: Texts that depend on what else runs on the machine: not compared in the root.
ROOT_TEXTS_OF_THE_MACHINE = {
    "cgroup.procs",
    "cgroup.threads",
    "cpu.stat",
    "io.stat",
    "cpu.pressure",
    "io.pressure",
    "memory.stat",
    "memory.numa_stat",
}
#: Texts that depend on what the one process did.
TEXTS_OF_THE_PROCESS = {"cgroup.procs", "cgroup.threads", "cpu.stat", "cpu.pressure", "memory.current", "memory.peak", "memory.stat"}
TEXTS_OF_THE_PROCESS |= {"memory.numa_stat"}
STAT_FIELDS = ("mode", "size", "nlink", "uid", "gid", "ino")

ROOT = "root_before_enabling_anything"
BARE = "child_without_any_controller (root subtree_control empty)"
ROOT_AFTER = "root_after_enabling_all"
FULL = "child_fresh_all_controllers_in_parent"
FULL_AFTER = "child_after_enabling_all_in_its_subtree_control"
GRANDCHILD = "grandchild_fresh"
MEMORY_ONLY = "child_fresh_memory_controller_only"


def _stat(recorded: dict[str, Any]) -> Outcome:
    return {field: recorded[field] for field in STAT_FIELDS}


def check_directory(backend: Backend, score: Score, inventory: dict[str, Any], entry: str, not_compared: Collection[str] = ()) -> None:
    """Everything recorded of one directory."""
    recorded = inventory[entry]
    path = _path(inventory, entry)
    score.check(f"{entry}: listing", backend.listdir(path), recorded["listdir_order"])
    score.check(f"{entry}: directory", backend.stat(path), _stat(recorded["dir_stat"]))
    for name, file in recorded["files"].items():
        score.check(f"{entry}: {name} attributes", backend.stat(f"{path}/{name}"), _stat(file["stat"]))
        if name not in not_compared:
            text = backend.read(f"{path}/{name}")
            expected = file["content"] if "content" in file else {"read_errno": file["read_errno"]}
            score.check(f"{entry}: {name} text", text, expected)
            if isinstance(backend, DirectoryBackend) and "small_reads" in file:
                score.check(f"{entry}: {name} small reads", small_reads(backend.path(f"{path}/{name}")), file["small_reads"])
        if isinstance(backend, DirectoryBackend):
            score.check(f"{entry}: {name} opens", opens(backend.path(f"{path}/{name}")), file["open"])


def small_reads(path: str) -> list[str]:
    """Two reads of three bytes, and where they left the descriptor."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return [os.read(fd, 3).decode(), os.read(fd, 3).decode(), f"offset {os.lseek(fd, 0, os.SEEK_CUR)}"]
    finally:
        os.close(fd)


def opens(path: str) -> dict[str, Any]:
    """Results of opening a file, as root and as somebody else."""

    def try_all() -> dict[str, Any]:
        return {name: outcome(partial(_open_and_close, path, getattr(os, name))) for name in ("O_RDONLY", "O_WRONLY", "O_RDWR")}

    results: dict[str, Any] = try_all()
    with as_nobody():
        results["uid1000"] = try_all()
    return results


def _open_and_close(path: str, flag: int) -> str:
    os.close(os.open(path, flag))
    return "ok"


def _path(inventory: dict[str, Any], entry: str) -> str:
    return str(inventory[entry]["path"]).removeprefix("/sys/fs/cgroup")


def walk(backend: Backend, score: Score, inventory: dict[str, Any]) -> None:
    """In the order of the recording, since inode numbers count what was made before."""
    check_directory(backend, score, inventory, ROOT, ROOT_TEXTS_OF_THE_MACHINE)
    backend.mkdir("/bare")
    check_directory(backend, score, inventory, BARE)
    backend.rmdir("/bare")
    backend.settle()
    enabled = {name: backend.write("/cgroup.subtree_control", b"+" + name.encode()) for name in inventory["enable_root"]}
    score.check("enable_root", enabled, inventory["enable_root"])
    check_directory(backend, score, inventory, ROOT_AFTER, ROOT_TEXTS_OF_THE_MACHINE)

    full, grandchild = _path(inventory, FULL), _path(inventory, GRANDCHILD)
    backend.mkdir(full)
    check_directory(backend, score, inventory, FULL)
    backend.enable_all(full)
    check_directory(backend, score, inventory, FULL_AFTER)
    backend.mkdir(grandchild)
    check_directory(backend, score, inventory, GRANDCHILD)
    score.check("parent_dir_stat_with_one_child", backend.stat(full), _stat(inventory["parent_dir_stat_with_one_child"]))
    backend.mkdir(f"{full}/{_second_child(inventory)}")
    score.check("parent_dir_stat_with_two_children", backend.stat(full), _stat(inventory["parent_dir_stat_with_two_children"]))
    score.check("listdir_child_with_two_children", backend.listdir(full), inventory["listdir_child_with_two_children"])


def _second_child(inventory: dict[str, Any]) -> str:
    known = {*inventory[FULL]["files"], _path(inventory, GRANDCHILD).rpartition("/")[2]}
    (name,) = set(inventory["listdir_child_with_two_children"]) - known
    return str(name)


def test_inventory(fresh_backend: Backend, score: Score) -> None:
    walk(fresh_backend, score, INVENTORY)


def test_inventory_of_two_nodes(fresh_backend: Backend, score: Score) -> None:
    score.recording = "inventory_numa2.json"
    with open_backend(fresh_backend.name, enable_controllers=False, nodes=2) as backend:
        walk(backend, score, golden("inventory_numa2.json"))


def test_statfs(backend: Backend, score: Score) -> None:
    if not isinstance(backend, DirectoryBackend):
        return
    st = os.statvfs(backend.path("/"))
    fields = {name: getattr(st, name) for name in ("f_bsize", "f_blocks", "f_bfree", "f_files", "f_ffree", "f_frsize")}
    fields["f_namelen"] = st.f_namemax
    score.check_all("statfs", fields, {name: INVENTORY["statfs"][name] for name in fields})


def test_order_of_many_children(backend: Backend, score: Score) -> None:
    recorded = INVENTORY["listdir_with_many_children"]
    with backend.parent(controllers=False) as parent:
        for name in recorded["created_in_order"]:
            backend.mkdir(f"{parent}/{name}")
        score.check("listdir_with_many_children", backend.listdir(parent), recorded["listdir"])


def test_memory_only_child_before_with_and_after_a_process(backend: Backend, score: Score) -> None:
    with backend.parent(controllers=False) as parent:
        assert "ret" in backend.write(f"{parent}/cgroup.subtree_control", b"+memory")
        child = f"{parent}/memonly"
        backend.mkdir(child)
        recorded = INVENTORY[MEMORY_ONLY]
        score.check(f"{MEMORY_ONLY}: listing", backend.listdir(child), recorded["listdir_order"])
        for name, file in recorded["files"].items():
            expected = file["content"] if "content" in file else {"read_errno": file["read_errno"]}
            score.check(f"{MEMORY_ONLY}: {name}", backend.read(f"{child}/{name}"), expected)
        process = backend.spawn(child)
        check_texts(backend, score, "populated_memonly_child_contents", child)
        own = [backend.read(f"{child}/{name}") for name in ("cgroup.procs", "cgroup.threads")]
        score.check("populated: processes", own, [f"{process.pid}\n"] * 2)
        process.reap()
        check_texts(backend, score, "after_exit_contents", child)
        own = [backend.read(f"{child}/{name}") for name in ("cgroup.procs", "cgroup.threads")]
        score.check("after exit: processes", own, ["", ""])


def check_texts(backend: Backend, score: Score, entry: str, path: str) -> None:
    """Texts that do not depend on what the process did."""
    for name, text in INVENTORY[entry].items():
        if name not in TEXTS_OF_THE_PROCESS:
            score.check(f"{entry}: {name}", backend.read(f"{path}/{name}"), text)


ZSWAP = INVENTORY["zswap_param_writes"]


@pytest.mark.parametrize("name", ZSWAP)
def test_zswap_parameter(backend: Backend, score: Score, name: str) -> None:
    """Parameters of the module, recorded with a running system, are the machine's, not the tree's: through the API only."""
    if backend.name != "api" or backend.host is None:
        return
    host = backend.host
    path = f"sys/module/zswap/parameters/{name}"

    def read() -> str:
        return host.show(host.open_system_file(path, backend_caller)).decode()

    backend_caller = backend.caller  # type: ignore[attr-defined]
    before = read()
    score.check(f"zswap_sysfs: {name}", before, INVENTORY["zswap_sysfs"][name]["content"])
    for number, case in enumerate(ZSWAP[name]):
        result = outcome(partial(host.write, host.open_system_file(path, backend_caller), case["in"].encode("latin-1")))
        score.check(f"zswap_param_writes: {name} {number} {case['in']!r}", {"in": case["in"], **result, "after": read()}, case)
    host.write(host.open_system_file(path, backend_caller), before.encode())
