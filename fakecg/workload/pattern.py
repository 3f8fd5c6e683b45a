"""How a task touches its memory: which pages, how often, and how many of the touches are writes.

``once`` | ``none`` | ``uniform:RATE`` | ``zipf:EXPONENT,RATE`` | ``hotcold:FRACTION,RATE`` | ``seq:RATE``, each with an optional
``,write=SHARE`` at its end. RATE is touches a second: ``20k/s``, ``500``, ``1.5M/s``, ``30/m``.

An ``AccessSpec`` is a description; ``start`` gives a running ``AccessPattern`` for a number of pages. Draws are made in blocks from the
bits of one long random string, and consecutive pages come as a ``range``, so that choosing a page costs far less than touching it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import gcd
from random import Random

from fakecg.abi.errors import UsageError
from fakecg.sched.clock import NSEC_PER_SEC

#: Pages to touch in this order, all for reading or all for writing; a range where they follow one another.
Touches = tuple[Sequence[int], bool]

#: Share of the touches that go to the hot pages of ``hotcold``.
DEFAULT_HEAT = 0.9

_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kKMG]?)(?:/(ms|s|m|h))?")
_RATE_FACTOR = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}
_RATE_SPAN_S = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_RATE = 1e9


def parse_rate(text: str) -> float:
    """Touches a second from ``20k/s``, ``500`` (a second), ``30/m``; k, M and G are powers of 1000.

    Raises:
        UsageError: not a rate, 0, or more than 10^9 a second.
    """
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"not a rate: {text!r} (a number with k, M or G, and /s, /m or /h)")
    rate = float(match[1]) * _RATE_FACTOR[match[2]] / _RATE_SPAN_S[match[3]]
    if not 0 < rate <= _MAX_RATE:
        raise UsageError(f"not a rate: {text!r} (above 0, at most {_MAX_RATE:.0e}/s)")
    return rate


def _share(name: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        raise UsageError(f"{name} {text!r}: not a number") from None
    if not 0 <= share <= 1:
        raise UsageError(f"{name} {text!r}: not in 0..1")
    return share


def _exponent(text: str) -> float:
    try:
        exponent = float(text)
    except ValueError:
        raise UsageError(f"exponent {text!r}: not a number") from None
    if not 0 < exponent <= 10:
        raise UsageError(f"exponent {text!r}: not above 0 and at most 10")
    return exponent


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSpec:
    """A way to touch pages.

    Attributes:
        pattern: one of PATTERNS.
        rate: touches a second; 0 for ``once`` and ``none``.
        exponent: zipf: the page of rank r is touched in proportion to r^-exponent.
        hot: hotcold: share of the pages, from the first on, that is hot.
        heat: hotcold: share of the touches that go there.
        write: share of the touches that are writes.
    """

    pattern: str
    rate: float = 0.0
    exponent: float = 1.0
    hot: float = 0.1
    heat: float = DEFAULT_HEAT
    write: float = 0.0

    @classmethod
    def parse(cls, spec: str) -> AccessSpec:
        """Read a description.

        Raises:
            UsageError: unknown pattern, missing or excess values, a value out of range.
        """
        name, _, rest = spec.strip().partition(":")
        known = check_pattern(name)
        words = [word.strip() for word in rest.split(",")] if rest else []
        write = 0.0
        if words and words[-1].startswith("write="):
            write = _share("write", words.pop().removeprefix("write="))
        if len(words) != len(known.positional):
            usage = f"{name}:{','.join(known.positional).upper()}" if known.positional else name
            raise UsageError(f"access {spec!r}: expected {usage}")
        return cls.of(name, write=write, **dict(zip(known.positional, words, strict=True)))

    @classmethod
    def of(cls, pattern: str, *, write: float = 0.0, **values: str) -> AccessSpec:
        """The same from named values, as a scenario file has them: rate, exponent, hot, heat.

        Raises:
            UsageError: unknown pattern, a value the pattern does not take or lacks, a value out of range.
        """
        known = check_pattern(pattern)
        allowed = (*known.positional, *known.optional)
        for name in values:
            if name not in allowed:
                raise UsageError(f"{pattern} takes no {name} (known: {', '.join(allowed) or 'none'})")
        for name in known.positional:
            if name not in values:
                raise UsageError(f"{pattern} needs {name}")
        return cls(
            pattern=pattern,
            rate=parse_rate(values["rate"]) if "rate" in values else 0.0,
            exponent=_exponent(values.get("exponent", "1")),
            hot=_share("hot", values.get("hot", "0.1")),
            heat=_share("heat", values.get("heat", str(DEFAULT_HEAT))),
            write=_share("write", str(write)),
        )

    @property
    def populates(self) -> bool:
        """Whether a task with this access touches all of its memory when it starts."""
        return self.pattern != "none"

    def start(self, nr_pages: int, rng: Random) -> AccessPattern:
        """A running pattern over pages 0..nr_pages-1; ``rng`` is its own from now on."""
        return PATTERNS[self.pattern].make(self, nr_pages, rng)


class AccessPattern(ABC):
    """A pattern at work.

    Fractions of a touch are carried over from one batch to the next, so any division of time gives the same number of touches.
    """

    def __init__(self, spec: AccessSpec, nr_pages: int, rng: Random) -> None:
        self.spec = spec
        self.nr_pages = nr_pages
        self.rng = rng
        self._owed = 0.0
        self._writes_owed = 0.0

    def batch(self, dt_ns: int) -> list[Touches]:
        """What is touched in the next ``dt_ns`` nanoseconds."""
        self._owed += self.spec.rate * dt_ns / NSEC_PER_SEC
        nr_touches = int(self._owed)
        self._owed -= nr_touches
        if not nr_touches or not self.nr_pages:
            return []
        return [touches for pages in self.draw(nr_touches) for touches in self._split(pages)]

    @abstractmethod
    def draw(self, nr_touches: int) -> list[Sequence[int]]:
        """Indices of the next touches, ``nr_touches`` > 0 in all."""

    def _split(self, pages: Sequence[int]) -> list[Touches]:
        # Reads first, then writes: within a batch the order of different pages says nothing.
        if not self.spec.write:
            return [(pages, False)]
        self._writes_owed += self.spec.write * len(pages)
        nr_writes = min(int(self._writes_owed), len(pages))
        self._writes_owed -= nr_writes
        cut = len(pages) - nr_writes
        return [part for part in ((pages[:cut], False), (pages[cut:], True)) if part[0]]


@dataclass(frozen=True, slots=True)
class _Known:
    make: Callable[[AccessSpec, int, Random], AccessPattern]
    positional: tuple[str, ...]
    optional: tuple[str, ...]


#: Patterns by name, with the values they take.
PATTERNS: dict[str, _Known] = {}


def _pattern(name: str, *positional: str, optional: tuple[str, ...] = ()) -> Callable[[type[AccessPattern]], type[AccessPattern]]:
    def register(make: type[AccessPattern]) -> type[AccessPattern]:
        PATTERNS[name] = _Known(make, positional, optional)
        return make

    return register


def check_pattern(name: str) -> _Known:
    """The entry of a pattern.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in PATTERNS:
        close = get_close_matches(name, PATTERNS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UsageError(f"unknown pattern {name!r} ({hint}known: {', '.join(sorted(PATTERNS))})")
    return PATTERNS[name]


def uniform_draws(rng: Random, nr_pages: int, nr_draws: int) -> list[int]:
    """Independent page indices, all equally likely (but for 2^-32 of the number of pages)."""
    return [draw * nr_pages >> 32 for draw in array("I", rng.randbytes(4 * nr_draws))]


@_pattern("none")
@_pattern("once")
class Once(AccessPattern):
    """``once``: every page at the first batch, then nothing. ``none``: never anything."""

    def batch(self, dt_ns: int) -> list[Touches]:
        """All pages, or none."""
        nr_pages, self.nr_pages = self.nr_pages, 0
        return self._split(range(nr_pages)) if nr_pages and self.spec.populates else []

    def draw(self, nr_touches: int) -> list[Sequence[int]]:
        """Never asked."""
        return []


@_pattern("uniform", "rate")
class Uniform(AccessPattern):
    """Every page equally often."""

    def draw(self, nr_touches: int) -> list[Sequence[int]]:
        """Independent draws."""
        return [uniform_draws(self.rng, self.nr_pages, nr_touches)]


@_pattern("seq", "rate")
class Sequential(AccessPattern):
    """From the first page to the last, over and over."""

    _next = 0

    def draw(self, nr_touches: int) -> list[Sequence[int]]:
        """Ranges, a new one at each turn."""
        ranges: list[Sequence[int]] = []
        while nr_touches:
            stop = min(self._next + nr_touches, self.nr_pages)
            ranges.append(range(self._next, stop))
            nr_touches -= stop - self._next
            self._next = stop % self.nr_pages
        return ranges


@_pattern("hotcold", "hot", "rate", optional=("heat",))
class HotCold(AccessPattern):
    """A hot part, from the first page on, and a cold one, each touched evenly."""

    def __init__(self, spec: AccessSpec, nr_pages: int, rng: Random) -> None:
        super().__init__(spec, nr_pages, rng)
        self._nr_hot = min(nr_pages, round(spec.hot * nr_pages))
        self._hot_owed = 0.0

    def draw(self, nr_touches: int) -> list[Sequence[int]]:
        """Hot pages, then cold ones."""
        nr_hot, nr_cold = self._nr_hot, self.nr_pages - self._nr_hot
        self._hot_owed += self.spec.heat * nr_touches
        to_hot = min(int(self._hot_owed), nr_touches)
        self._hot_owed -= to_hot
        if not nr_hot or not nr_cold:
            to_hot = nr_touches if nr_hot else 0
        parts: list[Sequence[int]] = []
        if to_hot:
            parts.append(uniform_draws(self.rng, nr_hot, to_hot))
        if to_hot < nr_touches:
            parts.append([nr_hot + index for index in uniform_draws(self.rng, nr_cold, nr_touches - to_hot)])
        return parts


@_pattern("zipf", "exponent", "rate")
class Zipf(AccessPattern):
    """Few pages very often, most of them rarely. Ranks are scattered over the pages, so that hot ones are not neighbours.

    The rank is drawn from the continuous distribution of the same density and rounded: the first one comes up a little too often.
    """

    def __init__(self, spec: AccessSpec, nr_pages: int, rng: Random) -> None:
        super().__init__(spec, nr_pages, rng)
        self._offset = rng.randrange(max(1, nr_pages))
        self._stride = max(1, round(nr_pages * 0.6180339887))
        while gcd(self._stride, nr_pages) > 1:
            self._stride += 1

    def draw(self, nr_touches: int) -> list[Sequence[int]]:
        """Independent draws."""
        nr_pages, stride, offset, exponent = self.nr_pages, self._stride, self._offset, self.spec.exponent
        draws = array("I", self.rng.randbytes(4 * nr_touches))
        first, last = 0.5, nr_pages + 0.5
        if abs(exponent - 1) < 1e-6:
            base = (last / first) ** 2.0**-32
            return [[(int(base**draw * first - 0.5) * stride + offset) % nr_pages for draw in draws]]
        low = first ** (1 - exponent)
        step = (last ** (1 - exponent) - low) * 2.0**-32
        power = 1 / (1 - exponent)
        return [[(int((low + step * draw) ** power - 0.5) * stride + offset) % nr_pages for draw in draws]]
