from __future__ import annotations

import errno

import pytest

from fakecg.abi import units
from fakecg.abi.errors import ControlError, UsageError

MAX = units.PAGE_COUNTER_MAX


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"1M\n", b"1M"),
        (b" \t\n\v\f\r\xa01M\xa0 ", b"1M"),
        (b"4096\0garbage", b"4096"),
        (b"\x001M", b""),
        (b"1 M", b"1 M"),
        (b"\x1c1\x85", b"\x1c1\x85"),
    ],
)
def test_kstrip_uses_the_kernels_white_space_and_stops_at_nul(data: bytes, text: bytes) -> None:
    assert units.kstrip(data) == text


@pytest.mark.parametrize(
    ("data", "nr_pages"),
    [
        (b"", 0),
        (b"\n", 0),
        (b"K", 0),
        (b"m", 0),
        (b"1", 0),
        (b"4095", 0),
        (b"1K", 0),
        (b"4097", 1),
        (b"8191", 1),
        (b"010", 0),
        (b"0x1000", 1),
        (b"0X1000", 1),
        (b"0x1000K", 1024),
        (b"010000K", 1024),
        (b"1M", 256),
        (b"1m", 256),
        (b"1M\r\n", 256),
        (b"1G", 1 << 18),
        (b"1T", 1 << 28),
        (b"1P", 1 << 38),
        (b"1E", 1 << 48),
        (b"16E", 0),
        (b"18446744073709551616", 0),
        (b"99999999999999999999", 7766279631452237824 >> 12),
        (b"8E", MAX),
        (b"15E", MAX),
        (b"18446744073709551615", MAX),
        (b"9223372036854771711", MAX - 1),
        (b"9223372036854771712", MAX),
        (b"max", MAX),
        (b" max\n", MAX),
        (b"4096\0garbage", 1),
        (b"0" * 4091 + b"10000", 1),
        (b"0x" + b"f" * 4000, MAX),
    ],
)
def test_limit_is_floored_to_pages(data: bytes, nr_pages: int) -> None:
    assert units.page_counter_memparse(data) == nr_pages


BAD_LIMITS = b"-1|-0|+1|1.5M|1MB|1MiB|1 M|1e6|1Z|MAX|Max|infinity|4096,|08|0x|0b1|maxx|1M foo|1K1K|1KK|0xg".split(b"|")


@pytest.mark.parametrize("data", BAD_LIMITS)
def test_limit_with_anything_after_the_size_is_invalid(data: bytes) -> None:
    with pytest.raises(ControlError) as caught:
        units.page_counter_memparse(data)
    assert caught.value.errno == errno.EINVAL


def test_memparse_returns_the_rest() -> None:
    assert units.memparse(b"1Mswappiness=60") == (1 << 20, b"swappiness=60")
    assert units.memparse(b"max") == (0, b"ax")
    assert units.memparse(b"abc") == (0, b"abc")
    assert units.memparse(b"1\xcb") == (1, b"\xcb")


def test_decimal_numbers_of_a_whole_page_wrap() -> None:
    assert units.memparse(b"9" * 4096) == ((10**4096 - 1) % (1 << 64), b"")
    with pytest.raises(ControlError) as caught:
        units.kstrtoint(b"9" * 4096)
    assert caught.value.errno == errno.ERANGE


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"0x10", 16),
        (b"010", 8),
        (b"+1", 1),
        (b"-0", 0),
        (b"-1", -1),
        (b"2147483647", (1 << 31) - 1),
        (b"-2147483648", -(1 << 31)),
        (b" 1 \n\n", 1),
        (b"1\0x", 1),
        (b"0" * 4096, 0),
    ],
)
def test_kstrtoint_reads_base_0(data: bytes, value: int) -> None:
    assert units.kstrtoint(data) == value


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", errno.EINVAL),
        (b"08", errno.EINVAL),
        (b"0x", errno.EINVAL),
        (b"1 2", errno.EINVAL),
        (b"1\n2", errno.EINVAL),
        (b"1K", errno.EINVAL),
        (b"-+1", errno.EINVAL),
        (b"+-1", errno.EINVAL),
        (b"- 1", errno.EINVAL),
        (b"2147483648", errno.ERANGE),
        (b"-2147483649", errno.ERANGE),
        (b"18446744073709551616", errno.ERANGE),
        (b"18446744073709551616x", errno.ERANGE),
        (b"-9223372036854775809", errno.ERANGE),
    ],
)
def test_kstrtoint_refuses(data: bytes, code: int) -> None:
    with pytest.raises(ControlError) as caught:
        units.kstrtoint(data)
    assert caught.value.errno == code


