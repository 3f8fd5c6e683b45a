"""Tells clients of changes: wakes who sleeps in poll, and makes inotify watchers see a modification.

A FUSE server has no call for inotify; only operations of users make events. So the notifier writes one byte to the changed file through its
own mount, with a descriptor whose writes have no effect. It does so in a thread of its own: the host's lock is held when a notice comes,
and the write needs another thread to answer it. The descriptor stays open for a moment, so that a burst of notices is a burst of
IN_MODIFY alone, and is closed soon, so that the mount can be unmounted.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from fakecg.fs.handles import encode
from fakecg.fs.logring import LOGGER_NAME

if TYPE_CHECKING:
    from fakecg.cgroup.cgroup import Cgroup
    from fakecg.fs.operations import Operations

log = logging.getLogger(LOGGER_NAME)

#: How long a descriptor for self-writes stays open after its last use.
IDLE_S = 0.25
MAX_DESCRIPTORS = 64

_Notice = tuple[str, "Cgroup", bytes]


class Notifier:
    """Carries notices from the model to the kernel.

    Args:
        tree: where the tree's root is mounted.
    """

    def __init__(self, operations: Operations, tree: bytes) -> None:
        self._operations = operations
        self._tree = tree
        self._queue: SimpleQueue[_Notice | None] = SimpleQueue()
        self._pending: set[tuple[Cgroup, bytes]] = set()
        self._descriptors: dict[tuple[Cgroup, bytes], tuple[int, float]] = {}
        self._thread = threading.Thread(target=self._run, name="fakecg-notify", daemon=True)

    def start(self) -> None:
        """Begin; the mount has to be served by now."""
        self._thread.start()
        self._operations.on_vanish = self._on_vanish
        self._operations.host.on_notify(self._on_notify)

    def stop(self) -> None:
        """Drop what is queued and close all descriptors; waits for the thread."""
        self._operations.on_vanish = None
        self._operations.host.hierarchy.on_notify.remove(self._on_notify)
        self._queue.put(None)
        self._thread.join(timeout=5)

    def _on_notify(self, cgroup: Cgroup, file_name: str) -> None:
        # With the host's lock held. Notices that were not carried out yet collapse into one, as they do in the kernel.
        name = file_name.encode()
        if (cgroup, name) not in self._pending:
            self._pending.add((cgroup, name))
            self._queue.put(("notify", cgroup, name))

    def _on_vanish(self, parent: Cgroup, name: bytes) -> None:
        self._queue.put(("vanish", parent, name))

    def _run(self) -> None:
        self._operations.notifier_tid = threading.get_native_id()
        while True:
            try:
                notice = self._queue.get(timeout=IDLE_S if self._descriptors else None)
            except Empty:
                self._close_idle()
                continue
            if notice is None:
                break
            try:
                self._carry_out(*notice)
            except Exception as error:
                self._operations.host.report_bug(error)
        for descriptor, _ in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def _carry_out(self, kind: str, cgroup: Cgroup, name: bytes) -> None:
        if kind == "vanish":
            self._operations.forget_name(cgroup, name)
            return
        self._pending.discard((cgroup, name))
        self._operations.wake(cgroup, name.decode())
        if cgroup.online and self._operations.nodes.is_known(cgroup) and cgroup.find_node(name) is not None:
            try:
                self._touch(cgroup, name)
            except OSError as error:  # removed meanwhile, or the mount is going away
                log.debug("no inotify event for %s/%s: %s", cgroup.path(), name, error)

    def _touch(self, cgroup: Cgroup, name: bytes) -> None:
        key = (cgroup, name)
        entry = self._descriptors.pop(key, None)
        if entry is None:
            if len(self._descriptors) >= MAX_DESCRIPTORS:
                os.close(self._descriptors.pop(next(iter(self._descriptors)))[0])
            path = self._tree + encode(cgroup.path()).rstrip(b"/") + b"/" + name
            if os.geteuid():
                self._operations.forget_attributes(cgroup.lookup_node(name))  # see Callbacks._getattr
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        else:
            descriptor = entry[0]
        self._descriptors[key] = (descriptor, time.monotonic())  # youngest last
        os.write(descriptor, b"\n")

    def _close_idle(self) -> None:
        limit = time.monotonic() - IDLE_S
        for key, (descriptor, used) in list(self._descriptors.items()):
            if used <= limit:
                del self._descriptors[key]
                os.close(descriptor)
