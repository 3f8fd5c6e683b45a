"""How the kernel reads numbers, byte for byte.

Mirrors lib/kstrtox.c, lib/cmdline.c, lib/string_helpers.c and mm/page_counter.c, plus the two parsers of command line and API for sizes and
durations. Every parser of an interface file takes the bytes of one write as they came.
"""

from __future__ import annotations

import math
import re

from fakecg.abi.errors import InvalidInput, OutOfRange, UsageError

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
#: Largest limit in pages; it reads back as ``max``. Source: include/linux/page_counter.h.
PAGE_COUNTER_MAX = ((1 << 63) - 1) // PAGE_SIZE
INT_MAX = (1 << 31) - 1
INT_MIN = -(1 << 31)

#: White space, lib/ctype.c; 0xA0 is Latin-1's no-break space.
KERNEL_SPACE = b" \t\n\v\f\r\xa0"

_U64 = 1 << 64
_SUFFIX_SHIFT = {suffix: 10 * power for power, suffix in enumerate(b"KMGTPE", start=1)}
_DIGITS = {8: re.compile(rb"[0-7]+"), 10: re.compile(rb"[0-9]+"), 16: re.compile(rb"[0-9a-fA-F]+")}
_HEX_PREFIX = re.compile(rb"0[xX](?=[0-9a-fA-F])")
#: match_int copies a number into a buffer of this many bytes. Source: lib/parser.c.
_MATCH_NUMBER_BYTES = 24


def cut(data: bytes) -> bytes:
    """The text of a write: what stands before the first NUL."""
    return data.partition(b"\0")[0]


def kstrip(data: bytes) -> bytes:
    """Text of a write without the white space at both ends. Source: lib/string_helpers.c:strim, skip_spaces."""
    return cut(data).strip(KERNEL_SPACE)


def parse_integer(text: bytes, base: int = 0) -> tuple[int, bytes]:
    """The number a text starts with, not reduced, and what follows it; the rest equals the text when there is no digit.

    Base 0 takes ``0x`` before a hexadecimal digit as hexadecimal and another leading ``0`` as octal. There is no sign.
    Source: lib/kstrtox.c:_parse_integer_fixup_radix, _parse_integer.
    """
    start = 0
    if base == 0:
        base = 10
        if text[:1] == b"0":
            base = 16 if _HEX_PREFIX.match(text) else 8
    if base == 16 and _HEX_PREFIX.match(text):
        start = 2
    digits = _DIGITS[base].match(text, start)
    if digits is None:
        return 0, text
    return _to_int(digits.group(), base), text[digits.end() :]


def _to_int(digits: bytes, base: int) -> int:
    # A page of decimal digits would hit Python's limit on int(); leading zeros do not count, and more than 100 digits overflow anyway.
    digits = digits.lstrip(b"0") or b"0"
    if len(digits) <= 100 or base != 10:
        return int(digits, base)
    value = 0
    for begin in range(0, len(digits), 100):
        piece = digits[begin : begin + 100]
        value = value * 10 ** len(piece) + int(piece)
    return value


def memparse(text: bytes) -> tuple[int, bytes]:
    """A byte count with an optional suffix K M G T P E in either case, and the unparsed rest.

    The value wraps modulo 2^64 as the kernel's does; no digits give 0, and a lone suffix is consumed. Source: lib/cmdline.c:memparse.
    """
    value, rest = parse_integer(text)
    if rest:
        shift = _SUFFIX_SHIFT.get(rest[0] & ~0x20) if rest[:1].isalpha() else None
        if shift is not None:
            value <<= shift
            rest = rest[1:]
    return value % _U64, rest


