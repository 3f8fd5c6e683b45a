"""What the pages of a synthetic task hold: real bytes, which compress as well or badly as their kind says.

A page is a function of (seed, index, generation): a task's pages differ from another's, a page differs from its neighbours, and a write
gives it a new generation. Nothing has to be remembered to know what a page must contain, so any route through zswap and swap can be
checked byte by byte. Pages are cut out of a few precomputed blocks at varying offsets, each with a head of its own; that costs about a
microsecond.

``zero`` | ``text`` | ``random`` | ``half`` | ``ratio=R`` | ``file:PATH`` | ``mix:KIND=SHARE,…`` | ``rec:KIND`` (see recorded.py)
"""

from __future__ import annotations

import mmap
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from itertools import accumulate
from pathlib import Path
from struct import Struct

import lz4.block

from fakecg.abi.errors import UsageError
from fakecg.abi.units import PAGE_SIZE
from fakecg.workload.recorded import RECORDED_KINDS, recorded_page

ZERO_PAGE = bytes(PAGE_SIZE)

_U64 = (1 << 64) - 1
_HEAD = Struct("<Q")
_POOL_BYTES = 1 << 20
_POOL_RANGE = _POOL_BYTES - PAGE_SIZE
#: Some hundred words of these, drawn with falling frequency, make text which lz4 brings to about half.
_SYLLABLES = (
    "con",
    "tro",
    "mem",
    "ory",
    "pa",
    "ge",
    "re",
    "claim",
    "swap",
    "zo",
    "ne",
    "li",
    "mit",
    "ker",
    "nel",
    "gro",
    "up",
    "tion",
    "al",
)


def mix64(seed: int, index: int, generation: int = 0) -> int:
    """A well-stirred 64-bit number of three; different pages get different ones but for chance."""
    value = (seed * 0x9E3779B97F4A7C15 + index * 0xD1B54A32D192ED03 + generation * 0x8CB92BA72F3D8DD7 + 0x632BE59BD9B4E019) & _U64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _U64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _U64
    return value ^ (value >> 31)


