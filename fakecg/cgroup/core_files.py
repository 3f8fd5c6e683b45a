"""The files of the cgroup core, present in every cgroup whatever controllers are on.

Mirrors cgroup_base_files and cgroup_psi_files of kernel/cgroup/cgroup.c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fakecg.abi import keyed
from fakecg.abi.errors import NotSupported, OutOfRange
from fakecg.abi.units import INT_MAX, kstrtoint, parse_flag, parse_max_int
from fakecg.cgroup import freezer, process, real_tasks, threaded
from fakecg.cgroup.cftype import ControlFile, OpenFile
from fakecg.cgroup.pressure_files import PRESSURE_FILES

if TYPE_CHECKING:
    from fakecg.cgroup.cgroup import Cgroup

#: Lines of cgroup.stat: the controllers of the recorded kernel, also those that this tree does not offer.
STAT_SUBSYS = ("cpuset", "cpu", "io", "memory", "perf_event", "hugetlb", "pids", "rdma", "misc")


def _show_controllers(cgroup: Cgroup, _open_file: OpenFile) -> str:
    return _in_order(cgroup, cgroup.control)


def _show_subtree_control(cgroup: Cgroup, _open_file: OpenFile) -> str:
    return _in_order(cgroup, cgroup.subtree_control)


def _in_order(cgroup: Cgroup, names: frozenset[str]) -> str:
    return keyed.names(name for name in cgroup.hierarchy.controllers if name in names)


def _write_subtree_control(cgroup: Cgroup, data: bytes, open_file: OpenFile) -> None:
    threaded.write_subtree_control(cgroup, data, open_file.writer)


def _show_type(cgroup: Cgroup, _open_file: OpenFile) -> str:
    return threaded.show_type(cgroup)


def _write_type(cgroup: Cgroup, data: bytes, open_file: OpenFile) -> None:
    threaded.write_type(cgroup, data, open_file.writer)


def _write_procs(cgroup: Cgroup, data: bytes, open_file: OpenFile) -> None:
    process.write_procs(cgroup, data, open_file, threadgroup=True)


def _write_threads(cgroup: Cgroup, data: bytes, open_file: OpenFile) -> None:
    process.write_procs(cgroup, data, open_file, threadgroup=False)


def _show_events(cgroup: Cgroup, _open_file: OpenFile) -> str:
    real_tasks.refresh(cgroup.hierarchy)
    return keyed.flat_keyed([("populated", int(cgroup.is_populated)), ("frozen", int(cgroup.frozen))])


def _max_file(attribute: str) -> tuple[Callable[[Cgroup, OpenFile], str], Callable[[Cgroup, bytes, OpenFile], None]]:
    def show(cgroup: Cgroup, _open_file: OpenFile) -> str:
        return keyed.counter_or_max(getattr(cgroup, attribute), INT_MAX)

    def write(cgroup: Cgroup, data: bytes, _open_file: OpenFile) -> None:
        setattr(cgroup, attribute, parse_max_int(data))

    return show, write


def _show_stat(cgroup: Cgroup, _open_file: OpenFile) -> str:
    # Source: cgroup.c:cgroup_stat_show. A controller that this tree lacks has a state in the root, as a kernel's would.
    cgroup.hierarchy.dying.release()
    lines = [("nr_descendants", cgroup.nr_descendants)]
    for name in STAT_SUBSYS:
        known = name in cgroup.hierarchy.ss_names
        lines.append((f"nr_subsys_{name}", cgroup.nr_css.get(name, 0) if known else int(cgroup.is_root)))
    lines.append(("nr_dying_descendants", cgroup.nr_dying_descendants))
    lines += [(f"nr_dying_subsys_{name}", cgroup.nr_dying_css.get(name, 0)) for name in STAT_SUBSYS]
    return keyed.flat_keyed(lines)


def _show_stat_local(cgroup: Cgroup, _open_file: OpenFile) -> str:
    frozen_ns = cgroup.freeze_ns
    if cgroup.e_freeze:
        frozen_ns += cgroup.hierarchy.clock.now_ns() - cgroup.freeze_start_ns
    return keyed.flat_keyed([("frozen_usec", frozen_ns // 1000)])


def _show_freeze(cgroup: Cgroup, _open_file: OpenFile) -> str:
    return f"{int(cgroup.freeze)}\n"


def _write_freeze(cgroup: Cgroup, data: bytes, _open_file: OpenFile) -> None:
    freeze = parse_flag(data)
    real_tasks.refresh(cgroup.hierarchy)
    freezer.set_freeze(cgroup, freeze)


def _write_kill(cgroup: Cgroup, data: bytes, _open_file: OpenFile) -> None:
    # Source: cgroup.c:cgroup_kill_write, __cgroup_kill.
    value = kstrtoint(data)
    if value != 1:
        raise OutOfRange(f"cgroup.kill takes only 1, not {value}")
    if cgroup.is_threaded:
        raise NotSupported(f"{cgroup.path()}: cgroup.kill of a threaded cgroup")
    real_tasks.refresh(cgroup.hierarchy)
    for task in cgroup.iter_tasks(recursive=True):
        task.kill()


def _show_pressure(cgroup: Cgroup, _open_file: OpenFile) -> str:
    return f"{int(cgroup.psi_enabled)}\n"


def _write_pressure(cgroup: Cgroup, data: bytes, _open_file: OpenFile) -> None:
    enable = parse_flag(data)
    if enable == cgroup.psi_enabled:
        return
    cgroup.psi_enabled = enable
    if enable:
        cgroup.psi.enable()
    else:
        cgroup.nr_psi_hidings += 1
        cgroup.psi.disable()
        for row in PRESSURE_FILES:
            cgroup.hierarchy.tell_removed(cgroup, row.name.encode())


def _show_cpu_stat(cgroup: Cgroup, _open_file: OpenFile) -> str:
    # Source: kernel/cgroup/rstat.c:cgroup_base_stat_cputime_show; the cpu controller adds its lines.
    user_usec, system_usec = cgroup.cpu_user_ns // 1000, cgroup.cpu_system_ns // 1000
    lines = [("usage_usec", user_usec + system_usec), ("user_usec", user_usec), ("system_usec", system_usec), ("nice_usec", 0)]
    if "cpu" in cgroup.css:
        lines += [(key, 0) for key in ("nr_periods", "nr_throttled", "throttled_usec", "nr_bursts", "burst_usec")]
    return keyed.flat_keyed(lines)


def _show_cpu_stat_local(cgroup: Cgroup, _open_file: OpenFile) -> str:
    return "throttled_usec 0\n" if "cpu" in cgroup.css else ""


_show_max_descendants, _write_max_descendants = _max_file("max_descendants")
_show_max_depth, _write_max_depth = _max_file("max_depth")

CORE_FILES: tuple[ControlFile, ...] = (
    ControlFile(
        name="cgroup.type",
        show=_show_type,
        write=_write_type,
        summary="Whether the cgroup holds processes or, as a member of a threaded subtree, threads.",
    ),
    ControlFile(
        name="cgroup.procs",
        show=process.show_procs,
        write=_write_procs,
        on_root=True,
        delegatable=True,
        is_list=True,
        fidelity="simplified",
        summary="Processes in here; write an id to move one in. Real processes can be moved in as well as synthetic ones; one that never "
        "was is not listed in the root, except to itself.",
    ),
    ControlFile(
        name="cgroup.threads",
        show=process.show_threads,
        write=_write_threads,
        on_root=True,
        delegatable=True,
        is_list=True,
        fidelity="simplified",
        summary="Threads in here; otherwise as cgroup.procs.",
    ),
    ControlFile(
        name="cgroup.controllers",
        show=_show_controllers,
        on_root=True,
        summary="Controllers that can be enabled for the children.",
    ),
    ControlFile(
        name="cgroup.subtree_control",
        show=_show_subtree_control,
        write=_write_subtree_control,
        on_root=True,
        delegatable=True,
        summary="Controllers enabled for the children; write +name and -name.",
    ),
    ControlFile(
        name="cgroup.events",
        show=_show_events,
        notifies=True,
        summary="Whether live processes are here or below, and whether they are frozen.",
    ),
    ControlFile(
        name="cgroup.max.descendants",
        show=_show_max_descendants,
        write=_write_max_descendants,
        on_root=True,
        summary="How many cgroups may be below; mkdir past it answers EAGAIN.",
    ),
    ControlFile(
        name="cgroup.max.depth",
        show=_show_max_depth,
        write=_write_max_depth,
        on_root=True,
        summary="How deep the tree below may be; mkdir past it answers EAGAIN.",
    ),
    ControlFile(
        name="cgroup.stat",
        show=_show_stat,
        on_root=True,
        fidelity="simplified",
        summary="Cgroups and controller states below, live and dying. Controllers that are not emulated count in the root only.",
    ),
    ControlFile(
        name="cgroup.stat.local",
        show=_show_stat_local,
        needs=lambda features: features.profile.has_stat_local,
        summary="How long the cgroup was told to be frozen.",
    ),
    ControlFile(
        name="cgroup.freeze",
        show=_show_freeze,
        write=_write_freeze,
        fidelity="simplified",
        summary="Stops the tasks of the subtree at once; real processes get SIGSTOP and SIGCONT.",
    ),
    ControlFile(
        name="cgroup.kill",
        write=_write_kill,
        summary="Kills every process of the subtree, real ones too.",
    ),
    ControlFile(
        name="cpu.stat",
        show=_show_cpu_stat,
        on_root=True,
        fidelity="zero",
        summary="No CPU time is accounted, and nothing is ever throttled.",
    ),
    ControlFile(
        name="cpu.stat.local",
        show=_show_cpu_stat_local,
        on_root=True,
        fidelity="zero",
        summary="Nothing is ever throttled.",
    ),
)

CGROUP_PRESSURE = ControlFile(
    name="cgroup.pressure",
    show=_show_pressure,
    write=_write_pressure,
    on_root=True,
    summary="0 hides the pressure files of this cgroup and stops their accounting.",
)

#: In the order in which the kernel makes them, which is the order of their inode numbers.
BASE_FILES: tuple[ControlFile, ...] = (*CORE_FILES, *PRESSURE_FILES, CGROUP_PRESSURE)