def page_counter_memparse(data: bytes) -> int:
    """A limit in pages, rounded down: ``max`` is PAGE_COUNTER_MAX, and nothing at all is 0.

    Raises:
        InvalidInput: anything after the size (EINVAL).

    Source: mm/page_counter.c:page_counter_memparse, after strstrip.
    """
    text = kstrip(data)
    if text == b"max":
        return PAGE_COUNTER_MAX
    size_bytes, rest = memparse(text)
    if rest:
        raise InvalidInput(f"not a size: {text[:40]!r} (digits with at most one of K M G T P E, or max)")
    return min(size_bytes // PAGE_SIZE, PAGE_COUNTER_MAX)


def kstrtoull(text: bytes, base: int = 0) -> int:
    """An unsigned 64-bit number: an optional ``+``, digits, at most one newline; other white space is refused.

    Raises:
        OutOfRange: more than 64 bits, whatever follows the digits (ERANGE).
        InvalidInput: no digits, a ``-``, trailing text (EINVAL).

    Source: lib/kstrtox.c:kstrtoull.
    """
    text = cut(text)
    return _kstrtoull(text[1:] if text[:1] == b"+" else text, base)


def _kstrtoull(text: bytes, base: int) -> int:
    value, rest = parse_integer(text, base)
    if value >= _U64:
        raise OutOfRange(f"does not fit 64 bits: {text[:40]!r}")
    if rest == text or rest not in (b"", b"\n"):
        raise InvalidInput(f"not a number: {text[:40]!r}")
    return value


def kstrtoll(text: bytes, base: int = 0) -> int:
    """As kstrtoull, signed. Source: lib/kstrtox.c:kstrtoll."""
    text = cut(text)
    if text[:1] == b"-":
        value = -_kstrtoull(text[1:], base)
    else:
        value = kstrtoull(text, base)
    if not -(1 << 63) <= value < 1 << 63:
        raise OutOfRange(f"does not fit 64 bits: {text[:40]!r}")
    return value


def kstrtoint(data: bytes, base: int = 0) -> int:
    """A signed 32-bit number after strstrip, as most flags of the cgroup core take.

    Raises:
        OutOfRange: does not fit (ERANGE).
        InvalidInput: not a number (EINVAL).

    Source: lib/kstrtox.c:kstrtoint.
    """
    value = kstrtoll(kstrip(data), base)
    if not INT_MIN <= value <= INT_MAX:
        raise OutOfRange(f"does not fit 32 bits: {value}")
    return value


def kstrtouint(data: bytes, base: int = 0) -> int:
    """An unsigned 32-bit number, not stripped: module parameters take it as it comes. Errors as kstrtoint.

    Source: lib/kstrtox.c:kstrtouint.
    """
    value = kstrtoull(data, base)
    if value > 2 * INT_MAX + 1:
        raise OutOfRange(f"does not fit 32 bits: {value}")
    return value


def parse_bool_int(data: bytes) -> bool:
    """0 or 1 for flags of memory.*, which answer EINVAL to other numbers.

    Raises:
        OutOfRange: does not fit an int (ERANGE).
        InvalidInput: another number, or none (EINVAL).

    Source: mm/memcontrol.c:memory_oom_group_write.
    """
    value = kstrtoint(data)
    if value not in (0, 1):
        raise InvalidInput(f"neither 0 nor 1: {value}")
    return bool(value)


def parse_flag(data: bytes) -> bool:
    """0 or 1 for flags of the cgroup core, which answer ERANGE to other numbers.

    Raises:
        OutOfRange: another number (ERANGE).
        InvalidInput: not a number (EINVAL).

    Source: cgroup.c:cgroup_freeze_write, cgroup_kill_write, cgroup_pressure_write.
    """
    value = kstrtoint(data)
    if value not in (0, 1):
        raise OutOfRange(f"neither 0 nor 1: {value}")
    return bool(value)


def parse_max_int(data: bytes) -> int:
    """``max`` (as INT_MAX) or a number from 0, for cgroup.max.depth and cgroup.max.descendants.

    Raises:
        OutOfRange: negative or more than INT_MAX (ERANGE).
        InvalidInput: not a number (EINVAL).

    Source: cgroup.c:cgroup_max_depth_write.
    """
    if kstrip(data) == b"max":
        return INT_MAX
    value = kstrtoint(data)
    if value < 0:
        raise OutOfRange(f"negative: {value}")
    return value


def match_int(text: bytes) -> int:
    """The value of a ``key=%d`` option: base 0, an optional ``-``, nothing after the digits.

    The value wraps modulo 2^64 before its range is looked at. A lone ``-`` is 0: the sign alone counts as text that was taken.

    Raises:
        InvalidInput: not such a number, more than 32 bits, or written with more than 23 characters; the callers of match_int
            answer EINVAL to all of these.

    Source: lib/parser.c:match_one, match_number.
    """
    digits = text[1:] if text[:1] == b"-" else text
    value, rest = parse_integer(digits)
    if rest or not text:
        raise InvalidInput(f"not a number: {text[:40]!r}")
    value %= _U64
    if digits is not text:
        value = -value % _U64
    if value >= 1 << 63:
        value -= _U64
    if len(text) >= _MATCH_NUMBER_BYTES or not INT_MIN <= value <= INT_MAX:
        raise InvalidInput(f"does not fit 32 bits: {text[:40]!r}")
    return value


def scan_unsigned(text: bytes) -> tuple[int, bytes] | None:
    """``%llu`` of sscanf: white space, then decimal digits, taken modulo 2^64; None without a digit. Source: lib/vsprintf.c:vsscanf."""
    text = text.lstrip(KERNEL_SPACE)
    value, rest = parse_integer(text, 10)
    return None if rest == text else (value % _U64, rest)


def scan_word(text: bytes, width: int) -> tuple[bytes, bytes] | None:
    """``%<width>s`` of sscanf: white space, then up to ``width`` other bytes; None at the end of the text."""
    text = text.lstrip(KERNEL_SPACE)
    end = next((at for at, byte in enumerate(text[:width]) if byte in KERNEL_SPACE), min(width, len(text)))
    return (text[:end], text[end:]) if end else None


_DURATION_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_DURATION = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ns|us|ms|s|m|h|d)?\s*")


def parse_size(size: str | int) -> int:
    """Bytes from a command-line or API size: ``"64M"``, ``"4096"``, 4096; the suffixes of memparse, powers of 1024.

    Raises:
        UsageError: not a size, or more than 64 bits.
    """
    if isinstance(size, int):
        if size < 0:
            raise UsageError(f"not a size: {size} (negative)")
        return size
    text = size.strip().encode()
    value, rest = parse_integer(text)
    shift = 0 if not rest else _SUFFIX_SHIFT.get(rest[0] & ~0x20, -1) if rest.isalpha() else -1
    if rest == text or len(rest) > 1 or shift < 0:
        raise UsageError(f"not a size: {size!r} (digits with at most one of K M G T P E)")
    if value << shift >= _U64:
        raise UsageError(f"not a size: {size!r} (more than 64 bits)")
    return value << shift


def parse_duration(duration: str | float) -> int:
    """Nanoseconds from ``"1h"``, ``"250ms"``, ``"1.5s"``; a plain number means seconds.

    Raises:
        UsageError: not a duration.
    """
    if isinstance(duration, (int, float)):
        if not 0 <= duration < math.inf:
            raise UsageError(f"not a duration: {duration} (negative or endless)")
        return round(duration * 10**9)
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise UsageError(f"not a duration: {duration!r} (a number with ns, us, ms, s, m, h or d)")
    whole, _, fraction = match.group(1).partition(".")
    unit_ns = _DURATION_NS[match.group(2) or "s"]
    return int(whole) * unit_ns + (int(fraction) * unit_ns // 10 ** len(fraction) if fraction else 0)