class ContentSpec(ABC):
    """Contents of the pages of one address space."""

    spec: str

    @abstractmethod
    def page(self, seed: int, index: int, generation: int = 0) -> bytes:
        """The 4096 bytes of a page; the same arguments always give the same bytes.

        Args:
            seed: of the address space.
            index: of the page in it.
            generation: how often the page was rewritten.
        """

    @staticmethod
    def parse(spec: str) -> ContentSpec:
        """Read a content description.

        Raises:
            UsageError: unknown kind, a value out of range, an unreadable file.
        """
        spec = spec.strip()
        for separator in (":", "="):
            name, found, value = spec.partition(separator)
            if found and name + separator in KINDS:
                return KINDS[name + separator](value)
        if spec in KINDS:
            return KINDS[spec]("")
        shown = sorted(kind + ("…" if kind[-1] in ":=" else "") for kind in KINDS)
        close = get_close_matches(spec.partition("=")[0].partition(":")[0], [kind.rstrip(":=") for kind in KINDS], n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UsageError(f"unknown content {spec!r} ({hint}known: {', '.join(shown)})")

    def __repr__(self) -> str:
        return f"ContentSpec({self.spec!r})"


#: Makers by the name a description starts with, including its ``:`` or ``=``.
KINDS: dict[str, Callable[[str], ContentSpec]] = {}


def _kind(name: str) -> Callable[[Callable[[str], ContentSpec]], Callable[[str], ContentSpec]]:
    def register(make: Callable[[str], ContentSpec]) -> Callable[[str], ContentSpec]:
        KINDS[name] = make
        return make

    return register


@cache
def _random_pool() -> bytes:
    return random.Random(1).randbytes(_POOL_BYTES)


@cache
def _text_pool() -> bytes:
    rng = random.Random(2)
    words = ["".join(rng.choices(_SYLLABLES, k=rng.choice((1, 2, 2, 3)))) for _ in range(120)]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    text = " ".join(rng.choices(words, weights, k=_POOL_BYTES // 5))
    return text.encode()[:_POOL_BYTES]


@_kind("zero")
class ZeroContent(ContentSpec):
    """Never-written memory: all zero in every generation."""

    spec = "zero"

    def __init__(self, value: str = "") -> None:
        pass

    def page(self, seed: int, index: int, generation: int = 0) -> bytes:
        """A zero page."""
        return ZERO_PAGE


@_kind("text")
class TextContent(ContentSpec):
    """Words, as in logs and documents; lz4 halves them."""

    spec = "text"

    def __init__(self, value: str = "") -> None:
        self._pool = _text_pool()

    def page(self, seed: int, index: int, generation: int = 0) -> bytes:
        """A page of words after a number of its own."""
        value = mix64(seed, index, generation)
        offset = value % _POOL_RANGE
        return b"%016x" % value + self._pool[offset : offset + PAGE_SIZE - 16]


class RandomContent(ContentSpec):
    """Random bytes up to a point, zeros after it.

    Args:
        random_bytes: how many, 8 to 4096.
    """

    def __init__(self, spec: str, random_bytes: int) -> None:
        self.spec = spec
        self._pool = _random_pool()
        self._random_bytes = random_bytes - _HEAD.size
        self._zeros = bytes(PAGE_SIZE - random_bytes)

    def page(self, seed: int, index: int, generation: int = 0) -> bytes:
        """A page of random bytes and zeros."""
        value = mix64(seed, index, generation)
        offset = value % _POOL_RANGE
        return b"".join((_HEAD.pack(value), self._pool[offset : offset + self._random_bytes], self._zeros))


@_kind("random")
def _random(value: str) -> ContentSpec:
    return RandomContent("random", PAGE_SIZE)


@_kind("half")
def _half(value: str) -> ContentSpec:
    return RandomContent("half", PAGE_SIZE // 2)


@_kind("ratio=")
def _ratio(value: str) -> ContentSpec:
    try:
        ratio = float(value)
    except ValueError:
        raise UsageError(f"content ratio={value}: not a number") from None
    if not 1 <= ratio <= 100:
        raise UsageError(f"content ratio={value}: not in 1..100")
    return RandomContent(f"ratio={value}", _random_bytes_for(PAGE_SIZE / ratio))


@cache
def _random_bytes_for(compressed_bytes: float) -> int:
    # The most random bytes which still compress to no more than that; lengths grow with the random part.
    low, high = _HEAD.size, PAGE_SIZE
    if len(lz4.block.compress(RandomContent("", high).page(0, 0), store_size=False)) <= compressed_bytes + PAGE_SIZE // 100:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        fits = len(lz4.block.compress(RandomContent("", middle).page(0, 0), store_size=False)) <= compressed_bytes
        low, high = (middle, high) if fits else (low, middle)
    return low


@_kind("file:")
class FileContent(ContentSpec):
    """The pages of a real file, over again if it is shorter than the task; a new generation takes another page of it."""

    def __init__(self, value: str) -> None:
        self.spec = f"file:{value}"
        try:
            with Path(value).open("rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise UsageError(f"content file:{value}: {getattr(error, 'strerror', None) or error}") from None
        self._nr_pages = -(-len(self._bytes) // PAGE_SIZE)

    def page(self, seed: int, index: int, generation: int = 0) -> bytes:
        """A page of the file, the last one filled up with zeros."""
        start = (index + 7919 * generation) % self._nr_pages * PAGE_SIZE
        return self._bytes[start : start + PAGE_SIZE].ljust(PAGE_SIZE, b"\0")


@_kind("mix:")
class MixedContent(ContentSpec):
    """Several kinds side by side; a page keeps its kind in all generations. Shares need not add up to 1."""

    def __init__(self, value: str) -> None:
        self.spec = f"mix:{value}"
        parts: list[ContentSpec] = []
        shares: list[float] = []
        for word in value.split(","):
            name, _, share = word.strip().rpartition("=")
            try:
                shares.append(float(share))
            except ValueError:
                raise UsageError(f"content {self.spec}: {word!r} is not KIND=SHARE") from None
            if not 0 <= shares[-1] < 1e9:
                raise UsageError(f"content {self.spec}: share of {name} must not be negative")
            if name.startswith("mix:"):
                raise UsageError(f"content {self.spec}: a mix in a mix")
            parts.append(ContentSpec.parse(name))
        total = sum(shares)
        if not total > 0:
            raise UsageError(f"content {self.spec}: all shares are 0")
        self._parts = parts
        #: A page belongs to the first part whose bound is above its number of 0..2^32.
        self._bounds = [round(bound / total * (1 << 32)) for bound in accumulate(shares)]

    def page(self, seed: int, index: int, generation: int = 0) -> bytes:
        """A page of one of the kinds."""
        draw = mix64(seed, index, 0x6D6978) >> 32
        for bound, part in zip(self._bounds, self._parts, strict=True):
            if draw < bound:
                return part.page(seed, index, generation)
        return self._parts[-1].page(seed, index, generation)


@_kind("rec:")
class RecordedContent(ContentSpec):
    """The pages of the recorded scenarios, for comparison with recordings; slower than the others."""

    def __init__(self, value: str) -> None:
        if value not in RECORDED_KINDS:
            raise UsageError(f"unknown content 'rec:{value}' (known: {', '.join(f'rec:{kind}' for kind in RECORDED_KINDS)})")
        self.spec = f"rec:{value}"
        self._kind = value

    def page(self, seed: int, index: int, generation: int = 0) -> bytes:
        """A page as the recorded program wrote it; ``seed`` is its mapping number."""
        return recorded_page(self._kind, seed + 7919 * generation, index)
