"""Control of a running mount through files: one row per file of the unlisted directory ``.fakecg`` at the mount's root.

Most rows are commands: write one line, words split as a shell does, options as ``key=value``; read the answer from the same descriptor.

    exec 3<>MNT/.fakecg/spawn; echo "/job size=64M content=text" >&3; cat <&3; exec 3>&-

Others are reports, which are just read. A refused command answers with an errno; reading the descriptor then gives the reason.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fakecg.abi.errors import InvalidInput, UsageError
from fakecg.abi.units import PAGE_SIZE, parse_duration, parse_size
from fakecg.fs.command import Arguments, ControlCommand
from fakecg.fs.inject import SWAP_OPERATIONS, Faults, clear_swap, inject_swap, swap_rules
from fakecg.fs.logring import LOGGER_NAME
from fakecg.mm.page_table import RESIDENT
from fakecg.sched.clock import NSEC_PER_SEC
from fakecg.version import VERSION

if TYPE_CHECKING:
    from fakecg.host import Host

log = logging.getLogger(LOGGER_NAME)

_CHUNK_PAGES = 16384


class Control:
    """What the commands act on.

    Attributes:
        faults: rules that make operations fail on demand.
        log_text: gives the last lines of the log.
        may_block: called before a report that takes long is made, see serve.Server.
    """

    def __init__(self, host: Host, log_text: Callable[[], str]) -> None:
        self.host = host
        self.faults = Faults()
        self.log_text = log_text
        self.may_block: Callable[[], None] = lambda: None

    def run(self, command: ControlCommand, line: str, interrupted: Callable[[], bool] = lambda: False) -> str:
        """Carry out one command line.

        Args:
            interrupted: tells whether the writer got a signal.

        Raises:
            InvalidInput: no command, or a wrong one (EINVAL).
            ControlError: what the command itself met.
        """
        if command.run is None:
            raise InvalidInput(f".fakecg/{command.name} is a report: read it")
        log.info("%s %s", command.name, line.strip())
        try:
            takes_anything = not command.words and not command.options
            arguments = Arguments() if takes_anything else Arguments.parse(line, len(command.words), command.options)
            arguments.interrupted = interrupted
            return command.run(self, arguments)
        except UsageError as error:
            raise InvalidInput(f"{command.name}: {error}") from error

    def report(self, command: ControlCommand) -> str:
        """What reading the file gives."""
        if command.report is None:
            return f"usage: {command.usage}\n"
        if command.takes_long:
            self.may_block()
        return command.report(self)


def _number(text: str, what: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"not a {what}: {text!r}") from None


def _spawn(control: Control, arguments: Arguments) -> str:
    options: dict[str, Any] = dict(arguments.options)
    if "size" not in options:
        raise UsageError("size=... is missing")
    for name in ("node", "pid"):
        if name in options:
            options[name] = _number(options[name], name)
    host = control.host
    return f"{host.spawn(host.lookup(arguments.words[0]), **options).pid}\n"


def _ps(control: Control) -> str:
    lines = ["pid cgroup name resident zswapped swapped"]
    for task in control.host.tasks():
        cgroup = task.cgroup.path() if task.cgroup is not None else "-"
        usage = task_usage(control.host, task.pid)
        lines.append(" ".join(map(str, (task.pid, shlex.quote(cgroup), shlex.quote(task.name), *usage))))
    return "\n".join(lines) + "\n"


def task_usage(host: Host, pid: int) -> tuple[int, int, int]:
    """Where the anonymous memory of a task is: bytes resident, in zswap, and on the swap device. Cost: O(pages), in chunks of 64 MiB."""
    machine = host.machine
    nr_resident = nr_zswapped = nr_swapped = 0
    job = host.jobs.get(pid)
    for space in job.spaces if job is not None else ():
        for begin in range(space.base, space.base + space.nr_pages, _CHUNK_PAGES):
            end = min(begin + _CHUNK_PAGES, space.base + space.nr_pages)
            with host.lock:
                table = machine.table
                slots = [
                    slot for slot, flags in zip(table.slot[begin:end], table.flags[begin:end], strict=True) if slot and not flags & RESIDENT
                ]
                nr_resident += sum(1 for flags in table.flags[begin:end] if flags & RESIDENT)
                nr_here = sum(map(machine.zswap.has, slots))
            nr_zswapped += nr_here
            nr_swapped += len(slots) - nr_here
    return nr_resident * PAGE_SIZE, nr_zswapped * PAGE_SIZE, nr_swapped * PAGE_SIZE


def _kill(control: Control, arguments: Arguments) -> str:
    control.host.kill(_number(arguments.words[0], "pid"))
    return ""


def _advance(control: Control, arguments: Arguments) -> str:
    control.host.advance(arguments.words[0], interrupted=arguments.interrupted)
    return _clock(control)


def _clock(control: Control) -> str:
    now_ns = control.host.clock.now_ns()
    return f"{now_ns // 1_000_000_000}.{now_ns % 1_000_000_000:09d}\n"


def _inject(control: Control, arguments: Arguments) -> str:
    operation, pattern, answer = arguments.words
    text = arguments.options.get("count")
    count = None if text is None else _number(text, "number")
    if operation in SWAP_OPERATIONS:
        inject_swap(control.host, operation, pattern, answer, count)
    else:
        control.faults.add(operation, pattern, answer, count)
    return _faults(control)


def _clear(control: Control, arguments: Arguments) -> str:
    control.faults.clear()
    clear_swap(control.host)
    return ""


def _faults(control: Control) -> str:
    return "".join(f"{rule}\n" for rule in (*control.faults.rules, *swap_rules(control.host)))


def _swapoff(control: Control, arguments: Arguments) -> str:
    return f"{control.host.swapoff(arguments.words[0], interrupted=arguments.interrupted)}\n"


def _last_error(control: Control) -> str:
    error = control.host.last_error
    return f"{error}\n" if error else ""


def _age(control: Control, arguments: Arguments) -> str:
    host, options = control.host, arguments.options
    age_ns = parse_duration(options["age"]) if "age" in options else None
    if age_ns is not None and age_ns % NSEC_PER_SEC:
        raise UsageError(f"age={options['age']}: whole seconds only")
    return str(
        host.age_report(
            host.lookup(arguments.words[0]),
            age_s=None if age_ns is None else age_ns // NSEC_PER_SEC,
            max_bytes=parse_size(options["max"]) if "max" in options else None,
        )
    )


def _verify(control: Control) -> str:
    return f"{control.host.verify()}\n"


def _help(control: Control) -> str:
    return "".join(f"{row.name:12}{row.summary}{f' Write: {row.usage}' if row.run else ''}\n" for row in COMMANDS)


#: The files of .fakecg; a new one is a new row.
COMMANDS: tuple[ControlCommand, ...] = (
    ControlCommand(name="help", summary="This table.", report=_help),
    ControlCommand(name="version", summary="Version of the emulator.", report=lambda control: f"{VERSION}\n"),
    ControlCommand(name="pid", summary="Process that serves the mount.", report=lambda control: f"{os.getpid()}\n"),
    ControlCommand(
        name="spawn",
        summary="Start a synthetic task; answers its pid.",
        words=("CGROUP",),
        options=("size", "content", "access", "cache", "name", "node", "pid"),
        run=_spawn,
    ),
    ControlCommand(name="ps", summary="Tasks and where their memory is.", report=_ps, takes_long=True),
    ControlCommand(name="kill", summary="Kill a task.", words=("PID",), run=_kill),
    ControlCommand(name="advance", summary="Move a manual clock; answers the new time.", words=("DURATION",), run=_advance),
    ControlCommand(name="clock", summary="Emulated boottime in seconds.", report=_clock),
    ControlCommand(
        name="age",
        summary="Ages of a cgroup's zswap entries; with an age, what a writeback by age would do.",
        words=("CGROUP",),
        options=("age", "max"),
        run=_age,
    ),
    ControlCommand(
        name="features",
        summary="Every file and key: exact, simplified, zero or absent.",
        report=lambda control: control.host.features_report(),
    ),
    ControlCommand(name="verify", summary="Check the bytes of every page; gives the number checked.", report=_verify, takes_long=True),
    ControlCommand(name="last_error", summary="Reason of the last refusal.", report=_last_error),
    ControlCommand(name="log", summary="Last lines of the log.", report=lambda control: control.log_text()),
    ControlCommand(
        name="inject",
        summary="Let operations on files (open, read, write, mkdir, rmdir) or of swap devices (swap-read, swap-write, swap-full) fail.",
        words=("OPERATION", "PATTERN", "ERRNO|bug"),
        options=("count",),
        run=_inject,
        report=_faults,
    ),
    ControlCommand(
        name="swapoff",
        summary="Bring all of a swap device back into memory and take it out of use; answers how many pages came.",
        words=("DEVICE",),
        run=_swapoff,
    ),
    ControlCommand(name="clear", summary="Drop the rules of inject.", run=_clear),
)
