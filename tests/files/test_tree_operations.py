"""Recorded operations on names: mkdir, rmdir, rename and the like, limits, attributes, xattrs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from backends import Backend, golden, outcome
from directory_backend import NOBODY, DirectoryBackend, outcome_as_nobody
from scoring import Score

RECORDED = golden("write_matrix.json")["tree_ops"]
BIG = b"x" * (64 << 10)

NAMES = {
    "plain": "x",
    "only newline": "\n",
    "trailing newline": "x\n",
    "space": "a b",
    "leading dot": ".hid",
    "name memory.current": "memory.current",
    "name memory.foo": "memory.foo",
    "name cgroup.procs": "cgroup.procs",
    "name cgroup.foo": "cgroup.foo",
    "name foo.bar": "foo.bar",
    "dot": ".",
    "dotdot": "..",
    "utf8": "é中",
    "256 long": "n" * 256,
    "300 long": "n" * 300,
    "3000 long": "n" * 3000,
    "4095 long": "n" * 4095,
    "5000 long": "n" * 5000,
    "tab": "a\tb",
    "quote": "a'\"b",
    "empty": "",
    "trailing slash": "x/",
    "tasks": "tasks",
    "memory": "memory",
}
#: A name of the path's own limits, which the API does not have.
PATH_NAMES = {"4095 long", "5000 long", "trailing slash"}


@pytest.fixture
def child(backend: Backend) -> Iterator[str]:
    """The recordings' ``s``."""
    with backend.parent() as parent:
        backend.mkdir(f"{parent}/s")
        yield f"{parent}/s"


@pytest.mark.parametrize("name", NAMES)
def test_mkdir_names(backend: Backend, score: Score, child: str, name: str) -> None:
    recorded = RECORDED[f"mkdir {name}"]
    if name in PATH_NAMES and not isinstance(backend, DirectoryBackend):
        return
    text = NAMES[name]
    before = set(backend.directories(child))
    # The longest path name is that of the directory plus this one: the recordings' was relative to it.
    result = outcome(lambda: backend.mkdir(f"{child}/{text}"))
    if "ret" in result:
        (made,) = set(backend.directories(child)) - before
        assert made == text.rstrip("/")
        same = {"listed as given": made, "": made}.get(recorded.get("ret"), os.fsencode(made).decode("latin-1"))
        result = recorded if same in (made, recorded.get("ret")) else {"ret": same}
    score.check(f"mkdir {name}", result, recorded)


def _stat_text(text: object) -> dict[str, int]:
    assert isinstance(text, str)
    return {key: int(value) for key, value in (line.split() for line in text.splitlines())}


@pytest.mark.parametrize("name", [name for name in RECORDED if name.startswith(("max.depth=", "max.descendants="))])
def test_limits(backend: Backend, score: Score, child: str, name: str) -> None:
    """The recorded cgroup.stat also counts the dying ones of the cases before; the live counts are compared."""
    file, _, value = name.partition("=")
    recorded = RECORDED[name]["ret"]
    read_back, stat_before, *tries, stat_after = recorded
    assert "ret" in backend.write(f"{child}/cgroup.{file}", value.encode())
    actual: list[Any] = [backend.read(f"{child}/cgroup.{file}"), _live(_stat_text(backend.read(f"{child}/cgroup.stat")))]
    for number, (step, _) in enumerate(tries):
        prefix = "".join(f"/d{each}" for each in range(number)) if file == "max.depth" else ""
        path = f"{child}{prefix}/d{number}"
        actual.append([step, outcome(partial(backend.mkdir, path))])
    actual.append(_live(_stat_text(backend.read(f"{child}/cgroup.stat"))))
    expected = [read_back, _live(_stat_text(stat_before)), *tries, _live(_stat_text(stat_after))]
    score.check(name, actual, expected)


def _live(counts: dict[str, int]) -> dict[str, int]:
    return {key: value for key, value in counts.items() if "dying" not in key}


def test_limits_below_the_present_count(backend: Backend, score: Score, child: str) -> None:
    for name in ("a", "b"):
        backend.mkdir(f"{child}/{name}")
    actual = [
        backend.write(f"{child}/cgroup.max.descendants", b"1"),
        backend.read(f"{child}/cgroup.max.descendants"),
        outcome(lambda: backend.mkdir(f"{child}/c")),
        backend.write(f"{child}/cgroup.max.depth", b"0"),
        backend.read(f"{child}/cgroup.max.depth"),
    ]
    score.check("limits set below the current count", actual, RECORDED["limits set below the current count"]["ret"])