def test_kstrtoull_takes_one_newline_and_no_blank() -> None:
    assert units.kstrtoull(b"+100\n") == 100
    for data in (b"\n", b" 1", b"1\n\n", b"1 ", b"-1", b"-0"):
        with pytest.raises(ControlError) as caught:
            units.kstrtoull(data)
        assert caught.value.errno == errno.EINVAL


def test_kstrtouint_refuses_negative_and_33_bits() -> None:
    assert units.kstrtouint(b"4294967295\n") == 0xFFFFFFFF
    for data, code in ((b"-1", errno.EINVAL), (b" 1", errno.EINVAL), (b"4294967296", errno.ERANGE)):
        with pytest.raises(ControlError) as caught:
            units.kstrtouint(data)
        assert caught.value.errno == code


def test_memory_flags_answer_einval_and_core_flags_erange_to_other_numbers() -> None:
    for data in (b"2", b"-1"):
        with pytest.raises(ControlError) as memory_flag:
            units.parse_bool_int(data)
        with pytest.raises(ControlError) as core_flag:
            units.parse_flag(data)
        assert (memory_flag.value.errno, core_flag.value.errno) == (errno.EINVAL, errno.ERANGE)
    for data in (b"0", b"-0", b"00", b"0x0"):
        assert units.parse_bool_int(data) is units.parse_flag(data) is False
    for data in (b"+1", b"01", b"0x1", b" 1\n"):
        assert units.parse_bool_int(data) is units.parse_flag(data) is True
    with pytest.raises(ControlError) as overflow:
        units.parse_bool_int(b"4294967296")
    assert overflow.value.errno == errno.ERANGE


def test_max_int_takes_max_and_refuses_negatives_as_out_of_range() -> None:
    assert units.parse_max_int(b" max\n") == units.parse_max_int(b"2147483647") == units.INT_MAX
    for data, code in ((b"-1", errno.ERANGE), (b"2147483648", errno.ERANGE), (b"MAX", errno.EINVAL), (b"", errno.EINVAL)):
        with pytest.raises(ControlError) as caught:
            units.parse_max_int(data)
        assert caught.value.errno == code


def test_match_int_has_no_plus_sign_and_wraps_before_its_range() -> None:
    assert [units.match_int(text) for text in (b"0x3c", b"010", b"-5", b"18446744073709551676", b"-")] == [60, 8, -5, 60, 0]
    for text in (b"", b"+60", b"abc", b"60x", b"08", b"4294967296", b"0" * 23 + b"1", b"--1", b"-x"):
        with pytest.raises(ControlError) as caught:
            units.match_int(text)
        assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize(("size", "size_bytes"), [("64M", 64 << 20), ("4096", 4096), ("0x10k", 16384), (5, 5), (" 1G ", 1 << 30)])
def test_parse_size(size: str | int, size_bytes: int) -> None:
    assert units.parse_size(size) == size_bytes


@pytest.mark.parametrize("size", ["", "M", "1MB", "-1", "1.5M", "16E", -1, "1 M", "1é"])
def test_parse_size_refuses(size: str | int) -> None:
    with pytest.raises(UsageError):
        units.parse_size(size)


@pytest.mark.parametrize(
    ("duration", "ns"),
    [("1h", 3600 * 10**9), ("250ms", 250 * 10**6), ("1.5s", 1500 * 10**6), ("10", 10**10), (0.25, 250 * 10**6), ("2m", 120 * 10**9)],
)
def test_parse_duration(duration: str | float, ns: int) -> None:
    assert units.parse_duration(duration) == ns


@pytest.mark.parametrize("duration", ["", "1x", "-1s", "h", -1, float("nan")])
def test_parse_duration_refuses(duration: str | float) -> None:
    with pytest.raises(UsageError):
        units.parse_duration(duration)


def test_an_endless_duration_is_refused() -> None:
    for duration in (float("inf"), float("nan"), -1.0):
        with pytest.raises(UsageError, match="not a duration"):
            units.parse_duration(duration)
