"""Names, permissions, owners, extended attributes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounting import error_of, output

from fakecg import Host, ScaledClock, mounted

NOBODY = 65534


@pytest.fixture
def open_mount() -> Iterator[Path]:
    """A mount that other users may enter."""
    with Host(clock=ScaledClock()) as host, mounted(host, fuse=("allow_other",)) as path:
        path.chmod(0o755)
        yield path


@pytest.mark.parametrize(
    "name", [b"a b", b"tab\there", b"\x01\x02", b"\xff\xfe\x80", "é中".encode(), b"memory.foo", b".hidden", b"x" * 255, b"y" * 256]
)
def test_odd_names_come_back_as_given(cg_mount: Path, name: bytes) -> None:
    path = os.fsencode(cg_mount) + b"/" + name
    os.mkdir(path)
    assert name in os.listdir(os.fsencode(cg_mount))
    with open(path + b"/cgroup.events", "rb", buffering=0) as file:
        assert file.read() == b"populated 0\nfrozen 0\n"
    os.rmdir(path)
    assert name not in os.listdir(os.fsencode(cg_mount))


def test_a_newline_in_a_name_is_refused(cg_mount: Path) -> None:
    assert error_of(lambda: os.mkdir(cg_mount / "a\nb")) == "EINVAL"
    assert error_of(lambda: os.mkdir(cg_mount / "\n")) == "EINVAL"


def test_names_cannot_be_made_or_changed_otherwise(cg_mount: Path) -> None:
    (cg_mount / "job").mkdir()
    new, old = cg_mount / "new", cg_mount / "job" / "memory.max"
    assert error_of(lambda: os.open(new, os.O_WRONLY | os.O_CREAT)) == "EACCES"
    assert error_of(lambda: os.mknod(new)) == "EACCES"
    assert error_of(lambda: os.mkfifo(new)) == "EPERM"
    assert error_of(lambda: os.symlink("x", new)) == "EPERM"
    assert error_of(lambda: os.link(old, new)) == "EPERM"
    assert error_of(lambda: os.rename(old, new)) == "EPERM"
    assert error_of(lambda: os.rename(cg_mount / "job", new)) == "EPERM"
    assert error_of(lambda: os.unlink(old)) == "EPERM"
    assert error_of(lambda: os.rmdir(old)) == "ENOTDIR"
    assert error_of(lambda: os.rmdir(cg_mount)) == "EBUSY"
    assert error_of(lambda: os.mkdir(old)) == "EEXIST"
    assert error_of(lambda: os.mkdir(old / "x")) == "ENOTDIR"
    assert error_of(lambda: os.open(old, os.O_RDONLY | os.O_DIRECT)) == "EINVAL"
    assert error_of(lambda: os.open(cg_mount, os.O_TMPFILE | os.O_WRONLY)) == "ENOTSUP"
    os.close(os.open(old, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    os.truncate(old, 100)
    assert old.stat().st_size == 0


def test_mode_owner_and_times_stay_until_the_node_goes(cg_mount: Path) -> None:
    job = cg_mount / "job"
    job.mkdir()
    for path in (job, job / "memory.max"):
        path.chmod(0o600)
        os.chown(path, 1000, 1001)
        os.utime(path, ns=(1_000_000_001, 2_000_000_002))
        stat = path.stat()
        assert (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid) == (0o600, 1000, 1001)
        assert (stat.st_atime_ns, stat.st_mtime_ns) == (1_000_000_001, 2_000_000_002)
    os.utime(job / "memory.max")
    assert (job / "memory.max").stat().st_mtime_ns > 2_000_000_002
    job.rmdir()
    job.mkdir()
    assert ((job / "memory.max").stat().st_mode & 0o7777, job.stat().st_uid) == (0o644, 0)


def test_extended_attributes(cg_mount: Path) -> None:
    job = cg_mount / "job"
    job.mkdir()
    for path in (job, job / "memory.max"):
        assert error_of(lambda path=path: os.getxattr(path, "user.oomd_avoid")) == "ENODATA"
        for name in ("user.a", "trusted.b", "security.c"):
            os.setxattr(path, name, b"value")
            assert os.getxattr(path, name) == b"value"
        assert os.listxattr(path) == ["user.a", "trusted.b", "security.c"]
        assert error_of(lambda path=path: os.setxattr(path, "user.a", b"", os.XATTR_CREATE)) == "EEXIST"
        assert error_of(lambda path=path: os.setxattr(path, "user.z", b"", os.XATTR_REPLACE)) == "ENODATA"
        os.removexattr(path, "user.a")
        assert error_of(lambda path=path: os.removexattr(path, "user.a")) == "ENODATA"
        assert error_of(lambda path=path: os.setxattr(path, "system.foo", b"")) == "ENOTSUP"
        for name in ("user.", "trusted.", "security."):
            assert error_of(lambda path=path, name=name: os.setxattr(path, name, b"1")) == "EINVAL"
            assert error_of(lambda path=path, name=name: os.getxattr(path, name)) == "EINVAL"
            assert error_of(lambda path=path, name=name: os.removexattr(path, name)) == "EINVAL"
    job.rmdir()
    job.mkdir()
    assert os.listxattr(job) == []


def test_limits_of_user_attributes_count_a_replaced_one_twice(cg_mount: Path) -> None:
    job = cg_mount / "job"
    job.mkdir()
    for number in range(127):
        os.setxattr(job, f"user.{number}", b"")
    os.setxattr(job, "user.0", b"1")
    os.setxattr(job, "user.last", b"")
    for name in ("user.more", "user.0"):
        for flags in (0, os.XATTR_CREATE, os.XATTR_REPLACE):
            assert error_of(lambda name=name, flags=flags: os.setxattr(job, name, b"", flags)) == "ENOSPC"
    os.setxattr(job, "trusted.more", b"")
    os.removexattr(job, "user.last")
    os.setxattr(job, "user.0", b"2")
    other = job / "memory.max"
    os.setxattr(other, "user.a", bytes(65536))
    os.setxattr(other, "user.b", bytes(65535))
    assert error_of(lambda: os.setxattr(other, "user.c", b"12")) == "ENOSPC"
    assert error_of(lambda: os.setxattr(other, "user.b", b"12")) == "ENOSPC"
    os.setxattr(other, "user.c", b"1")
    assert error_of(lambda: os.setxattr(other, "user.d", bytes(65537))) == "E2BIG"


TRY = """
def attempt(action):
    try:
        action()
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]
def put(name, text):
    os.write(os.open(name, os.O_WRONLY), text.encode())