def test_stat_around_rmdir(backend: Backend, score: Score, child: str) -> None:
    backend.mkdir(f"{child}/k")
    actual = [backend.read(f"{child}/cgroup.stat")]
    backend.rmdir(f"{child}/k")
    actual.append(backend.read(f"{child}/cgroup.stat"))
    backend.settle()
    actual.append(backend.read(f"{child}/cgroup.stat"))
    score.check("cgroup.stat around rmdir", actual, RECORDED["cgroup.stat around rmdir"]["ret"])


def test_rmdir(backend: Backend, score: Score, child: str) -> None:
    backend.mkdir(f"{child}/k")
    steps: dict[str, Any] = {
        "rmdir root": outcome(lambda: backend.rmdir("/" if isinstance(backend, DirectoryBackend) else "")),
        "rmdir non-empty": outcome(lambda: backend.rmdir(child)),
        "rmdir missing": outcome(lambda: backend.rmdir(f"{child}/nothing")),
    }
    process = backend.spawn(f"{child}/k")
    populated = {"with a live process": outcome(lambda: backend.rmdir(f"{child}/k"))}
    process.become_zombie()
    populated["with only a zombie (not reaped)"] = outcome(lambda: backend.rmdir(f"{child}/k"))
    process.reap()
    steps["rmdir populated"] = {"ret": populated | {"events": None, "procs": None}}
    if isinstance(backend, DirectoryBackend):
        steps["rmdir root/."] = outcome(lambda: os.rmdir(backend.path("/.")))
        steps["rmdir a file"] = outcome(lambda: backend.rmdir(f"{child}/memory.max"))
    score.check_all("tree", steps, {name: RECORDED[name] for name in steps})


# --- system calls: behind a mount only ---


@pytest.fixture
def directory(backend: Backend, child: str) -> str:
    """System path of the recordings' ``s``, empty where there are no system calls."""
    return backend.path(child) if isinstance(backend, DirectoryBackend) else ""


def write(path: str, data: bytes) -> int:
    fd = os.open(path, os.O_WRONLY)
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)


def test_names_that_cannot_be_made_or_changed(score: Score, directory: str) -> None:
    if not directory:
        return
    os.mkdir(f"{directory}/a")
    os.mkdir(f"{directory}/b")
    file = f"{directory}/memory.max"
    steps = {
        "mkdir in missing parent": outcome(partial(os.mkdir, f"{directory}/nothing/x")),
        "mkdir under a file": outcome(partial(os.mkdir, f"{file}/x")),
        "create a file": outcome(partial(os.open, f"{directory}/new", os.O_WRONLY | os.O_CREAT)),
        "mknod": outcome(partial(os.mknod, f"{directory}/new", 0o644 | stat.S_IFREG)),
        "mkfifo": outcome(partial(os.mkfifo, f"{directory}/new")),
        "link": outcome(partial(os.link, file, f"{directory}/new")),
        "readlink file": outcome(partial(os.readlink, file)),
        "rename dir in same parent": outcome(partial(os.rename, f"{directory}/a", f"{directory}/c")),
        "rename file": outcome(partial(os.rename, file, f"{directory}/new")),
        "rename onto existing": outcome(partial(os.rename, f"{directory}/a", f"{directory}/b")),
    }
    score.check_all("tree", steps, {name: RECORDED[name] for name in steps})


def test_modes_of_mkdir(score: Score, directory: str) -> None:
    if not directory:
        return
    name = "mkdir modes (umask 0) -> st_mode"
    modes = {}
    old = os.umask(0)
    try:
        for mode in RECORDED[name]["ret"]:
            path = f"{directory}/m{mode}"
            os.mkdir(path, int(mode, 8))
            modes[mode] = oct(os.stat(path).st_mode)
    finally:
        os.umask(old)
    score.check(name, {"ret": modes}, RECORDED[name])


def test_attributes(score: Score, directory: str) -> None:
    if not directory:
        return
    file = f"{directory}/memory.max"

    def mode_after(path: str, mode: int) -> str:
        os.chmod(path, mode)
        return oct(os.stat(path).st_mode)

    def read(name: str) -> Any:
        os.chmod(f"{directory}/{name}", 0o644)
        fd = os.open(f"{directory}/{name}", os.O_RDONLY)
        try:
            return outcome(partial(os.read, fd, 10), "read_errno")
        finally:
            os.close(fd)

    def chmod_and_write() -> Any:
        os.chmod(f"{directory}/memory.current", 0o644)
        return outcome(partial(write, f"{directory}/memory.current", b"1"))

    def chown() -> list[int]:
        os.chown(file, NOBODY, NOBODY)
        st = os.stat(file)
        return [st.st_uid, st.st_gid]

    def mtime(path: str) -> str:
        os.utime(path, (1, 2))
        return str(os.stat(path).st_mtime)

    steps: dict[str, Any] = {
        "chmod file 0600": outcome(partial(mode_after, file, 0o600)),
        "chmod dir 0700": outcome(partial(mode_after, directory, 0o700)),
        "chmod file 0777": outcome(partial(mode_after, file, 0o777)),
        "chmod write-only file to 0644 then read": {"ret": read("memory.reclaim")},
        "chmod read-only to 0644 then write": {"ret": chmod_and_write()},
        "chown file": outcome(chown),
        "utime file": outcome(partial(mtime, file)),
        "utime dir": outcome(partial(mtime, directory)),
        "access R_OK memory.reclaim root": outcome(partial(os.access, f"{directory}/memory.reclaim", os.R_OK)),
        "access W_OK memory.current root": outcome(partial(os.access, f"{directory}/memory.current", os.W_OK)),
        "access X_OK memory.max": outcome(partial(os.access, f"{directory}/memory.high", os.X_OK)),
        "access uid1000 W memory.max": outcome_as_nobody(partial(os.access, f"{directory}/memory.high", os.W_OK, effective_ids=True)),
    }
    score.check_all("tree", steps, {name: RECORDED[name] for name in steps})


