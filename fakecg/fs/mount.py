"""Mounting a host: in a thread of this process, in the foreground, or in a process of its own."""

from __future__ import annotations

import faulthandler
import logging
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from fakecg.abi.errors import FakecgError, UsageError
from fakecg.fs import mountpoint
from fakecg.fs.fusepy_binding import FuseMount
from fakecg.fs.logring import FORMAT, LOGGER_NAME, LogRing
from fakecg.fs.names import CONTROL_DIR
from fakecg.fs.notify import Notifier
from fakecg.fs.operations import Operations
from fakecg.fs.serve import Server
from fakecg.host_tasks import HostTasks, follow_real_processes

if TYPE_CHECKING:
    from fakecg.host import Host

log = logging.getLogger(LOGGER_NAME)

#: How often timers of a running clock are looked at.
TICK_S = 0.01
#: Of the names of temporary mount points.
TEMPORARY_PREFIX = "fakecg-"
#: A busy thread gives the interpreter to one that waits for it after this time, the default being 5 ms: readers meet long writes here.
SWITCH_INTERVAL_S = 0.0005


@dataclass(frozen=True, slots=True, kw_only=True)
class MountOptions:
    """How to mount.

    Attributes:
        layout: see layout.py.
        fuse: options for the FUSE library, as after ``-o``.
        replace: unmount a stale mount first.
        log_level: name of a level of the logging module.
        log_file: also write the log there.
    """

    layout: str = "cgroup"
    fuse: tuple[str, ...] = ()
    replace: bool = False
    log_level: str = "INFO"
    log_file: str | None = None

    @property
    def nonempty(self) -> bool:
        """Whether files may be hidden by the mount."""
        return "nonempty" in self.fuse

    @property
    def library_options(self) -> list[str]:
        """What the library gets."""
        return [option for option in self.fuse if option != "nonempty"]


class Mounted:
    """A mounted host, served by threads of this process.

    Raises:
        UsageError: as mountpoint.prepare and FuseMount. OSError: no descriptors are left, for example. Nothing stays mounted then.
    """

    def __init__(self, host: Host, mount_point: str, options: MountOptions, log_text: Callable[[], str] = str) -> None:
        self.path = Path(mountpoint.prepare(mount_point, replace=options.replace, nonempty=options.nonempty))
        self._host = host
        self._nobody_serves = True
        self._stop_ticking = threading.Event()
        with ExitStack() as undo:
            if host.hierarchy.task_source is None:
                undo.callback(self._unfollow, follow_real_processes(host))
            operations = Operations(host, layout=options.layout, log_text=log_text)
            undo.callback(operations.close)
            encoded = os.fsencode(self.path)
            self._fuse = FuseMount(operations, encoded, options.library_options, nonempty=options.nonempty)
            undo.callback(self._unmount)
            self.server = Server(self._fuse)
            self._fuse.callbacks.may_block = operations.control.may_block = self.server.may_block
            self._fuse.callbacks.is_stopping = self.server.stopped.is_set
            self.server.start()
            undo.callback(self._stop_serving)
            tree = os.path.join(encoded, operations.layout.tree_path.encode()) if operations.layout.tree_path else encoded
            notifier = Notifier(operations, tree)
            notifier.start()
            undo.callback(notifier.stop)
            clock = host.clock
            if clock.real_delay_ns(clock.now_ns() + 1_000_000_000) is not None:
                ticker = threading.Thread(target=self._tick, name="fakecg-tick", daemon=True)
                ticker.start()
                undo.callback(ticker.join)
                undo.callback(self._stop_ticking.set)
            self._undo = undo.pop_all()

    def _tick(self) -> None:
        pause_s = TICK_S
        while not self._stop_ticking.wait(pause_s):
            pause_s = TICK_S
            try:
                self._host.run_due()
            except Exception as error:
                self._host.report_bug(error)
                pause_s = 1

    def close(self) -> None:
        """Unmount and end all threads; the host lives on."""
        self._undo.close()

    def _stop_serving(self) -> None:
        self._nobody_serves = self.server.stop()
        self.server.close()

    def _unmount(self) -> None:
        if self._nobody_serves:
            self._fuse.unmount()
        else:
            # The thread will answer through the library when it is done, so that cannot be taken down.
            log.warning("unmounted while a request was still at work")
            mountpoint.abort(str(self.path))

    def _unfollow(self, real_tasks: HostTasks) -> None:
        with self._host.lock:
            self._host.hierarchy.task_source = None
        real_tasks.close()


