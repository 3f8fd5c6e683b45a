"""Faults on demand: what does an agent do when ``memory.reclaim`` answers EAGAIN, a swap device fails, or the emulator itself has a bug?

A rule stands for the next so many operations whose kind and path match. Rules for swap devices match by the device's name and are kept by
the devices themselves.
"""

from __future__ import annotations

import errno
import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from fakecg.abi.errors import ControlError, UsageError

if TYPE_CHECKING:
    from fakecg.host import Host

OPERATIONS = ("open", "read", "write", "mkdir", "rmdir")
#: Operations of swap devices, each with the only errno that it can end with and its name in Host.inject_swap_fault.
SWAP_OPERATIONS = {"swap-read": ("EIO", "read"), "swap-write": ("EIO", "write"), "swap-full": ("ENOSPC", "full")}
BUG = "bug"
_MAX_COUNT = 1_000_000_000


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


def inject_swap(host: Host, operation: str, pattern: str, answer: str, count: int | None) -> None:
    """Let swap devices fail.

    Args:
        operation: one of SWAP_OPERATIONS.
        pattern: of the devices' names, as in /proc/swaps.
        answer: the errno of the operation.
        count: how many reads or writes fail; None for no end, which is the only choice for ``swap-full``.

    Raises:
        UsageError: another errno, no such device, or a count that makes no sense.
    """
    only_answer, kind = SWAP_OPERATIONS[operation]
    if answer != only_answer:
        raise UsageError(f"{operation} ends with {only_answer}, not {answer}")
    if count is not None and kind == "full":
        raise UsageError("swap-full has no count: it lasts until it is cleared")
    _check_count(count)
    names = [device.name for device in host.machine.swap.devices if fnmatchcase(device.name, pattern)]
    if not names:
        raise UsageError(f"no swap device {pattern} (there: {' '.join(device.name for device in host.machine.swap.devices) or 'none'})")
    for name in names:
        host.inject_swap_fault(kind, count, name)


def swap_rules(host: Host) -> list[Rule]:
    """What is left of the faults of swap devices."""
    rules = []
    for device in host.machine.swap.devices:
        for operation, left in (("swap-read", device.fail_reads), ("swap-write", device.fail_writes)):
            if left:
                rules.append(Rule(operation, device.name, "EIO", None if left > _MAX_COUNT else left))
        if device.refuses:
            rules.append(Rule("swap-full", device.name, "ENOSPC", None))
    return rules


def clear_swap(host: Host) -> None:
    """Let all swap devices work again."""
    for device in host.machine.swap.devices:
        for _, kind in SWAP_OPERATIONS.values():
            host.inject_swap_fault(kind, 0, device.name)


def _check_count(count: int | None) -> None:
    if count is not None and not 1 <= count <= _MAX_COUNT:
        raise UsageError(f"count must be at least 1 and at most {_MAX_COUNT}: {count}")


class Faults:
    """The rules in force. False while there are none, so that an operation pays one test. May be used by several threads."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self._lock = threading.Lock()

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
            raise UsageError(f"unknown operation {operation!r} (known: {', '.join((*OPERATIONS, *SWAP_OPERATIONS))})")
        if answer != BUG and answer not in errno.errorcode.values():
            raise UsageError(f"unknown errno {answer!r} (an errno's name, for example EAGAIN, or {BUG})")
        _check_count(count)
        with self._lock:
            self.rules.append(Rule(operation, pattern, answer, count))

    def check(self, operation: str, path: str) -> None:
        """Raise what the first matching rule says.

        Raises:
            ControlError: with the rule's errno.
            InjectedBug: the rule asks for a bug.
        """
        rule = self._take(operation, path)
        if rule is None:
            return
        if rule.answer == BUG:
            raise InjectedBug(f"injected into {operation} of {path}")
        error = ControlError(f"injected into {operation} of {path}")
        error.errno = error.code = getattr(errno, rule.answer)
        raise error

    def _take(self, operation: str, path: str) -> Rule | None:
        with self._lock:
            for rule in self.rules:
                if rule.operation == operation and fnmatchcase(path, rule.pattern):
                    if rule.left is not None:
                        rule.left -= 1
                        if not rule.left:
                            self.rules.remove(rule)
                    return rule
        return None

    def clear(self) -> None:
        """Drop all rules."""
        with self._lock:
            self.rules.clear()
