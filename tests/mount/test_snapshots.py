"""Reads and writes of open files, as kernfs has them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mounting import error_of, output

from fakecg import Host
from fakecg.sched.task import Task


@pytest.fixture
def job(cg_mount: Path) -> Path:
    (cg_mount / "job").mkdir()
    return cg_mount / "job"


def test_small_reads_continue_one_snapshot(job: Path) -> None:
    fd = os.open(job / "memory.max", os.O_RDONLY)
    assert os.read(fd, 2) == b"ma"
    (job / "memory.max").write_text("1M")
    assert os.read(fd, 100) == b"x\n"
    assert os.read(fd, 100) == b""
    assert os.pread(fd, 100, 0) == b"1048576\n"
    os.close(fd)


def test_a_read_elsewhere_renders_anew(job: Path) -> None:
    fd = os.open(job / "memory.max", os.O_RDONLY)
    assert os.read(fd, 2) == b"ma"
    (job / "memory.max").write_text("1M")
    assert os.pread(fd, 100, 3) == b"8576\n"
    assert os.pread(fd, 100, 1000) == b""
    os.close(fd)


def test_a_read_after_a_write_starts_where_the_write_ended(job: Path) -> None:
    fd = os.open(job / "memory.max", os.O_RDWR)
    assert os.write(fd, b"1M") == 2
    assert os.read(fd, 100) == b"48576\n"
    os.close(fd)


def test_writes_are_whole_commands_whatever_their_offset(job: Path) -> None:
    fd = os.open(job / "memory.max", os.O_WRONLY | os.O_APPEND | os.O_TRUNC)
    for offset, text, value in ((0, b"1M", "1048576\n"), (4095, b"2M", "2097152\n"), (1 << 40, b"max", "max\n")):
        assert os.pwrite(fd, text, offset) == len(text)
        assert (job / "memory.max").read_text() == value
    os.close(fd)


def test_the_pieces_of_a_writev_are_one_command(job: Path) -> None:
    fd = os.open(job / "memory.max", os.O_RDWR)
    assert os.writev(fd, [b"0"] * 30 + [b"2", b"M"]) == 32
    assert os.pread(fd, 100, 0) == b"2097152\n"
    assert os.writev(fd, [b"0" * 3000, b"1M".ljust(1096)]) == 4096
    assert error_of(lambda: os.writev(fd, [b"0" * 3000, b"3M".ljust(1097)])) == "E2BIG"
    assert os.pread(fd, 100, 0) == b"1048576\n"
    os.close(fd)


def test_4096_bytes_are_taken_and_4097_are_not(job: Path) -> None:
    fd = os.open(job / "memory.max", os.O_WRONLY)
    assert os.write(fd, b"1M".ljust(4096)) == 4096
    assert error_of(lambda: os.write(fd, b"2M".ljust(4097))) == "E2BIG"
    assert error_of(lambda: os.write(fd, b"2M".ljust(100_000))) == "E2BIG"
    os.close(fd)
    assert (job / "memory.max").read_text() == "1048576\n"


def test_modes_do_not_stop_root_but_handlers_do(job: Path) -> None:
    assert error_of((job / "memory.reclaim").read_text) == "EINVAL"
    assert error_of(lambda: (job / "memory.current").write_text("1")) == "EINVAL"
    (job / "memory.reclaim").chmod(0o644)
    assert error_of((job / "memory.reclaim").read_text) == "EINVAL"


def test_open_files_of_a_removed_cgroup_answer_enodev(job: Path) -> None:
    fd, write_only = os.open(job / "memory.max", os.O_RDWR), os.open(job / "memory.reclaim", os.O_WRONLY)
    ino = os.fstat(fd).st_ino
    job.rmdir()
    assert error_of(lambda: os.pread(fd, 100, 0)) == "ENODEV"
    assert error_of(lambda: os.write(fd, b"1M")) == "ENODEV"
    assert error_of(lambda: os.write(write_only, b"1M")) == "ENODEV"
    assert os.fstat(fd).st_ino == ino
    os.close(fd)
    os.close(write_only)
    assert error_of(lambda: os.stat(job / "memory.max")) == "ENOENT"


def test_a_directory_descriptor_stays_with_its_cgroup(job: Path) -> None:
    fd = os.open(job, os.O_RDONLY | os.O_DIRECTORY)
    before = os.fstat(fd)
    os.stat("memory.current", dir_fd=fd)
    job.rmdir()
    assert os.fstat(fd).st_ino == before.st_ino
    assert os.listdir(fd) == []
    assert error_of(lambda: os.open("memory.current", os.O_RDONLY, dir_fd=fd)) == "ENOENT"
    assert error_of(lambda: os.mkdir("child", dir_fd=fd)) == "ENOENT"
    job.mkdir()
    assert job.stat().st_ino != before.st_ino
    assert error_of(lambda: os.open("memory.current", os.O_RDONLY, dir_fd=fd)) == "ENOENT"
    os.close(fd)


def test_a_descriptor_stays_dead_when_the_controller_comes_back(job: Path) -> None:
    fd = os.open(job / "memory.max", os.O_RDONLY)
    control = job.parent / "cgroup.subtree_control"
    control.write_text("-io -memory")
    assert error_of(lambda: os.pread(fd, 10, 0)) == "ENODEV"
    assert not (job / "memory.max").exists()
    control.write_text("+memory")
    assert error_of(lambda: os.pread(fd, 10, 0)) == "ENODEV"
    assert (job / "memory.max").read_text() == "max\n"
    os.close(fd)


def test_names_vanish_at_once(job: Path, cg_mount_host: Host) -> None:
    assert (job / "memory.pressure").exists()
    (job / "cgroup.pressure").write_text("0")
    assert not (job / "memory.pressure").exists()
    assert error_of((job / "memory.pressure").read_text) == "ENOENT"
    assert "memory.pressure" not in os.listdir(job)
    (job / "cgroup.pressure").write_text("1")
    assert (job / "memory.pressure").read_text().startswith("some avg10=")


def test_a_read_of_a_list_gives_the_items_that_fit_a_page(job: Path, cg_mount_host: Host) -> None:
    group = cg_mount_host.lookup("/job")
    with cg_mount_host.lock:
        tasks = [Task(cg_mount_host.hierarchy.new_pid()) for _ in range(1100)]
        for task in tasks:
            cg_mount_host.hierarchy.add_task(task, group)
    fd = os.open(job / "cgroup.procs", os.O_RDONLY)
    chunks = []
    while chunk := os.read(fd, 1 << 16):
        chunks.append(chunk)
    assert [len(chunk) for chunk in chunks] == [4088, 4088, 624], "items of 8 bytes; one that would fill the page is left out"
    assert b"".join(chunks) == b"".join(b"%d\n" % task.pid for task in tasks)
    assert len(os.pread(fd, 4096, 4)) == 4092, "a read from within an item brings its rest and more"
    assert [len(os.pread(fd, size, 8)) for size in (3, 100, 4087, 4088, 4089, 4095)] == [3, 100, 4087, 4088, 4088, 4088]
    os.close(fd)
    assert len((job / "memory.stat").read_bytes()) < 4096


def test_a_descriptor_of_a_hidden_pressure_file_stays_dead(job: Path) -> None:
    fds = [os.open(job / f"{name}.pressure", os.O_RDWR) for name in ("memory", "io", "cpu")]
    other = os.open(job / "cgroup.pressure", os.O_RDWR)
    for value in (b"0", b"1"):
        os.write(other, value)
        for fd in fds:
            assert error_of(lambda fd=fd: os.pread(fd, 100, 0)) == "ENODEV"
            assert error_of(lambda fd=fd: os.write(fd, b"some 150000 1000000")) == "ENODEV"
    assert os.pread(other, 10, 0) == b"1\n"
    fresh = os.open(job / "memory.pressure", os.O_RDWR)
    assert os.write(fresh, b"some 150000 1000000") == 19
    for fd in (*fds, other, fresh):
        os.close(fd)


def test_what_the_api_removes_is_gone_from_the_mount(cg_mount: Path, cg_mount_host: Host) -> None:
    group = cg_mount_host.mkdir("/api")
    ino = (cg_mount / "api").stat().st_ino
    assert (cg_mount / "api" / "memory.current").exists()
    fd = os.open(cg_mount / "api" / "memory.current", os.O_RDONLY)
    group.rmdir()
    assert error_of(lambda: os.pread(fd, 10, 0)) == "ENODEV"
    os.close(fd)
    (cg_mount / "other").mkdir()  # by the time this is answered, the kernel was told
    assert error_of((cg_mount / "api" / "memory.current").read_text) == "ENOENT"
    (cg_mount / "api").mkdir()
    assert (cg_mount / "api").stat().st_ino != ino


def test_a_listing_has_types_and_inode_numbers(job: Path) -> None:
    (job / "child").mkdir()
    with os.scandir(job) as entries:
        found = {entry.name: entry for entry in entries}
    assert found["child"].is_dir(follow_symlinks=False)
    assert found["memory.stat"].is_file(follow_symlinks=False)
    for name, entry in found.items():
        assert entry.inode() == (job / name).stat().st_ino != 0
    assert ".fakecg" not in os.listdir(job.parent)


def test_a_directory_read_again_from_the_start_shows_what_is_there_now(job: Path) -> None:
    program = """
