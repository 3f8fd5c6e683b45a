"""A file of the control directory: what can be written to it, and how a line is taken apart."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fakecg.abi.errors import UsageError

if TYPE_CHECKING:
    from fakecg.fs.control import Control


@dataclass(slots=True)
class Arguments:
    """Words of a command line.

    Attributes:
        interrupted: tells whether who wrote the line got a signal.
    """

    words: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    interrupted: Callable[[], bool] = lambda: False

    @classmethod
    def parse(cls, line: str, nr_words: int, known: tuple[str, ...]) -> Arguments:
        """Split a line into ``nr_words`` words and the rest, which are options.

        Raises:
            UsageError: too few words, an unknown or repeated option, unbalanced quotes.
        """
        try:
            pieces = shlex.split(line)
        except ValueError as error:
            raise UsageError(f"{error}: {line.strip()!r}") from None
        if len(pieces) < nr_words:
            raise UsageError(f"{nr_words} words expected, got {len(pieces)}")
        options: dict[str, str] = {}
        for piece in pieces[nr_words:]:
            key, equals, value = piece.partition("=")
            if not equals or key not in known:
                raise UsageError(f"unknown option {piece!r}" + (f" (known: {', '.join(known)})" if known else ""))
            if key in options:
                raise UsageError(f"{key} is given twice")
            options[key] = value
        return cls(pieces[:nr_words], options)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlCommand:
    """One file of the control directory.

    Attributes:
        name: file name.
        summary: one sentence.
        words: names of the words a command line starts with, for the usage line.
        options: names of its options.
        run: carries a command out and returns the answer; None for a report.
        report: what reading gives; None for a command without one.
        takes_long: others are served while the report is made.
    """

    name: str
    summary: str
    words: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    run: Callable[[Control, Arguments], str] | None = None
    report: Callable[[Control], str] | None = None
    takes_long: bool = False

    @property
    def mode(self) -> int:
        """Permission bits: only the owner controls a mount, everybody may read its reports."""
        return (0o600 if self.run else 0) | (0o444 if self.report else 0o400)

    @property
    def usage(self) -> str:
        """What to write, as one line."""
        return " ".join([*self.words, *(f"[{name}=...]" for name in self.options)]) or "anything"