def test_extended_attributes(score: Score, directory: str) -> None:
    if not directory:
        return
    paths = {"dir": directory, "file": f"{directory}/memory.max"}
    steps: dict[str, Any] = {}
    for kind, path in paths.items():
        for name in ("user.foo", "trusted.foo", "security.foo", "system.foo", "foo"):
            steps[f"setxattr {name} {kind}"] = outcome(partial(os.setxattr, path, name, b"v"))
            steps[f"getxattr {name} {kind}"] = outcome(lambda path=path, name=name: os.getxattr(path, name).decode())
            listed = outcome(partial(os.listxattr, path))
            steps[f"listxattr after {name} {kind}"] = {"ret": [each for each in listed["ret"] if each == name]}
            steps[f"removexattr {name} {kind}"] = outcome(partial(os.removexattr, path, name))
    os.setxattr(directory, "user.twice", b"v")
    steps["getxattr missing"] = outcome(partial(os.getxattr, directory, "user.nothing"))
    steps["setxattr user big 128K"] = outcome(partial(os.setxattr, directory, "user.big", BIG))
    steps["setxattr XATTR_CREATE twice"] = outcome(partial(os.setxattr, directory, "user.twice", b"v", os.XATTR_CREATE))
    steps["setxattr XATTR_REPLACE missing"] = outcome(partial(os.setxattr, directory, "user.nothing", b"v", os.XATTR_REPLACE))
    steps["setxattr user.* as uid1000 on root-owned dir"] = {"ret": outcome_as_nobody(partial(os.setxattr, directory, "user.foo", b"v"))}
    steps["setxattr trusted.* as uid1000"] = {"ret": outcome_as_nobody(partial(os.setxattr, directory, "trusted.foo", b"v"))}
    score.check_all("tree", steps, {name: value for name, value in RECORDED.items() if "xattr" in name})


def test_delegation(score: Score, directory: str) -> None:
    if not directory:
        return
    owned = f"{directory}/owned"
    os.mkdir(owned)
    for path in (directory, owned):
        write(f"{path}/cgroup.subtree_control", b"+memory")
    steps = {"mkdir as uid1000 in root-owned": {"ret": outcome_as_nobody(partial(os.mkdir, f"{directory}/x"))}}
    os.chown(owned, NOBODY, NOBODY)
    made = outcome_as_nobody(partial(os.mkdir, f"{owned}/k", 0o755))
    assert made == {"ret": None}
    folder, file = os.stat(f"{owned}/k"), os.stat(f"{owned}/k/cgroup.procs")
    recorded = RECORDED["delegation-ish"]["ret"]
    (first, second, third) = recorded
    score.check(
        f"delegation: {first}",
        [oct(folder.st_mode), folder.st_uid, folder.st_gid, oct(file.st_mode), file.st_uid, file.st_gid],
        recorded[first],
    )
    score.check(f"delegation: {second}", outcome_as_nobody(partial(os.rmdir, f"{owned}/k")), recorded[second])
    score.check_all("tree", steps, {name: RECORDED[name] for name in steps})
    own, parents = f"{owned}/k", owned
    tries = [
        outcome_as_nobody(partial(os.mkdir, own)),
        outcome_as_nobody(partial(write, f"{own}/memory.max", b"1M")),
        outcome_as_nobody(partial(write, f"{own}/cgroup.procs", b"0")),
        *(_open_as_nobody(f"{parents}/{name}") for name in ("memory.max", "cgroup.procs", "cgroup.subtree_control")),
        outcome_as_nobody(partial(write, f"{own}/cgroup.freeze", b"0")),
    ]
    score.check(f"delegation: {third}", tries, recorded[third])


def _open_as_nobody(path: str) -> dict[str, Any]:
    result = outcome_as_nobody(partial(os.open, path, os.O_WRONLY))
    return {"open_errno": result.get("errno")}
