"""Faults on demand: what does an agent do when ``memory.reclaim`` answers EAGAIN, or the emulator itself has a bug?

A rule stands for the next so many operations whose kind and path match.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fakecg.abi.errors import ControlError, UsageError

OPERATIONS = ("open", "read", "write", "mkdir", "rmdir")
BUG = "bug"


class InjectedBug(RuntimeError):
    """Stands for a bug of the emulator: answered with EIO, logged with a traceback."""


@dataclass(slots=True)
class Rule:
    """One rule; ``left`` counts the operations it still hits, None for all of them."""

    operation: str
    pattern: str
    answer: str
    left: int | None

    def __str__(self) -> str:
        return f"{self.operation} {self.pattern} {self.answer} count={'inf' if self.left is None else self.left}"


class Faults:
    """The rules in force. False while there are none, so that an operation pays one test."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def __bool__(self) -> bool:
        return bool(self.rules)

    def add(self, operation: str, pattern: str, answer: str, count: int | None) -> None:
        """Add a rule.

        Args:
            operation: one of OPERATIONS.
            pattern: path from the root of the tree, with ``*`` and ``?``.
            answer: an errno's name, or ``bug``.
            count: operations it hits; None for no end.

        Raises:
            UsageError: unknown operation or errno, or a count below 1.
        """
        if operation not in OPERATIONS:
            raise UsageError(f"unknown operation {operation!r} (known: {', '.join(OPERATIONS)})")
        if answer != BUG and answer not in errno.errorcode.values():
            raise UsageError(f"unknown errno {answer!r} (an errno's name, for example EAGAIN, or {BUG})")
        if count is not None and count < 1:
            raise UsageError(f"count must be at least 1: {count}")
        self.rules.append(Rule(operation, pattern, answer, count))

    def check(self, operation: str, path: str) -> None:
        """Raise what the first matching rule says.

        Raises:
            ControlError: with the rule's errno.
            InjectedBug: the rule asks for a bug.
        """
        for rule in self.rules:
            if rule.operation != operation or not fnmatchcase(path, rule.pattern):
                continue
            if rule.left is not None:
                rule.left -= 1
                if not rule.left:
                    self.rules.remove(rule)
            if rule.answer == BUG:
                raise InjectedBug(f"injected into {operation} of {path}")
            error = ControlError(f"injected into {operation} of {path}")
            error.errno = error.code = getattr(errno, rule.answer)
            raise error