@contextmanager
def mounted(host: Host, mount_point: str | os.PathLike[str] | None = None, **options: Any) -> Iterator[Path]:
    """Mount a host for the length of a ``with`` block, served by threads of this process.

    Args:
        mount_point: an empty directory; a temporary one by default, and those that killed processes have left mounted are removed then.
        options: as MountOptions.

    Yields:
        The mount point.

    Raises:
        UsageError: FUSE is missing, or the mount point does not do.
    """
    if mount_point is None:
        mountpoint.sweep(tempfile.gettempdir(), TEMPORARY_PREFIX)
    with _no_vfork(), tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX) as directory:
        mount = Mounted(host, directory if mount_point is None else os.fspath(mount_point), MountOptions(**options))
        try:
            yield mount.path
        finally:
            mount.close()


@contextmanager
def _no_vfork() -> Iterator[None]:
    """Have subprocess use fork.

    vfork keeps the interpreter locked until the child has called exec; a child that touches the mount before that, by its working directory
    for example, would wait for ever for threads of this process.
    """
    switch: Any = subprocess
    before = switch._USE_VFORK
    switch._USE_VFORK = False
    try:
        yield
    finally:
        switch._USE_VFORK = before


def set_up_log(options: MountOptions, *, to_stderr: bool) -> LogRing:
    """Send the log to memory, and to a file or standard error if asked."""
    ring = LogRing()
    handlers: list[logging.Handler] = [ring]
    if options.log_file is not None:
        try:
            handlers.append(logging.FileHandler(options.log_file, encoding="utf-8", errors="backslashreplace"))
        except OSError as error:
            raise UsageError(f"--log-file {options.log_file}: {error.strerror}", 1) from error
    if to_stderr:
        handlers.append(logging.StreamHandler())
    for handler in handlers:
        handler.setFormatter(logging.Formatter(FORMAT))
        log.addHandler(handler)
    log.setLevel(options.log_level)
    log.propagate = False
    return ring


def serve(
    make_host: Callable[[], Host],
    mount_point: str,
    options: MountOptions,
    ready: Callable[[], None] = lambda: None,
    *,
    to_stderr: bool = True,
) -> None:
    """Mount and serve until SIGTERM, SIGINT, SIGHUP or an unmount from outside; then unmount.

    Args:
        ready: called when the mount answers.

    Raises:
        UsageError: as Mounted.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # Every real process in the tree takes a descriptor.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    ring = set_up_log(options, to_stderr=to_stderr)
    wakeup_read, wakeup_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wakeup_write)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    if to_stderr:
        faulthandler.register(signal.SIGUSR1)
    host = make_host()
    try:
        mount = Mounted(host, mount_point, options, ring.text)
        try:
            ready()
            log.info("serving %s", mount.path)
            poller = select.poll()
            poller.register(wakeup_read, select.POLLIN)
            poller.register(mount.server.stop_fd, select.POLLIN)
            poller.poll()
        finally:
            mount.close()
    finally:
        host.close()


@dataclass(slots=True)
class _Report:
    """What the serving process tells the one that started it: how it went, and why not."""

    descriptor: int
    sent: bool = field(default=False)

    def send(self, exit_code: int, message: str = "") -> None:
        if not self.sent:
            self.sent = True
            os.write(self.descriptor, f"{exit_code} {message}".encode("utf-8", "surrogateescape"))
            os.close(self.descriptor)


def start(make_host: Callable[[], Host], mount_point: str, options: MountOptions) -> int:
    """Mount in a process of its own; returns its pid when the mount answers.

    Raises:
        UsageError: as Mounted, or the process died (exit code 1).
    """
    mountpoint.prepare(mount_point, replace=options.replace, nonempty=options.nonempty)
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _serve_detached(make_host, mount_point, options, _Report(writer))
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8", errors="surrogateescape") as pipe:
        code, _, message = pipe.read().partition(" ")
    if code != "0":
        os.waitpid(pid, 0)
        raise UsageError(message or "the serving process died", int(code) if code else mountpoint.EXIT_FAILURE)
    os.stat(os.path.join(mount_point, CONTROL_DIR))
    return pid


def _serve_detached(make_host: Callable[[], Host], mount_point: str, options: MountOptions, report: _Report) -> NoReturn:
    exit_code = 0
    try:
        os.setsid()
        mount_point = os.path.abspath(mount_point)

        def ready() -> None:
            os.chdir("/")
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            report.send(0)

        serve(make_host, mount_point, options, ready, to_stderr=False)
    except UsageError as error:
        report.send(error.exit_code, str(error))
        exit_code = error.exit_code
    except FakecgError as error:
        report.send(1, str(error))
        exit_code = 1
    except BaseException as error:
        log.exception("the server failed")
        report.send(1, f"{type(error).__name__}: {error}")
        exit_code = 1
    finally:
        logging.shutdown()
        os._exit(exit_code)
