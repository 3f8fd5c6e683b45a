"""Files of /proc and /sys: what they take, which is not what cgroup files take."""

from __future__ import annotations

import errno
import json
import select
from collections.abc import Iterator
from pathlib import Path

import pytest
from cgroup_tree import refuses

from fakecg import Host
from fakecg.abi.sysctl import parse_sysctl_int
from fakecg.cgroup.hierarchy import ROOT_CALLER

SWAPPINESS = "proc/sys/vm/swappiness"
PERCENT = "sys/module/zswap/parameters/max_pool_percent"
ENABLED = "sys/module/zswap/parameters/enabled"
LRU_GEN = "sys/kernel/mm/lru_gen/enabled"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host(ram="64M", swap="64M") as host:
        yield host


def write(host: Host, path: str, data: bytes) -> int:
    """One write; returns what the file says it took."""
    return host.write(host.open_system_file(path, ROOT_CALLER), data)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"100", 100),
        (b"0x3c\n", 60),
        (b"010", 8),
        (b"\x0b\xa0 7 junk", 7),
        (b"7\tjunk", 7),
        (b"-0", 0),
        (b"0" * 19 + b"1", 1),
        (b"1 ".ljust(5000), 1),
    ],
)
def test_a_sysctl_takes_one_integer_in_base_0(host: Host, data: bytes, value: int) -> None:
    assert write(host, SWAPPINESS, data) == len(data)
    assert host.read_system(SWAPPINESS) == f"{value}\n"


@pytest.mark.parametrize(
    "data", [b"\n", b" ", b"abc", b"+1", b"-1", b"-", b"201", b"7x", b"7,", b"7\r\n", b"7\0", b"08", b"0" * 20 + b"1", b"9" * 4000]
)
def test_a_sysctl_refuses_everything_else_as_invalid(host: Host, data: bytes) -> None:
    host.write_system(SWAPPINESS, 60)
    with refuses(errno.EINVAL):
        host.write_system(SWAPPINESS, data)
    assert host.read_system(SWAPPINESS) == "60\n"
    assert write(host, SWAPPINESS, b"") == 0


def test_a_sysctl_never_holds_more_than_an_int() -> None:
    assert parse_sysctl_int("x", b"2147483647", 0, 1 << 40) == 2147483647
    assert parse_sysctl_int("x", b"-2147483648", -(1 << 40), 0) == -2147483648
    for data in (b"2147483648", b"18446744073709551617"):
        with refuses(errno.EINVAL):
            parse_sysctl_int("x", data, 0, 1 << 40)


def test_a_file_of_sysfs_takes_the_first_page_of_a_longer_write(host: Host) -> None:
    assert write(host, ENABLED, b"N".ljust(4096)) == 4096
    assert write(host, ENABLED, b"Y".ljust(10_000)) == 4096
    assert host.read_system(ENABLED) == "Y\n"
    assert write(host, PERCENT, b"0" * 4095 + b"7" + b"junk") == 4096
    assert host.read_system(PERCENT) == "7\n"


@pytest.mark.parametrize(
    ("data", "value"), [(b"yes", "Y"), (b"T", "Y"), (b"1no", "Y"), (b"oN", "Y"), (b"No", "N"), (b"false", "N"), (b"0", "N"), (b"of", "N")]
)
def test_a_boolean_parameter_looks_at_one_or_two_letters(host: Host, data: bytes, value: str) -> None:
    host.write_system(ENABLED, "N" if value == "Y" else "Y")
    host.write_system(ENABLED, data)
    assert host.read_system(ENABLED) == value + "\n"


@pytest.mark.parametrize("data", [b"\n", b" Y", b"o", b"ox", b"2", b"enable", b"disable", b"\0Y"])
def test_a_boolean_parameter_refuses(host: Host, data: bytes) -> None:
    with refuses(errno.EINVAL):
        host.write_system(ENABLED, data)


