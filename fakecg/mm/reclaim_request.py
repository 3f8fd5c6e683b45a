"""What is written to memory.reclaim and memory.zswap.proactive_writeback: the two parsers, and which loop a request starts.

Mirrors memory_reclaim of mm/memcontrol.c with lib/parser.c, and the proposal's additions v1 to v5. Only this module knows which interface
file has which syntax and units.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fakecg.abi.errors import InvalidInput
from fakecg.abi.profile import Features
from fakecg.abi.units import PAGE_SHIFT, kstrip, match_int, memparse
from fakecg.cgroup.cftype import Steps
from fakecg.mm import zswap_proactive
from fakecg.mm.memcontrol import MemCgroup
from fakecg.mm.scan_control import MAX_SWAPPINESS, SWAPPINESS_ANON_ONLY

#: source= takes at most this many characters.
_SOURCE_MAX_CHARS = 15
_KEY_ONLY = b"zswap_writeback_only"
_U32_MAX = 0xFFFFFFFF
_NSEC_PER_SEC = 1_000_000_000
_AGE = re.compile(rb"0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class ReclaimRequest:
    """A parsed write to memory.reclaim.

    Attributes:
        nr_bytes: the size, not rounded.
        swappiness: 0 to 200, or SWAPPINESS_ANON_ONLY; None if not given.
        writeback: the interface version whose key was given; None for an ordinary request.
    """

    nr_bytes: int
    swappiness: int | None
    writeback: str | None


def parse_reclaim(features: Features, data: bytes) -> ReclaimRequest:
    """``<size> [swappiness=<n>] [zswap_writeback_only] [source=zswap]``.

    Raises:
        InvalidInput: no size first, unknown or malformed key, or swappiness together with a writeback key (EINVAL).
    """
    text = kstrip(data)
    nr_bytes, rest = memparse(text)
    if rest == text:
        raise InvalidInput(f"memory.reclaim: no size: {text[:80]!r}")
    swappiness: int | None = None
    writeback: str | None = None
    for word in kstrip(rest).split(b" "):
        if not word:
            continue
        if word.startswith(b"swappiness="):
            swappiness = _parse_swappiness(features, word.removeprefix(b"swappiness="))
        elif word == _KEY_ONLY and (version := _key_only_version(features)):
            writeback = version
        elif word.startswith(b"source=") and "v5" in features.proactive:
            value = word.removeprefix(b"source=")
            if len(value) > _SOURCE_MAX_CHARS or value != b"zswap":
                raise InvalidInput(f"memory.reclaim: source= takes only zswap, not {value[:40]!r}")
            writeback = "v5"
        else:
            raise InvalidInput(f"memory.reclaim: unknown key {word[:80]!r}")
    if writeback is not None and swappiness is not None:
        raise InvalidInput("memory.reclaim: swappiness does not apply to zswap writeback")
    return ReclaimRequest(nr_bytes, swappiness, writeback)


def _key_only_version(features: Features) -> str | None:
    return next((version for version in ("v2", "v3", "v4") if version in features.proactive), None)


def _parse_swappiness(features: Features, value: bytes) -> int:
    if value == b"max" and (features.profile.has_swappiness_max or features.proactive & {"v2", "v3", "v4", "v5"}):
        return SWAPPINESS_ANON_ONLY if features.profile.has_swappiness_max else MAX_SWAPPINESS
    number = match_int(value)
    if not 0 <= number <= MAX_SWAPPINESS:
        raise InvalidInput(f"memory.reclaim: swappiness {number} is not in 0..{MAX_SWAPPINESS}")
    return number


def proactive_writeback(memcg: MemCgroup, request: ReclaimRequest) -> Steps:
    """Start the loop of v2 to v5.

    Raises:
        InvalidInput: v4, v5: writeback is disabled for the cgroup, whatever the size (EINVAL).
        NotEnoughProgress: see zswap_proactive (EAGAIN).
    """
    machine = memcg.mm
    version = request.writeback
    if version in ("v4", "v5") and not memcg.zswap_writeback_enabled():
        raise InvalidInput("memory.reclaim: zswap writeback is disabled here or above")
    nr_pages = request.nr_bytes >> PAGE_SHIFT
    if version == "v5":
        if request.nr_bytes:
            yield from zswap_proactive.writeback_bytes(machine, memcg, request.nr_bytes)
    elif nr_pages:
        if version == "v4":
            yield from zswap_proactive.writeback_page_bytes(machine, memcg, nr_pages)
        else:
            yield from zswap_proactive.writeback_pages(machine, memcg, nr_pages, cutoff_ns=None, must_be_all=version == "v3")


def write_proactive_writeback(memcg: MemCgroup, data: bytes) -> Steps | None:
    """v1's file: ``[max=<bytes>] <age in seconds>``, in any order.

    Raises:
        InvalidInput: writeback is disabled for the cgroup, which is looked at before the text; no age, age 0, less than a page, anything
            else in the text (EINVAL).
    """
    machine = memcg.mm
    if not memcg.zswap_writeback_enabled():
        raise InvalidInput("memory.zswap.proactive_writeback: zswap writeback is disabled here or above")
    nr_pages, age_s = parse_proactive_writeback(data)
    now_ns = machine.clock.now_ns()
    if age_s * _NSEC_PER_SEC >= now_ns:
        # Older than the machine: nothing can be.
        return None
    cutoff_ns = now_ns - age_s * _NSEC_PER_SEC
    return zswap_proactive.writeback_pages(machine, memcg, nr_pages, cutoff_ns=cutoff_ns, must_be_all=False)


def parse_proactive_writeback(data: bytes) -> tuple[int, int]:
    """Pages (a huge number without max=) and age in seconds.

    Raises:
        InvalidInput: see write_proactive_writeback.
    """
    nr_pages: int | None = None
    age_s: int | None = None
    for word in kstrip(data).split(b" "):
        if not word:
            continue
        if word.startswith(b"max="):
            size, rest = memparse(word.removeprefix(b"max="))
            if rest or word == b"max=":
                raise InvalidInput(f"memory.zswap.proactive_writeback: not a size: {word[:80]!r}")
            nr_pages = size >> PAGE_SHIFT
        elif age_s is None and _is_age(word):
            # Matched in any base, converted in base 10: a hexadecimal number matches and then fails.
            if not word.isdigit():
                raise InvalidInput(f"memory.zswap.proactive_writeback: not a decimal number: {word[:80]!r}")
            age_s = int(word)
            if age_s > _U32_MAX:
                raise InvalidInput(f"memory.zswap.proactive_writeback: age {age_s} does not fit 32 bits")
        else:
            raise InvalidInput(f"memory.zswap.proactive_writeback: unexpected {word[:80]!r}")
    if not age_s:
        raise InvalidInput("memory.zswap.proactive_writeback: an age of at least one second is needed")
    if nr_pages == 0:
        raise InvalidInput("memory.zswap.proactive_writeback: max is less than a page")
    return (1 << 64) if nr_pages is None else nr_pages, age_s


def _is_age(word: bytes) -> bool:
    # match_token copies at most 15 characters of a number. Source: lib/parser.c:match_one, match_uint.
    return len(word) <= 15 and _AGE.fullmatch(word) is not None
