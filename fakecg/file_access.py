"""Opening, reading, writing and polling the interface files of a host."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from fakecg.abi.errors import InvalidInput, TooLong
from fakecg.abi.units import PAGE_SIZE
from fakecg.cgroup.cftype import Caller, ControlFile, OpenFile, Steps
from fakecg.cgroup.cgroup import Cgroup
from fakecg.cgroup.hierarchy import ROOT_CALLER, Hierarchy, require_live
from fakecg.cgroup.pressure_files import PROC_PRESSURE_FILES, poll_mask
from fakecg.engine import Engine
from fakecg.mm.machine import Machine

_WRITE_MAX_BYTES = PAGE_SIZE
_POLL_ALWAYS = 0x145  # POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM
_POLL_CHANGED = 0xA  # POLLPRI | POLLERR
_POLL_SWAPS = 0x41  # POLLIN | POLLRDNORM; source: swapfile.c:swaps_poll
#: System files that are kernfs files, as those of the tree are.
_KERNFS = ("sys/module/", "sys/kernel/mm/")


class FileAccess(Engine):
    """The files of a tree and of its machine.

    Attributes:
        system_files: rows of the machine's own files by path (proc/..., sys/...).
    """

    hierarchy: Hierarchy
    machine: Machine
    system_files: dict[str, ControlFile]

    def lookup(self, path: str | bytes) -> Cgroup:
        """The cgroup at a path from the root; raises NoSuchFile (ENOENT)."""
        with self.locked():
            return self.hierarchy.lookup(path)

    def open_file(self, cgroup: Cgroup, name: bytes, caller: Caller, flags: int = 0) -> OpenFile:
        """Open an interface file; raises NoSuchFile (ENOENT). Permission bits are the filesystem's business."""
        with self.locked():
            row, css = cgroup.lookup_file(name)
            return OpenFile(row, css, caller, caller, flags)

    def open_system_file(self, path: str, caller: Caller) -> OpenFile:
        """Open a file of the machine (proc/..., sys/...); raises KeyError for an unknown path."""
        row = self.system_files[path]
        return OpenFile(row, self.hierarchy.root, caller, caller)  # type: ignore[arg-type]

    def show(self, open_file: OpenFile) -> bytes:
        """Render a file.

        Raises:
            Gone: the cgroup was removed or the controller disabled (ENODEV).
            InvalidInput: a write-only file (EINVAL).
        """
        with self.locked():
            self._require_live(open_file)
            nr_events = self._event_count(open_file)
            if open_file.row.show is None:
                open_file.seen = nr_events
                raise InvalidInput(f"{open_file.row.name}: write-only")
            text = open_file.row.show(self._subject(open_file), open_file)
            if text or not open_file.row.is_list:
                open_file.seen = nr_events
            return text.encode()

    def write(self, open_file: OpenFile, data: bytes, writer: Caller | None = None, interrupted: Callable[[], bool] | None = None) -> int:
        """Write a file: one whole command. Returns the number of bytes, all of them but for files of /sys, which take a page.

        Args:
            interrupted: asked at signal points; True ends the work with Interrupted.

        Raises:
            TooLong: more than 4096 bytes (E2BIG). Gone: ENODEV. InvalidInput: a read-only file (EINVAL).
            ControlError: whatever the file's handler refuses with.
        """
        with self.locked():
            if len(data) > _WRITE_MAX_BYTES:
                data = self._first_page(open_file, data)
            self._require_live(open_file)
            if not data and open_file.row not in PROC_PRESSURE_FILES:
                return 0
            if open_file.row.write is None:
                raise InvalidInput(f"{open_file.row.name}: read-only")
            open_file.writer = writer or open_file.opener
            # Time passed since the last step: the periodic flush of statistics came in between.
            self.machine.rstat.flush()
            steps = open_file.row.write(self._subject(open_file), data, open_file)
            if steps is not None:
                self.drive(steps, interrupted)
            self.finish_works()
            return len(data)

    def _first_page(self, open_file: OpenFile, data: bytes) -> bytes:
        # Source: fs/kernfs/file.c:kernfs_fop_write_iter: sysfs has no atomic_write_len, and procfs is no kernfs.
        name = open_file.row.name
        if name not in self.system_files and open_file.row not in PROC_PRESSURE_FILES:
            raise TooLong(f"{name}: {len(data)} bytes in one write")
        return data[:_WRITE_MAX_BYTES] if name.startswith("sys/") else data

    def _require_live(self, open_file: OpenFile) -> None:
        if open_file.row.name not in self.system_files and open_file.row not in PROC_PRESSURE_FILES:
            require_live(open_file)

    def _subject(self, open_file: OpenFile) -> Any:
        """What a row's handlers get: a css, or the machine for its own files."""
        return self.machine if open_file.row.name in self.system_files else open_file.css

    def _event_count(self, open_file: OpenFile) -> int:
        return open_file.css.cgroup.event_counts.get(open_file.row.name, 0)

    def release(self, open_file: OpenFile) -> None:
        """Close a file."""
        if open_file.row.release is not None:
            with self.locked():
                open_file.row.release(self._subject(open_file), open_file)

    def poll_events(self, open_file: OpenFile) -> int:
        """poll(2) mask. Source: kernfs/file.c:kernfs_generic_poll; include/linux/poll.h:vfs_poll for files outside of kernfs."""
        if open_file.row.name in self.system_files and not open_file.row.name.startswith(_KERNFS):
            return _POLL_SWAPS if open_file.row.name == "proc/swaps" else _POLL_ALWAYS
        with self.locked():
            if open_file.row.is_pressure or open_file.row in PROC_PRESSURE_FILES:
                return poll_mask(open_file)
            changed = not open_file.css.online or open_file.seen != self._event_count(open_file)
            return _POLL_ALWAYS | (_POLL_CHANGED if changed else 0)

    def read(self, cgroup: Cgroup, name: str) -> str:
        """A file's text, opened and closed for this."""
        open_file = self.open_file(cgroup, os.fsencode(name), ROOT_CALLER)
        try:
            return self.show(open_file).decode()
        finally:
            self.release(open_file)

    def write_text(self, cgroup: Cgroup, name: str, value: str | bytes | int, interrupted: Callable[[], bool] | None = None) -> None:
        """One write to a file, opened and closed for this; arguments and errors as write."""
        data = value if isinstance(value, bytes) else str(value).encode()
        open_file = self.open_file(cgroup, os.fsencode(name), ROOT_CALLER)
        try:
            self.write(open_file, data, interrupted=interrupted)
        finally:
            self.release(open_file)

    def read_system(self, path: str) -> str:
        """Text of a file of the machine, such as ``proc/meminfo``; raises KeyError for an unknown path."""
        return self.show(self.open_system_file(path, ROOT_CALLER)).decode()

    def write_system(self, path: str, value: str | bytes | int) -> None:
        """One write to a file of the machine, such as ``sys/module/zswap/parameters/enabled``; errors as read_system and write."""
        self.write(self.open_system_file(path, ROOT_CALLER), value if isinstance(value, bytes) else str(value).encode())

    def write_file(self, path: str, name: str, data: bytes) -> None:
        """One write to a file of the cgroup at a path; errors as lookup and write."""
        self.write_text(self.lookup(path), name, data)

    def write_file_steps(self, path: str, name: str, data: bytes) -> Steps:
        """The same for the callback of a timer, which runs with the lock held."""
        row, css = self.hierarchy.lookup(path).lookup_file(name.encode())
        if row.write is None:
            raise InvalidInput(f"{name}: read-only")
        open_file = OpenFile(row, css, ROOT_CALLER, ROOT_CALLER)
        steps = row.write(css, data, open_file) if data else None
        if steps is not None:
            yield from steps
        if row.release is not None:
            row.release(css, open_file)
