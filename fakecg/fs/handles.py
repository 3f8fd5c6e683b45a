"""Open files and open directories, as fs/kernfs/file.c and fs/seq_file.c keep them.

A file is rendered as a whole at the first read; later reads continue that snapshot as long as they are sequential, so small reads never
tear. A read at offset 0, or anywhere else than where the last one ended, renders anew. A write is one command, whatever its offset.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fakecg.abi.units import PAGE_SIZE
from fakecg.fs.nodes import CommandFile, Directory, Entry, Node, SystemFile, list_entries

if TYPE_CHECKING:
    from fakecg.cgroup.cftype import Caller, OpenFile
    from fakecg.cgroup.kernfs import FileNode
    from fakecg.fs.control import Control
    from fakecg.host import Host

#: Tells whether the writer got a signal; also the place where a long operation lets the transport serve others.
Interrupted = Callable[[], bool]


class Handle:
    """An open file.

    Attributes:
        node: what was opened.
        poll_token: the transport's handle of a sleeping poll, None if nobody sleeps.
    """

    __slots__ = ("_read_pos", "_text", "node", "poll_token")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.poll_token: int | None = None
        self._text = b""
        self._read_pos = 0

    def read(self, size: int, offset: int) -> bytes:
        """At most ``size`` bytes of the text from ``offset``; empty at the end.

        Raises:
            Gone: the file was removed (ENODEV).
            InvalidInput: a write-only file (EINVAL).

        Source: seq_file.c:seq_read_iter, traverse.
        """
        if offset == 0 or offset != self._read_pos:
            self._text = self.render()
        chunk = self._text[offset : offset + size]
        self._read_pos = offset + len(chunk)
        return chunk

    def render(self) -> bytes:
        """The whole text as it is now."""
        return b""

    def write(self, data: bytes, caller: Caller, interrupted: Interrupted) -> int:
        """One whole write; returns the bytes taken."""
        return len(data)

    def poll(self) -> int | None:
        """Events of poll(2) that are pending now; None if this file is always ready and never tells of a change."""
        return None

    def release(self) -> None:
        """The last descriptor is closed."""


class FileHandle(Handle):
    """An open interface file, or an open file of /proc or /sys; ``open_file`` is the core's side of it."""

    __slots__ = ("_host", "open_file")

    def __init__(self, host: Host, node: FileNode | SystemFile, open_file: OpenFile) -> None:
        super().__init__(node)
        self._host = host
        self.open_file = open_file

    def read(self, size: int, offset: int) -> bytes:
        """As Handle.read; of a list no more than the items that fit into a page. Source: seq_file.c:seq_read_iter, seq_has_overflowed."""
        if not self.open_file.row.is_list:
            return super().read(size, offset)
        chunk = super().read(PAGE_SIZE - 1, offset)
        items = chunk[: min(size, chunk.rfind(b"\n") + 1)]
        self._read_pos = offset + len(items)
        return items

    def render(self) -> bytes:
        """The whole text as it is now."""
        return self._host.show(self.open_file)

    def write(self, data: bytes, caller: Caller, interrupted: Interrupted) -> int:
        """One command. Source: file.c:kernfs_fop_write_iter; the errors are those of Host.write."""
        return self._host.write(self.open_file, data, caller, interrupted)

    def poll(self) -> int | None:
        """Ready, and POLLPRI with POLLERR when the file changed since it was last read through here."""
        return self._host.poll_events(self.open_file)

    def release(self) -> None:
        """Close the core's side, which drops pressure triggers and peak marks."""
        self._host.release(self.open_file)


class CommandHandle(Handle):
    """An open control file: every write is one command line, and reads return its answer.

    The answer starts where the descriptor stands after the write, so ``exec 3<>spawn; echo ... >&3; cat <&3`` works; reading from offset
    0 repeats it. Before the first write a read gives the file's report, or tells how the command is used.
    """

    __slots__ = ("_answer", "_begin", "_command", "_control")

    def __init__(self, control: Control, node: CommandFile) -> None:
        super().__init__(node)
        self._control = control
        self._command = node.command
        self._answer: bytes | None = None
        self._begin: int | None = None

    def read(self, size: int, offset: int) -> bytes:
        """The answer of the last command, or the report."""
        if self._answer is None:
            return super().read(size, offset)
        if self._begin is None or offset < self._begin:
            self._begin = offset
        start = offset - self._begin
        return self._answer[start : start + size]

    def render(self) -> bytes:
        """The report."""
        return encode(self._control.report(self._command))

    def write(self, data: bytes, caller: Caller, interrupted: Interrupted) -> int:
        """Run one command line.

        Raises:
            InvalidInput: this file takes no commands, or the line is wrong; reading the descriptor tells why (EINVAL).
            ControlError: what the command itself met.
        """
        interrupted()  # lets the transport serve others while the command runs
        self._begin = None
        self._answer = b""
        try:
            self._answer = encode(self._control.run(self._command, data.decode("utf-8", "surrogateescape"), interrupted))
        except Exception as error:
            self._answer = encode(f"{getattr(error, 'reason', error)}\n")
            raise
        return len(data)


class SelfWriteHandle(Handle):
    """The notifier's own descriptor: a write changes nothing, but makes the kernel tell inotify watchers of a modification."""

    __slots__ = ()


class DirectoryHandle:
    """An open directory; the listing is taken when it is read from the start, as after rewinddir."""

    __slots__ = ("_dots", "_entries", "node")

    def __init__(self, node: Directory, dots: list[Entry]) -> None:
        self.node = node
        self._dots = dots
        self._entries: list[Entry] = []

    def entries(self, index: int) -> list[Entry]:
        """Entries from a position on, as (name, inode number, file type); position 0 lists anew."""
        if index == 0:
            self._entries = self._dots + list_entries(self.node)
        return self._entries[index:]


def encode(text: str) -> bytes:
    """Bytes of a text that may hold undecodable names."""
    return text.encode("utf-8", "surrogateescape")