path = sys.argv[1]
"""


def test_other_users_meet_permission_bits(open_mount: Path) -> None:
    job = open_mount / "job"
    job.mkdir()
    program = f"""{TRY}
print(attempt(lambda: open(path + "/memory.current").read()),
      attempt(lambda: open(path + "/memory.max", "w")),
      attempt(lambda: open(path + "/memory.reclaim")),
      attempt(lambda: os.mkdir(path + "/child")),
      attempt(lambda: os.chmod(path, 0o777)),
      attempt(lambda: os.setxattr(path, "user.x", b"")),
      attempt(lambda: os.setxattr(path, "trusted.x", b"")))
"""
    assert output(program, job, user=NOBODY) == "ok EACCES EACCES EACCES EPERM EACCES EPERM"


def test_a_delegated_directory_belongs_to_its_user(open_mount: Path) -> None:
    job = open_mount / "job"
    job.mkdir()
    os.chown(job, NOBODY, NOBODY)
    program = f"""{TRY}
print(attempt(lambda: os.mkdir(path + "/child")),
      attempt(lambda: put(path + "/child/cgroup.max.depth", "3")),
      attempt(lambda: os.setxattr(path + "/child", "user.x", b"1")),
      attempt(lambda: put(path + "/child/cgroup.procs", "0")))
"""
    assert output(program, job, user=NOBODY) == "ok ok ok EACCES"
    stat = (job / "child").stat()
    assert (stat.st_uid, stat.st_gid) == (NOBODY, NOBODY)
    assert (job / "child" / "cgroup.max.depth").read_text() == "3\n"


def test_a_process_is_moved_by_the_right_of_a_supplementary_group(open_mount: Path) -> None:
    job = open_mount / "job"
    job.mkdir()
    for path in (job, job / "a", job / "b"):
        path.mkdir(exist_ok=True)
        os.chown(path / "cgroup.procs", 0, 4242)
        (path / "cgroup.procs").chmod(0o664)
    program = f"""{TRY}
put(path + "/a/cgroup.procs", "0")
os.setgroups([7, 4242])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
print(attempt(lambda: put(path + "/b/cgroup.procs", "0")))
"""
    assert output(program, job) == "ok"
    (job / "cgroup.procs").chmod(0o644)
    assert output(program, job) == "EACCES", "the common ancestor"


def test_trusted_attributes_are_hidden_from_other_users(open_mount: Path) -> None:
    os.setxattr(open_mount, "trusted.oomd_kill", b"1")
    os.setxattr(open_mount, "user.seen", b"1")
    assert output("print(os.listxattr(sys.argv[1]))", open_mount, user=NOBODY) == "['user.seen']"
