"""io.pressure, memory.pressure and cpu.pressure of every cgroup, and their system-wide twins under /proc/pressure.

Mirrors the pressure part of kernel/cgroup/cgroup.c and the /proc part of kernel/sched/psi.c. An open file that was written a trigger keeps
it in ``OpenFile.private`` until it is closed, the cgroup is removed, or cgroup.pressure hides the file. irq.pressure is left out: the
recorded kernel is built without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fakecg.abi.errors import Busy, InvalidInput
from fakecg.cgroup.cftype import ControlFile, OpenFile, Show, Write
from fakecg.sched.psi import RESOURCES
from fakecg.sched.psi_trigger import PsiTrigger

if TYPE_CHECKING:
    from fakecg.cgroup.cgroup import Cgroup

#: Linux poll bits; what every interface file reports, and what is added for "changed" or "gone".
POLLIN, POLLPRI, POLLOUT, POLLERR, POLLRDNORM, POLLWRNORM = 0x1, 0x2, 0x4, 0x8, 0x40, 0x100
DEFAULT_POLLMASK = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM

#: /proc/pressure copies a write into a buffer of this many bytes and puts its NUL over the last one.
_PROC_BUFFER_BYTES = 32


def poll_mask(open_file: OpenFile) -> int:
    """Poll bits of an open pressure file.

    With a trigger: POLLPRI once per event, which this call consumes. Without one, or once it is gone: POLLERR | POLLPRI.
    Source: psi.c:psi_trigger_poll; dir.c:kernfs_fop_poll for a removed file.
    """
    trigger = open_file.private
    if not isinstance(trigger, PsiTrigger) or not trigger.alive or not open_file.css.online:
        return DEFAULT_POLLMASK | POLLERR | POLLPRI
    return DEFAULT_POLLMASK | POLLPRI if trigger.take_event() else DEFAULT_POLLMASK


def _show(resource: str) -> Show:
    def show(cgroup: Cgroup, open_file: OpenFile) -> str:
        text: str = cgroup.psi.show(resource)
        return text

    return show


def _write(resource: str) -> Write:
    def write(cgroup: Cgroup, data: bytes, open_file: OpenFile) -> None:
        # Source: cgroup.c:pressure_write. A refused trigger leaves the file free for another.
        if open_file.private is not None:
            raise Busy(f"{open_file.row.name}: this open file has a trigger already")
        privileged = open_file.opener.is_root
        open_file.private = cgroup.psi.create_trigger(resource, data, privileged, _waker(cgroup, open_file.row.name))

    return write


def _proc_write(resource: str) -> Write:
    write = _write(resource)

    def proc_write(cgroup: Cgroup, data: bytes, open_file: OpenFile) -> None:
        # Source: psi.c:psi_write. The last byte is taken for the newline, whatever it is.
        if not data:
            raise InvalidInput("/proc/pressure: empty write")
        write(cgroup, data[: min(len(data), _PROC_BUFFER_BYTES) - 1], open_file)

    return proc_write


def _waker(cgroup: Cgroup, file_name: str) -> Callable[[], None]:
    # kernfs_notify, not cgroup_file_notify: triggers have a rate limit of their own, and the end of one is told after rmdir too.
    def wake() -> None:
        for callback in cgroup.hierarchy.on_notify:
            callback(cgroup, file_name)

    return wake


def _release(cgroup: Cgroup, open_file: OpenFile) -> None:
    # Source: cgroup.c:cgroup_pressure_release.
    if isinstance(open_file.private, PsiTrigger):
        open_file.private.destroy()


_SUMMARY = {
    "io": "Share of time in which tasks waited for input or output; takes triggers.",
    "memory": "Share of time in which tasks waited for memory; takes triggers.",
    "cpu": "Share of time in which tasks waited for a cpu; takes triggers.",
}

#: Rows of the core, present in every cgroup whatever controllers are on.
PRESSURE_FILES: tuple[ControlFile, ...] = tuple(
    ControlFile(
        name=f"{resource}.pressure",
        show=_show(resource),
        write=_write(resource),
        release=_release,
        on_root=True,
        is_pressure=True,
        notifies=True,
        delegatable=False,
        fidelity="zero" if resource == "cpu" else "simplified",
        summary=_SUMMARY[resource],
    )
    for resource in RESOURCES
)

#: /proc/pressure/*: their ``css`` is the root cgroup, and unlike other rows they are handed empty writes too (EINVAL).
PROC_PRESSURE_FILES: tuple[ControlFile, ...] = tuple(
    ControlFile(
        name=f"pressure/{resource}",
        show=_show(resource),
        write=_proc_write(resource),
        release=_release,
        mode=0o666,
        on_root=True,
        off_root=False,
        notifies=True,
        fidelity="zero" if resource == "cpu" else "simplified",
        summary=_SUMMARY[resource],
    )
    for resource in RESOURCES
)
