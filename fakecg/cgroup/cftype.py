"""One row per interface file, and the open file a row is read and written through.

Mirrors struct cftype and struct kernfs_open_file. A table of rows is the only declaration of a file: listing, modes, the docs and the
completeness tests follow from it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fakecg.abi.profile import Features
    from fakecg.cgroup.css import Css

#: Yielded where the kernel tests signal_pending(): the only place where the host throws Interrupted into a generator.
SIGNAL_POINT = "signal point"
#: What a write handler may return: nothing, or the rest of its work as a generator. The generator yields None where the kernel would call
#: cond_resched(), and the host lets others in there.
Steps = Generator[str | None, None, None]
Show = Callable[[Any, "OpenFile"], str]
Write = Callable[[Any, bytes, "OpenFile"], Steps | None]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: thread id and credentials, as the filesystem reports them.

    ``tid`` is 0 when the caller is not visible from the emulator's pid namespace. ``groups`` are supplementary; the filesystem tells them
    only of who opens a file of which moves of processes are checked against.
    """

    tid: int
    uid: int = 0
    gid: int = 0
    groups: frozenset[int] = frozenset()

    @property
    def is_root(self) -> bool:
        """Whether permission checks are passed by capability."""
        return self.uid == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlFile:
    """One interface file.

    Attributes:
        name: as listed, e.g. ``memory.max``.
        show: ``(css, open_file) -> text``; None for a write-only file. ``css`` is the controller's state of the cgroup, or the cgroup
            itself for the files of the core.
        write: ``(css, data, open_file)``; ``data`` is one whole non-empty write, at most 4096 bytes. None for a read-only file.
        on_root: exists in the root cgroup.
        off_root: exists in other cgroups.
        mode: overrides the mode computed from the handlers.
        needs: which feature selections have the file; None for all.
        delegatable: listed in /sys/kernel/cgroup/delegate.
        is_pressure: hidden while cgroup.pressure is 0.
        notifies: poll and inotify report changes.
        is_list: rendered item by item; reading it while there are none is no read for poll, which goes on telling of a change.
        release: called when an open file is closed.
        fidelity: ``exact``, ``simplified`` or ``zero`` (present, reads a constant), for docs/files.md.
        summary: one sentence for docs/files.md.
    """

    name: str
    show: Show | None = None
    write: Write | None = None
    on_root: bool = False
    off_root: bool = True
    mode: int | None = None
    needs: Callable[[Features], bool] | None = None
    delegatable: bool = False
    is_pressure: bool = False
    notifies: bool = False
    is_list: bool = False
    release: Callable[[Any, OpenFile], None] | None = None
    fidelity: str = "exact"
    summary: str = ""

    @property
    def default_mode(self) -> int:
        """Permission bits: readable 0444, writable +0200. Source: cgroup.c:cgroup_file_mode."""
        if self.mode is not None:
            return self.mode
        return (0o444 if self.show else 0) | (0o200 if self.write else 0)


@dataclass(slots=True, eq=False)
class OpenFile:
    """One open of one interface file.

    Attributes:
        css: the state the row's handlers get; an open file is dead once that state is (ENODEV).
        opener: credentials at open, which process moves are checked against.
        writer: who makes the current write; equals opener outside a write.
        flags: open(2) flags.
        seen: value of the file's notification count at the last read; None before the first.
        private: per-open state of a handler (peak mark, pressure trigger).
        nr_psi_hidings: how often cgroup.pressure had hidden the file when it was opened.
    """

    row: ControlFile
    css: Css
    opener: Caller
    writer: Caller
    flags: int = 0
    seen: int | None = None
    private: Any = None
    nr_psi_hidings: int = field(init=False)

    def __post_init__(self) -> None:
        self.nr_psi_hidings = self.css.cgroup.nr_psi_hidings