@pytest.mark.parametrize(
    ("data", "value"), [(b"0x14", 20), (b"+5", 5), (b"010", 8), (b"7\n", 7), (b"7\0junk", 7), (b"4294967295", 4294967295)]
)
def test_a_percentage_is_not_checked(host: Host, data: bytes, value: int) -> None:
    host.write_system(PERCENT, data)
    assert host.read_system(PERCENT) == f"{value}\n"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b" 7", errno.EINVAL),
        (b"7 ", errno.EINVAL),
        (b"7\n\n", errno.EINVAL),
        (b"-0", errno.EINVAL),
        (b"0x", errno.EINVAL),
        (b"4294967296", errno.ERANGE),
        (b"18446744073709551616x", errno.ERANGE),
    ],
)
def test_a_percentage_is_one_number_and_a_newline_at_most(host: Host, data: bytes, code: int) -> None:
    with refuses(code):
        host.write_system(PERCENT, data)


def test_multi_generational_lists_can_be_turned_off_but_not_on(host: Host) -> None:
    for data in ("n", "0", "0\n", "N"):
        host.write_system(LRU_GEN, data)
    for data, code in (("y", errno.EOPNOTSUPP), ("7", errno.EOPNOTSUPP), ("x", errno.EINVAL), ("4294967296", errno.EINVAL)):
        with refuses(code):
            host.write_system(LRU_GEN, data)
    assert host.read_system(LRU_GEN) == "0x0000\n"


def test_a_trigger_for_the_whole_machine_is_the_first_31_bytes_less_one(host: Host) -> None:
    path = "proc/pressure/memory"
    assert write(host, path, b"some 150000 1000000\n".ljust(10_000)) == 10_000
    assert write(host, path, b"some 150000 10000000" + b" " * 12) == 32
    with refuses(errno.EINVAL):
        write(host, path, b"some 150000 1000000")
    with refuses(errno.EINVAL):
        write(host, path, b"")
    open_file = host.open_system_file(path, ROOT_CALLER)
    with refuses(errno.EINVAL):
        host.write(open_file, b"some 1 0\n")
    host.write(open_file, b"some 150000 1000000\n")
    with refuses(errno.EBUSY):
        host.write(open_file, b"some 150000 1000000\n")


def test_only_files_of_sysfs_tell_of_a_change_by_poll(host: Host) -> None:
    always, changed = select.POLLIN | select.POLLOUT | select.POLLRDNORM | select.POLLWRNORM, select.POLLPRI | select.POLLERR
    for path, before, after in (
        (PERCENT, always | changed, always),
        (LRU_GEN, always | changed, always),
        (SWAPPINESS, always, always),
        ("proc/vmstat", always, always),
        ("proc/swaps", select.POLLIN | select.POLLRDNORM, select.POLLIN | select.POLLRDNORM),
        ("sys/kernel/debug/zswap/stored_pages", always, always),
    ):
        open_file = host.open_system_file(path, ROOT_CALLER)
        assert host.poll_events(open_file) == before, path
        host.show(open_file)
        assert host.poll_events(open_file) == after, path


def golden(name: str) -> str:
    """A file of /proc as it was recorded."""
    text: str = json.loads((Path(__file__).parents[1] / "golden" / "inventory.json").read_text(encoding="utf-8"))[name]
    return text


def test_meminfo_has_the_lines_of_a_kernel_in_its_columns(host: Host) -> None:
    recorded, lines = golden("proc_meminfo").splitlines(), host.read_system("proc/meminfo").splitlines()
    assert [line.partition(":")[0] for line in lines] == [line.partition(":")[0] for line in recorded]
    assert [len(line) for line in lines] == [len(line) for line in recorded]
    assert [line.endswith(" kB") for line in lines] == [line.endswith(" kB") for line in recorded]
    values = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
    assert values["CommitLimit"] == values["MemTotal"] // 2 + values["SwapTotal"]
    assert values["DirectMap4k"] + values["DirectMap2M"] == values["MemTotal"]


def test_vmstat_has_the_keys_of_a_kernel_in_order() -> None:
    with Host(ram="64M", proactive="none") as host:
        assert [line.split()[0] for line in host.read_system("proc/vmstat").splitlines()] == [
            line.split()[0] for line in golden("proc_vmstat").splitlines()
        ]


def test_swaps_has_the_columns_of_a_kernel() -> None:
    header = golden("proc_swaps").splitlines()[0]
    with Host(ram="64M", swap="1G") as host:
        assert host.read_system("proc/swaps") == f"{header}\n{'/fakecg-swap':<39} file\t\t1048576\t\t0\t\t-2\n"
        host.swapoff()
        assert host.read_system("proc/swaps") == header + "\n"
