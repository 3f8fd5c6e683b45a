"""How /proc/sys reads an integer, which is not how the rest of the kernel does. Mirrors kernel/sysctl.c."""

from __future__ import annotations

from fakecg.abi.errors import InvalidInput
from fakecg.abi.units import INT_MAX, INT_MIN, KERNEL_SPACE, parse_integer

#: What may follow a number.
_SEPARATORS = b" \t\n"
#: A number is copied into a buffer that has room for fewer characters than this.
_TOO_MANY_CHARACTERS = 21


def parse_sysctl_int(name: str, data: bytes, low: int, high: int) -> int:
    """One integer in base 0 with an optional ``-``, from ``low`` to ``high``; white space may stand before it, and anything after a blank.

    Raises:
        InvalidInput: no number, something else than a blank, tab or newline right behind it (also a NUL), out of range (EINVAL).

    Source: kernel/sysctl.c:proc_dointvec_minmax, proc_get_long.
    """
    text = data.lstrip(KERNEL_SPACE)
    digits = text[1:] if text[:1] == b"-" and len(text) > 1 else text
    value, rest = parse_integer(digits)
    if rest == digits or len(text) - len(rest) >= _TOO_MANY_CHARACTERS or (rest and rest[0] not in _SEPARATORS):
        raise InvalidInput(f"{name}: not an integer: {data[:40]!r}")
    if digits is not text:
        value = -value
    if not max(low, INT_MIN) <= value <= min(high, INT_MAX):
        raise InvalidInput(f"{name}: {value} is not in {low}..{high}")
    return value
