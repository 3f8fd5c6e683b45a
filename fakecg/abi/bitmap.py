"""Lists of bit numbers such as ``0-2,5``, as cpuset files take and show them. Mirrors lib/bitmap-str.c."""

from __future__ import annotations

from fakecg.abi.errors import InvalidInput, OutOfRange, TooLarge
from fakecg.abi.units import KERNEL_SPACE, cut, parse_integer

_SEPARATORS = KERNEL_SPACE + b","
_END_OF_REGION = _SEPARATORS + b"\0"


def parse_list(data: bytes, nr_bits: int) -> frozenset[int]:
    """Ranges such as ``0-2,5``, ``N`` for the last bit, ``all``, and of a range ``0-7:2/4`` the first 2 of each 4.

    A newline straight behind a number ends the list; what follows is not looked at.

    Raises:
        InvalidInput: not such a list (EINVAL).
        OutOfRange: a number past the last bit (ERANGE).
        TooLarge: a number of more than 32 bits (EOVERFLOW).

    Source: bitmap_parselist, bitmap_parse_region, bitmap_check_region.
    """
    text = cut(data) + b"\0"
    last_bit = nr_bits - 1
    bits: set[int] = set()
    at = _find_region(text, 0)
    while at is not None:
        used = step = None
        if text[at : at + 3].lower() == b"all":
            first, last, at = 0, last_bit, at + 3
            is_range = True
        else:
            first, at = _number(text, at, last_bit)
            last = first
            is_range = text[at] not in _END_OF_REGION
            if is_range:
                last, at = _number(text, _expect(text, at, b"-"), last_bit)
        if is_range and text[at] not in _END_OF_REGION:
            used, at = _number(text, _expect(text, at, b":"), last_bit)
            step, at = _number(text, _expect(text, at, b"/"), last_bit)
        if step is None or used is None:
            used = step = last + 1
            following = None if text[at] in b"\0\n" else at
        else:
            following = at
        if first > last or not step or used > step:
            raise InvalidInput(f"not a list: {data[:40]!r}")
        if last > last_bit:
            raise OutOfRange(f"past the last number {last_bit}: {data[:40]!r}")
        for begin in range(first, last + 1, step):
            bits.update(range(begin, min(begin + used, last + 1)))
        at = None if following is None else _find_region(text, following)
    return frozenset(bits)


def _find_region(text: bytes, at: int) -> int | None:
    while text[at] in _SEPARATORS:
        at += 1
    return None if text[at] == 0 else at


def _number(text: bytes, at: int, last_bit: int) -> tuple[int, int]:
    if text[at : at + 1] == b"N":
        return last_bit, at + 1
    value, rest = parse_integer(text[at:], 10)
    if len(rest) == len(text) - at:
        raise InvalidInput(f"not a list: {text[:40]!r}")
    if value >= 1 << 32:
        raise TooLarge(f"does not fit 32 bits: {text[at : at + 40]!r}")
    return value, len(text) - len(rest)


def _expect(text: bytes, at: int, sign: bytes) -> int:
    if text[at : at + 1] != sign:
        raise InvalidInput(f"not a list: {text[:40]!r}")
    return at + 1


def format_list(bits: frozenset[int]) -> str:
    """Ranges in rising order with a newline: ``0-2,5``. Source: bitmap_print_to_pagebuf."""
    ranges: list[list[int]] = []
    for bit in sorted(bits):
        if ranges and ranges[-1][1] == bit - 1:
            ranges[-1][1] = bit
        else:
            ranges.append([bit, bit])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges) + "\n"