fd = os.open(sys.argv[1], os.O_RDONLY)
os.listdir(fd)
os.mkdir(sys.argv[1] + "/late")
print("late" in os.listdir(fd))
"""
    assert output(program, job) == "True"


def test_attributes_are_those_of_kernfs(job: Path) -> None:
    root = job.parent.stat()
    assert (oct(root.st_mode), root.st_ino) == ("0o40555", 1)
    stat = (job / "memory.max").stat()
    assert (stat.st_size, stat.st_nlink, stat.st_blocks, stat.st_blksize) == (0, 1, 0, 4096)
    (job / "a").mkdir()
    (job / "b").mkdir()
    assert job.stat().st_nlink == 4
    (job / "a").rmdir()
    assert job.stat().st_nlink == 3
    filesystem = os.statvfs(job)
    assert (filesystem.f_namemax, filesystem.f_bsize, filesystem.f_blocks, filesystem.f_files) == (255, 4096, 0, 0)


def test_listing_a_directory_moves_its_access_time_once(job: Path) -> None:
    made = job.stat()
    assert made.st_atime_ns == made.st_mtime_ns == made.st_ctime_ns
    (job / "child").mkdir()
    (job / "memory.max").read_text()
    os.listdir(job)
    listed = job.stat()
    assert listed.st_atime_ns > made.st_atime_ns
    assert (listed.st_mtime_ns, listed.st_ctime_ns) == (made.st_mtime_ns, made.st_ctime_ns)
    os.listdir(job)
    assert job.stat().st_atime_ns == listed.st_atime_ns
    os.utime(job, ns=(5, 5))
    os.listdir(job)
    assert job.stat().st_atime_ns == 5, "a node with times of its own shows those"


def times(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_atime_ns, stat.st_mtime_ns, stat.st_ctime_ns


def test_a_file_is_as_old_as_the_first_look_at_it(job: Path) -> None:
    made_ns = job.stat().st_ctime_ns
    first, second = times(job / "memory.max"), times(job / "memory.min")
    assert made_ns < first[0] < second[0]
    assert first == (first[0],) * 3
    (job / "memory.max").write_bytes(b"")
    fd = os.open(job / "memory.min", os.O_RDWR)
    os.write(fd, b"1M")
    os.read(fd, 100)
    os.close(fd)
    assert times(job / "memory.min") == second, "reading and writing move nothing"


def test_the_first_attribute_that_is_set_gives_a_file_times_of_its_own(job: Path) -> None:
    for name, change in (
        ("memory.max", lambda path: path.chmod(0o600)),
        ("memory.high", lambda path: os.setxattr(path, "user.a", b"")),
        ("memory.low", os.listxattr),
        ("memory.min", lambda path: path.open("w").close()),
        ("cgroup.procs", lambda path: os.truncate(path, 0)),
    ):
        before = times(job / name)
        change(job / name)
        after = times(job / name)
        assert min(after) > before[0], name
    before = times(job / "memory.max")
    (job / "memory.max").chmod(0o644)
    after = times(job / "memory.max")
    assert (after[:2], after[2] > before[2]) == (before[:2], True), "a later chmod moves the change time alone"
    (job / "memory.max").open("w").close()
    last = times(job / "memory.max")
    assert last[0] == before[0]
    assert min(last[1:]) > after[2], "O_TRUNC moves the time of modification too"
